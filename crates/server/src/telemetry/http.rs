//! What the HTTP door counts about itself: connections, and requests by the route that answered them.
//!
//! A route is the pattern that was written in the program, such as `/{hub}/messages`: what clients put in its place is no
//! label. What the console asks the API for in this process is no request of anybody and is not counted.

use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use tidegate_model::clock::SharedClock;

/// The upper bounds of the buckets, in seconds. Few, because there is a histogram for each route.
const BOUNDS: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// The route of a request that none answers.
const NO_ROUTE: &str = "none";

type OfRoute = [(&'static str, String); 2];
type OfRequest = [(&'static str, String); 3];

/// The instruments of the HTTP door. All clones are the same ones.
#[derive(Clone, Debug)]
pub(crate) struct HttpMetrics {
    requests: Family<OfRequest, Counter>,
    duration: Family<OfRoute, Histogram, fn() -> Histogram>,
    under_way: Gauge,
    connections: Gauge,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(BOUNDS)),
            under_way: Gauge::default(),
            connections: Gauge::default(),
        }
    }
}

impl HttpMetrics {
    /// Adds them to what a scrape shows.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let Self { requests, duration, under_way, connections } = self.clone();
        registry.register(
            "tidegate_http_requests",
            "HTTP requests that were answered, by route, method and the class of the status",
            requests,
        );
        registry.register_with_unit(
            "tidegate_http_request_duration",
            "Time from the head of an HTTP request to the head of its answer, with the time its body took to come",
            Unit::Seconds,
            duration,
        );
        registry.register(
            "tidegate_http_requests_under_way",
            "HTTP requests whose answer has not begun",
            under_way,
        );
        registry.register(
            "tidegate_http_connections",
            "HTTP connections that are open, those that became WebSockets excluded",
            connections,
        );
    }

    /// The same routes, with each request counted. What is the fallback of the router now is counted as no route.
    pub(crate) fn around(&self, router: Router, clock: &SharedClock) -> Router {
        router.layer(from_fn_with_state((self.clone(), clock.clone()), count))
    }

    /// A connection is open as long as this is kept.
    pub(crate) fn connection(&self) -> Open {
        Open::of(&self.connections)
    }

    fn answered(&self, method: &'static str, route: String, status: StatusCode, took: Duration) {
        let method = ("method", method.to_owned());
        let route = ("route", route);
        self.duration.get_or_create_owned(&[method.clone(), route.clone()]).observe(took.as_secs_f64());
        let status = ("status", class_of(status).to_owned());
        self.requests.get_or_create_owned(&[method, route, status]).inc();
    }
}

/// Something that is open, counted as long as it is.
#[derive(Debug)]
pub(crate) struct Open(Gauge);

impl Open {
    fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

async fn count(
    State((metrics, clock)): State<(HttpMetrics, SharedClock)>,
    request: Request,
    next: Next,
) -> Response {
    let began = clock.monotonic();
    let method = word_of(request.method());
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| NO_ROUTE.to_owned(), |route| route.as_str().to_owned());
    // A client that goes away ends it as well.
    let _under_way = Open::of(&metrics.under_way);
    let response = next.run(request).await;
    metrics.answered(method, route, response.status(), clock.monotonic().saturating_sub(began));
    response
}

/// Clients may send any word for a method.
fn word_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class_of(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tidegate_model::clock::SystemClock;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn requests_are_counted_by_their_route_and_not_by_what_clients_write() {
        let metrics = HttpMetrics::default();
        let router = Router::new().route("/{hub}/messages", get(async || StatusCode::CREATED));
        let router = metrics.around(router, &SystemClock::shared());
        let ask = async |method: &str, path: &str| {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap().status().as_u16()
        };
        assert_eq!(ask("GET", "/a/messages").await, 201);
        assert_eq!(ask("GET", "/b/messages?x=1").await, 201);
        assert_eq!(ask("BREW", "/b/messages").await, 405);
        assert_eq!(ask("GET", "/secret").await, 404);
        let many = |method: &str, route: &str, status: &str| {
            let of = [("method", method), ("route", route), ("status", status)];
            metrics.requests.get_or_create_owned(&of.map(|(name, value)| (name, value.to_owned()))).get()
        };
        assert_eq!(many("GET", "/{hub}/messages", "2xx"), 2);
        assert_eq!(many("other", "/{hub}/messages", "4xx"), 1);
        assert_eq!(many("GET", NO_ROUTE, "4xx"), 1);
        assert_eq!(metrics.under_way.get(), 0);
    }
}
