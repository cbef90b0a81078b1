use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kmod_compat::Meta;

use crate::FormatError;
use crate::document::{self, Node};

/// Parses GitHub's response for the [contents of a
/// file](https://docs.github.com/rest/repos/contents#get-repository-content): Base64 with a line break after every 60
/// characters.
pub fn parse_meta(text: &str) -> Result<Meta, FormatError> {
    let document = document::parse(text)?;
    let content = Node::root(&document).required("content")?;
    let encoded: String = content.text()?.split_ascii_whitespace().collect();
    let decoded = STANDARD.decode(encoded).map_err(|error| content.invalid(error))?;
    let meta = String::from_utf8(decoded).map_err(|error| content.invalid(error))?;
    Meta::parse(&meta).map_err(|error| content.invalid(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_is_unwrapped() {
        // `META` of zfs-2.4.4, as in the API's documentation.
        let text = r#"{"name": "META", "encoding": "base64", "content": "TWV0YTogICAgICAgICAgMQpOYW1lOiAgICAgICAgICB6ZnMKQnJhbmNoOiAg\nICAgICAgMS4wClZlcnNpb246ICAgICAgIDIuNC40ClJlbGVhc2U6ICAgICAg\nIDEKUmVsZWFzZS1UYWdzOiAgcmVsZXh0CkxpY2Vuc2U6ICAgICAgIENEREwK\nQXV0aG9yOiAgICAgICAgT3BlblpGUwpMaW51eC1NYXhpbXVtOiA3LjIKTGlu\ndXgtTWluaW11bTogNC4xOAo=\n"}"#;
        assert_eq!(parse_meta(text).unwrap().version(), "2.4.4".parse().unwrap());
        for bad in ["{}", r#"{"content": "%"}"#, r#"{"content": "AAAA"}"#] {
            assert!(parse_meta(bad).is_err(), "{bad}");
        }
    }
}
