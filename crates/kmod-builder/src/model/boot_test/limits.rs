use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::parse_memory;

/// Flags of `boot-test`, and the table `[boot-test]` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a table")]
pub struct BootTestLimits {
    /// How long both boots may take together: 300s, 5m [default: 300s]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    #[serde(deserialize_with = "time")]
    timeout: Option<Duration>,

    /// Memory of the guest: 1536M, 2G [default: 1G]
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    #[serde(deserialize_with = "memory")]
    memory: Option<u32>,
}

impl BootTestLimits {
    /// In the configuration.
    pub const MEMBERS: [&'static str; 2] = ["timeout", "memory"];

    /// Those that are not given are taken from the others.
    #[must_use]
    pub fn or(self, others: &Self) -> Self {
        Self { timeout: self.timeout.or(others.timeout), memory: self.memory.or(others.memory) }
    }

    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_mins(5))
    }

    /// In MiB.
    pub fn memory(&self) -> u32 {
        self.memory.unwrap_or(1024)
    }
}

/// jiff duration format: `300s`, `5m`, `1m30s`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let time: jiff::SignedDuration =
        text.parse().map_err(|error: jiff::Error| format!("`{text}` is not a time: {error}"))?;
    match Duration::try_from(time) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err("the time limit must be longer than zero".to_owned()),
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    parse_time(&String::deserialize(deserializer)?).map(Some).map_err(de::Error::custom)
}

fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    parse_memory(&String::deserialize(deserializer)?).map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(parse_time("300s"), Ok(Duration::from_mins(5)));
        assert_eq!(parse_time("1m30s"), Ok(Duration::from_secs(90)));
        for text in ["", "300", "0s", "-1s", "soon"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
