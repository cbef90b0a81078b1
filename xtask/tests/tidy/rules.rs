//! Rules about one file each: words that its code must not contain, its length, its name, its comments.

use std::path::Path;

use crate::source::SourceFile;

const MAX_LINES: usize = 450;

pub(crate) struct Rule {
    pub(crate) id: &'static str,
    /// Shown with a violation, so it says what to do instead.
    pub(crate) why: &'static str,
    pub(crate) scope: Scope,
    pub(crate) check: Check,
    /// A line, or for [`Check::Name`] a file, that violates the rule.
    pub(crate) planted: &'static str,
}

pub(crate) struct Scope {
    pub(crate) folder: &'static str,
    pub(crate) except: &'static [&'static str],
    /// Whether the rule holds in test modules and test files too.
    pub(crate) tests: bool,
}

pub(crate) enum Check {
    /// Words that are separated by spaces.
    Forbid(&'static str),
    /// Phrases that are separated by `|`, also in comments and literals.
    Phrases(&'static str),
    Length,
    Name,
}

const fn production(folder: &'static str, except: &'static [&'static str]) -> Scope {
    Scope { folder, except, tests: false }
}

const EVERYTHING: Scope = Scope { folder: "", except: &[], tests: true };
const COMMANDS: &str = "crates/kmod-builder/src/commands/";
const BUILDER: &str = "crates/kmod-builder/src/";

pub(crate) const RULES: &[Rule] = &[
    Rule {
        id: "compat-is-pure",
        why: "kmod-compat has no clock, files, network, environment, processes or async",
        scope: production("crates/kmod-compat/src/", &[]),
        check: Check::Forbid(
            "async std::fs std::env:: std::process std::net SystemTime Instant::now kmod_query \
             kmod_builder",
        ),
        planted: "use std::fs;",
    },
    Rule {
        id: "query-only-reads",
        why: "kmod-query only reads from the network: no process, no environment, no request that writes",
        scope: production("crates/kmod-query/src/", &[]),
        check: Check::Forbid(
            "kmod_builder std::process tokio::process std::env:: .put( .patch( .delete( Method::PUT \
             Method::PATCH Method::DELETE",
        ),
        planted: "let response = client.put(url).send();",
    },
    Rule {
        id: "model-is-pure",
        why: "model/ decides: no async, files, environment or clock, and nothing of the layers above",
        scope: production("crates/kmod-builder/src/model/", &[]),
        check: Check::Forbid(
            "async .await Timestamp::now Zoned::now SystemTime Instant::now std::env:: std::fs \
             Command::new tokio:: reqwest:: crate::io crate::commands crate::cli crate::output",
        ),
        planted: "let now = Timestamp::now();",
    },
    Rule {
        id: "io-is-below-commands",
        why: "io/ knows nothing of the commands, the command line and the output",
        scope: production("crates/kmod-builder/src/io/", &[]),
        check: Check::Forbid("crate::commands crate::cli"),
        planted: "use crate::commands::build;",
    },
    Rule {
        id: "processes-start-in-one-file",
        why: "only io/cmd.rs starts processes",
        scope: production(BUILDER, &["io/cmd.rs"]),
        check: Check::Forbid("std::process::Command tokio::process process::Command Command::new"),
        planted: "let podman = std::process::Command::new(program);",
    },
    Rule {
        id: "stdout-has-one-writer",
        why: "only output.rs writes to standard output",
        scope: production(BUILDER, &["src/output.rs"]),
        check: Check::Forbid("println! print!( stdout()"),
        planted: "println!(text);",
    },
    Rule {
        id: "environment-has-one-reader",
        why: "clap's `env` or io/environment.rs reads the environment",
        scope: production(BUILDER, &["io/environment.rs"]),
        check: Check::Forbid("env::var env::args env::temp_dir env::home_dir env::set_var"),
        planted: "let token = std::env::var(name);",
    },
    Rule {
        id: "commands-have-no-http-client",
        why: "clients are built in io/ or kmod-query",
        scope: production(COMMANDS, &[]),
        check: Check::Forbid("reqwest octocrab hyper oci_client"),
        planted: "let client = reqwest::Client::new();",
    },
    Rule {
        id: "commands-touch-no-files",
        why: "io/ reads and writes files",
        scope: production(COMMANDS, &[]),
        check: Check::Forbid("std::fs tokio::fs fs::write File:: OpenOptions tempfile NamedTempFile"),
        planted: "std::fs::write(path, text);",
    },
    Rule {
        id: "commands-parse-nothing",
        why: "model/ parses documents, io/ the output of other programs",
        scope: production(COMMANDS, &[]),
        check: Check::Forbid("from_utf8 split_whitespace serde_json::from_ toml::from_ serde_saphyr"),
        planted: "let words = output.split_whitespace();",
    },
    Rule {
        id: "commands-do-not-retry",
        why: "retries are in one place per adapter, below the commands",
        scope: production(COMMANDS, &[]),
        check: Check::Forbid("backon sleep("),
        planted: "tokio::time::sleep(delay).await;",
    },
    Rule {
        id: "xtask-uses-no-crates",
        why: "the lab runs the program unchanged and sees it from outside",
        scope: production("xtask/", &[]),
        check: Check::Forbid("kmod_compat kmod_query kmod_builder"),
        planted: "use kmod_builder::model::Digest;",
    },
    Rule {
        id: "nothing-is-unfinished",
        why: "no stub, no ignored test, no silenced lint (`#[expect]` with a reason is fine)",
        scope: EVERYTHING,
        check: Check::Forbid("todo!( unimplemented!( #[ignore #[allow( #![allow("),
        planted: "#[allow(dead_code)]",
    },
    Rule {
        id: "prose-is-plain",
        why: "write plain present-day technical English",
        scope: Scope { folder: "", except: &["tidy/rules.rs"], tests: true },
        check: Check::Phrases(
            "whoever|in so many words|nobody's|to be had|makes no sense|came or went|way back| mends ",
        ),
        planted: "// Whoever reads this is lost, in so many words.",
    },
    Rule {
        id: "files-are-short",
        why: "a file has at most 450 lines",
        scope: EVERYTHING,
        check: Check::Length,
        planted: "",
    },
    Rule {
        id: "file-names-say-something",
        why: "name the file after what it holds",
        scope: EVERYTHING,
        check: Check::Name,
        planted: "crates/kmod-compat/src/util.rs",
    },
];

/// `NAME:LINE: WORD` for every place that violates the rule.
pub(crate) fn violations(rule: &Rule, source: &SourceFile) -> Vec<String> {
    let name = &source.name;
    let excepted = rule.scope.except.iter().any(|except| name.ends_with(except));
    if !name.starts_with(rule.scope.folder) || excepted {
        return Vec::new();
    }
    match rule.check {
        Check::Forbid(words) => {
            let code = if rule.scope.tests { &source.code } else { &source.production };
            let lines = code.lines().zip(1..);
            lines
                .flat_map(|(line, number)| {
                    let found = words.split(' ').filter(move |word| contains_word(line, word));
                    found.map(move |word| format!("{name}:{number}: `{word}`"))
                })
                .collect()
        }
        Check::Phrases(phrases) => {
            let lines = source.text.lines().zip(1..);
            lines
                .flat_map(|(line, number)| {
                    let line = line.to_lowercase();
                    let found = phrases.split('|').filter(move |phrase| line.contains(phrase));
                    found.map(move |phrase| format!("{name}:{number}: `{phrase}`"))
                })
                .collect()
        }
        Check::Length => {
            let lines = source.text.lines().count();
            if lines > MAX_LINES { vec![format!("{name}: {lines} lines")] } else { Vec::new() }
        }
        Check::Name => {
            let empty = ["util", "utils", "helper", "helpers", "common", "manager", "misc"];
            let says_nothing =
                Path::new(name).file_stem().is_some_and(|stem| empty.iter().any(|word| stem == *word));
            if says_nothing { vec![name.clone()] } else { Vec::new() }
        }
    }
}

/// A word that begins with a letter does not begin in the middle of an identifier.
fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !word.starts_with(char::is_alphabetic)
            || !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
    })
}
