//! The scheduled service: what each piece of a run leaves behind, and what people are told about the whole.
//!
//! A run is spread over machines; each verb leaves a [`Record`]. [`results`] joins the records with the plan, so that a
//! piece that left none counts as lost and never as fine. Job summary, annotations and issues are views of that value.

mod annotation;
mod class;
mod issue;
mod outputs;
mod record;
mod results;
mod summary;
#[cfg(test)]
mod tests;

pub use annotation::annotation;
pub use class::Class;
pub use issue::{Found, LABEL, Marker, Step, Wanted, duplicates, steps, wanted};
pub use outputs::{OUTPUTS, RUNNERS, outputs};
pub use record::{Ending, Failure, Record};
pub use results::{Goal, Planned, Result, Results, Trouble, results};
pub use summary::{Asked, summary};
