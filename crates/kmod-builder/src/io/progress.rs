//! Progress of long work on standard error: a moving line on a terminal, folded groups in GitHub Actions, plain lines
//! elsewhere.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::registry::UploadProgress;
use crate::model::Digest;
use crate::model::printable::printable;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressOutput {
    Terminal,
    /// Log groups can be folded ([workflow
    /// commands](https://docs.github.com/actions/reference/workflow-commands-for-github-actions)).
    Actions,
    /// A file or a pipe.
    Plain,
}

impl ProgressOutput {
    pub fn detect() -> Self {
        if super::environment::in_github_actions() {
            Self::Actions
        } else if std::io::stderr().is_terminal() {
            Self::Terminal
        } else {
            Self::Plain
        }
    }
}

/// Dropping it ends the section, so that an early `?` leaves no group open.
pub struct ProgressSection {
    surface: ProgressOutput,
    started: Instant,
    /// Shared by all bars, so that they do not overwrite each other.
    bars: MultiProgress,
    bar: ProgressBar,
    title: String,
    group_open: bool,
}

impl ProgressSection {
    /// `title` begins with a capital letter.
    pub fn begin(surface: ProgressOutput, title: impl Into<String>) -> Self {
        let title = title.into();
        let bars = MultiProgress::new();
        let bar = if surface == ProgressOutput::Terminal {
            let bar = ProgressBar::new_spinner().with_style(spinner()).with_message(title.clone());
            let bar = bars.add(bar);
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        } else {
            ProgressBar::hidden()
        };
        let section = Self { surface, started: Instant::now(), bars, bar, title, group_open: false };
        if surface != ProgressOutput::Terminal {
            section.write(&section.title);
        }
        section
    }

    pub fn line(&self, text: &str) {
        self.write(text);
    }

    pub fn part(&mut self, name: &str) {
        self.end_group();
        match self.surface {
            ProgressOutput::Terminal => self.bar.set_message(format!("{}: {name}", self.title)),
            ProgressOutput::Actions => {
                self.write_raw(&format!("::group::{}", printable(name)));
                self.group_open = true;
            }
            ProgressOutput::Plain => self.write(&format!("[{}] {name}", clock(self.started.elapsed()))),
        }
    }

    /// Receives the progress of uploads; shown on a terminal only.
    pub fn uploads(&self) -> UploadProgress {
        if self.surface != ProgressOutput::Terminal {
            return UploadProgress::none();
        }
        let (bars, below) = (self.bars.clone(), self.bar.clone());
        let known: Mutex<BTreeMap<Digest, ProgressBar>> = Mutex::default();
        UploadProgress::new(move |digest, sent, size| {
            let mut known = known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let bar = known.entry(digest.clone()).or_insert_with(|| {
                let bar = ProgressBar::new(size).with_style(upload()).with_message(digest.short().to_owned());
                bars.insert_before(&below, bar)
            });
            bar.set_position(sent);
            if sent >= size {
                bar.finish_and_clear();
            }
        })
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn end_group(&mut self) {
        if std::mem::take(&mut self.group_open) {
            self.write_raw("::endgroup::");
        }
    }

    fn write(&self, text: &str) {
        self.write_raw(&printable(text));
    }

    fn write_raw(&self, text: &str) {
        // A closed standard error does not stop the work.
        if self.surface == ProgressOutput::Terminal {
            self.bars.println(text).ok();
        } else {
            writeln!(std::io::stderr().lock(), "{text}").ok();
        }
    }
}

impl Drop for ProgressSection {
    fn drop(&mut self) {
        self.end_group();
        self.bar.finish_and_clear();
        let line = format!("{} ({})", self.title, clock(self.elapsed()));
        self.write(&line);
    }
}

pub fn print_notice(text: &str) {
    writeln!(std::io::stderr().lock(), "{}", printable(text)).ok();
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {elapsed_precise} {wide_msg}").expect("the template is valid")
}

fn upload() -> ProgressStyle {
    ProgressStyle::with_template("{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}")
        .expect("the template is valid")
}

fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_counts_minutes() {
        assert_eq!(clock(Duration::from_secs(5)), "0:05");
        assert_eq!(clock(Duration::from_secs(3605)), "60:05");
    }
}
