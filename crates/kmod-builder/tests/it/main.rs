//! The rules of images and their stores, from outside: real archives, real RPMs, real ELF files.

mod images;
mod layers;
mod rpms;
