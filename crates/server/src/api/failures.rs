//! Why events failed lately, in this instance.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use tidegate_api::FailureCause;
use tidegate_model::checkpoint::FunctionName;
use tidegate_telemetry::failures::{Cause, REMEMBERED};

use crate::api::page::Page;
use crate::api::parameters::{NAME, Parameters};
use crate::api::{Api, ApiError};

/// How many lines of earlier lives of the program are looked at.
const EARLIER_LINES: usize = 1000;

/// Why events failed in the last hour, the newest cause first.
#[utoipa::path(
    get, path = "/api/v1/failures", tag = "circuits",
    params(
        ("function" = Option<String>, Query, description = "Of this function, or of the functions that need this dependency"),
    ),
    responses(
        (status = 200, content(
            (tidegate_api::Page<FailureCause> = "application/json"), (FailureCause = "application/x-ndjson"),
        ), description = "Causes with an example each, the newest first"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let of: Option<FunctionName> = parameters.parsed("function", NAME)?;
    parameters.done()?;
    let needs = |dependency: &FunctionName, function: &FunctionName| {
        let configs = api.function_configs.iter().filter(|config| config.name == *function);
        configs.flat_map(|config| &config.settings.dependencies).any(|needed| needed.name == *dependency)
    };
    let mut functions: Vec<FunctionName> =
        api.configured.iter().map(|(function, _)| function.clone()).collect();
    functions.sort_unstable();
    functions.dedup();
    functions.retain(|function| of.as_ref().is_none_or(|of| of == function || needs(of, function)));
    let mut causes = Vec::new();
    for function in &functions {
        causes.extend(api.causes(function).await);
    }
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.last_at));
    let mut page = Page::new(None);
    for cause in causes {
        if page.is_full() {
            break;
        }
        page.push(&cause);
    }
    Ok(page.finish(None))
}

impl Api {
    /// Why events of a function failed in the last hour, the newest cause first. What an earlier life of the program
    /// logged is asked for the first time that somebody wants to know.
    pub(super) async fn causes(&self, function: &FunctionName) -> Vec<FailureCause> {
        let (failures, now) = (self.telemetry.failures(), self.clock.now());
        let remember = async {
            let since = self.started_at.minus(REMEMBERED);
            for line in self.logged.failures(since, self.started_at, EARLIER_LINES).await {
                failures.remember(&line);
            }
        };
        self.earlier_failures.get_or_init(|| remember).await;
        failures.of(function, now).into_iter().map(|cause| shape(function, cause)).collect()
    }
}

fn shape(function: &FunctionName, cause: Cause) -> FailureCause {
    let Cause { kind, error, attempts, first_at, last_at, example } = cause;
    FailureCause {
        function: function.to_string(),
        kind,
        error,
        attempts,
        first_at,
        last_at,
        hub: example.hub.to_string(),
        partition: example.partition.0,
        sequence_number: example.sequence_number.0,
        key: example.key,
        fate: example.fate,
    }
}
