//! The lab: Fedora's side of the world, made on this machine from the distribution's own packages, so that the
//! unchanged program does its whole job for real. Only the origin of the packages differs.
//!
//! | room | what it makes |
//! |---|---|
//! | `openzfs` `fedora` `kernel` `rpms` `coreos` | the tarball, the builder image, the kernels, the repository, the CoreOS images |
//! | `upstream` `github` | what is said about them, in the shapes that Fedora and GitHub use |
//! | `issues` | GitHub's issues, which the program keeps |
//! | `services` `http` `world` | where all that is served, and how the program is told |
//! | `verifiers` | programs that others wrote, and that check what was published |
//! | `variants` | images for kernels that nobody compiled, and images with faults, made from a built one |
//! | `program` `steps` `publishing` `proving` `retention` `report` | the program, what it is made to do, and how that went |
//! | `rehearsal` | the workflows, job by job, with the lines as they stand in the YAML |
//! | `cache` `apt` `oci` `podman` | the tools of the above |

mod apt;
pub(crate) mod bench;
mod busybox;
mod cache;
mod coreos;
mod fedora;
mod github;
mod http;
mod issues;
mod kernel;
mod oci;
mod openzfs;
mod podman;
mod program;
mod proving;
mod publishing;
mod rehearsal;
mod retention;
mod rpms;
mod services;
mod steps;
mod upstream;
mod variants;
mod verifiers;
mod world;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    error::{NeedsRoot, Result},
    report::Report,
    terminal, tools,
};
pub(crate) use apt::mirror;
pub(crate) use cache::Cache;
use kernel::Kernels;
use oci::Layout;
use podman::Podman;
use services::Services;
use world::REGISTRY;

/// Makes the lab, has the program do its job in it, ends the services.
pub(crate) fn run() -> Result {
    let cache = Cache::open()?;
    let mut report = Report::new("lab");
    let mut lab = None;
    report.step("the lab itself", || {
        lab = Some(open(&cache, false)?);
        Ok(cache::directory()?.display().to_string())
    });
    if let Some((_services, kernels)) = &lab {
        let work = cache.run().join("work");
        let _ = fs::remove_dir_all(&work);
        fs::create_dir_all(&work)?;
        let mut program = None;
        report.step("compiling the program", || {
            program = Some(program::Program::build(&cache.run(), &work)?);
            Ok(String::new())
        });
        if let Some(program) = program {
            steps::all(&mut report, &program, kernels);
            if report.is_good() {
                publishing::all(&mut report, &program, &cache, kernels);
            }
            if report.is_good() {
                rehearsal::all(&mut report, &program, &cache.run(), kernels);
            }
        }
    }
    drop(lab);
    report.end()
}

/// Makes the lab, rehearses the workflows in it and nothing else, ends the services.
pub(crate) fn rehearse() -> Result {
    alone("rehearsal", rehearsal::all)
}

/// Makes the lab, builds an image in it and reproduces that in other circumstances, ends the services. Each
/// reproduction compiles everything anew, so this is no part of [`run`].
pub(crate) fn reproduce() -> Result {
    alone("reproduction", |report, program, _, kernels| steps::reproduce(report, program, kernels))
}

fn alone(name: &str, steps: impl FnOnce(&mut Report, &program::Program, &Path, &Kernels)) -> Result {
    let cache = Cache::open()?;
    let (services, kernels) = open(&cache, false)?;
    let work = cache.run().join(name);
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work)?;
    let program = program::Program::build(&cache.run(), &work)?;
    let mut report = Report::new("lab");
    steps(&mut report, &program, &cache.run(), &kernels);
    drop(services);
    report.end()
}

/// Makes the lab and leaves its services running.
pub(crate) fn up() -> Result {
    let cache = Cache::open()?;
    let (services, kernels) = open(&cache, true)?;
    services.leave();
    for (name, value) in world::environment(&cache.run()) {
        terminal::print_data(format_args!("export {name}='{value}'"));
    }
    terminal::print_notice(format_args!(
        "lab: up. stable has {}, testing {}. Set the lines above in your shell:\n\
         \x20 eval \"$(cargo xtask lab up)\"\nand end it with `cargo xtask lab down`.",
        kernels.current, kernels.newer
    ));
    Ok(())
}

/// Ends what [`up`] left running.
pub(crate) fn down() -> Result {
    if !services::stop(&cache::directory()?.join("run"))? {
        terminal::print_notice("lab: nothing is running");
    }
    Ok(())
}

/// Removes all that the lab keeps.
pub(crate) fn clean() -> Result {
    let cache = Cache::open()?;
    services::stop(&cache.run())?;
    let directory = cache::directory()?;
    fs::remove_dir_all(&directory)?;
    terminal::print_notice(format_args!("lab: removed {}", directory.display()));
    Ok(())
}

/// The registry's program, which the Rust tests need as well: a name on the path, or a path.
pub(crate) fn registry_program() -> Result<PathBuf> {
    services::registry_program(&Cache::open()?)
}

/// The HTTP server, as a process of its own.
pub(crate) fn serve(run: &str) -> Result {
    http::serve(Path::new(run))
}

/// Makes what is not there yet, and starts the services.
fn open(cache: &Cache, stay: bool) -> Result<(Services, Kernels)> {
    if !tools::is_root() {
        return Err(NeedsRoot { command: "cargo xtask lab".to_owned() }.into());
    }
    let podman = Podman::find()?;
    let tarball = openzfs::tarball(cache)?;
    let packages = fedora::packages(cache)?;
    let fedora = fedora::image(cache, &packages)?;
    let kernels = kernel::kernels(cache, &podman, &packages)?;
    let repository = rpms::repository(cache, &kernels)?;
    let coreos = coreos::images(cache, &fedora, &kernels)?;
    let run = cache.run();
    upstream::publish(&run.join("www"), &coreos, &repository, &tarball)?;
    let _ = fs::remove_file(run.join(http::LOG));
    // The lab's builds keep their versions when what is in them changes; a build of Fedora CoreOS does not.
    let _ = fs::remove_dir_all(run.join("program/answers"));
    let services = Services::start(cache, stay)?;
    push(cache, &fedora, "fedora/fedora")?;
    push(cache, &coreos.layout, "fedora/fedora-coreos")?;
    Ok((services, kernels))
}

/// Copies every tag of a layout to the registry; blobs that it has are not sent again.
fn push(cache: &Cache, layout: &Path, repository: &str) -> Result {
    for tag in Layout::open(layout).tags()? {
        let mut copy = Command::new("skopeo");
        copy.args(["copy", "--quiet", "--all", "--preserve-digests", "--dest-tls-verify=false"]);
        copy.arg(format!("oci:{}:{tag}", layout.display()))
            .arg(format!("docker://{REGISTRY}/{repository}:{tag}"));
        tools::run_logged(&format!("pushing {repository}:{tag}"), &copy, &cache.log("push"))?;
    }
    Ok(())
}
