//! The program builds images again: with the podman of these tests, which hands over packages that were made before.

mod bench;
mod differences;
mod gone;
mod inputs;
