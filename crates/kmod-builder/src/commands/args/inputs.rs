use std::path::PathBuf;
use std::str::FromStr;

use miette::{IntoDiagnostic as _, Result};

use crate::io::inputs;
use crate::io::store::ImageStore;
use crate::model::builder_policy::InputsOrigin;
use crate::model::image::{ImageRef, ParseImageRefError};
use crate::model::inputs::BuildInputs;

/// The value of `--inputs`: where the inputs of a build are read from.
#[derive(Clone, Debug)]
pub enum InputsSource {
    File(PathBuf),
    /// Inputs stored with the image.
    Image(ImageRef),
    StandardInput,
    /// Inline JSON, as workflows pass it.
    Json(String),
}

impl FromStr for InputsSource {
    type Err = ParseImageRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_image = ["oci:", "docker://"].iter().any(|transport| text.starts_with(transport));
        Ok(match text.trim() {
            "-" => Self::StandardInput,
            json if json.starts_with('{') => Self::Json(json.to_owned()),
            _ if is_image => Self::Image(text.parse()?),
            _ => Self::File(text.into()),
        })
    }
}

impl InputsSource {
    /// Fails for inputs of a published image, unless `trust_inputs`.
    pub fn origin(&self, trust_inputs: bool) -> Result<InputsOrigin> {
        match self {
            Self::Image(name) => inputs::origin(name, false, trust_inputs),
            Self::File(_) | Self::StandardInput | Self::Json(_) => Ok(InputsOrigin::Local),
        }
    }

    pub async fn read(&self) -> Result<BuildInputs> {
        match self {
            Self::File(path) => Ok(inputs::read(path)?),
            Self::Image(name) => {
                let (_, inputs) = inputs::of(&ImageStore::open(&name.store).await?, name, None).await?;
                Ok(inputs)
            }
            Self::StandardInput => parse(&inputs::standard_input().into_diagnostic()?),
            Self::Json(text) => parse(text),
        }
    }
}

fn parse(text: &str) -> Result<BuildInputs> {
    BuildInputs::parse(text).map_err(|error| {
        miette::miette!(
            help =
                "`build` writes inputs to TAG.inputs.json, and `plan --format json` shows them as `inputs`",
            "--inputs: {error}"
        )
    })
}
