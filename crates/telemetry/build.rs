//! Makes the gRPC service of KEDA's external scalers. Its messages are written by hand, in `src/scale/messages.rs`, so that
//! building needs no compiler of protocol files.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let codec = "tonic_prost::ProstCodec";
    let method = |name: &str, route: &str, input: &str, output: &str| {
        let messages = "crate::scale::messages";
        Method::builder()
            .name(name)
            .route_name(route)
            .input_type(format!("{messages}::{input}"))
            .output_type(format!("{messages}::{output}"))
            .codec_path(codec)
    };
    // https://keda.sh/docs/latest/concepts/external-scalers/
    let service = Service::builder()
        .name("ExternalScaler")
        .package("externalscaler")
        .method(method("is_active", "IsActive", "ScaledObjectRef", "IsActiveResponse").build())
        .method(
            method("stream_is_active", "StreamIsActive", "ScaledObjectRef", "IsActiveResponse")
                .server_streaming()
                .build(),
        )
        .method(
            method("get_metric_spec", "GetMetricSpec", "ScaledObjectRef", "GetMetricSpecResponse").build(),
        )
        .method(method("get_metrics", "GetMetrics", "GetMetricsRequest", "GetMetricsResponse").build())
        .build();
    Builder::new().build_client(false).compile(&[service]);
}
