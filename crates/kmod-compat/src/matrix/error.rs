use std::ops::Range;

use miette::{Diagnostic, LabeledSpan, NamedSource};

/// The text is not a valid matrix. Lists every invalid row and every broken rule, in the order of the text.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("`{}` is not a valid compatibility matrix", .text.name())]
pub struct MatrixError {
    #[source_code]
    text: NamedSource<String>,
    #[related]
    diagnostics: Vec<MatrixDiagnostic>,
}

impl MatrixError {
    pub(super) fn new(name: &str, text: &str, mut diagnostics: Vec<MatrixDiagnostic>) -> Self {
        diagnostics.sort_by_key(|diagnostic| diagnostic.labels.first().map(LabeledSpan::offset));
        Self { text: NamedSource::new(name, text.to_owned()), diagnostics }
    }
}

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub(super) struct MatrixDiagnostic {
    message: String,
    #[label(collection)]
    labels: Vec<LabeledSpan>,
    #[help]
    help: String,
}

impl MatrixDiagnostic {
    pub(super) fn new(
        message: impl Into<String>,
        span: Range<usize>,
        label: &str,
        help: impl Into<String>,
    ) -> Self {
        Self { message: message.into(), labels: Vec::new(), help: help.into() }.and_label(span, label)
    }

    pub(super) fn and_label(mut self, span: Range<usize>, label: &str) -> Self {
        self.labels.push(LabeledSpan::new_with_span(Some(label.to_owned()), span));
        self
    }
}
