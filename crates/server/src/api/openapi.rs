//! The OpenAPI document of the program's HTTP interface, made from the handlers themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use tidegate_api::{DeadLetterActed, Page, Problem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    self, Components, Content, OpenApi as Document, RefOr, ResponseBuilder, ResponsesBuilder,
};
use utoipa::{IntoResponses, Modify, OpenApi};

use crate::api::parameters::Parameters;
use crate::api::{Api, ApiError, read_apis};
use crate::config::ReadApiConfig;

/// The whole document.
pub fn document() -> Document {
    let mut document = Described::openapi();
    let parts = [
        super::hub_routes().into_openapi(),
        super::routes().into_openapi(),
        super::operate_routes().into_openapi(),
        super::administer_routes().into_openapi(),
        tidegate_gateway::http::openapi(),
        crate::readiness::openapi(),
        crate::access::openapi(),
        crate::telemetry::openapi(),
        Pages::openapi(),
    ];
    parts.into_iter().for_each(|part| document.merge(part));
    name_operations(&mut document);
    document
}

/// Handlers of several modules have the same name; operations are named by their method and address.
fn name_operations(document: &mut Document) {
    for (path, item) in &mut document.paths.paths {
        let path = path.strip_prefix("/api/v1").unwrap_or(path);
        let words = path.split(['/', '{', '}', '.']).filter(|word| !word.is_empty());
        let name = words.collect::<Vec<_>>().join("-");
        let operations = [
            ("get", &mut item.get),
            ("post", &mut item.post),
            ("put", &mut item.put),
            ("delete", &mut item.delete),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                operation.operation_id = Some(format!("{method}-{name}"));
            }
        }
    }
}

/// The document as it is served and kept in the tree.
///
/// # Panics
/// Never: what the handlers say has a JSON form, as a test shows.
pub fn text() -> String {
    let mut text = document().to_pretty_json().expect("the document has a JSON form");
    text.push('\n');
    text
}

/// The OpenAPI document of this program.
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "program",
    responses((status = 200, body = Object, description = "This document, OpenAPI 3.1"), Refused, Failed),
)]
pub(super) async fn get(State(api): State<Arc<Api>>, parameters: Parameters) -> Result<Response, ApiError> {
    parameters.done()?;
    let text = api.openapi.get_or_init(|| with_read_apis(&api.read_apis)).clone();
    Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
}

/// The document with what the configuration adds to it.
fn with_read_apis(configured: &[ReadApiConfig]) -> Bytes {
    let mut document = serde_json::to_value(document()).expect("the document has a JSON form");
    read_apis::describe(&mut document, configured);
    Bytes::from(document.to_string())
}

/// Requests that are not taken.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes answers")]
pub(crate) enum Refused {
    /// The request is malformed; `detail` names the place, `action` the way out.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The request carries no valid authorisation.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// The authorisation is valid, but does not cover this request.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
}

/// What is asked for is not there.
#[derive(IntoResponses)]
#[response(status = 404, description = "There is no such thing", content_type = "application/problem+json")]
#[expect(dead_code, reason = "it describes answers")]
pub(crate) struct NotFound(Problem);

/// The state does not allow it.
#[derive(IntoResponses)]
#[response(
    status = 409,
    description = "Its state does not allow it, or somebody else has it or changed it",
    content_type = "application/problem+json"
)]
#[expect(dead_code, reason = "it describes answers")]
pub(crate) struct Conflict(Problem);

/// The request is too large.
#[derive(IntoResponses)]
#[response(
    status = 413,
    description = "The request, or what it would make, is larger than its limit",
    content_type = "application/problem+json"
)]
#[expect(dead_code, reason = "it describes answers")]
pub(crate) struct TooLarge(Problem);

/// Too many requests.
#[derive(IntoResponses)]
#[response(
    status = 429,
    description = "Too many requests, or too many that were refused; `Retry-After` says when to come again",
    content_type = "application/problem+json"
)]
#[expect(dead_code, reason = "it describes answers")]
pub(crate) struct Throttled(Problem);

/// Requests that fail for a reason of the program's.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes answers")]
pub(crate) enum Failed {
    /// Something stored is damaged.
    #[response(status = 500, content_type = "application/problem+json")]
    Damaged(Problem),
    /// The store or the log does not answer at the moment, or the program is stopping.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// What an act on dead letters that the request names is answered.
pub(crate) struct ManyActed;

impl IntoResponses for ManyActed {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        let acted = ResponseBuilder::new()
            .description("What became of each, in the order given")
            .content("application/json", Content::new(Some(utoipa::schema!(Page<DeadLetterActed>))))
            .content("application/x-ndjson", Content::new(Some(utoipa::schema!(DeadLetterActed))));
        ResponsesBuilder::new()
            .response("200", acted)
            .responses_from_into_responses::<Refused>()
            .responses_from_into_responses::<TooLarge>()
            .responses_from_into_responses::<Failed>()
            .build()
            .into()
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidegate",
        description = "Reads and acts on a running Tidegate, and publishes events to it. A listing is answered with one JSON \
            object a line (`application/x-ndjson`), and the cursor of the next page in the header `tidegate-next`; with \
            `Accept: application/json` with one object that has `items` and `next`. Errors are problem details (RFC 9457) \
            with a `code` that has a page. Single objects have an ETag; `If-None-Match` is answered 304.",
    ),
    components(schemas(tidegate_api::CircuitAction, tidegate_api::ListingOrder, tidegate_api::PauseAction, tidegate_api::GroupAction, DeadLetterActed, Page<DeadLetterActed>)),
    modifiers(&Security),
    security(("key" = []), ("signature" = [])),
    tags(
        (name = "overview", description = "Everything at a glance"),
        (name = "events", description = "Hubs, their events, and what became of them"),
        (name = "functions", description = "What processes events"),
        (name = "documents", description = "What events became"),
        (name = "dead letters", description = "Events that nobody could process, and what is done about them"),
        (name = "parked", description = "Events that wait"),
        (name = "circuits", description = "Whether events flow"),
        (name = "checkpoints", description = "How far functions are"),
        (name = "alerts", description = "What a person should look at"),
        (name = "audit", description = "Every event is somewhere, and what was done by hand"),
        (name = "access", description = "Who may do what"),
        (name = "telemetry", description = "What is measured"),
        (name = "configuration", description = "What holds, and who says so"),
        (name = "publishing", description = "Event Hubs' REST interface, and lines"),
        (name = "program", description = "The program itself"),
    ),
)]
struct Described;

/// How a request is authorised.
struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_with(Components::new);
        let key = Http::builder()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A key from `keys.json` or `[access.NAME]`, as it is; or an access token"))
            .build();
        components.add_security_scheme("key", SecurityScheme::Http(key));
        let signature = ApiKeyValue::with_description(
            "authorization",
            "A shared access signature, as clients of Event Hubs make it: `SharedAccessSignature sr=…&sig=…&se=…&skn=…`",
        );
        components.add_security_scheme("signature", SecurityScheme::ApiKey(ApiKey::Header(signature)));
    }
}

/// Pages and protocols beside the API, whose handlers are elsewhere.
#[derive(OpenApi)]
#[openapi(paths(restart_page, restart))]
struct Pages;

/// The page that a link in a mail leads to. It changes nothing, so that a mail scanner may fetch it.
#[utoipa::path(
    get, path = "/restart/{token}", tag = "circuits",
    params(("token" = String, Path, description = "The token of the link, which is its authorisation")),
    security(()),
    responses(
        (status = 200, content_type = "text/html", body = String, description = "How the circuit stands"),
        (status = 403, content_type = "text/html", body = String, description = "It was not made by this server"),
        (status = 409, content_type = "text/html", body = String, description = "The circuit is closed already"),
        (status = 410, content_type = "text/html", body = String, description = "It was used, ran out, or is of another outage"),
        (status = 503, content_type = "text/html", body = String, description = "The store does not answer"),
    ),
)]
#[expect(dead_code, reason = "it describes a page of the alerts")]
fn restart_page() {}

/// Closes the circuit, once.
#[utoipa::path(
    post, path = "/restart/{token}", tag = "circuits",
    params(("token" = String, Path, description = "The token of the link, which is its authorisation")),
    request_body(content_type = "application/x-www-form-urlencoded", content = String, description = "`name`: who it is; may be empty"),
    security(()),
    responses(
        (status = 200, content_type = "text/html", body = String, description = "It is closed"),
        (status = 403, content_type = "text/html", body = String, description = "It was not made by this server"),
        (status = 409, content_type = "text/html", body = String, description = "The circuit is closed already, or a restart is under way"),
        (status = 410, content_type = "text/html", body = String, description = "It was used, ran out, or is of another outage"),
        (status = 503, content_type = "text/html", body = String, description = "The store does not answer"),
    ),
)]
#[expect(dead_code, reason = "it describes a page of the alerts")]
fn restart() {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi.json");

    #[test]
    fn the_committed_reference_is_the_document() {
        if std::env::var_os("TIDEGATE_UPDATE_REFERENCE").is_some() {
            std::fs::write(COMMITTED, text()).expect("write the reference");
        }
        let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
        assert!(
            committed == text(),
            "docs/reference/openapi.json is out of date; regenerate it with\n  \
             TIDEGATE_UPDATE_REFERENCE=1 cargo test -p tidegate reference"
        );
    }

    /// The sources of the crates that have addresses.
    fn sources() -> Vec<PathBuf> {
        let mut found = Vec::new();
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut folders: Vec<PathBuf> = ["server", "gateway", "alerts", "access"]
            .iter()
            .map(|name| crates.join(name).join("src"))
            .collect();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs")
                    && !path.ends_with("tests.rs")
                {
                    found.push(path);
                }
            }
        }
        found
    }

    /// Handlers of the API are routed by what they say about themselves. What is routed by hand elsewhere must be said too.
    #[test]
    fn every_address_is_in_the_document() {
        let paths: BTreeSet<String> = document().paths.paths.into_keys().collect();
        let mut addresses = BTreeSet::new();
        for source in sources() {
            let text = std::fs::read_to_string(&source).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let literals = text.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
            addresses.extend(literals.map(str::to_owned));
        }
        assert!(addresses.contains("/{hub}/messages"), "the sources are looked through");
        // Tools of demonstrations are no part of the interface, and pages for people are the console's.
        addresses.retain(|address| address != "/reports" && !address.starts_with("/sign-in"));
        let missing: Vec<&String> = addresses.difference(&paths).collect();
        assert_eq!(missing, [""; 0].iter().collect::<Vec<_>>(), "in no #[utoipa::path]");
        assert!(paths.contains("/api/v1/overview") && paths.contains("/api/v1/dead-letters/{id}/edit"));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = serde_json::to_value(document()).unwrap();
        let text = document.to_string();
        let references = text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next());
        for reference in references {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_operation_says_what_it_needs_and_what_can_go_wrong() {
        let document = serde_json::to_value(document()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let mut operations = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let place = format!("{method} {path}");
                assert!(operation["summary"].is_string(), "{place} has no summary");
                let tag = &operation["tags"][0];
                let tags = document["tags"].as_array().unwrap();
                assert!(tags.iter().any(|known| known["name"] == *tag), "{place}: the tag {tag}");
                assert!(operations.insert(operation["operationId"].to_string()), "{place}: two have its id");
                let responses = operation["responses"].as_object().unwrap();
                if path.starts_with("/api/") {
                    for (status, response) in
                        responses.iter().filter(|(status, _)| status.starts_with(['4', '5']))
                    {
                        let content = &response["content"]["application/problem+json"];
                        assert_eq!(
                            content["schema"]["$ref"], "#/components/schemas/Problem",
                            "{place}: {status}"
                        );
                    }
                }
            }
        }
    }
}
