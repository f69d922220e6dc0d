//! Reads the window that a circuit is judged by.

use std::time::Duration;

use tidegate_model::checkpoint::FunctionName;
use tidegate_model::circuit::{Circuit, CircuitState};
use tidegate_model::clock::Timestamp;
use tidegate_model::health::{BUCKET_MILLIS, InstanceHealth};
use tidegate_model::ports::{Commits, StoreError};

/// What each instance had in the window that ends now.
///
/// What was before a closed circuit closed is left out: it was the reason for another opening. So is what is further ahead than
/// a window: it was recorded before a clock went back, and would count for as long as the clock is behind.
pub(super) async fn read_window<C: Commits + ?Sized>(
    store: &C,
    name: &FunctionName,
    window: Duration,
    circuit: &Circuit,
    now: Timestamp,
) -> Result<Vec<InstanceHealth>, StoreError> {
    let ahead = now.plus(window);
    let since = first_second(window, circuit, now);
    let mut health = store.health(name, since).await?;
    if health.iter().all(|one| one.counts.is_empty()) {
        return Ok(health);
    }
    for future in store.health(name, second_from(ahead)).await? {
        let Some(one) = health.iter_mut().find(|one| one.instance == future.instance) else { continue };
        one.counts = one.counts.without(future.counts);
    }
    Ok(health)
}

fn first_second(window: Duration, circuit: &Circuit, now: Timestamp) -> Timestamp {
    let begin = now.minus(window);
    let closed_before_a_jump = circuit.since > now.plus(window);
    let is_whole = circuit.state != CircuitState::Closed || closed_before_a_jump;
    second_from(if is_whole { begin } else { begin.max(circuit.since) })
}

/// The first second that begins at `time` or later.
fn second_from(time: Timestamp) -> Timestamp {
    let ms = time.as_millis();
    Timestamp::from_millis(ms.saturating_add((BUCKET_MILLIS - ms.rem_euclid(BUCKET_MILLIS)) % BUCKET_MILLIS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);

    fn first(now: i64, closed_at: i64) -> i64 {
        let circuit = Circuit::closed(Timestamp::from_millis(closed_at));
        first_second(WINDOW, &circuit, Timestamp::from_millis(now)).as_millis()
    }

    #[test]
    fn the_window_begins_when_the_circuit_closed_if_that_is_later() {
        assert_eq!(first(100_000, 0), 70_000);
        assert_eq!(first(100_400, 0), 71_000);
        assert_eq!(first(100_000, 80_001), 81_000);
        assert_eq!(first(100_000, 80_000), 80_000);
        let open = Circuit { state: CircuitState::Open, ..Circuit::closed(Timestamp::from_millis(80_000)) };
        let now = Timestamp::from_millis(100_000);
        assert_eq!(first_second(WINDOW, &open, now).as_millis(), 70_000);
    }

    #[test]
    fn a_closing_before_the_clock_went_back_does_not_blind_it() {
        assert_eq!(first(100_000, 3_700_000), 70_000);
    }
}
