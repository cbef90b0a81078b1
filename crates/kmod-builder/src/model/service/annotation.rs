use super::{Class, Trouble};

/// The line that puts trouble on the page of the run
/// ([workflow commands](https://docs.github.com/actions/reference/workflow-commands-for-github-actions)).
pub fn annotation(trouble: &Trouble) -> String {
    let command = match trouble.class {
        // News once, in its issue; a warning every day would be none.
        Class::Held => "notice",
        Class::Upstream | Class::Registry => "warning",
        _ => "error",
    };
    let title = format!("{}: {}", trouble.target, trouble.class.title());
    let advice = trouble.help.as_deref().unwrap_or(trouble.class.advice());
    format!("::{command} title={}::{}", property(&title), data(&format!("{}\n{advice}", trouble.message)))
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
