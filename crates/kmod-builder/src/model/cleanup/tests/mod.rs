//! The promises of retention, each checked by code that shares nothing with the code that keeps them.

mod examples;
mod invariants;
mod properties;
mod random;
