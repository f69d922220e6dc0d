//! What a person reads, and what a program reads.

use super::Measured;

pub(crate) fn print(measured: &Measured, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(measured)?);
        return Ok(());
    }
    for batch in &measured.publish {
        println!("{} events in batches of {}", measured.events, batch.size);
        println!(
            "  within the process     {:>12.0} events/s   {:.2} µs/event of CPU",
            batch.in_process.rate(),
            batch.in_process.cpu()
        );
        println!(
            "  through AMQP           {:>12.0} events/s   {:.2} of it",
            batch.amqp.rate(),
            batch.ratio()
        );
        println!(
            "  CPU of the broker      {:>12.2} µs/event   beyond the log {:.2}; of the clients {:.2}",
            batch.amqp.cpu(),
            batch.cpu_beyond_log(),
            batch.amqp.client_cpu()
        );
    }
    for (name, drained) in
        [("counting reader", &measured.drain_counting), ("reader of our own", &measured.drain_engine)]
    {
        let events = drained.events as f64;
        println!(
            "  {name:<23}{:>12.0} events/s   {:.2} µs/event of CPU, of the client {:.2}",
            events / drained.wall_s,
            drained.cpu_s / events * 1e6,
            drained.client_cpu_s / events * 1e6
        );
    }
    println!("  peak memory            {:>12.0} MB", measured.server_peak_rss_mb);
    if let Some(idle) = &measured.idle {
        let taken = idle.with_all_mb - idle.before_mb;
        println!(
            "  idle connections       {:>12}            {taken:.1} MB, {:.1} KiB each",
            idle.connections,
            taken * 1024.0 / idle.connections as f64
        );
    }
    if let Some(latency) = &measured.latency_ms {
        println!(
            "  publish acknowledged   {:>9.1} ms p50{:>9.1} ms p99{:>9.1} ms p99.9, at 10,000 events/s",
            latency.p50, latency.p99, latency.p999
        );
    }
    for client in &measured.clients {
        println!(
            "  {:<23}{:>12.0} events/s sent, {:.0} events/s received",
            client.name, client.sent_per_s, client.received_per_s
        );
    }
    Ok(())
}
