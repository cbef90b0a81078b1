//! The program from outside: real archives, real RPMs, real ELF files; registries that fail, publishers that are killed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, in its helpers too")]

mod boot_test;
mod ci_report;
mod cleanup;
mod command_output;
mod config;
mod docker;
mod extract_rpms;
mod fedora_key;
mod http;
mod images;
mod layers;
mod matrix;
mod promote;
mod publish;
mod readme;
mod registry;
mod registry_server;
mod reproduce;
mod rpm_reader;
mod rpms;
mod stored;
mod verify;
mod workflows;
