use std::ops::Range;

use miette::{Diagnostic, LabeledSpan, NamedSource};

/// The text is no valid matrix. Holds every fault that was found, each with its place in the text.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("`{}` is not a valid compatibility matrix", .text.name())]
pub struct MatrixError {
    #[source_code]
    text: NamedSource<String>,
    #[related]
    faults: Vec<Fault>,
}

impl MatrixError {
    pub(super) fn new(name: &str, text: &str, mut faults: Vec<Fault>) -> Self {
        // From the top of the file to its end, whichever rule found them.
        faults.sort_by_key(|fault| fault.labels.first().map(LabeledSpan::offset));
        Self { text: NamedSource::new(name, text.to_owned()), faults }
    }
}

/// One thing that is wrong with the text.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub(super) struct Fault {
    message: String,
    #[label(collection)]
    labels: Vec<LabeledSpan>,
    #[help]
    help: Option<String>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>, span: Range<usize>, label: &str) -> Self {
        let fault = Self { message: message.into(), labels: Vec::new(), help: None };
        fault.and_label(span, label)
    }

    /// Points at a second place that has to do with it.
    pub(super) fn and_label(mut self, span: Range<usize>, label: &str) -> Self {
        self.labels.push(LabeledSpan::new_with_span(Some(label.to_owned()), span));
        self
    }

    pub(super) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
