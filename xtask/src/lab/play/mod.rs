//! What the program is made to do in the lab, and the programs of others that check the result.
//!
//! | file | steps |
//! |---|---|
//! | `building` | from `versions` to built images |
//! | `publishing` `promotion` `retention` | in a registry: publish, sign, boot-test, promote, clean up |
//! | `hostile` | images, mirrors and locks of an attacker |
//! | `workflows` `month` `lines` | the workflows of `.github`, run by `workflow_runner` in a `workflow_scenario` |
//! | `derived_images` | images for other kernels and images with faults, made from a built one |
//! | `verifiers` | cosign, skopeo, oras and sigstore-go |
//! | `program` | the compiled program, and how a run of it is measured |

pub(crate) mod bench;
mod building;
mod derived_images;
mod hostile;
mod lines;
mod month;
mod program;
mod promotion;
mod publisher;
mod publishing;
mod retention;
mod verifiers;
mod workflow_runner;
mod workflow_scenario;
mod workflows;

use std::fs;

use crate::error::Result;
use crate::lab::cache::LabCache;
use crate::lab::make::coreos::CoreOs;
use crate::lab::make::kernel::Kernels;
use crate::report::Report;
use program::Program;
use publisher::Publisher;

/// Every step of `cargo xtask lab`. One that builds on a failed one is left out.
pub(crate) fn all(report: &mut Report, cache: &LabCache, kernels: &Kernels, coreos: &CoreOs) {
    let mut program = None;
    report.step("compiling the program", || {
        program = Some(compile(cache, "work")?);
        Ok(String::new())
    });
    let Some(program) = program else { return };
    building::all(report, &program, kernels);
    if report.is_good()
        && let Some((verifiers, key)) = publishing::all(report, &program, cache, kernels)
    {
        let publisher = Publisher::new("proven", key);
        promotion::all(report, &program, &verifiers, &publisher, kernels);
        retention::all(report, &program, cache, &verifiers, &publisher, kernels);
    }
    hostile::all(report, &program, &cache.run(), kernels);
    if report.is_good() {
        workflows::all(report, &program, cache, kernels);
    }
    if report.is_good() {
        month::all(report, &program, cache, &cache.run(), kernels, coreos, false);
    }
}

/// The steps of `cargo xtask lab hostile`.
pub(crate) fn only_hostile(report: &mut Report, cache: &LabCache, kernels: &Kernels, _: &CoreOs) -> Result {
    hostile::all(report, &compile(cache, "hostile")?, &cache.run(), kernels);
    Ok(())
}

/// The steps of `cargo xtask lab lines`.
pub(crate) fn only_lines(report: &mut Report, cache: &LabCache, kernels: &Kernels, _: &CoreOs) -> Result {
    lines::all(report, &compile(cache, "lines")?, cache, &cache.run(), kernels);
    Ok(())
}

/// The steps of `cargo xtask lab month`.
pub(crate) fn only_month(
    report: &mut Report,
    cache: &LabCache,
    kernels: &Kernels,
    coreos: &CoreOs,
) -> Result {
    month::all(report, &compile(cache, "month")?, cache, &cache.run(), kernels, coreos, true);
    Ok(())
}

/// The steps of `cargo xtask lab workflows`.
pub(crate) fn only_workflows(report: &mut Report, cache: &LabCache, kernels: &Kernels, _: &CoreOs) -> Result {
    workflows::all(report, &compile(cache, "workflows")?, cache, kernels);
    Ok(())
}

/// The steps of `cargo xtask lab reproduce`.
pub(crate) fn only_reproduce(report: &mut Report, cache: &LabCache, kernels: &Kernels, _: &CoreOs) -> Result {
    building::reproduce(report, &compile(cache, "reproduction")?, kernels);
    Ok(())
}

/// The program, with an empty directory to run in.
fn compile(cache: &LabCache, directory: &str) -> Result<Program> {
    let work = cache.run().join(directory);
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work)?;
    Program::build(&cache.run(), &work)
}
