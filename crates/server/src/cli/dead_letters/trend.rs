//! `tidegate dead-letters trend`: how many were set aside over time.

use tidegate_api::Trend;

use crate::cli::Context;
use crate::cli::listing::{Asking, address};
use crate::cli::output::Table;
use crate::client::understood;
use crate::failure::{Exit, Failure};

#[derive(clap::Args)]
pub(super) struct Args {
    /// How far back, such as 6h; at most 90d.
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    within: String,
    /// Into how many parts that is divided.
    #[arg(long, value_name = "N", default_value_t = 24)]
    buckets: u32,
    #[command(flatten)]
    asking: Asking,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let mut session = args.asking.open(context).await?;
    let parameters = [("within", Some(args.within.clone())), ("buckets", Some(args.buckets.to_string()))];
    let answer = session.connection().get(&address("/api/v1/dead-letter-trend", &parameters)).await?;
    let answer = answer.into_body();
    if session.output.is_json() {
        session.output.raw_line(&answer)?;
        return session.finish(&[]).await;
    }
    let trend: Trend = understood(&answer)?;
    if trend.groups.is_empty() {
        session.output.line(&format!("none was set aside in the last {}", args.within))?;
        return session.finish(&[]).await;
    }
    let mut table = Table::new(&["cause", ">count", "over time"]);
    for group in &trend.groups {
        let count: u64 = group.counts.iter().sum();
        table.row(vec![group.fingerprint.clone(), count.to_string(), bars(&group.counts)]);
    }
    session.output.table(&table)?;
    session.output.line(&format!("from {}, {} s a bar", trend.from, trend.step_s))?;
    session.finish(&["dead-letters groups".to_owned()]).await
}

/// A bar for each number, as high as it is beside the largest; a point for none.
fn bars(counts: &[u64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: &u64| match usize::try_from(u128::from(*count) * BARS.len() as u128 / u128::from(most))
    {
        _ if *count == 0 => '·',
        Ok(height) => BARS[height.clamp(1, BARS.len()) - 1],
        Err(_) => BARS[BARS.len() - 1],
    };
    counts.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_number_has_the_highest_bar_and_the_smallest_is_seen() {
        assert_eq!(bars(&[0, 1, 4, 8]), "·▁▄█");
        assert_eq!(bars(&[0, 1, u64::MAX]), "·▁█");
        assert_eq!(bars(&[]), "");
    }
}
