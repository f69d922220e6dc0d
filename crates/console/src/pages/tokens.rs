//! Access tokens: who has one; making one, which is shown once; ending one. For admins.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use tidegate_model::clock::Timestamp;

use super::dead_letters::refusal;
use super::settings::{Part, sections};
use crate::Shared;
use crate::api::{Listing, encoded};
use crate::components::controls::{act, choice, on_demand, reason, submit, submit_grave};
use crate::components::facts::facts;
use crate::components::mark::{Tone, mark};
use crate::components::notice::{empty, notice};
use crate::components::table::{heads, table};
use crate::components::time::{ago, ago_if};
use crate::form::{Fields, done};
use crate::page::{Page, Section};
use crate::problem::{Outcome, Problem};
use crate::viewer::Role;
use crate::visit::Visit;

/// Their address in the API.
const TOKENS: &str = "/api/v1/tokens";

/// A token, as the API lists it.
#[derive(Clone, Debug, Deserialize)]
struct Token {
    id: String,
    name: String,
    role: Role,
    #[serde(default)]
    state: String,
    created_at: Timestamp,
    #[serde(default)]
    created_by: String,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    revoked_by: Option<String>,
    last_used_at: Option<Timestamp>,
}

/// A token that was made just now.
#[derive(Deserialize)]
struct Created {
    token: String,
    #[serde(flatten)]
    about: Token,
}

/// Their addresses.
pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new().route("/tokens", get(show).post(create)).route("/tokens/{id}/revoke", post(revoke))
}

/// All of them.
async fn show(visit: Visit) -> Outcome<Page> {
    page(&visit, &Fields::parse(b""), None).await
}

async fn page(visit: &Visit, fields: &Fields, refused: Option<&Problem>) -> Outcome<Page> {
    visit.viewer.must_be(Role::Admin)?;
    let found: Listing<Token> = visit.api.get(TOKENS).await?;
    let rows = html! {
        @for token in &found.items {
            tr {
                th scope="row" class="w" { (token.name) br; small class="m" { (token.id) } }
                td { (token.role) }
                td { (mark(if token.state == "active" { Tone::Busy } else { Tone::Calm }, &token.state)) }
                td { (ago(token.created_at, visit.now)) br; small class="w" { (token.created_by) } }
                td {
                    @match (token.revoked_at, token.expires_at) {
                        (Some(at), _) => { "revoked " (ago(at, visit.now)) br; small class="w" { (token.revoked_by.as_deref().unwrap_or_default()) } }
                        (None, Some(_)) => (ago_if(token.expires_at, visit.now)),
                        (None, None) => "never",
                    }
                }
                td { (ago_if(token.last_used_at, visit.now)) }
                td {
                    @if token.revoked_at.is_none() {
                        (on_demand("Revoke…", &act(visit, Role::Admin, &format!("/tokens/{}/revoke", encoded(&token.id)), &html! {
                            (reason(&format!("reason-{}", token.id), false)) (submit_grave("Revoke"))
                        })))
                    }
                }
            }
        }
    };
    Ok(Page::new(Section::Settings, "Access tokens").below("Settings", "/settings").body(html! {
        (sections(visit, Part::Tokens))
        @if let Some(problem) = refused { (refusal(problem)) }
        @if found.items.is_empty() {
            (empty("There is no token yet", &html! { "Whoever signs in here, or speaks to the API, needs one." }))
        } @else {
            (table("Access tokens", &heads(&["Holder", "Role", "State", "Made", "Ends", "Last used", ""]), &rows))
        }
        section aria-labelledby="new-title" {
            h2 id="new-title" { "A new token" }
            (act(visit, Role::Admin, "/tokens", &form(fields)))
            p class="small" { "A reader looks. An operator also redrives, edits, discards, pauses and seeks. An admin also makes hubs and tokens." }
        }
    }))
}

fn form(fields: &Fields) -> Markup {
    let choices = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(sent, shown)| ((*sent).to_owned(), (*shown).to_owned())).collect()
    };
    let role = Some(fields.text("role")).filter(|role| !role.is_empty());
    let ends = Some(fields.text("expires")).filter(|ends| !ends.is_empty()).unwrap_or("90d");
    html! {
        div class="field" { label for="name" { "Who or what has it" } input type="text" name="name" id="name" required maxlength="64" autocomplete="off" value=(fields.text("name")); }
        (choice("role", "Role", role, &choices(&[("reader", "reader"), ("operator", "operator"), ("admin", "admin")])))
        (choice("expires", "Lasts", Some(ends), &choices(&[("1d", "1 day"), ("30d", "30 days"), ("90d", "90 days"), ("365d", "1 year"), ("never", "without end")])))
        (submit("Make it"))
    }
}

/// Makes one. Its text is in this answer and nowhere else, so it is no way to another page.
async fn create(visit: Visit, fields: Fields) -> Outcome<Response> {
    visit.viewer.must_be(Role::Admin)?;
    let request = json!({ "name": fields.text("name").trim(), "role": fields.text("role"), "expires": fields.text("expires") });
    let created: Created = match visit.api.post(TOKENS, &request, fields.csrf()).await {
        Ok(created) => created,
        Err(problem) if problem.status.is_client_error() && !problem.asks_to_sign_in() => {
            return Ok(page(&visit, &fields, Some(&problem)).await?.status(problem.status).into_response());
        }
        Err(problem) => return Err(problem),
    };
    let Created { token, about } = created;
    let page = Page::new(Section::Settings, "A new token")
        .below("Settings", "/settings")
        .below("Access tokens", "/tokens");
    Ok(page
        .body(html! {
            (notice(Tone::Watch, &html! { "Keep it now: it is not shown again, and only its digest is stored." }))
            p { code class="once w" { (token) } " " button type="button" data-copy=(token) { "Copy" } }
            (facts(&[
                ("Holder", html! { (about.name) }),
                ("Role", html! { (about.role) }),
                ("Ends", html! { @match about.expires_at { Some(at) => (ago(at, visit.now)), None => "never" } }),
                ("Number", html! { code { (about.id) } }),
            ]))
            p { a href="/tokens" { "All tokens" } }
        })
        .into_response())
}

/// Ends one.
async fn revoke(visit: Visit, Path(id): Path<String>, fields: Fields) -> Outcome<Response> {
    visit.viewer.must_be(Role::Admin)?;
    let request = json!({ "reason": fields.text("reason").trim() });
    visit
        .api
        .change(Method::POST, &format!("{TOKENS}/{}/revoke", encoded(&id)), &request, fields.csrf())
        .await?;
    Ok(done("/tokens", &format!("The token {id} is worth nothing any more.")))
}
