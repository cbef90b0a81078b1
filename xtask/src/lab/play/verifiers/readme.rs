//! The README's chapter about signatures, whose files and commands the verifiers use.

use std::fs;

use crate::error::{Context, Result};
use crate::tools;

const CHAPTER: &str = "\n## Signatures\n";
/// Placeholders in the README.
const REPOSITORY: &str = "ghcr.io/OWNER/zfs-kmods";
const KEY: &str = "/etc/pki/containers/zfs-kmods.pub";

/// The chapter with the lab's names in place of the placeholders.
pub(super) struct ReadmeSignatures {
    text: String,
}

impl ReadmeSignatures {
    pub(super) fn read(repository: &str, digest: &str, key: &str) -> Result<Self> {
        let readme = fs::read_to_string(tools::workspace().join("README.md"))?;
        let (_, rest) = readme.split_once(CHAPTER).context("README.md has no chapter about signatures")?;
        let chapter = rest.split("\n## ").next().unwrap_or_default();
        let text = chapter
            .replace(&format!("{REPOSITORY}:TAG"), &format!("{repository}@{digest}"))
            .replace(REPOSITORY, repository)
            .replace(KEY, key);
        Ok(Self { text })
    }

    /// The first code block in a language.
    pub(super) fn block(&self, language: &str) -> Result<&str> {
        let block = self.text.split_once(&format!("```{language}\n"));
        let (_, rest) = block.context(format_args!("the chapter about signatures has no {language}"))?;
        Ok(rest.split("```").next().unwrap_or_default())
    }

    /// The arguments of each call of a program.
    pub(super) fn commands(&self, program: &str) -> Result<Vec<Vec<String>>> {
        let arguments = |line: &str| {
            let rest = line.strip_prefix(program)?.strip_prefix(' ')?;
            Some(rest.split_whitespace().map(str::to_owned).collect())
        };
        let commands: Vec<Vec<String>> = self.block("sh")?.lines().filter_map(arguments).collect();
        if commands.is_empty() {
            return Err(format!("the chapter about signatures never calls {program}").into());
        }
        Ok(commands)
    }
}
