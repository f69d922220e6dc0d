//! Alerts: what a person should look at now, and should have lately.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use tidegate_alerts::engine::ALERT;
use tidegate_alerts::incident::{self, Incident, Stage};
use tidegate_alerts::rules::{AlertState, Rule};
use tidegate_api::{Alert, AlertStep};
use tidegate_model::register::Register;

use crate::api::page::Page;
use crate::api::parameters::Parameters;
use crate::api::{Api, ApiError};

/// What is wrong now, and what was: the newest first. Incidents are kept for 90 days, and 200 of them.
#[utoipa::path(
    get, path = "/api/v1/alerts", tag = "alerts",
    params(("open" = Option<bool>, Query, description = "Only those that last, or only those that are over")),
    responses(
        (status = 200, content(
            (tidegate_api::Page<Alert> = "application/json"), (Alert = "application/x-ndjson"),
        ), description = "Alerts, the newest first"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let open: Option<bool> = parameters.parsed("open", "true or false")?;
    parameters.done()?;
    let mut page = Page::new(None);
    for alert in all(&api).await?.iter().filter(|alert| open.is_none_or(|open| open == alert.open)) {
        if page.is_full() {
            break;
        }
        page.push(alert);
    }
    Ok(page.finish(None))
}

/// All of them, the newest first.
pub(super) async fn all(api: &Api) -> Result<Vec<Alert>, ApiError> {
    let incidents = incident::list(&*api.store).await?.into_iter().map(of_incident);
    let rules = api.store.registers(ALERT).await?.into_iter().filter_map(of_rule);
    let mut all: Vec<Alert> = incidents.chain(rules).collect();
    all.sort_by(|a, b| b.since.cmp(&a.since).then_with(|| a.id.cmp(&b.id)));
    Ok(all)
}

fn of_incident(incident: Incident) -> Alert {
    let ended_at = incident.closed_at();
    Alert {
        id: format!("circuit/{}@{}", incident.circuit, incident.opened_at),
        kind: "circuit".to_owned(),
        subject: incident.circuit,
        since: incident.opened_at,
        what: incident.reason,
        severity: "critical".to_owned(),
        open: incident.stage != Stage::Closed,
        ended_at,
        stage: Some(incident.stage.as_str().to_owned()),
        steps: (incident.steps.into_iter())
            .map(|step| AlertStep {
                stage: step.stage.as_str().to_owned(),
                at: step.at,
                by: step.by,
                note: step.note,
            })
            .collect(),
    }
}

/// The alert in a register. One that cannot be read was written by a later version.
fn of_rule(register: Register) -> Option<Alert> {
    let state: AlertState = serde_json::from_value(register.value).ok()?;
    let kind = state.rule.notice_kind();
    Some(Alert {
        id: format!("{kind}/{}@{}", state.subject, state.since),
        kind: kind.to_owned(),
        what: what(state.rule).to_owned(),
        subject: state.subject,
        since: state.since,
        severity: "warning".to_owned(),
        open: state.firing,
        ended_at: (!state.firing).then_some(register.changed_at),
        stage: None,
        steps: Vec::new(),
    })
}

fn what(rule: Rule) -> &'static str {
    match rule {
        Rule::DeadLettersGrowing => "dead letters become more",
        Rule::DeadLettersAgeing => "the oldest dead letter waits for a decision for long",
        Rule::PartitionStuck => "it has work and an owner, and makes no progress",
        Rule::InputWithoutOutput => "events arrive, and none is resolved",
        Rule::ParkingFilling => "the parking place is near its limit",
    }
}
