//! Development tasks of this repository: `cargo xtask …`.

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
cargo xtask build [ARGUMENTS]   compile the program with optimisations and run `zfs-kmods build ARGUMENTS`
cargo xtask test [--quick]      run every check of CI: formatting, workflows, lints, tests, dependencies, lab
                                (--quick: without the lab)
cargo xtask test workflows      run only zizmor and actionlint
cargo xtask lab                 make the lab, run every step in it, end its services (-v, here and below: show what the
                                programs say, which otherwise is in a log)
cargo xtask lab workflows       make the lab and run only the workflows of .github in it
cargo xtask lab month           make the lab and play four weeks of a publisher in it
cargo xtask lab hostile         make the lab and try images, mirrors and locks of an attacker in it
cargo xtask lab lines           make the lab and publish two lines of OpenZFS in it, on a branch and for users
cargo xtask lab reproduce       make the lab, build an image, and reproduce it twice under other conditions
cargo xtask lab up              make the lab and leave its services running; print the variables to export
cargo xtask lab down            end these services
cargo xtask lab clean           remove the lab's cache from the user's cache directory
cargo xtask bare [--keep] [--record] [COMMAND]
                                run `cargo xtask COMMAND` (default: `lab`, then `test`) from a clean checkout in a new
                                Debian 12 root; --record updates docs/bare-machine.md, --keep leaves the root
cargo xtask simulate [SEEDS]    play the history of 2019-2024 with the faults of 200 seeds, and print the table of
                                docs/simulation.md
cargo xtask bench               after `lab`: compare time and memory of the program with skopeo's

The lab needs root and Debian's apt. The first run takes about half an hour and 3 GB of disk.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_verbose = |word: &&str| ["-v", "--verbose"].contains(word);
    let (verbose, words): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|word| is_verbose(word) && arguments[0] == "lab");
    let verbose = !verbose.is_empty();
    let result = match words.as_slice() {
        [] | ["help" | "-h" | "--help"] | [_, "-h" | "--help"] => {
            terminal::print_data(HELP);
            Ok(())
        }
        ["build", rest @ ..] => build(rest),
        ["test"] => test::all(true),
        ["test", "--quick"] => test::all(false),
        ["test", "workflows"] => test::workflows(),
        ["bare", rest @ ..] => bare::run(rest),
        ["lab"] => lab::run(verbose),
        ["lab", "workflows" | "rehearse"] => lab::workflows(verbose),
        ["lab", "month"] => lab::month(verbose),
        ["lab", "hostile"] => lab::hostile(verbose),
        ["lab", "lines"] => lab::lines(verbose),
        ["lab", "reproduce"] => lab::reproduce(verbose),
        ["lab", "up"] => lab::up(),
        ["lab", "down"] => lab::down(),
        ["lab", "clean"] => lab::clean(),
        ["simulate"] => simulate("200"),
        ["simulate", seeds] if seeds.parse::<u64>().is_ok() => simulate(seeds),
        ["bench"] => lab::bench(),
        ["lab", "serve", directory] => lab::serve(directory),
        _ => {
            terminal::print_notice(format_args!(
                "cargo xtask {}: unknown command\n\n{HELP}",
                words.join(" ")
            ));
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::print_notice(format_args!("\nxtask: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// The program's `build`, compiled with optimisations because it hashes and compresses much.
fn build(arguments: &[&str]) -> Result {
    let shell = xshell::Shell::new()?;
    xshell::cmd!(shell, "cargo run --quiet --release -p kmod-builder -- build {arguments...}")
        .quiet()
        .run()?;
    Ok(())
}

fn simulate(seeds: &str) -> Result {
    let shell = xshell::Shell::new()?;
    xshell::cmd!(shell, "cargo test --quiet --workspace --test simulate -- --nocapture")
        .env("SIMULATE_SEEDS", seeds)
        .quiet()
        .run()?;
    Ok(())
}
