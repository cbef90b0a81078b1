use jiff::Timestamp;
use serde::Serialize;

use crate::io::github::WorkflowRun;
use crate::output::{self, Show};

#[derive(Serialize)]
#[serde(transparent)]
pub struct Runs(pub Vec<WorkflowRun>);

impl Show for Runs {
    fn table(&self) -> String {
        let now = Timestamp::now();
        let rows = self.0.iter().map(|run| {
            let duration = run.duration(now).as_secs();
            [
                run.run_number.to_string(),
                run.state().to_owned(),
                run.event.clone(),
                run.head_branch.clone().unwrap_or_default(),
                run.created_at.strftime("%Y-%m-%d %H:%M").to_string(),
                format!("{} min {:02} s", duration / 60, duration % 60),
                run.html_url.clone(),
            ]
        });
        output::columns(["RUN", "STATE", "EVENT", "BRANCH", "STARTED AT (UTC)", "DURATION", "PAGE"], rows)
    }
}
