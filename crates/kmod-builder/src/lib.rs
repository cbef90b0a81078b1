//! Plans, builds, verifies and publishes OpenZFS kernel modules for Fedora CoreOS; the program is `zfs-kmods`.
//!
//! Three rooms. `commands` says what comes next: gather, decide, show, do. `io` touches the world, one neighbour a
//! file. `model` decides, and touches nothing.

pub mod cli;
pub mod commands;
pub mod io;
pub mod model;
pub mod output;
