//! An interpreter for the subset of GitHub Actions that the workflows of this repository use.
//!
//! It runs the jobs of a workflow one after the other, each in a directory of its own, and hands each `run:` line to an
//! [`Executor`]. What it does not know it refuses with an error that names it: a key that is skipped would test another
//! workflow than GitHub runs.
//!
//! | subject | supported |
//! |---|---|
//! | workflow | `name`, `on` (the inputs of `workflow_dispatch` and `workflow_call`), `permissions`, `concurrency`, `jobs` |
//! | job | `needs`, `if`, `strategy` (`fail-fast: false` and `matrix`), `env`, `environment` (a name), `outputs`, `permissions`, `steps`, or `uses` of a workflow in this repository with `with` and `secrets`; `name`, `runs-on` and `timeout-minutes` have no effect |
//! | environment | secrets, and a list of branches: a job of another ref fails before its first step |
//! | matrix | one expression whose value is `{"include": [...]}`, or one name with an expression whose value is a list |
//! | step | `id`, `if: always()`, `env`, `run`, `uses` with `with` |
//! | actions | `checkout` (no effect), `cache` (the program's), `.github/actions/compile`, `.github/actions/zfs-kmods` (checks the digest; needed before a `run` line), `upload-artifact`, `download-artifact` (`merge-multiple`) |
//! | `run` line | `zfs-kmods` with words and `"$VARIABLE"`; no shell syntax |
//! | expressions | texts, booleans, paths, `!`, `==` and `!=` of texts, `&&`, `||`, brackets, `always`, `cancelled` (false), `toJSON`, `fromJSON`, `format` with one argument |
//! | files | `GITHUB_OUTPUT` (lines of `NAME=VALUE`), `GITHUB_STEP_SUMMARY` |

mod expression;
mod run;
mod settings;
mod steps;
#[cfg(test)]
mod tests;
mod workflow;

pub(crate) use run::{Executor, JobConclusions, RunLine, SimulatedRun};
pub(crate) use settings::{JobEnvironment, RepositorySettings};
