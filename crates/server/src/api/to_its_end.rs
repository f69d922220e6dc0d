//! What is begun is done to its end: a client that goes away while it waits for the answer would otherwise end an act between
//! two of its steps.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use tidegate_model::ports::StoreError;

use crate::api::ApiError;

/// Answers a request by a task of its own, which goes on when nobody waits for it any more.
pub(crate) async fn to_its_end(request: Request, next: Next) -> Response {
    match tokio::spawn(next.run(request)).await {
        Ok(answer) => answer,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => {
            let stopping = StoreError::Unavailable { detail: "the program is stopping".to_owned() };
            ApiError::from(stopping).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;

    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn;
    use axum::routing::post;
    use futures_util::future::{Either, select};
    use parking_lot::Mutex;
    use tokio::sync::{Notify, oneshot};
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_begun_is_done_although_nobody_waits_for_the_answer() {
        let (begun, goes_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (done, is_done) = oneshot::channel();
        let done = Arc::new(Mutex::new(Some(done)));
        let act = {
            let (begun, goes_on) = (begun.clone(), goes_on.clone());
            async move || {
                // It is dropped unsent with an act that is given up.
                let done = done.lock().take();
                begun.notify_one();
                goes_on.notified().await;
                done.map(|done| done.send(()));
            }
        };
        let router = Router::new().route("/act", post(act)).layer(from_fn(to_its_end));
        {
            let answer = pin!(router.oneshot(Request::post("/act").body(Body::empty()).unwrap()));
            assert!(matches!(select(answer, pin!(begun.notified())).await, Either::Right(_)));
        }
        goes_on.notify_one();
        assert_eq!(is_done.await, Ok(()));
    }
}
