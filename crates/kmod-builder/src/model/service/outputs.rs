use serde_json::{Value, json};

/// What each verb writes to `GITHUB_OUTPUT`, where later jobs read it. Verbs that are not here write nothing.
pub const OUTPUTS: [(&str, &[&str]); 2] = [("plan", &["build", "matrix"]), ("build", &["digest", "image"])];

/// The machine on which an architecture is built, by GitHub's label.
pub const RUNNERS: [(&str, &str); 2] = [("x86_64", "ubuntu-24.04"), ("aarch64", "ubuntu-24.04-arm")];

/// The outputs of a verb, taken from what it has shown; a name without a value is left out.
///
/// `channel` is where everything is to be promoted to; without one, each target goes to the streams in which its kernel
/// was seen.
pub fn outputs(verb: &str, shown: &[Value], channel: Option<&str>) -> Vec<(&'static str, String)> {
    let Some((_, names)) = OUTPUTS.into_iter().find(|(of, _)| *of == verb) else { return Vec::new() };
    let last = |pointers: &[&str]| {
        let mut found = shown.iter().rev().flat_map(|value| pointers.iter().map(|at| value.pointer(at)));
        found.find_map(|value| value?.as_str().map(str::to_owned))
    };
    let value = |name: &str| match name {
        "build" => Some((!jobs(shown, channel).is_empty()).to_string()),
        "matrix" => Some(json!({"include": jobs(shown, channel)}).to_string()),
        "digest" => last(&["/digest"]),
        // Of the published image, which names its digest; an image of a directory is of no use to another job.
        "image" => last(&["/published/image", "/image"]).filter(|image| image.starts_with("docker://")),
        _ => None,
    };
    names.iter().filter_map(|name| Some((*name, value(name)?))).collect()
}

/// One job of the matrix for each target that is to be built.
fn jobs(shown: &[Value], channel: Option<&str>) -> Vec<Value> {
    let targets = shown.iter().filter_map(|plan| plan["targets"].as_array()).flatten();
    targets
        .filter(|target| target["decision"] == "build")
        .filter_map(|target| {
            let (_, runner) = RUNNERS.into_iter().find(|(arch, _)| target["arch"] == *arch)?;
            let streams: Vec<_> =
                target["streams"].as_array()?.iter().filter_map(|stream| stream.as_str()).collect();
            Some(json!({
                "tag": target["tag"],
                "runner": runner,
                // A kernel of two streams is built once, for the first of them, and promoted to both.
                "channel": channel.or_else(|| streams.first().copied()),
                "channels": channel.map_or(streams, |channel| vec![channel]),
                "inputs": target["inputs"],
            }))
        })
        .collect()
}
