//! The outside world: one neighbour a file; nothing else connects, and only [`cmd`] starts processes.

pub mod cmd;
