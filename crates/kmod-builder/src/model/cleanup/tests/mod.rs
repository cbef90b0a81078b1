//! The invariants of retention, checked by independent code.

mod examples;
mod invariants;
mod properties;
mod random;
