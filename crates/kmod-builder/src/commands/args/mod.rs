//! Flags that several commands share.

pub mod signing;
pub mod trust;
