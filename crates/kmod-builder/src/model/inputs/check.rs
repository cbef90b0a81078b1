//! Inputs are read from images of other publishers, so each text in them is checked before it is used.

use kmod_query::KernelPackage;

use super::{BuildInputs, KernelDevel, ParseInputsError, SCHEMA};

/// Characters of a text without a stricter form.
const MAX_TEXT: usize = 512;
/// Seconds since 1970, of the end of the year 9999.
const MAX_TIME: i64 = 253_402_300_799;

pub(super) fn check(inputs: &BuildInputs) -> Result<(), ParseInputsError> {
    let BuildInputs { arch, kernel, kernel_devel, .. } = inputs;
    if *arch != kernel.arch() {
        return Err(ParseInputsError::OtherArch { arch: *arch, kernel: kernel.clone() });
    }
    let expected = KernelPackage::Devel.nevra(kernel);
    if kernel_devel.nevra != expected {
        return Err(ParseInputsError::OtherPackage { nevra: kernel_devel.nevra.clone(), expected });
    }
    let KernelDevel { digest, signer, .. } = kernel_devel;
    if digest.is_some() != (inputs.schema == SCHEMA) || signer.is_some() && digest.is_none() {
        return Err(ParseInputsError::Schema(inputs.schema));
    }
    let version = inputs.source_image.as_ref().and_then(|source| source.version.as_deref());
    let members = [
        ("tool", Some(inputs.tool.as_str()), is_word as fn(&str) -> bool),
        ("tarball.url", Some(&inputs.tarball.url), is_web_address),
        ("kernel_devel.url", Some(&kernel_devel.url), is_web_address),
        ("base.version", version, is_printable),
        ("source_repository", inputs.source_repository.as_deref(), is_printable),
    ];
    for (member, text, is_valid) in members {
        if let Some(text) = text.filter(|text| text.chars().count() > MAX_TEXT || !is_valid(text)) {
            return Err(ParseInputsError::Text { member, text: text.to_owned() });
        }
    }
    if !(0..=MAX_TIME).contains(&inputs.source_date_epoch) {
        return Err(ParseInputsError::Time(inputs.source_date_epoch));
    }
    Ok(())
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte))
}

fn is_web_address(text: &str) -> bool {
    (text.starts_with("https://") || text.starts_with("http://"))
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_printable(text: &str) -> bool {
    !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::tests::inputs;
    use super::*;
    use crate::model::containerfile;

    /// Texts that escape from a directory, a shell word or a line.
    fn hostile() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("../".to_owned()),
            Just("/".to_owned()),
            Just("/etc/cron.d/x".to_owned()),
            Just("..".to_owned()),
            Just("\0".to_owned()),
            Just("\n".to_owned()),
            Just("$(id)".to_owned()),
            Just("kernel-devel-6.17.8-300.fc43.x86_64".to_owned()),
            Just("6.17.8-300.fc43.x86_64".to_owned()),
            Just("2.4.3".to_owned()),
            Just("https://example.org/".to_owned()),
            "[ -~]{0,12}",
        ];
        prop::collection::vec(part, 1..4).prop_map(|parts| parts.concat())
    }

    /// The pointers of all texts in a JSON value.
    fn texts(value: &Value, at: &str, found: &mut Vec<String>) {
        match value {
            Value::String(_) => found.push(at.to_owned()),
            Value::Object(members) => {
                members.iter().for_each(|(name, value)| texts(value, &format!("{at}/{name}"), found));
            }
            _ => {}
        }
    }

    fn pointers() -> Vec<String> {
        let mut found = Vec::new();
        texts(&serde_json::from_str(&inputs().canonical_json()).unwrap(), "", &mut found);
        found
    }

    fn is_one_component(name: &str) -> bool {
        let mut components = Path::new(name).components();
        matches!(components.next(), Some(Component::Normal(only)) if only == name)
            && components.next().is_none()
    }

    proptest! {
        #[test]
        fn no_inputs_make_a_path_outside_the_workspace(
            changes in prop::collection::vec((prop::sample::select(pointers()), hostile()), 1..4)
        ) {
            let mut value: Value = serde_json::from_str(&inputs().canonical_json()).unwrap();
            for (pointer, text) in changes {
                *value.pointer_mut(&pointer).unwrap() = json!(text);
            }
            if let Ok(inputs) = BuildInputs::parse(&value.to_string()) {
                let tag = inputs.target().tag();
                for name in [
                    containerfile::kernel_devel_file(&inputs),
                    containerfile::tarball_file(&inputs),
                    format!("{tag}.inputs.json"),
                    format!("{tag}.kmod-rpms.log"),
                    format!("{}.tar.gz", inputs.tarball.digest.hex()),
                ] {
                    prop_assert!(is_one_component(&name), "{name:?}");
                }
            }
        }
    }

    #[test]
    fn another_package_than_the_kernel_s_is_refused() {
        for nevra in ["../../outside", "/etc/cron.d/x", "kernel-devel-6.17.9-300.fc43.x86_64"] {
            let mut value: Value = serde_json::from_str(&inputs().canonical_json()).unwrap();
            value["kernel_devel"]["nevra"] = json!(nevra);
            BuildInputs::parse(&value.to_string()).unwrap_err();
        }
    }

    #[test]
    fn texts_that_are_not_what_their_member_says_are_refused() {
        let text = inputs().canonical_json();
        for (pointer, value) in [
            ("/tool", json!("0.1.0 ; rm")),
            ("/tarball/url", json!("file:///etc/passwd")),
            ("/kernel_devel/url", json!("https://example.org/a b")),
            ("/base/version", json!("43\u{1b}[2J")),
            ("/source_date_epoch", json!(-1)),
            ("/source_date_epoch", json!(i64::MAX)),
        ] {
            let mut changed: Value = serde_json::from_str(&text).unwrap();
            *changed.pointer_mut(pointer).unwrap() = value.clone();
            assert!(BuildInputs::parse(&changed.to_string()).is_err(), "{pointer}: {value}");
        }
    }
}
