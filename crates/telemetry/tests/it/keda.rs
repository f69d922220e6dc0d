//! KEDA's external scaler, asked by a gRPC client.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::circuit::CircuitState;
use tidegate_model::clock::{SystemClock, Timestamp};
use tidegate_model::event::HubName;
use tidegate_model::position::PartitionId;
use tidegate_telemetry::Telemetry;
use tidegate_telemetry::scale::messages::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, ScaledObjectRef,
};
use tidegate_telemetry::scale::{KedaScaler, Policy, serve};
use tidegate_telemetry::state::{FunctionState, LaneState, Look, State};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

/// A function with eight lanes of so many events each.
struct Seen {
    lag: u64,
    circuit: CircuitState,
}

#[async_trait]
impl Look for Seen {
    async fn look(&self, _: Timestamp) -> State {
        let function = FunctionName::new("fold").unwrap();
        let lanes = (0..8).map(|partition| LaneState {
            partition: PartitionId(partition),
            state: "running",
            is_owned: true,
            is_gated: false,
            lag: self.lag,
            parked: 0,
            held: 0,
            oldest_at: None,
        });
        let circuits = vec![(function.clone(), self.circuit)];
        let hub = HubName::new("flights").unwrap();
        let lanes = lanes.collect();
        let (dependencies, paused, dead_letters) = (Vec::new(), false, 0);
        let functions = vec![FunctionState { function, hub, dependencies, paused, dead_letters, lanes }];
        State { functions, circuits, ..State::default() }
    }
}

/// A function of which little can be worked on: 1,500 events of two lanes, while all else is parked, held or cut off.
struct MostlyHeld;

#[async_trait]
impl Look for MostlyHeld {
    async fn look(&self, _: Timestamp) -> State {
        let lane = |partition, state, lag, parked, held| LaneState {
            partition: PartitionId(partition),
            state,
            is_owned: true,
            is_gated: state == "gated",
            lag,
            parked,
            held,
            oldest_at: None,
        };
        let lanes = vec![
            lane(0, "running", 1000, 70_000, 0),
            lane(1, "retrying", 500, 0, 0),
            lane(2, "held", 1_000_000, 90_000, 90_000),
            lane(3, "gated", 1_000_000, 0, 0),
            lane(4, "stopped", 1_000_000, 0, 0),
        ];
        let function = FunctionName::new("fold").unwrap();
        let hub = HubName::new("flights").unwrap();
        let (dependencies, paused, dead_letters) = (Vec::new(), false, 0);
        let functions = vec![FunctionState { function, hub, dependencies, paused, dead_letters, lanes }];
        State { functions, ..State::default() }
    }
}

struct Client(Grpc<Channel>);

impl Client {
    async fn path(&mut self, method: &str) -> PathAndQuery {
        self.0.ready().await.unwrap();
        PathAndQuery::try_from(format!("/externalscaler.ExternalScaler/{method}")).unwrap()
    }

    async fn is_active(&mut self, of: ScaledObjectRef) -> Result<bool, Status> {
        let path = self.path("IsActive").await;
        let codec = ProstCodec::<ScaledObjectRef, IsActiveResponse>::default();
        Ok(self.0.unary(Request::new(of), path, codec).await?.into_inner().result)
    }

    async fn value(&mut self, of: ScaledObjectRef) -> Result<i64, Status> {
        let path = self.path("GetMetrics").await;
        let request =
            GetMetricsRequest { scaled_object_ref: Some(of), metric_name: "tidegate-fold".to_owned() };
        let codec = ProstCodec::<GetMetricsRequest, GetMetricsResponse>::default();
        let answer = self.0.unary(Request::new(request), path, codec).await?.into_inner();
        assert_eq!(answer.metric_values[0].metric_value as f64, answer.metric_values[0].metric_value_float);
        Ok(answer.metric_values[0].metric_value)
    }
}

fn asked(metadata: &[(&str, &str)]) -> ScaledObjectRef {
    let pairs = metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    ScaledObjectRef { scaler_metadata: pairs.collect::<HashMap<_, _>>(), ..ScaledObjectRef::default() }
}

#[tokio::test]
async fn keda_is_told_how_many_instances_there_are_to_be() {
    let telemetry = Telemetry::new("1.2.3", SystemClock::shared());
    let look = async |lag, circuit| telemetry.look(&Seen { lag, circuit }).await;
    look(0, CircuitState::Closed).await;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let policy = Policy { target_lag: 1000, to_zero: false };
    let scaler = KedaScaler::new(Arc::clone(&telemetry), policy);
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, scaler, async {
        let _ = stopped.await;
    }));
    let channel = Endpoint::try_from(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = Client(Grpc::new(channel.clone()));

    let fold = || asked(&[("function", "fold")]);
    let to_zero = || asked(&[("function", "fold"), ("scaleToZero", "true"), ("targetLag", "100")]);
    assert_eq!((client.is_active(fold()).await.unwrap(), client.value(fold()).await.unwrap()), (true, 1));
    assert_eq!(
        (client.is_active(to_zero()).await.unwrap(), client.value(to_zero()).await.unwrap()),
        (false, 0)
    );
    look(300, CircuitState::Closed).await;
    assert_eq!((client.value(fold()).await.unwrap(), client.value(to_zero()).await.unwrap()), (3, 8));
    look(300_000, CircuitState::Open).await;
    assert_eq!(client.value(fold()).await.unwrap(), 1, "an outage needs no more than one");

    telemetry.look(&MostlyHeld).await;
    assert_eq!(
        client.value(fold()).await.unwrap(),
        2,
        "for what is parked, held or cut off nobody is needed"
    );
    assert_eq!(client.value(to_zero()).await.unwrap(), 5, "and no more than there are partitions");
    look(300_000, CircuitState::Open).await;

    let path = client.path("GetMetricSpec").await;
    let codec = ProstCodec::<ScaledObjectRef, GetMetricSpecResponse>::default();
    let spec = client.0.unary(Request::new(fold()), path, codec).await.unwrap().into_inner();
    assert_eq!((&*spec.metric_specs[0].metric_name, spec.metric_specs[0].target_size), ("tidegate-fold", 1));

    // Optional in newer versions: KEDA goes on asking then. The target never changes.
    let path = client.path("StreamMetricSpec").await;
    let codec = ProstCodec::<ScaledObjectRef, GetMetricSpecResponse>::default();
    let refused = client.0.server_streaming(Request::new(fold()), path, codec).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);

    let refused = client.is_active(asked(&[("function", "none")])).await.unwrap_err();
    assert!(refused.code() == Code::NotFound && refused.message().contains("there are: fold"), "{refused}");
    let refused = client.is_active(asked(&[])).await.unwrap_err();
    assert!(refused.code() == Code::InvalidArgument && refused.message().contains("fold"), "{refused}");
    let refused = client.value(asked(&[("function", "fold"), ("targetLag", "0")])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);

    look(0, CircuitState::Closed).await;
    let path = client.path("StreamIsActive").await;
    let codec = ProstCodec::<ScaledObjectRef, IsActiveResponse>::default();
    let mut told =
        client.0.server_streaming(Request::new(to_zero()), path, codec).await.unwrap().into_inner();
    assert!(!told.message().await.unwrap().unwrap().result);
    look(0, CircuitState::Closed).await;
    look(1, CircuitState::Closed).await;
    assert!(told.message().await.unwrap().unwrap().result, "it tells what has changed");

    drop((told, client, channel));
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}
