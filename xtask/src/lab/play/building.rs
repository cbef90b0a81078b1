//! From `versions` to built images whose packages rpm reads.

use serde_json::Value;

use crate::error::{Context, Result};
use crate::lab::make::kernel::Kernels;
use crate::lab::make::{coreos, openzfs};
use crate::lab::oci::LabLayout;
use crate::lab::play::program::{FIELDS, Output, Program, as_rpm_sees};
use crate::report::Report;

/// Limit for `versions`: requests, bytes.
const QUESTION: (u64, u64) = (6, 300 * 1024);
const STORE: &str = "oci:images";
/// Every group of packages, for `--only`.
pub(crate) const ALL_GROUPS: &str = "main,devel,debug,other,src";

pub(crate) fn all(report: &mut Report, program: &Program, kernels: &Kernels) {
    let asked = report.step("versions of stable", || {
        let output = program.done(&["versions", "--stream", "stable", "--format", "json"])?;
        match output.mentions(&[&kernels.current, openzfs::VERSION])?.requests {
            (requests, bytes) if requests > QUESTION.0 || bytes > QUESTION.1 => {
                Err(format!("{requests} requests and {bytes} bytes: more than `versions` may cost").into())
            }
            (requests, bytes) => Ok(format!("{requests} requests, {} KiB", bytes.div_ceil(1024))),
        }
    });
    let unsupported = format!("{}.x86_64", coreos::UNSUPPORTED);
    report.step("check", || {
        program.done(&["check"])?;
        program.run(&["check", "--zfs", openzfs::VERSION, "--kernel", &unsupported])?.expect(3)?;
        Ok("current is compatible, 7.3 is unsupported".to_owned())
    });
    report.step("plan for three streams", || {
        let arguments =
            ["plan", "--streams", "stable,testing,next", "--arches", "x86_64", "--format", "json"];
        let plan = program.done(&arguments)?.json()?;
        let targets = plan["targets"].as_array().context("the plan has no targets")?;
        let decision = |kernel: &str| {
            targets.iter().find(|entry| entry["target"]["kernel"] == kernel)?["decision"].as_str()
        };
        let decisions = [&kernels.current, &kernels.newer, &unsupported].map(|kernel| decision(kernel));
        if decisions != [Some("build"), Some("build"), Some("unsupported")] {
            return Err(format!("decisions are {decisions:?}").into());
        }
        Ok("two to build, one unsupported".to_owned())
    });
    if !asked {
        return;
    }
    if !report.step("build for stable", || build(program, &kernels.current)) {
        return;
    }
    report.step("verify", || {
        program.done(&["verify", &image(&kernels.current)])?;
        Ok(image(&kernels.current))
    });
    report.step("build again", || {
        program.done(&["build", "--to", STORE])?;
        Ok("nothing to do".to_owned())
    });
    report.step("list and extract", || agree(program, kernels));
    if report.step("build for testing", || build(program, &kernels.newer)) {
        report.step("userland is shared", || {
            let layers = [layers(program, &kernels.current)?, layers(program, &kernels.newer)?];
            match (layers[0][0] == layers[1][0], layers[0][1] == layers[1][1]) {
                (true, false) => Ok(layers[0][0].clone()),
                (false, _) => Err("the two images have different userland layers".into()),
                (_, true) => Err("two kernels have the same modules".into()),
            }
        });
        report.step("differences are named", || differ(program, kernels));
    }
}

/// Builds an image and reproduces it in another directory, with other numbers of jobs, with and without ccache.
pub(crate) fn reproduce(report: &mut Report, program: &Program, kernels: &Kernels) {
    let image = image(&kernels.current);
    let reproduced = |more: &[&str]| {
        let compared = program.done(&[&["reproduce", &image, "--format", "json"], more].concat())?.json()?;
        match (digest_of(&compared["first"]), digest_of(&compared["second"])) {
            (Some(first), Some(second)) if first == second => Ok(first),
            digests => Err(format!("the digests are {digests:?}").into()),
        }
    };
    if !report.step("build", || build(program, &kernels.current)) {
        return;
    }
    let elsewhere = program.path("elsewhere").to_string_lossy().into_owned();
    let other = ["--no-compiler-cache", "--jobs", "3", "--work-directory", &elsewhere];
    report.step("without ccache, 3 jobs, elsewhere", || reproduced(&other));
    report.step("with ccache, one job", || reproduced(&["--jobs", "1"]));
}

/// The image for a kernel in the local store.
pub(crate) fn image(kernel: &str) -> String {
    format!("{STORE}:{}", tag(kernel))
}

pub(crate) fn tag(kernel: &str) -> String {
    format!("zfs-{}_kernel-{kernel}", openzfs::VERSION)
}

/// Before a promotion.
pub(crate) fn candidate_tag(kernel: &str) -> String {
    format!("candidate-{}", tag(kernel))
}

/// The digest in the member `image` of the program's JSON.
pub(crate) fn digest_in(output: &Output) -> Result<String> {
    digest_of(&output.json()?["image"]).context("the program's JSON names no image")
}

/// The digest of an image in the program's JSON: `{"reference": …, "digest": …}`, `NAME@DIGEST` or a digest.
pub(crate) fn digest_of(image: &Value) -> Option<String> {
    let text = image["digest"].as_str().or_else(|| image.as_str())?;
    text.rsplit('@').next().map(str::to_owned)
}

fn build(program: &Program, kernel: &str) -> Result<String> {
    program.done(&["build", "--kernel", kernel, "--to", STORE])?;
    Ok(image(kernel))
}

/// Compares `list-rpms` with what rpm reads from the extracted packages.
fn agree(program: &Program, kernels: &Kernels) -> Result<String> {
    let image = image(&kernels.current);
    let list = program.done(&["list-rpms", &image, "--format", "json"])?.json()?;
    program.done(&["extract-rpms", &image, "--to", "rpms", "--only", ALL_GROUPS])?;
    let row = |package: &Value| FIELDS.map(|(name, _)| in_words_of_rpm(&package[name])).to_vec();
    let mut listed: Vec<_> = list["rpms"].as_array().context("no list of RPMs")?.iter().map(row).collect();
    listed.sort();
    let extracted = as_rpm_sees(&program.path("rpms"))?;
    let (ours, theirs) = (listed.len(), extracted.len());
    if listed == extracted {
        return Ok(format!("{} fields of {ours} packages, as rpm sees them", FIELDS.len()));
    }
    let differing = listed.iter().zip(&extracted).find(|(ours, theirs)| ours != theirs);
    Err(format!("{ours} packages listed, {theirs} seen by rpm; first difference: {differing:?}").into())
}

fn in_words_of_rpm(value: &Value) -> String {
    match value {
        Value::Null => "(none)".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            items.iter().filter_map(Value::as_str).fold(String::new(), |text, item| text + item + ";")
        }
        other => other.to_string(),
    }
}

/// An image has no difference to itself. The image for the next kernel differs in the kmod only.
fn differ(program: &Program, kernels: &Kernels) -> Result<String> {
    let (one, other) = (image(&kernels.current), image(&kernels.newer));
    program.done(&["reproduce", &one, "--with", &one])?;
    let arguments = ["reproduce", &one, "--with", &other, "--format", "json"];
    let compared = program.run(&arguments)?.expect(3)?.json()?;
    let results = |list: &str| -> Vec<_> {
        let list = compared[list].as_array().into_iter().flatten();
        list.map(|entry| entry["result"].as_str().unwrap_or_default().to_owned()).collect()
    };
    if results("layers") != ["same", "different"] {
        return Err(format!("the layers are {:?}", results("layers")).into());
    }
    let packages = results("packages");
    let same = packages.iter().filter(|result| *result == "same").count();
    let remark = format!("{same} of {} packages are the same", packages.len());
    if (1..packages.len()).contains(&same) { Ok(remark) } else { Err(remark.into()) }
}

/// Layer digests: userland, kmod.
fn layers(program: &Program, kernel: &str) -> Result<Vec<String>> {
    let tag = tag(kernel);
    let manifest = LabLayout::open(&program.path("images")).manifest(&tag)?;
    let layers = manifest["layers"].as_array().into_iter().flatten();
    let list: Vec<_> = layers.filter_map(|layer| layer["digest"].as_str().map(str::to_owned)).collect();
    if list.len() == 2 { Ok(list) } else { Err(format!("{tag} has {} layers, not two", list.len()).into()) }
}
