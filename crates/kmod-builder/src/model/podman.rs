//! Options and log lines of podman.

use std::fmt;

/// How the build's steps are kept apart from the machine (buildah's `--isolation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Isolation {
    /// A container of the machine's OCI runtime.
    #[default]
    #[value(alias = "rootless")]
    Oci,
    /// A change of root only, which separates nothing else from the machine.
    Chroot,
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oci => "oci",
            Self::Chroot => "chroot",
        })
    }
}

/// A line of podman's log: `[2/4] STEP 3/5: RUN …` or, with one stage only, `STEP 3/5: RUN …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// Number of the stage in the file, from 1.
    pub stage: usize,
    /// Number of stages that the target needs.
    pub stages: usize,
    /// Not truncated.
    pub instruction: &'a str,
    /// From `FROM … AS name`.
    pub stage_name: Option<&'a str>,
}

impl<'a> Step<'a> {
    /// `None` for other lines.
    pub fn parse(line: &'a str) -> Option<Self> {
        let (stage, stages, rest) = match line.strip_prefix('[') {
            Some(rest) => {
                let (numbers, rest) = rest.split_once("] ")?;
                let (stage, stages) = numbers.split_once('/')?;
                (number(stage)?, number(stages)?, rest)
            }
            None => (1, 1, line),
        };
        let (numbers, instruction) = rest.strip_prefix("STEP ")?.split_once(": ")?;
        let (step, steps) = numbers.split_once('/')?;
        let (_, _): (usize, usize) = (step.parse().ok()?, steps.parse().ok()?);
        let mut words = instruction.split_whitespace();
        let from = words.next() == Some("FROM");
        let stage_name = words.skip_while(|word| !word.eq_ignore_ascii_case("as")).nth(1).filter(|_| from);
        Some(Self { stage, stages, instruction, stage_name })
    }
}

/// `None` for numbers that no file has: a command in the build can print lines like podman's.
fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number| *number < 1000)
}

/// Whether podman reports that the OCI runtime could not start a container (buildah, `run_common.go`).
pub fn says_no_container(log: &str) -> bool {
    log.lines().any(|line| line.starts_with("error running container: "))
}

/// Whether podman reports that an image no longer exists in its registry: `MANIFEST_UNKNOWN` or `NAME_UNKNOWN` (OCI
/// distribution specification, "Error Codes") for the manifest.
///
/// False if the registry does not respond or requires a password.
pub fn says_gone(log: &str) -> bool {
    log.lines().any(|line| {
        line.contains("reading manifest")
            && (line.contains("manifest unknown") || line.contains("name unknown"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_registry_has_not_is_gone() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let with = |reason: &str| {
            format!(
                "STEP 1/2: FROM 127.0.0.1:5000/fedora@{digest}\nTrying to pull 127.0.0.1:5000/fedora@{digest}...\n\
                 Error: creating build container: initializing source docker://127.0.0.1:5000/fedora@{digest}: {reason}"
            )
        };
        let unknown =
            format!("reading manifest {digest} in 127.0.0.1:5000/fedora: manifest unknown: manifest unknown");
        assert!(says_gone(&with(&unknown)));
        assert!(says_gone(&with(&unknown.replace("manifest unknown", "name unknown"))));
        for reason in [
            "pinging container registry 127.0.0.1:5000: connection refused",
            "reading manifest x in y: unauthorized: authentication required",
        ] {
            assert!(!says_gone(&with(reason)), "{reason}");
        }
    }

    #[test]
    fn a_container_that_does_not_start_is_not_a_failed_command() {
        let crun = "error running container: from /usr/bin/crun creating container for [/bin/sh]: setrlimit";
        assert!(says_no_container(&format!("STEP 3/3: RUN make\n{crun}\nError: building at STEP")));
        assert!(!says_no_container(
            "Error: building at STEP \"RUN make\": while running runtime: exit status 2"
        ));
    }

    #[test]
    fn steps_are_recognised() {
        let step = Step::parse("[2/4] STEP 1/5: FROM 1234abcd AS userland").unwrap();
        assert_eq!((step.stage, step.stages, step.stage_name), (2, 4, Some("userland")));
        let step = Step::parse("[2/4] STEP 2/5: RUN echo FROM x AS y").unwrap();
        assert_eq!((step.instruction, step.stage_name), ("RUN echo FROM x AS y", None));
        assert_eq!(Step::parse("STEP 1/2: FROM scratch").unwrap().stages, 1);
        for line in [
            "",
            "--> 1234",
            "[1/2] checking",
            "STEP of faith",
            "STEP x/y: RUN",
            "[1] STEP 1/2: RUN",
            "[18446744073709551615/1] STEP 1/1: RUN x",
        ] {
            assert_eq!(Step::parse(line), None, "{line}");
        }
    }
}
