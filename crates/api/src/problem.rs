//! Errors as clients see them: problem details (RFC 9457) with the code of the error's page.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

include!(concat!(env!("OUT_DIR"), "/titles.rs"));

/// The media type of errors.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A request that was refused or failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "type": "/errors/TG-404",
    "title": "The hub, partition, collection or document does not exist",
    "status": 404,
    "detail": "there is no hub \"flihgts\"",
    "code": "TG-404",
    "action": "hubs here: flights",
}))]
pub struct Problem {
    /// Where the page of the code is, as a relative address.
    #[serde(rename = "type", default)]
    #[schema(format = "uri-reference")]
    pub kind: String,
    /// What errors with this code have in common.
    #[serde(default)]
    pub title: String,
    /// The status of the answer.
    #[serde(default)]
    pub status: u16,
    /// What happened, where, to what.
    #[serde(default)]
    pub detail: String,
    /// The code; `tidegate explain CODE` shows its page.
    #[schema(example = "TG-404")]
    pub code: String,
    /// The way out; empty when the detail says it.
    #[serde(default)]
    pub action: String,
    /// For an upload of lines: how many from the beginning are durable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<u64>,
}

impl Problem {
    /// The problem with a code, under a status.
    pub fn new(status: u16, code: &str, detail: impl Into<String>, action: impl Into<String>) -> Self {
        Self {
            kind: format!("/errors/{code}"),
            title: title(code).to_owned(),
            status,
            detail: detail.into(),
            code: code.to_owned(),
            action: action.into(),
            acknowledged: None,
        }
    }
}

/// The title of a code's page; empty for a code that this version does not know.
fn title(code: &str) -> &'static str {
    TITLES.iter().find(|(known, _)| *known == code).map_or("", |(_, title)| title)
}

#[cfg(test)]
mod tests {
    use tidegate_model::error::ErrorCode;

    use super::*;

    #[test]
    fn every_code_has_a_title() {
        for code in ErrorCode::ALL {
            assert!(!title(code.0).is_empty(), "docs/errors/{code}.md does not begin with `# {code}: `");
        }
        assert_eq!(title("TG-999"), "");
    }

    #[test]
    fn a_problem_is_written_as_the_standard_says() {
        let problem = Problem::new(404, "TG-404", "there is no hub \"a\"", "");
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["type"], "/errors/TG-404");
        assert_eq!(json["status"], 404);
        assert!(json.get("acknowledged").is_none());
        assert_eq!(serde_json::from_value::<Problem>(json).unwrap(), problem);
    }
}
