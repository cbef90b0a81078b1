//! The rules of README.md's "How it works", as tests. `cargo test -p xtask --test tidy -- --nocapture` prints the rules and
//! the lines of each area.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "the rules and the lines are printed with --nocapture")]

mod docs;
mod lines;
mod names;
mod rules;
mod source;
mod workflows;

use rules::{Check, RULES};
use source::{SourceFile, sources};

#[test]
fn every_file_follows_every_rule() {
    let sources = sources();
    let mut report = Vec::new();
    for rule in RULES {
        println!("{}: {}", rule.id, rule.why);
        let in_scope = sources.iter().any(|source| source.name.starts_with(rule.scope.folder));
        assert!(in_scope, "{}: {} has no files", rule.id, rule.scope.folder);
        let found: Vec<String> = sources.iter().flat_map(|source| rules::violations(rule, source)).collect();
        if !found.is_empty() {
            report.push(format!("{}: {}\n  {}", rule.id, rule.why, found.join("\n  ")));
        }
    }
    assert!(report.is_empty(), "\n{}", report.join("\n"));
}

/// Before a test module, after one, and inside one where the rule holds there too.
#[test]
fn every_rule_finds_a_planted_violation() {
    let test_module = |body: &str| {
        format!("#[cfg(test)]\nmod tests {{\n    #[test]\n    fn text() {{ let _ = \"}}\"; }}\n{body}\n}}\n")
    };
    for rule in RULES {
        let folder = if rule.scope.folder.is_empty() { "crates/planted/src/" } else { rule.scope.folder };
        let name = format!("{folder}planted.rs");
        let found = |text: &str| rules::violations(rule, &SourceFile::new(&name, text));
        match rule.check {
            Check::Forbid(_) => {
                let (planted, module) = (rule.planted, test_module(""));
                assert_eq!(found(&module), Vec::<String>::new(), "{}", rule.id);
                assert_eq!(found(&format!("// {planted}\n")), Vec::<String>::new(), "{}", rule.id);
                assert!(!found(&format!("{planted}\n{module}")).is_empty(), "{}: before", rule.id);
                assert!(!found(&format!("{module}{planted}\n")).is_empty(), "{}: after", rule.id);
                assert_eq!(!found(&test_module(planted)).is_empty(), rule.scope.tests, "{}: inside", rule.id);
            }
            Check::Phrases(_) => {
                let (planted, module) = (rule.planted, test_module(""));
                assert_eq!(found(&module), Vec::<String>::new(), "{}", rule.id);
                for text in
                    [format!("{planted}\n{module}"), format!("{module}{planted}\n"), test_module(planted)]
                {
                    assert!(!found(&text).is_empty(), "{}: {text}", rule.id);
                }
            }
            Check::Length => {
                assert!(!found(&"// line\n".repeat(451)).is_empty(), "{}", rule.id);
                assert!(!found(&test_module(&"\n".repeat(451))).is_empty(), "{}", rule.id);
                assert_eq!(found(&"// line\n".repeat(450)), Vec::<String>::new(), "{}", rule.id);
            }
            Check::Name => {
                let planted = SourceFile::new(rule.planted, "");
                assert!(!rules::violations(rule, &planted).is_empty(), "{}", rule.id);
            }
        }
    }
}

#[test]
fn public_type_names_stand_once() {
    let repeated = names::duplicates(&sources());
    assert!(repeated.is_empty(), "qualify these names:\n{}", repeated.join("\n"));
}

#[test]
fn comments_are_few() {
    let sources = sources();
    println!("{:24} {:>10} {:>6} {:>8}", "area", "production", "test", "comments");
    for (area, lines) in lines::areas(&sources) {
        println!("{area:24} {:>10} {:>6} {:>6} %", lines.production, lines.test, lines.comment_share());
    }
    let found = lines::too_many_comments(&sources);
    assert!(found.is_empty(), "delete comments that restate names:\n{}", found.join("\n"));
}
