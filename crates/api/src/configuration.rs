//! The effective configuration.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One key of the configuration, as it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Setting {
    /// The table it stands in, such as `[hub.flights]`.
    pub table: String,
    /// The key.
    pub key: String,
    /// What holds, as it is written in TOML; of a secret only where it is. Null where the words of `meaning` say it.
    pub value: Option<String>,
    /// What holds, in words, where there is no value to write.
    pub meaning: Option<String>,
    /// Who says so.
    pub origin: Origin,
    /// The file, or the part of the command line; null for a default.
    pub place: Option<String>,
    /// Whether it is a secret, whose value is not told.
    pub secret: bool,
}

/// Who says what holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Nobody: it is the default.
    Default,
    /// The configuration file.
    File,
    /// A variable of the environment.
    Environment,
    /// The command line.
    CommandLine,
}
