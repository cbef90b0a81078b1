//! The program from outside: real archives, real RPMs, real ELF files; registries that fail, publishers that are killed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, in its helpers too")]

mod boot_test;
mod command_output;
mod contract;
mod docker;
mod extract;
mod headers;
mod images;
mod layers;
mod promote;
mod publish;
mod registry;
mod registry_server;
mod reproducing;
mod retention;
mod rpms;
mod service;
mod workflows;
