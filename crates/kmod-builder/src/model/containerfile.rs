//! `Containerfile.in`, rendered to a complete and pinned `Containerfile`.
//!
//! podman would run the C preprocessor on a file named `.in` and interpret comments as directives (podman-build(1),
//! `--file`), so it gets only the rendered file.

use kmod_query::KernelPackage;
use miette::{LabeledSpan, NamedSource};

use super::Digest;
use super::inputs::BuildInputs;

pub const TEMPLATE: &str = include_str!("../../../../Containerfile.in");

const TEMPLATE_NAME: &str = "Containerfile.in";

/// The stage with the packages that do not depend on the kernel.
pub const USERLAND_STAGE: &str = "userland-rpms";

/// The stage with the packages for one kernel.
pub const KMOD_STAGE: &str = "kmod-rpms";

/// In the build context.
pub fn tarball_file(inputs: &BuildInputs) -> String {
    format!("{}.tar.gz", inputs.zfs.tag())
}

/// In the build context.
pub fn kernel_devel_file(inputs: &BuildInputs) -> String {
    format!("{}.rpm", KernelPackage::Devel.nevra(&inputs.kernel))
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error(
    "these inputs are of a Containerfile.in with the digest {template}, and this program has another one"
)]
#[diagnostic(help("build with zfs-kmods {tool}, from the same commit: its template is one of the inputs"))]
pub struct TemplateMismatch {
    template: Digest,
    tool: String,
}

/// Fails if the inputs have another template than this program.
pub fn check_template(inputs: &BuildInputs) -> Result<(), TemplateMismatch> {
    if inputs.template == Digest::of(TEMPLATE.as_bytes()) {
        return Ok(());
    }
    Err(TemplateMismatch { template: inputs.template.clone(), tool: inputs.tool.clone() })
}

pub fn containerfile(inputs: &BuildInputs) -> Result<String, TemplateError> {
    render(
        TEMPLATE_NAME,
        TEMPLATE,
        &[
            ("ARCH", &inputs.arch.to_string()),
            ("BUILDER_IMAGE", &inputs.builder_image.to_string()),
            ("FEDORA", &inputs.fedora.to_string()),
            ("KERNEL_DEVEL_RPM", &kernel_devel_file(inputs)),
            ("KERNEL_RELEASE", &inputs.kernel.to_string()),
            ("SOURCE_DATE_EPOCH", &inputs.source_date_epoch.to_string()),
            ("TARBALL", &tarball_file(inputs)),
            ("ZFS_VERSION", &inputs.zfs.to_string()),
        ],
    )
}

/// Contains every fault, not only the first.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{}` cannot be rendered", .template.name())]
pub struct TemplateError {
    #[source_code]
    template: NamedSource<String>,
    /// Unknown placeholders.
    #[label(collection)]
    labels: Vec<LabeledSpan>,
    /// About values.
    #[help]
    help: Option<String>,
}

/// Replaces each `@NAME@` by its value. Unknown placeholders, unused values, and values that a shell would split or
/// expand are errors.
pub fn render(name: &str, template: &str, values: &[(&str, &str)]) -> Result<String, TemplateError> {
    let (mut labels, mut help) = (Vec::new(), Vec::new());
    let mut used = vec![false; values.len()];
    let mut rendered = String::with_capacity(template.len());
    let mut rest = 0;
    while let Some((start, end)) = next_placeholder(template, rest) {
        rendered.push_str(&template[rest..start]);
        let placeholder = &template[start + 1..end - 1];
        if let Some(position) = values.iter().position(|(name, _)| *name == placeholder) {
            used[position] = true;
            rendered.push_str(values[position].1);
        } else {
            let label = format!("no value is called `{placeholder}`");
            labels.push(LabeledSpan::new_with_span(Some(label), start..end));
        }
        rest = end;
    }
    rendered.push_str(&template[rest..]);
    for ((placeholder, value), used) in values.iter().zip(used) {
        if !used {
            help.push(format!("the value `{placeholder}` is used nowhere: add `@{placeholder}@` or drop it"));
        } else if !is_plain_word(value) {
            help.push(format!(
                "the value of `{placeholder}` has a character that a shell would act on: {value:?}"
            ));
        }
    }
    if labels.is_empty() && help.is_empty() {
        return Ok(rendered);
    }
    let help = (!help.is_empty()).then(|| help.join("\n"));
    Err(TemplateError { template: NamedSource::new(name, template.to_owned()), labels, help })
}

/// The range of the next `@NAME@` at or after `from`.
fn next_placeholder(template: &str, from: usize) -> Option<(usize, usize)> {
    let mut start = from + template[from..].find('@')?;
    loop {
        let length = template[start + 1..].find('@')?;
        let name = &template[start + 1..start + 1 + length];
        let word = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if name.starts_with(|first: char| first.is_ascii_uppercase()) && name.bytes().all(word) {
            return Some((start, start + length + 2));
        }
        start += length + 1;
    }
}

fn is_plain_word(value: &str) -> bool {
    !value.is_empty()
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+~^:/@".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(template: &str, values: &[(&str, &str)]) -> String {
        let error = render("Containerfile.in", template, values).unwrap_err();
        let mut text = String::new();
        miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor())
            .with_width(100)
            .render_report(&mut text, &error)
            .unwrap();
        text
    }

    #[test]
    fn placeholders_are_replaced_and_other_signs_left_alone() {
        let rendered =
            render("t", "FROM @IMAGE@ # a@b, @lower@, @IMAGE@@", &[("IMAGE", "fedora@sha256:0")]).unwrap();
        assert_eq!(rendered, "FROM fedora@sha256:0 # a@b, @lower@, fedora@sha256:0@");
    }

    #[test]
    fn every_fault_is_named_in_one_report() {
        let values = [("IMAGE", "x;y"), ("OTHER", "z"), ("SHELL", "$(reboot)")];
        insta::assert_snapshot!(report("FROM @IMAGE@\nRUN @COMMAND@ @SHELL@\n", &values), @r#"
  × `Containerfile.in` cannot be rendered
   ╭─[Containerfile.in:2:5]
 1 │ FROM @IMAGE@
 2 │ RUN @COMMAND@ @SHELL@
   ·     ────┬────
   ·         ╰── no value is called `COMMAND`
   ╰────
  help: the value of `IMAGE` has a character that a shell would act on: "x;y"
        the value `OTHER` is used nowhere: add `@OTHER@` or drop it
        the value of `SHELL` has a character that a shell would act on: "$(reboot)"
"#);
    }

    #[test]
    fn inputs_of_another_template_are_refused() {
        let mut inputs = crate::model::inputs::tests::inputs();
        assert!(check_template(&inputs).is_err());
        inputs.template = Digest::of(TEMPLATE.as_bytes());
        assert_eq!(check_template(&inputs), Ok(()));
    }

    #[test]
    fn the_shipped_template_fits_its_values() {
        let rendered = containerfile(&crate::model::inputs::tests::inputs()).unwrap();
        for stage in [USERLAND_STAGE, KMOD_STAGE] {
            assert!(rendered.lines().any(|line| line == format!("FROM scratch AS {stage}")), "{stage}");
        }
    }
}
