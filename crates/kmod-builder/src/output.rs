//! The only writer to standard output, which carries data and nothing else.

use std::cell::RefCell;
use std::io::Write as _;

use serde::Serialize;
use serde_json::Value;

/// In which form data is written to standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON document.
    Json,
}

/// What a verb has to say: the same value as a table and as JSON.
pub trait Show: Serialize {
    /// The table, each line ended.
    fn table(&self) -> String;
}

tokio::task_local! {
    /// What the running verb has shown so far.
    static NOTED: RefCell<Vec<Value>>;
}

/// Runs a verb, and returns beside its result what it has shown, each value as JSON whatever the form.
pub async fn noting<T>(verb: impl Future<Output = T>) -> (T, Vec<Value>) {
    NOTED
        .scope(RefCell::default(), async {
            let result = verb.await;
            (result, NOTED.with(RefCell::take))
        })
        .await
}

/// Writes a value in the form asked for.
pub fn show(format: Format, value: &impl Show) -> std::io::Result<()> {
    // Outside of `noting` nobody wants to know.
    let _ = NOTED.try_with(|noted| noted.borrow_mut().extend(serde_json::to_value(value)));
    match format {
        Format::Table => text(&value.table()),
        Format::Json => text(&format!("{}\n", serde_json::to_string_pretty(value)?)),
    }
}

/// Writes text as it is.
pub fn text(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // `zfs-kmods … | head` has seen enough; that is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Lines columns up, two spaces between them; the first row is the heading.
pub fn columns<const N: usize>(heading: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut all = vec![heading.map(str::to_owned)];
    all.extend(rows);
    let mut widths = [0; N];
    for row in &all {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    all.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let table =
            super::columns(["NAME", "SIZE"], [["zfs".into(), "1".into()], ["kmod-zfs".into(), "20".into()]]);
        assert_eq!(table, "NAME      SIZE\nzfs       1\nkmod-zfs  20\n");
    }
}
