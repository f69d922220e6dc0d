//! An attack on the door over a log on disk, through sockets.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tidegate_gateway::amqp::AmqpBounds;
use tidegate_hostile::attack::{Attack, Stand, attack};
use tokio::net::TcpListener;
use tokio::sync::watch;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_behave_are_served_as_ever_while_others_throw_frames() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Arc::new(Stand::new(dir.path(), AmqpBounds::default()).unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = watch::Sender::new(false);
    let serving = tokio::spawn({
        let (stand, stopped) = (stand.clone(), stop.subscribe());
        async move { stand.serve(listener, stopped).await }
    });
    let plan = Attack { frames: 20_000, attackers: 4, seed: 3 };
    let report = attack(address, plan, |_| {}).await.unwrap();
    stop.send_replace(true);
    serving.await.unwrap();
    assert!(report.frames >= 20_000 && report.connections > 100, "{report:?}");
    assert!(report.acknowledged.values().all(|events| *events > 0), "{report:?}");
    stand.check(&report).await.unwrap();
    let mut wrong = report.clone();
    *wrong.acknowledged.get_mut(&0).unwrap() += 1;
    stand.check(&wrong).await.unwrap_err();
    stand.close();
}
