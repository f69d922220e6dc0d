//! Whatever comes in, the answer is an HTTP answer, and an error is one in JSON.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request};
use proptest::prelude::*;

use crate::harness::*;

fn content_type() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"application/vnd.microsoft.servicebus.json".to_vec()),
        Just(b"application/x-ndjson".to_vec()),
        Just(b"Application/X-NDJSON; charset=utf-8".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        proptest::collection::vec(
            prop::sample::select(vec![
                &b"{\"Body\":\"x\""[..],
                b"[{\"Body\":",
                b"\"UserProperties\":{",
                b"\"BrokerProperties\":{\"PartitionKey\":\"k\"}",
                b"}",
                b"]",
                b",",
                b"\n",
                b"{\"id\":\"k\"}",
                b"\"\\ud800\"",
                b"1e999",
                b"\xff",
            ]),
            0..30
        )
        .prop_map(|pieces| pieces.concat()),
        Just(b"[".repeat(10_000)),
        Just(b"{\"a\":".repeat(10_000)),
    ]
}

fn query() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("?key=/id".to_owned()),
        "\\?(key|timeout|partition|x)=[-a-z0-9/~%+&=]{0,20}",
        "\\?[!-~&&[^#]]{0,40}",
    ]
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("/flights/messages".to_owned()),
        1 => "/flights/partitions/[0-9a-f%]{1,12}/messages",
        1 => "/flights/publishers/[!-~&&[^#?/]]{1,140}/messages",
        1 => "/[!-~&&[^#?]]{0,40}",
    ]
}

fn headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name = prop_oneof![
        Just("brokerproperties".to_owned()),
        Just("content-encoding".to_owned()),
        Just("content-length".to_owned()),
        "[a-z-]{1,12}",
    ];
    let value = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        Just(b"gzip".to_vec()),
        Just(br#"{"PartitionKey":"k","MessageId":[]}"#.to_vec()),
        Just(br#"{"PartitionKey":"k"}"#.to_vec()),
    ];
    proptest::collection::vec((name, value), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_request_gets_an_answer(
        path in path(), query in query(), content_type in content_type(), headers in headers(), body in body(),
    ) {
        let Ok(mut request) = Request::post(format!("{path}{query}")).body(Body::from(body)) else { return Ok(()) };
        let mut put = |name: &str, value: &[u8]| {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value)) {
                request.headers_mut().append(name, value);
            }
        };
        put("authorization", format!("Bearer {ROOT_KEY}").as_bytes());
        put("content-type", &content_type);
        for (name, value) in &headers {
            put(name, value);
        }
        check(request)?;
    }

    #[test]
    fn no_authorization_but_a_right_one_lets_in(
        authorization in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..100),
            "(SharedAccessSignature|Bearer|Basic) ?[!-~]{0,60}".prop_map(String::into_bytes),
            "SharedAccessSignature sr=[a-z%:/.0-9]{0,20}&sig=[A-Za-z0-9%+/=]{0,60}&se=[-0-9]{0,25}&skn=(listen|RootManageSharedAccessKey|x)"
                .prop_map(String::into_bytes),
        ],
    ) {
        let mut request = Request::post("/flights/messages").body(Body::from("x")).unwrap();
        if let Ok(value) = HeaderValue::from_bytes(&authorization) {
            request.headers_mut().insert("authorization", value);
        }
        let status = check(request)?;
        prop_assert_eq!(status, 401);
    }
}

fn check(request: Request<Body>) -> Result<u16, TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let answer = harness().send(request).await;
        let status = answer.status.as_u16();
        prop_assert!(matches!(status, 201 | 400 | 401 | 403 | 404 | 405 | 413 | 415), "{}", status);
        if status != 201 {
            prop_assert!(answer.json()["code"].as_str().unwrap().starts_with("TG-"));
        }
        Ok(status)
    })
}
