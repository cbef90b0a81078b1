//! Images are built again, with a fake podman that copies prepared packages.

mod bench;
mod differences;
mod gone;
mod inputs;
