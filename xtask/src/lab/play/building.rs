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

pub(crate) fn all(report: &mut Report, program: &Program, kernels: &Kernels) {
    let asked = report.step("versions of stable", || {
        let output = program.run(&["versions", "--stream", "stable", "--format", "json"])?.expect(0)?;
        let output = output.mentions(&[&kernels.current, openzfs::VERSION])?;
        let (requests, bytes) = output.requests;
        if requests > QUESTION.0 || bytes > QUESTION.1 {
            return Err(
                format!("{requests} requests and {bytes} bytes: more than `versions` may cost").into()
            );
        }
        Ok(format!("{requests} requests, {} KiB", bytes.div_ceil(1024)))
    });
    let unsupported = format!("{}.x86_64", coreos::UNSUPPORTED);
    report.step("check", || {
        program.run(&["check"])?.expect(0)?;
        program.run(&["check", "--zfs", openzfs::VERSION, "--kernel", &unsupported])?.expect(3)?;
        Ok("current is compatible, 7.3 is unsupported".to_owned())
    });
    report.step("plan for three streams", || {
        let arguments =
            ["plan", "--streams", "stable,testing,next", "--arches", "x86_64", "--format", "json"];
        let plan = program.run(&arguments)?.expect(0)?.json()?;
        let decision = |kernel: &str| {
            plan["targets"].as_array().into_iter().flatten().find(|target| {
                [&target["kernel"], &target["target"]["kernel"]].iter().any(|of| **of == kernel)
            })?["decision"]
                .as_str()
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
    let built = report.step("build for stable", || build(program, &kernels.current));
    if !built {
        return;
    }
    report.step("verify", || {
        program.run(&["verify", &image(&kernels.current)])?.expect(0)?;
        Ok(image(&kernels.current))
    });
    report.step("build again", || {
        program.run(&["build", "--to", STORE])?.expect(0)?;
        Ok("nothing to do".to_owned())
    });
    report.step("list and extract", || agree(program, kernels));
    let bumped = report.step("build for testing", || build(program, &kernels.newer));
    if bumped {
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
        let arguments = [&["reproduce", &image, "--format", "json"], more].concat();
        let compared = program.run(&arguments)?.expect(0)?.json()?;
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
    program.run(&["build", "--kernel", kernel, "--to", STORE])?.expect(0)?;
    Ok(image(kernel))
}

/// Compares `list-rpms` with what rpm reads from the extracted packages.
fn agree(program: &Program, kernels: &Kernels) -> Result<String> {
    let image = image(&kernels.current);
    let listed = program.run(&["list-rpms", &image, "--format", "json"])?.expect(0)?;
    program
        .run(&["extract-rpms", &image, "--to", "rpms", "--only", "main,devel,debug,other,src"])?
        .expect(0)?;
    let mut listed = rows(&listed)?;
    listed.sort();
    let extracted = as_rpm_sees(&program.path("rpms"))?;
    if listed == extracted {
        return Ok(format!("{} fields of {} packages, as rpm sees them", FIELDS.len(), listed.len()));
    }
    let differing = listed.iter().zip(&extracted).find(|(ours, theirs)| ours != theirs);
    Err(format!(
        "{} packages listed, {} seen by rpm; first difference: {differing:?}",
        listed.len(),
        extracted.len()
    )
    .into())
}

fn rows(listed: &Output) -> Result<Vec<Vec<String>>> {
    let value = listed.json()?;
    let list = value["rpms"].as_array().context("no list of RPMs")?;
    let row = |package: &Value| FIELDS.iter().map(|(name, _)| in_words_of_rpm(&package[name])).collect();
    Ok(list.iter().map(row).collect())
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
    program.run(&["reproduce", &one, "--with", &one])?.expect(0)?;
    let compared = program.run(&["reproduce", &one, "--with", &other, "--format", "json"])?.expect(3)?;
    let compared = compared.json()?;
    let results = |list: &str| -> Vec<_> {
        let list = compared[list].as_array().into_iter().flatten();
        list.map(|entry| entry["result"].as_str().unwrap_or_default().to_owned()).collect()
    };
    if results("layers") != ["same", "different"] {
        return Err(format!("the layers are {:?}", results("layers")).into());
    }
    let packages = results("packages");
    let same = packages.iter().filter(|result| *result == "same").count();
    if same == 0 || same == packages.len() {
        return Err(format!("{same} of {} packages are the same", packages.len()).into());
    }
    Ok(format!("{same} of {} packages are the same", packages.len()))
}

/// Layer digests: userland, kmod.
fn layers(program: &Program, kernel: &str) -> Result<Vec<String>> {
    let tag = tag(kernel);
    let manifest = LabLayout::open(&program.path("images")).manifest(&tag)?;
    let list: Vec<String> = manifest["layers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|layer| layer["digest"].as_str().map(str::to_owned))
        .collect();
    if list.len() == 2 { Ok(list) } else { Err(format!("{tag} has {} layers, not two", list.len()).into()) }
}
