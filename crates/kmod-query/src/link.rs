use reqwest::header::{HeaderMap, LINK};

/// The target of a `Link` header (RFC 8288) with this relation: `<…>; rel="next"`.
pub fn link_target(headers: &HeaderMap, relation: &str) -> Option<String> {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(|links| {
        let mut rest = links;
        while let Some((_, after)) = rest.split_once('<') {
            let (target, after) = after.split_once('>')?;
            // The parameters of a link end where the next link begins.
            let parameters = after.split('<').next().unwrap_or_default();
            let matches = parameters.split([';', ',']).any(|parameter| {
                let parameter = parameter.trim().to_ascii_lowercase();
                parameter.strip_prefix("rel=").is_some_and(|value| value.trim_matches('"') == relation)
            });
            if matches {
                return Some(target.to_owned());
            }
            rest = after;
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_link_with_the_relation_is_followed() {
        for (link, next) in [
            (r#"</v2/x/tags/list?n=2&last=b>; rel="next""#, Some("/v2/x/tags/list?n=2&last=b")),
            ("</a>; rel=prev, </b,c>; rel=next", Some("/b,c")),
            (
                r#"<https://x/?p=1>; rel="prev", <https://x/?p=3>; rel="next", <https://x/?p=9>; rel="last""#,
                Some("https://x/?p=3"),
            ),
            (r#"<https://x/?p=1>; rel="prev", <https://x/?p=1>; rel="first""#, None),
            (r#"</a>; rel="prev""#, None),
            ("nonsense", None),
        ] {
            let headers = [(LINK, link.parse().unwrap())].into_iter().collect();
            assert_eq!(link_target(&headers, "next").as_deref(), next, "{link}");
        }
    }
}
