//! What a decided batch says about circuits: that of its function, and those of the dependencies it needs.

use std::collections::BTreeMap;

use tidegate_model::checkpoint::FunctionName;
use tidegate_model::clock::Timestamp;
use tidegate_model::health::HealthCounts;

use super::lanes::FailedLane;
use crate::settings::FunctionSettings;

/// What a decided batch says about circuits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchHealth {
    /// About that of its function.
    pub function: HealthCounts,
    /// About those of dependencies.
    pub dependencies: Vec<(FunctionName, HealthCounts)>,
}

impl BatchHealth {
    /// True when there is nothing to record.
    pub fn is_empty(&self) -> bool {
        self.function.is_empty() && self.dependencies.iter().all(|(_, counts)| counts.is_empty())
    }

    /// All of it together.
    pub fn total(&self) -> HealthCounts {
        let mut total = self.function;
        for (_, counts) in &self.dependencies {
            // Its successes are the same ones.
            total += HealthCounts { succeeded: 0, ..*counts };
        }
        total
    }
}

/// Counts what becomes of a lane's events, for each circuit that the lane takes part in.
#[derive(Clone, Debug, Default)]
pub struct LaneHealth {
    function: FailedLane,
    dependencies: BTreeMap<FunctionName, FailedLane>,
}

impl LaneHealth {
    /// What happened in the second that begins at `second`: at the function, and because of a dependency. A name that the
    /// function is not set up with counts as the function itself.
    ///
    /// That an event succeeded speaks for all that its function needs.
    pub fn count(
        &mut self,
        settings: &FunctionSettings,
        mut function: HealthCounts,
        because_of: Option<(String, HealthCounts)>,
        second: Timestamp,
    ) -> BatchHealth {
        let is_known =
            |name: &str| settings.dependencies.iter().any(|dependency| dependency.name.as_str() == name);
        let because_of = match because_of {
            Some((name, counts)) if !is_known(&name) => {
                function += counts;
                None
            }
            because_of => because_of,
        };
        if function.failed > 0 {
            function.failed_lanes = self.function.count(second, settings.circuit.window);
        }
        let dependencies = settings.dependencies.iter().filter_map(|dependency| {
            let mut counts = HealthCounts { succeeded: function.succeeded, ..HealthCounts::default() };
            if let Some((_, failures)) =
                because_of.as_ref().filter(|(name, _)| name == dependency.name.as_str())
            {
                counts += *failures;
            }
            if counts.failed > 0 {
                let lane = self.dependencies.entry(dependency.name.clone()).or_default();
                counts.failed_lanes = lane.count(second, dependency.circuit.window);
            }
            (!counts.is_empty()).then(|| (dependency.name.clone(), counts))
        });
        let dependencies = dependencies.collect();
        BatchHealth { function, dependencies }
    }

    /// What to count while the lane waits behind an event that is held: a lane that waits fails no more events, and the
    /// circuit would forget that it is one of those that cannot go on.
    pub fn count_waiting(&mut self, settings: &FunctionSettings, second: Timestamp) -> BatchHealth {
        let failed = |failed_lanes| HealthCounts { failed_lanes, ..HealthCounts::default() };
        let mut health = BatchHealth::default();
        for dependency in &settings.dependencies {
            if let Some(lane) = self.dependencies.get_mut(&dependency.name) {
                let counts = failed(lane.count(second, dependency.circuit.window));
                health.dependencies.push((dependency.name.clone(), counts));
            }
        }
        if health.dependencies.is_empty() {
            health.function = failed(self.function.count(second, settings.circuit.window));
        }
        health
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::CircuitSettings;
    use crate::settings::Dependency;

    #[test]
    fn failures_count_where_they_belong_and_successes_for_all() {
        let dependency = |name| Dependency {
            name: FunctionName::new(name).expect("a good name"),
            circuit: CircuitSettings::default(),
        };
        let settings = FunctionSettings {
            dependencies: vec![dependency("geocoder"), dependency("weather")],
            ..FunctionSettings::default()
        };
        let succeeded = HealthCounts { succeeded: 3, ..HealthCounts::default() };
        let failed = HealthCounts { failed: 1, failed_attempts: 1, ..HealthCounts::default() };
        let mut lane = LaneHealth::default();
        let mut count = |name: &str, second: i64| {
            let because_of = Some((name.to_owned(), failed));
            lane.count(&settings, succeeded, because_of, Timestamp::from_millis(second * 1000))
        };

        let health = count("weather", 1);
        assert_eq!(health.function, succeeded);
        let both = HealthCounts { succeeded: 3, failed_lanes: 1, ..failed };
        let names: Vec<_> =
            health.dependencies.iter().map(|(name, counts)| (name.as_str(), *counts)).collect();
        assert_eq!(names, [("geocoder", succeeded), ("weather", both)]);
        assert_eq!(health.total(), both, "each event once");
        assert_eq!(count("weather", 2).dependencies[1].1.failed_lanes, 0, "the same lane");

        let health = count("wether", 3);
        assert_eq!(health.function, both, "nobody said that it needs that");
    }
}
