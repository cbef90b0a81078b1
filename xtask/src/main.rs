//! Chores of this repository: `cargo xtask …`. Thin: what the program can do itself is left to the program.

mod bare;
mod error;
mod lab;
mod report;
mod terminal;
mod test;
mod tools;
mod workflows;

use std::process::ExitCode;

use error::Result;

const HELP: &str = "\
cargo xtask build [ARGUMENTS]   build a verified image for what is current (the same as `zfs-kmods build …`)
cargo xtask test [--quick]      all that CI does: formatting, lints, workflows, tests, dependencies, then the lab
                                (--quick leaves out the lab)
cargo xtask test workflows      zizmor and actionlint alone
cargo xtask lab                 make the lab, run the program from question to image in it, end its services
cargo xtask lab rehearse        make the lab, run the workflows' own lines in it and nothing else
cargo xtask lab reproduce       make the lab, build an image and build it again, twice, in other circumstances
cargo xtask lab up              make the lab and leave its services running; prints what to export
cargo xtask lab down            end those services
cargo xtask lab clean           remove what the lab keeps in the user's cache directory
cargo xtask bare [--keep] [--record] [COMMAND…]
                                run `cargo xtask COMMAND` (without one: `lab`, then `test`) from a clean checkout in a
                                fresh Debian 12 root; --record writes the result to docs/bare-machine.md, --keep leaves
                                the root
cargo xtask bench               after a run of the lab: time and memory of the program, beside those of skopeo

The lab needs root, Debian's apt and, the first time, about half an hour and 3 GB of disk.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [] | ["help" | "-h" | "--help"] | [_, "-h" | "--help"] => {
            terminal::print_data(HELP);
            Ok(())
        }
        ["build", rest @ ..] => build(rest),
        ["test"] => test::all(true),
        ["test", "--quick"] => test::all(false),
        ["test", "workflows"] => test::workflows(),
        ["bare", rest @ ..] => bare::run(rest),
        ["lab"] => lab::run(),
        ["lab", "rehearse"] => lab::rehearse(),
        ["lab", "reproduce"] => lab::reproduce(),
        ["lab", "up"] => lab::up(),
        ["lab", "down"] => lab::down(),
        ["lab", "clean"] => lab::clean(),
        ["bench"] => lab::bench::run(),
        ["lab", "serve", directory] => lab::serve(directory),
        _ => {
            terminal::print_notice(format_args!("cargo xtask {}: no such chore\n\n{HELP}", words.join(" ")));
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::print_notice(format_args!("\nxtask: {failure}"));
            ExitCode::FAILURE
        }
    }
}

/// The program's own `build`, compiled with optimisations: it hashes and compresses a lot.
fn build(arguments: &[&str]) -> Result {
    let shell = xshell::Shell::new()?;
    xshell::cmd!(shell, "cargo run --quiet --release -p kmod-builder -- build {arguments...}")
        .quiet()
        .run()?;
    Ok(())
}
