//! The decision (pure).

use tidegate_model::circuit::CircuitState;

use crate::state::FunctionState;

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Events that could be processed now if there was somebody to do it.
    pub workable: u64,
    /// Events that are parked and not held: each has its turn some time.
    pub waiting: u64,
    /// How many partitions there are. More instances than that have nothing to do.
    pub partitions: u64,
    /// Whether a circuit keeps events back.
    pub is_cut_off: bool,
    /// Whether a person stopped the function.
    pub paused: bool,
}

/// How many instances there are to be for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The workable events that one instance is to have.
    pub target_lag: u64,
    /// Whether there may be none while there is nothing to do. What starts the first one again must then look from outside.
    pub to_zero: bool,
}

impl Demand {
    /// Of a function that is cut off by these circuits.
    pub fn of(function: &FunctionState, circuits: impl IntoIterator<Item = CircuitState>) -> Self {
        Self {
            workable: function.workable_anywhere(),
            waiting: function.parked().saturating_sub(function.held()),
            partitions: function.lanes.len() as u64,
            is_cut_off: circuits.into_iter().any(|state| state != CircuitState::Closed),
            paused: function.paused,
        }
    }
}

/// How many instances there are to be.
pub fn desired(demand: Demand, policy: Policy) -> u64 {
    let least = u64::from(!policy.to_zero);
    if demand.paused {
        return least;
    }
    // More of them would only wait as well; but one has to make the probe that ends it.
    if demand.is_cut_off {
        return 1;
    }
    if demand.workable == 0 {
        return if demand.waiting > 0 { 1 } else { least };
    }
    demand.workable.div_ceil(policy.target_lag.max(1)).clamp(1, demand.partitions.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: Policy = Policy { target_lag: 1000, to_zero: true };

    fn demand(workable: u64) -> Demand {
        Demand { workable, waiting: 0, partitions: 8, is_cut_off: false, paused: false }
    }

    #[test]
    fn there_are_as_many_as_the_lag_asks_for_and_the_partitions_allow() {
        let asked = |workable| desired(demand(workable), POLICY);
        assert_eq!([0, 1, 1000, 1001, 7500, 1_000_000].map(asked), [0, 1, 1, 2, 8, 8]);
        assert_eq!(desired(demand(0), Policy { to_zero: false, ..POLICY }), 1);
    }

    #[test]
    fn an_outage_needs_one_and_a_pause_none() {
        let backlog = demand(1_000_000);
        assert_eq!(desired(Demand { is_cut_off: true, ..backlog }, POLICY), 1);
        assert_eq!(desired(Demand { is_cut_off: true, ..demand(0) }, POLICY), 1);
        assert_eq!(desired(Demand { paused: true, is_cut_off: true, ..backlog }, POLICY), 0);
        assert_eq!(desired(Demand { waiting: 3, ..demand(0) }, POLICY), 1, "somebody has to try them");
    }

    proptest! {
        #[test]
        fn more_lag_never_asks_for_fewer_and_never_for_more_than_partitions(
            less in any::<u64>(), more in any::<u64>(), partitions in 0_u64..2000, target_lag in 0_u64..10_000,
        ) {
            let policy = Policy { target_lag, to_zero: true };
            let of = |workable| desired(Demand { partitions, ..demand(workable) }, policy);
            let (less, more) = (less.min(more), less.max(more));
            prop_assert!(of(less) <= of(more) && of(more) <= partitions.max(1));
        }
    }
}
