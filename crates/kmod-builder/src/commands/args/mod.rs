//! Flags that several commands share.

pub mod config;
pub mod image_build;
pub mod inputs;
pub mod isolation;
pub mod record;
pub mod signing;
pub mod source;
pub mod trust;
pub mod upstream;
