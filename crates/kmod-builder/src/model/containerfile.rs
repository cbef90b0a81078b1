//! `Containerfile.in`, rendered to a complete and pinned `Containerfile`.
//!
//! podman would run the C preprocessor on a file named `.in` and interpret comments as directives (podman-build(1),
//! `--file`), so it gets only the rendered file.

use miette::{LabeledSpan, NamedSource, SourceSpan};

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
    format!("{}.rpm", inputs.kernel_devel.nevra)
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
#[derive(Debug, thiserror::Error)]
#[error("`{name}` cannot be rendered")]
pub struct TemplateError {
    name: String,
    source_code: NamedSource<String>,
    faults: Vec<TemplateErrorKind>,
}

#[derive(Debug)]
enum TemplateErrorKind {
    Unknown { placeholder: String, span: SourceSpan },
    Unused { placeholder: String },
    Unsafe { placeholder: String, value: String },
}

impl miette::Diagnostic for TemplateError {
    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.source_code)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.faults.iter().filter_map(|fault| match fault {
            TemplateErrorKind::Unknown { placeholder, span } => {
                Some(LabeledSpan::new_with_span(Some(format!("no value is called `{placeholder}`")), *span))
            }
            TemplateErrorKind::Unused { .. } | TemplateErrorKind::Unsafe { .. } => None,
        })))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        let sentences = self.faults.iter().filter_map(|fault| match fault {
            TemplateErrorKind::Unknown { .. } => None,
            TemplateErrorKind::Unused { placeholder } => {
                Some(format!("the value `{placeholder}` is used nowhere: add `@{placeholder}@` or drop it"))
            }
            TemplateErrorKind::Unsafe { placeholder, value } => Some(format!(
                "the value of `{placeholder}` has a character that a shell would act on: {value:?}"
            )),
        });
        let text = sentences.collect::<Vec<_>>().join("\n");
        (!text.is_empty()).then(|| Box::new(text) as Box<dyn std::fmt::Display>)
    }
}

/// Replaces each `@NAME@` by its value. Unknown placeholders, unused values, and values that a shell would split or
/// expand are errors.
pub fn render(name: &str, template: &str, values: &[(&str, &str)]) -> Result<String, TemplateError> {
    let mut faults = Vec::new();
    let mut used = vec![false; values.len()];
    let mut rendered = String::with_capacity(template.len());
    let mut rest = 0;
    while let Some((start, end)) = next_placeholder(template, rest) {
        rendered.push_str(&template[rest..start]);
        let placeholder = &template[start + 1..end - 1];
        match values.iter().position(|(name, _)| *name == placeholder) {
            Some(position) => {
                used[position] = true;
                rendered.push_str(values[position].1);
            }
            None => faults.push(TemplateErrorKind::Unknown {
                placeholder: placeholder.to_owned(),
                span: (start, end - start).into(),
            }),
        }
        rest = end;
    }
    rendered.push_str(&template[rest..]);
    for ((placeholder, value), used) in values.iter().zip(used) {
        let placeholder = (*placeholder).to_owned();
        if !used {
            faults.push(TemplateErrorKind::Unused { placeholder });
        } else if !is_plain_word(value) {
            faults.push(TemplateErrorKind::Unsafe { placeholder, value: (*value).to_owned() });
        }
    }
    if faults.is_empty() {
        return Ok(rendered);
    }
    let source_code = NamedSource::new(name, template.to_owned());
    Err(TemplateError { name: name.to_owned(), source_code, faults })
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
        let names = [
            "ARCH",
            "BUILDER_IMAGE",
            "FEDORA",
            "KERNEL_DEVEL_RPM",
            "KERNEL_RELEASE",
            "SOURCE_DATE_EPOCH",
            "TARBALL",
            "ZFS_VERSION",
        ];
        let rendered = render(TEMPLATE_NAME, TEMPLATE, &names.map(|name| (name, "value"))).unwrap();
        for stage in [USERLAND_STAGE, KMOD_STAGE] {
            assert!(rendered.lines().any(|line| line == format!("FROM scratch AS {stage}")), "{stage}");
        }
    }
}
