//! The README's chapter about signatures, so that what it tells people is what is tried here.

use std::fs;

use crate::{
    error::{Context, Result},
    tools,
};

const CHAPTER: &str = "\n## Signatures\n";
/// The names that stand in the README for the reader's own.
const REPOSITORY: &str = "ghcr.io/OWNER/zfs-kmods";
const KEY: &str = "/etc/pki/containers/zfs-kmods.pub";

/// The chapter, with names of the lab's in place of the reader's.
pub(super) struct Signatures {
    text: String,
}

impl Signatures {
    /// Reads it for an image, named by digest, and a public key.
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

    /// The first code block in this language.
    pub(super) fn block(&self, language: &str) -> Result<&str> {
        let (_, rest) = self
            .text
            .split_once(&format!("```{language}\n"))
            .context(format_args!("the chapter about signatures has no {language}"))?;
        Ok(rest.split("```").next().unwrap_or_default())
    }

    /// The arguments of each command line that calls this program.
    pub(super) fn commands(&self, program: &str) -> Result<Vec<Vec<String>>> {
        let lines =
            self.block("sh")?.lines().filter_map(|line| line.strip_prefix(program)?.strip_prefix(' '));
        let commands: Vec<Vec<String>> =
            lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
        if commands.is_empty() {
            return Err(format!("the chapter about signatures never calls {program}").into());
        }
        Ok(commands)
    }
}
