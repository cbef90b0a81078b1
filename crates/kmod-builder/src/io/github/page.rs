/// Pages named by a `Link` header (RFC 8288).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pages {
    pub(super) next: Option<u32>,
    /// `None` if not stated.
    pub(super) last: Option<u32>,
}

impl Pages {
    /// Without a header, there is a single page.
    pub(super) fn of(header: Option<&str>) -> Self {
        let mut pages = Self::default();
        for part in header.unwrap_or_default().split(',') {
            let Some((address, parameters)) =
                part.trim().strip_prefix('<').and_then(|part| part.split_once('>'))
            else {
                continue;
            };
            let is = |relation: &str| {
                parameters.split(';').any(|parameter| {
                    parameter
                        .trim()
                        .strip_prefix("rel=")
                        .is_some_and(|value| value.trim_matches('"') == relation)
                })
            };
            if is("next") {
                pages.next = number(address);
            } else if is("last") {
                pages.last = number(address);
            }
        }
        pages
    }
}

fn number(address: &str) -> Option<u32> {
    let (_, query) = address.split_once('?')?;
    query.split('&').find_map(|parameter| parameter.strip_prefix("page=")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_by_the_header() {
        let header = "<https://x/versions?per_page=100&page=2>; rel=\"next\", \
                      <https://x/versions?per_page=100&page=7>; rel=\"last\"";
        assert_eq!(Pages::of(Some(header)), Pages { next: Some(2), last: Some(7) });
        let header = "<https://x/versions?page=6>; rel=\"prev\", <https://x/versions?page=1>; rel=\"first\"";
        assert_eq!(Pages::of(Some(header)), Pages::default());
        assert_eq!(Pages::of(None), Pages::default());
    }
}
