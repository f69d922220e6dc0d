//! Light, dark, or as the system has it: chosen once, kept in a cookie.

use axum::Form;
use axum::http::HeaderMap;
use axum::http::header::SET_COOKIE;
use axum::response::Response;
use serde::Deserialize;

use crate::caller::Caller;
use crate::form::safe_path;
use crate::shell::{from_elsewhere, guarded, see_other};

/// The cookie that keeps it.
const COOKIE: &str = "tidegate-theme";

/// How the pages look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// As the system has it.
    #[default]
    Auto,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// What a visitor chose.
    pub fn of(caller: &Caller) -> Self {
        match caller.cookie(COOKIE) {
            Some("light") => Self::Light,
            Some("dark") => Self::Dark,
            _ => Self::Auto,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The one that the switch leads to.
    pub fn next(self) -> Self {
        match self {
            Self::Auto => Self::Dark,
            Self::Dark => Self::Light,
            Self::Light => Self::Auto,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Choice {
    theme: Theme,
    #[serde(default)]
    back: String,
}

/// Keeps a choice.
pub(super) async fn choose(headers: HeaderMap, Form(choice): Form<Choice>) -> Response {
    if let Err(problem) = from_elsewhere(&axum::http::Method::POST, &headers) {
        return guarded(axum::response::IntoResponse::into_response(problem));
    }
    let mut response = see_other(safe_path(&choice.back));
    // A year; nothing secret.
    let cookie =
        format!("{COOKIE}={}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly", choice.theme.name());
    if let Ok(cookie) = cookie.parse() {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    guarded(response)
}
