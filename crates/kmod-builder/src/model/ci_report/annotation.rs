use super::Finding;

/// A [workflow command](https://docs.github.com/actions/reference/workflow-commands-for-github-actions).
pub fn annotation(finding: &Finding) -> String {
    let command = finding.kind.row().level.as_str();
    let title = format!("{}: {}", finding.subject, finding.kind.title());
    format!(
        "::{command} title={}::{}",
        property(&title),
        data(&format!("{}\n{}", finding.message, finding.advice()))
    )
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
