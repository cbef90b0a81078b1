use std::path::Path;

use super::RetentionError;
use crate::model::cleanup::RetentionPlan;

fn failed(what: &'static str, path: &Path) -> impl Fn(std::io::Error) -> RetentionError {
    move |error| RetentionError::File { what, path: path.to_owned(), error }
}

pub fn read_plan(path: &Path) -> Result<RetentionPlan, RetentionError> {
    let text = std::fs::read_to_string(path).map_err(failed("read", path))?;
    serde_json::from_str(&text).map_err(|error| RetentionError::Plan { path: path.to_owned(), error })
}

pub fn write_plan(path: &Path, plan: &RetentionPlan) -> Result<(), RetentionError> {
    let text = serde_json::to_string_pretty(plan).map_err(std::io::Error::from);
    let written = text.and_then(|text| std::fs::write(path, format!("{text}\n")));
    written.map_err(failed("write", path))
}
