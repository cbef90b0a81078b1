//! The promises of retention, each checked by code that shares nothing with the code that keeps them.

mod demand;
mod examples;
mod properties;
mod random;
