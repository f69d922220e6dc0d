//! The console, in front of everything else that is at the HTTP address.

use axum::Router;
use axum::extract::Request;
use axum::http::Method;
use tower::ServiceExt as _;

use tidegate_console::{Console, Parts};

use crate::cli::explain;
use crate::node::Node;

/// The console over a node's API, and a router that has its pages before `others`.
pub(crate) fn before(node: &Node, others: Router) -> (Console, Router) {
    let parts = Parts { api: node.router(), clock: node.clock.clone(), error_pages: explain::pages() };
    let console = Console::new(parts);
    let pages_first = console.router().fallback_service(others.clone());
    let choose = move |request: Request| {
        let router = if publishes(&request) { &others } else { &pages_first };
        router.clone().oneshot(request)
    };
    // Before anything is routed: the names of hubs are free, and one may be called like a page.
    let router = Router::new().fallback_service(tower::service_fn(choose));
    (console, router)
}

/// Whether a request publishes events (pure). No form of the console has such an address.
fn publishes(request: &Request) -> bool {
    request.method() == Method::POST && request.uri().path().ends_with("/messages")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

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
}
