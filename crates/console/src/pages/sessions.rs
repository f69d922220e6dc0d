//! Sessions: who is signed in, and ending that. For admins.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::Method;
use axum::response::Response;
use axum::routing::{get, post};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use tidegate_model::clock::Timestamp;

use super::settings::{Part, sections};
use crate::Shared;
use crate::api::{Listing, encoded};
use crate::components::controls::{act, on_demand, reason, submit_grave};
use crate::components::mark::{Tone, mark};
use crate::components::notice::empty;
use crate::components::table::{heads, table};
use crate::components::time::ago;
use crate::form::{Fields, done};
use crate::page::{Page, Section};
use crate::problem::Outcome;
use crate::text;
use crate::viewer::Role;
use crate::visit::Visit;

/// Their address in the API.
const SESSIONS: &str = "/api/v1/sessions";

/// Sessions on the page; there may be thousands, the newest are first.
const SHOWN: usize = 200;

/// A session, as the API lists it.
#[derive(Clone, Debug, Deserialize)]
struct OpenSession {
    id: String,
    name: String,
    role: Role,
    token: Option<String>,
    opened_at: Timestamp,
    used_at: Timestamp,
    #[serde(default)]
    current: bool,
}

/// Their addresses.
pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new().route("/sessions", get(show)).route("/sessions/{id}/end", post(end))
}

/// All of them.
async fn show(visit: Visit) -> Outcome<Page> {
    visit.viewer.must_be(Role::Admin)?;
    let found: Listing<OpenSession> = visit.api.get(SESSIONS).await?;
    Ok(Page::new(Section::Settings, "Sessions").below("Settings", "/settings").body(html! {
        (sections(&visit, Part::Sessions))
        @if found.items.is_empty() {
            (empty("Nobody is signed in", &html! { "Who signs in on these pages has a session until they sign out." }))
        } @else {
            (table("Sessions", &head(), &rows(&visit, &found.items)))
            @if found.items.len() > SHOWN { p class="small" { "and " (text::count((found.items.len() - SHOWN) as u64)) " older ones" } }
        }
        p class="small" {
            "A session is a sign-in in a browser. Who has a token that is worth something can sign in again: to keep somebody out, "
            a href="/tokens" { "revoke their token" }
            ", which ends its sessions too."
        }
    }))
}

fn head() -> Markup {
    html! {
        (heads(&["Who"]))
        @for name in ["Role", "Signed in by", "Since"] { th scope="col" class="wide" { (name) } }
        (heads(&["Last used", ""]))
    }
}

fn rows(visit: &Visit, sessions: &[OpenSession]) -> Markup {
    html! {
        @for session in sessions.iter().take(SHOWN) {
            tr {
                th scope="row" class="w" {
                    (session.name)
                    @if session.current { " " (mark(Tone::Busy, "this one")) }
                    br; small class="m" { (session.id) }
                }
                td class="wide" { (session.role) }
                td class="wide" {
                    @match &session.token {
                        Some(token) => { "the token " span class="m" { (token) } },
                        None => "the identity provider",
                    }
                }
                td class="wide" { (ago(session.opened_at, visit.now)) }
                td { (ago(session.used_at, visit.now)) }
                td {
                    @if session.current {
                        // It has a button of its own on every page.
                        span class="small" { "Sign out above" }
                    } @else {
                        (on_demand("End…", &act(visit, Role::Admin, &format!("/sessions/{}/end", encoded(&session.id)), &html! {
                            (reason(&format!("reason-{}", session.id), false)) (submit_grave("End the session"))
                        })))
                    }
                }
            }
        }
    }
}

/// Ends one.
async fn end(visit: Visit, Path(id): Path<String>, fields: Fields) -> Outcome<Response> {
    visit.viewer.must_be(Role::Admin)?;
    let request = json!({ "reason": fields.text("reason").trim() });
    let path = format!("{SESSIONS}/{}/end", encoded(&id));
    visit.api.change(Method::POST, &path, &request, fields.csrf()).await?;
    Ok(done("/sessions", &format!("The session {id} is over.")))
}
