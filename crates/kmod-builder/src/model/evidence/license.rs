//! The licence of an RPM as an SPDX licence expression.

use super::sbom::id_part;
use crate::model::Digest;

/// The SPDX identifiers of OpenZFS and its build dependencies.
const SPDX: &str = "Apache-2.0 BSD-2-Clause BSD-3-Clause CDDL-1.0 GPL-2.0-only GPL-2.0-or-later ISC \
                    LGPL-2.1-or-later MIT OpenSSL";

/// Fedora's identifiers from before SPDX, which OpenZFS's spec files still use, and their SPDX identifiers (Fedora's
/// licence data, `fedora_abbrev`).
const FEDORA: [(&str, &str); 3] =
    [("CDDL", "CDDL-1.0"), ("GPLv2", "GPL-2.0-only"), ("GPLv2+", "GPL-2.0-or-later")];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SpdxLicense {
    pub(super) expression: String,
    /// A `LicenseRef-…` in the expression and the text that it stands for, if the text is not an SPDX expression.
    pub(super) extracted: Option<(String, String)>,
}

/// Converts an RPM's `License:` tag.
///
/// An expression of known identifiers is used as it is; any other text is quoted.
pub(super) fn expression(words: &str) -> SpdxLicense {
    if words.trim().is_empty() {
        return SpdxLicense { expression: "NOASSERTION".to_owned(), extracted: None };
    }
    let known: Option<Vec<_>> = words
        .split_whitespace()
        .map(|word| match word {
            "AND" | "and" => Some("AND"),
            "OR" | "or" => Some("OR"),
            _ => {
                let old = FEDORA.iter().find(|(name, _)| *name == word).map(|(_, id)| *id);
                old.or_else(|| SPDX.split(' ').find(|id| *id == word))
            }
        })
        .collect();
    let is_expression = |tokens: &Vec<&str>| {
        tokens.len() % 2 == 1
            && tokens.iter().enumerate().all(|(at, token)| ["AND", "OR"].contains(token) == (at % 2 == 1))
    };
    if let Some(tokens) = known.filter(is_expression) {
        return SpdxLicense { expression: tokens.join(" "), extracted: None };
    }
    let id = format!("LicenseRef-{}-{}", id_part(words), Digest::of(words.as_bytes()).short());
    SpdxLicense { expression: id.clone(), extracted: Some((id, words.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_words_become_expressions() {
        for (words, expected) in [
            ("CDDL", "CDDL-1.0"),
            ("CDDL-1.0", "CDDL-1.0"),
            ("GPLv2+ and CDDL", "GPL-2.0-or-later AND CDDL-1.0"),
            ("", "NOASSERTION"),
        ] {
            assert_eq!(expression(words), SpdxLicense { expression: expected.into(), extracted: None });
        }
    }

    #[test]
    fn unknown_words_are_quoted() {
        for words in ["Public Domain", "CDDL AND", "MIT MIT", "(MIT)"] {
            let license = expression(words);
            let (id, text) = license.extracted.unwrap();
            assert_eq!((license.expression, text.as_str()), (id.clone(), words));
            assert!(
                id.starts_with("LicenseRef-")
                    && id.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b))
            );
        }
    }
}
