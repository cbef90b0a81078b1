//! The program `zfs-kmods`.

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use kmod_builder::cli::Cli;
use kmod_builder::commands::{CommandOutcome, UsageError};
use kmod_builder::output::{self, MessageWriter};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let command = matches.subcommand_name().unwrap_or_default();
    output::style_errors();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(cli.log_level()));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| MessageWriter)
        .with_ansi(false)
        .with_target(cli.log_level() != "warn")
        .without_time()
        .init();
    // Dropping the command's future ends the programs it started and removes its unfinished files.
    let outcome = tokio::select! {
        outcome = cli.run(command) => outcome,
        signal = end_signal() => {
            output::show_error(&miette::miette!("interrupted; nothing unfinished was kept"));
            return ExitCode::from(128 + signal);
        }
    };
    match outcome {
        Ok(CommandOutcome::Done) => ExitCode::SUCCESS,
        Ok(CommandOutcome::Refused) => ExitCode::from(3),
        Err(error) => {
            output::show_error(&error);
            if error.is::<UsageError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Waits for SIGINT or SIGTERM, and returns its number.
async fn end_signal() -> u8 {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => 2,
        _ = terminate.recv() => 15,
    }
}
