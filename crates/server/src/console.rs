//! The console, in front of everything else that is at the HTTP address.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use tower::ServiceExt as _;

use tidegate_console::{Console, Parts};

use crate::cli::explain;
use crate::node::Node;
use crate::telemetry::HttpMetrics;

/// The console over a node's API, and a router that has its pages before `others`. Requests for pages are counted.
pub(crate) fn before(node: &Node, others: Router, metrics: &HttpMetrics) -> (Console, Router) {
    let parts = Parts { api: node.router(), clock: node.clock.clone(), error_pages: explain::pages() };
    let console = Console::new(parts);
    let pages = metrics.around(console.router(), &node.clock);
    let pages_first = pages.fallback_service(others.clone());
    let nowhere = console.nowhere();
    let choose = move |request: Request| {
        let router = if publishes(&request) { others.clone() } else { pages_first.clone() };
        let nowhere = asks_for_a_page(&request).then(|| (nowhere.clone(), without_body(&request)));
        async move {
            let response = router.oneshot(request).await?;
            match nowhere {
                // What is not there is told to a person as a page.
                Some((nowhere, request))
                    if response.status() == StatusCode::NOT_FOUND && !is_a_page(&response) =>
                {
                    nowhere.oneshot(request).await
                }
                _ => Ok(response),
            }
        }
    };
    // Before anything is routed: the names of hubs are free, and one may be called like a page.
    let router = Router::new().fallback_service(tower::service_fn(choose));
    (console, router)
}

/// Whether a request publishes events (pure). No form of the console has such an address.
fn publishes(request: &Request) -> bool {
    request.method() == Method::POST && request.uri().path().ends_with("/messages")
}

/// Whether a person in a browser asks for a page (pure): what is below `/api` is for programs, whoever asks.
fn asks_for_a_page(request: &Request) -> bool {
    let accepts = request.headers().get(ACCEPT).and_then(|accepts| accepts.to_str().ok()).unwrap_or_default();
    request.method() == Method::GET
        && accepts.contains("text/html")
        && !request.uri().path().starts_with("/api/")
}

fn is_a_page(response: &Response) -> bool {
    let form = response.headers().get(CONTENT_TYPE).and_then(|form| form.to_str().ok()).unwrap_or_default();
    form.starts_with("text/html")
}

/// The same request without its body, which one that asks for a page does not have.
fn without_body(request: &Request) -> Request {
    let mut copy = Request::new(Body::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_may_be_called_like_a_page() {
        let request = |method: &str, path: &str| {
            Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
        };
        assert!(publishes(&request("POST", "/documents/messages?timeout=3")));
        assert!(publishes(&request("POST", "/hubs/partitions/3/messages")));
        assert!(!publishes(&request("GET", "/documents/messages")));
        assert!(!publishes(&request("POST", "/dead-letters/3/redrive")));
    }

    #[test]
    fn only_a_person_is_told_with_a_page() {
        let request = |path: &str, accepts: &str| {
            Request::builder().uri(path).header(ACCEPT, accepts).body(Body::empty()).unwrap()
        };
        assert!(asks_for_a_page(&request("/nothing", "text/html,application/xhtml+xml,*/*;q=0.8")));
        assert!(!asks_for_a_page(&request("/nothing", "*/*")));
        assert!(!asks_for_a_page(&request("/api/v1/nothing", "text/html")));
    }
}
