//! Images are built again, with a fake podman that copies prepared packages.

mod bench;
mod detached;
mod differences;
mod gone;
mod hostile;
mod inputs;
mod kernel_package;
mod lock;
