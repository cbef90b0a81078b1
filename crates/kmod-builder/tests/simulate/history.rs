//! Fedora CoreOS and OpenZFS from 2019 to 2024; `history/SOURCES.md` says where the dates come from.

use jiff::civil::Date;
use kmod_compat::{CompatMatrix, KernelRelease, ZfsLine, ZfsVersion};

/// A stream's kernel from a day on.
pub(crate) struct KernelChange {
    pub(crate) date: Date,
    pub(crate) stream: &'static str,
    pub(crate) kernel: KernelRelease,
}

pub(crate) struct Release {
    pub(crate) date: Date,
    pub(crate) version: ZfsVersion,
    min: (u32, u32),
    max: (u32, u32),
    row: String,
}

impl Release {
    /// Computed from the text of the history, not by the code under test.
    pub(crate) fn supports(&self, kernel: &KernelRelease) -> bool {
        (self.min..=self.max).contains(&series(&kernel.to_string()))
    }
}

pub(crate) struct History {
    pub(crate) kernels: Vec<KernelChange>,
    pub(crate) releases: Vec<Release>,
    lines: Vec<(Date, Vec<ZfsLine>)>,
}

fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().skip(1).map(|line| line.split(',').collect())
}

/// `6.17` of `6.17.8-300.fc43.x86_64`.
pub(crate) fn series(version: &str) -> (u32, u32) {
    let mut numbers = version.split(['.', '-']).map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap_or(0))
}

impl History {
    pub(crate) fn read() -> Self {
        let kernels = rows(include_str!("history/kernels-2019-2024.csv"));
        let kernels = kernels.map(|row| KernelChange {
            date: row[0].parse().unwrap(),
            stream: row[1],
            kernel: row[2].parse().unwrap(),
        });
        let releases = rows(include_str!("history/releases-2019-2024.csv"));
        let releases = releases.map(|row| Release {
            date: row[0].parse().unwrap(),
            version: row[1].parse().unwrap(),
            min: series(row[2]),
            max: series(row[3]),
            row: format!(
                "[[release]]\nversion = \"{}\"\nlinux_min = \"{}\"\nlinux_max = \"{}\"\n\
                 source = \"https://example.org/META\"\n",
                row[1],
                row[2].rsplitn(2, '.').last().filter(|text| text.contains('.')).unwrap_or(row[2]),
                row[3]
            ),
        });
        let lines = rows(include_str!("history/lines.csv")).map(|row| {
            (row[0].parse().unwrap(), row[1].split(' ').map(|line| line.parse().unwrap()).collect())
        });
        Self { kernels: kernels.collect(), releases: releases.collect(), lines: lines.collect() }
    }

    /// The first and the last day of the simulation.
    pub(crate) fn days(&self) -> (Date, Date) {
        (self.kernels[0].date, "2024-12-31".parse().unwrap())
    }

    pub(crate) fn lines(&self, day: Date) -> &[ZfsLine] {
        let known = self.lines.iter().rev().find(|(since, _)| *since <= day);
        &known.unwrap().1
    }

    /// The kernel that the stream ships, and since when; `nth` 1 is the one before.
    pub(crate) fn kernel(&self, stream: &str, day: Date, nth: usize) -> Option<&KernelChange> {
        let of = self.kernels.iter().rev().filter(|change| change.stream == stream && change.date <= day);
        of.take(nth + 1).last()
    }

    pub(crate) fn released(&self, day: Date) -> impl Iterator<Item = &Release> {
        self.releases.iter().filter(move |release| release.date <= day)
    }

    /// The matrix of a day: a row for each release, and exclusions of whole releases.
    pub(crate) fn matrix(&self, day: Date, excluded: &[ZfsVersion]) -> CompatMatrix {
        let mut released: Vec<_> = self.released(day).collect();
        released.sort_by_key(|release| release.version);
        let mut text = "[policy]\nline = \"0.8\"\nunknown_release = \"hold\"\n".to_owned();
        text.extend(released.iter().map(|release| release.row.as_str()));
        let mut excluded = excluded.to_vec();
        excluded.sort_unstable();
        text.extend(excluded.iter().map(|zfs| {
            format!("[[exclude]]\nzfs = \"{zfs}\"\nreason = \"it is recalled\"\nsource = \"https://example.org/1\"\n")
        }));
        CompatMatrix::parse("history", &text).unwrap()
    }
}
