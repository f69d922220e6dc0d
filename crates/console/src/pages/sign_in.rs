//! Signing in with a token or with the organisation's identity provider, and signing out.

use axum::http::header::SET_COOKIE;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use serde_json::json;

use crate::api::{Answer, Api};
use crate::components::facts::facts;
use crate::components::mark::Tone;
use crate::components::notice::notice;
use crate::form::{Fields, safe_path};
use crate::page::{Page, Section};
use crate::problem::{Outcome, Problem};
use crate::shell::see_other;
use crate::visit::Visit;

/// Where sessions are.
const SESSION: &str = "/api/v1/session";

/// The page: who is signed in, and the form.
pub(super) async fn show(visit: Visit) -> Page {
    let then = visit.parameter("then").unwrap_or_default();
    page(&visit, &then, None)
}

fn page(visit: &Visit, then: &str, refused: Option<&Problem>) -> Page {
    let viewer = &visit.viewer;
    let page = Page::new(Section::Elsewhere, "Sign in");
    page.body(html! {
        @if let Some(problem) = refused { (refusal(problem)) }
        @if viewer.signed_in {
            (facts(&[
                ("Signed in as", html! { (viewer.name.as_deref().unwrap_or("somebody without a name")) }),
                ("Role", html! { (viewer.role.map_or_else(|| crate::text::NOTHING.to_owned(), |role| role.to_string())) }),
            ]))
        }
        form method="post" action="/sign-in" class="sign-in" {
            input type="hidden" name="then" value=(safe_path(then));
            label for="token" { "Token" }
            input type="password" name="token" id="token" required autocomplete="current-password" autofocus[!viewer.signed_in]
                spellcheck="false";
            p class="small" {
                "A token is made on the machine of the server: " code { "tidegate tokens create NAME --role operator" }
            }
            button type="submit" class="first" { "Sign in" }
        }
        @if let Some(provider) = viewer.provider.as_deref().filter(|address| safe_path(address) == *address) {
            p { a class="button" href=(provider) { "Sign in with your organisation" } }
        }
    })
}

fn refusal(problem: &Problem) -> Markup {
    html! {
        div role="alert" {
            (notice(Tone::Act, &html! {
                (problem.detail) ". " (problem.action)
                @if !problem.code.is_empty() { " " a href={ "/errors/" (crate::api::encoded(&problem.code)) } { (problem.code) } }
            }))
        }
    }
}

/// Signs in, and goes where the visitor wanted to go.
pub(super) async fn sign_in(visit: Visit, fields: Fields) -> Response {
    let token = fields.text("token").trim();
    match visit.api.change(Method::POST, SESSION, &json!({ "token": token }), None).await {
        Ok(answer) => with_cookies(see_other(safe_path(fields.text("then"))), answer),
        Err(problem) => {
            // The status that says that signing in was refused, not that the page needs it.
            let status = if problem.asks_to_sign_in() { StatusCode::FORBIDDEN } else { problem.status };
            page(&visit, fields.text("then"), Some(&problem)).status(status).into_response()
        }
    }
}

/// Signs out, and goes to the overview.
pub(super) async fn sign_out(visit: Visit, fields: Fields) -> Outcome<Response> {
    let api: &Api = &visit.api;
    let answer = api.change(Method::DELETE, SESSION, &json!({}), fields.csrf()).await?;
    Ok(with_cookies(see_other("/"), answer))
}

fn with_cookies(mut response: Response, answer: Answer) -> Response {
    for cookie in answer.cookies {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}
