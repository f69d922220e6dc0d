//! Signing in with a link, with a token or with the organisation's identity provider, and signing out.

use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use serde_json::json;

use tidegate_access::cookie::Cookie;

use crate::api::{Answer, Api, address};
use crate::components::facts::facts;
use crate::components::mark::Tone;
use crate::components::notice::notice;
use crate::form::{Fields, safe_path};
use crate::page::{Page, Section};
use crate::problem::{Outcome, Problem};
use crate::shell::see_other;
use crate::text::shortened;
use crate::visit::Visit;

/// Where sessions are.
const SESSION: &str = "/api/v1/session";

/// The page: who is signed in, and the ways to sign in. A link changes nothing before its button is pressed, so that whatever
/// looks at addresses beforehand uses none up.
pub(super) async fn show(visit: Visit) -> Response {
    let then = visit.parameter("then").unwrap_or_default();
    let failed = Failed::of(&visit);
    let problem = failed.as_ref().map(|failed| &failed.problem);
    let mut response = match visit.parameter("link") {
        Some(link) if problem.is_none() => by_link(&visit, &link),
        _ => page(&visit, &then, problem),
    }
    .into_response();
    if let Some(Failed { forget, .. }) = failed {
        response.headers_mut().append(SET_COOKIE, forget);
    }
    response
}

/// Why the identity provider let nobody in, as the way back from there tells it.
struct Failed {
    problem: Problem,
    /// It is shown once.
    forget: HeaderValue,
}

impl Failed {
    fn of(visit: &Visit) -> Option<Self> {
        [false, true].into_iter().find_map(|is_secure| {
            let cookie = Cookie::sign_in_problem(is_secure);
            let said = percent_encoding::percent_decode_str(visit.api.cookie(cookie)?).decode_utf8().ok()?;
            let problem = Problem::new(StatusCode::FORBIDDEN, "TG-420", shortened(&said, MOST_SAID));
            Some(Self { problem, forget: HeaderValue::from_str(&cookie.clear()).ok()? })
        })
    }
}

/// How much of it is shown, in characters.
const MOST_SAID: usize = 600;

/// The button that a sign-in link leads to.
fn by_link(visit: &Visit, link: &str) -> Page {
    Page::new(Section::Elsewhere, "Sign in").body(html! {
        (who(visit))
        p class="lead" { "You opened a sign-in link. It works once." }
        form method="post" action="/sign-in" class="sign-in" {
            input type="hidden" name="then" value="/";
            input type="hidden" name="link" value=(link);
            button type="submit" class="first" autofocus { "Sign in" }
        }
    })
}

fn page(visit: &Visit, then: &str, refused: Option<&Problem>) -> Page {
    let viewer = &visit.viewer;
    let page = Page::new(Section::Elsewhere, "Sign in");
    page.body(html! {
        @if let Some(problem) = refused { (refusal(problem)) }
        (who(visit))
        @if let Some(provider) = viewer.provider.as_deref().filter(|address| safe_path(address) == *address) {
            p { a class="button" href=(address(provider, &[("then", Some(safe_path(then)))])) { "Sign in with your organisation" } }
        }
        @if let Some(command) = &viewer.link_command {
            h2 { "With a link" }
            p { "On the machine of the server, type this, and open what it prints:" }
            pre tabindex="0" { code { (command) } }
        }
        h2 { "With a token" }
        form method="post" action="/sign-in" class="sign-in" {
            input type="hidden" name="then" value=(safe_path(then));
            label for="token" { "Token" }
            input type="password" name="token" id="token" required autocomplete="current-password" autofocus[!viewer.signed_in]
                spellcheck="false";
            p class="small" {
                "An admin makes one with " code { "tidegate tokens create NAME --role operator" } "; it begins with " code { "tg_" } "."
            }
            button type="submit" class="first" { "Sign in" }
        }
    })
}

/// Who is signed in already.
fn who(visit: &Visit) -> Markup {
    let viewer = &visit.viewer;
    html! {
        @if viewer.signed_in {
            (facts(&[
                ("Signed in as", html! { (viewer.name.as_deref().unwrap_or("somebody without a name")) }),
                ("Role", html! { (viewer.role.map_or_else(|| crate::text::NOTHING.to_owned(), |role| role.to_string())) }),
            ]))
        }
    }
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
    let (token, link) = (fields.text("token").trim(), fields.text("link").trim());
    let shown = if link.is_empty() { json!({ "token": token }) } else { json!({ "link": link }) };
    match visit.api.change(Method::POST, SESSION, &shown, None).await {
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
