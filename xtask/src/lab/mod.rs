//! The lab: Fedora, GitHub and Sigstore on this machine, made from Debian's packages, so that the unchanged program runs
//! from the first question to a published image.
//!
//! | part | content |
//! |---|---|
//! | `make` | what the program reads: OpenZFS's tarball, the builder image, kernels, the dnf repository, CoreOS images |
//! | `serve` | the registry and the HTTP server: packages, stream metadata, GitHub's releases and issues |
//! | `play` | what the program is made to do, and the programs of others that check the result |
//! | `apt` `cache` `environment` `oci` | shared: Debian's packages, entries made once, the services' addresses, image layouts |
//!
//! Imports go one way: `play` → `serve` → `make` → the shared files.

mod apt;
mod cache;
mod environment;
mod make;
mod oci;
mod play;
mod serve;

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{NeedsRoot, Result};
use crate::report::Report;
use crate::{terminal, tools};
pub(crate) use apt::mirror;
pub(crate) use cache::LabCache;
use make::coreos::CoreOs;
use make::kernel::Kernels;
pub(crate) use play::bench::run as bench;
use serve::{http, services, services::LabServices};

/// What the programs say during a run, in the directory of the run.
const LOG: &str = "lab.log";

/// Makes the lab, runs every step in it, ends the services.
pub(crate) fn run(verbose: bool) -> Result {
    let cache = LabCache::open()?;
    terminal::open_log(&cache.run().join(LOG), verbose)?;
    let mut report = Report::new("lab");
    let mut lab = None;
    report.step("the lab itself", || {
        lab = Some(open(&cache, false)?);
        Ok(cache::directory()?.display().to_string())
    });
    if let Some((_services, kernels, coreos)) = &lab {
        play::all(&mut report, &cache, kernels, coreos);
    }
    drop(lab);
    report.end()
}

/// Makes the lab and runs only the workflows in it.
pub(crate) fn workflows(verbose: bool) -> Result {
    only(verbose, play::only_workflows)
}

/// Makes the lab and plays four weeks of a publisher in it.
pub(crate) fn month(verbose: bool) -> Result {
    only(verbose, play::only_month)
}

/// Makes the lab and tries hostile images, mirrors and locks in it.
pub(crate) fn hostile(verbose: bool) -> Result {
    only(verbose, play::only_hostile)
}

/// Makes the lab and publishes two lines of OpenZFS in it.
pub(crate) fn lines(verbose: bool) -> Result {
    only(verbose, play::only_lines)
}

/// Makes the lab, builds an image and reproduces it. Each reproduction compiles everything again, therefore this is not
/// part of [`run`].
pub(crate) fn reproduce(verbose: bool) -> Result {
    only(verbose, play::only_reproduce)
}

fn only(verbose: bool, steps: impl FnOnce(&mut Report, &LabCache, &Kernels, &CoreOs) -> Result) -> Result {
    let cache = LabCache::open()?;
    terminal::open_log(&cache.run().join(LOG), verbose)?;
    let (_services, kernels, coreos) = open(&cache, false)?;
    let mut report = Report::new("lab");
    steps(&mut report, &cache, &kernels, &coreos)?;
    report.end()
}

/// Makes the lab and leaves its services running.
pub(crate) fn up() -> Result {
    let cache = LabCache::open()?;
    let (services, kernels, _) = open(&cache, true)?;
    services.leave();
    for (name, value) in environment::variables(&cache.run()) {
        terminal::print_data(format_args!("export {name}='{value}'"));
    }
    terminal::print_notice(format_args!(
        "lab: up. stable has {}, testing has {}. Set the variables above in your shell:\n\
         \x20 eval \"$(cargo xtask lab up)\"\nand end the services with `cargo xtask lab down`.",
        kernels.current, kernels.newer
    ));
    Ok(())
}

/// Ends the services that [`up`] left running.
pub(crate) fn down() -> Result {
    if !services::stop(&cache::directory()?.join("run"))? {
        terminal::print_notice("lab: nothing is running");
    }
    Ok(())
}

/// Removes the lab's cache.
pub(crate) fn clean() -> Result {
    let cache = LabCache::open()?;
    services::stop(&cache.run())?;
    let directory = cache::directory()?;
    fs::remove_dir_all(&directory)?;
    terminal::print_notice(format_args!("lab: removed {}", directory.display()));
    Ok(())
}

/// The registry's program, which the Rust tests need as well: a name on the path, or a path.
pub(crate) fn registry_program() -> Result<PathBuf> {
    services::registry_program(&LabCache::open()?)
}

/// The HTTP server, as a process of its own.
pub(crate) fn serve(run: &str) -> Result {
    http::serve(Path::new(run))
}

/// Makes what the cache does not have yet, and starts the services.
fn open(cache: &LabCache, stay: bool) -> Result<(LabServices, Kernels, CoreOs)> {
    if !tools::is_root() {
        return Err(NeedsRoot { command: "cargo xtask lab".to_owned() }.into());
    }
    let products = make::all(cache)?;
    let services = serve::start(cache, &products, stay)?;
    fs::copy(&products.fedora_keys, environment::fedora_keys(&cache.run()))?;
    Ok((services, products.kernels, products.coreos))
}
