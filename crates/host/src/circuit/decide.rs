//! Whether a closed circuit opens (pure).
//!
//! Three things open it, each of them a sign of an outage and none of a bad event:
//!
//! - *Final failures*: more events than the threshold used up their attempts, and they are a large share of all events.
//! - *Failing events*: more distinct events than the threshold fail, though their attempts are not used up yet. It opens
//!   before they become dead letters.
//! - *Every lane*: nothing succeeded, and at least two lanes and half of all had a final failure. In partition order a
//!   lane can only fail one event at a time, so in an outage the numbers stay small.
//!
//! Events that the function rejects for good are in none of these counts: they say nothing about the world. A single
//! event is one failure, and a key that goes on failing [while others succeed](crate::pump::FailingRuns) is one failure, too.
//!
//! When one instance has nearly all failures and the others are well, it is not the world that is ill but the instance.
//! It steps aside, and the fleet goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use tidegate_model::health::{HealthCounts, InstanceHealth};

use super::settings::CircuitSettings;

/// The share of the fleet's failures that makes an instance the only one that is sick.
const NEARLY_ALL: f64 = 0.9;

/// What is known when a circuit is judged.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// What each instance had in the window. [`failed_lanes`](HealthCounts::failed_lanes) must be about distinct lanes:
    /// see [`FailedLane`](super::lanes::FailedLane).
    pub window: &'a [InstanceHealth],
    /// The same for shorter windows that end now too. An outage begins in a window full of successes; how large the share
    /// of failures is shows in the last seconds.
    pub lately: &'a [Vec<InstanceHealth>],
    /// How many lanes the circuit is about, at all instances together.
    pub lanes: u64,
    /// The instance that judges.
    pub instance: &'a str,
    /// The other instances that are there now. What those that are gone did stays in the window for a while, but they can
    /// take nothing over.
    pub others: &'a BTreeSet<String>,
    /// Whether it would help if the instance that judges stepped aside. Not when another one does already: the second that
    /// falls ill shows that the illness moves with the partitions. And not when no other has had success lately.
    pub can_step_aside: bool,
}

/// What follows from the evidence.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Events go on.
    Nothing,
    /// The circuit opens.
    Open(Finding),
    /// The instance that judges gives up its partitions. The circuit stays closed.
    StepAside(Finding),
}

/// Why.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// The counts it was found in: the fleet's, or those of the instance that steps aside.
    pub counts: HealthCounts,
    /// The rule and the numbers, for a person.
    pub reason: String,
}

/// What speaks of an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Many events used up their attempts.
    FinalFailures,
    /// Many events fail and are still tried.
    FailingEvents,
    /// All lanes fail, or half of them, and nothing succeeds.
    EveryLane,
}

impl Rule {
    /// The word used in stored data and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FinalFailures => "final-failures",
            Self::FailingEvents => "failing-events",
            Self::EveryLane => "every-lane",
        }
    }
}

/// Judges a closed circuit.
///
/// All instances judge the same evidence. If one of them is sick alone, that one steps aside and the others do nothing.
pub fn decide(settings: &CircuitSettings, evidence: &Evidence<'_>) -> Decision {
    if let Some(sick) = sick_alone(settings, evidence)
        && let Some(rule) = rule_by_number(settings, sick.counts, &lately_at(evidence, &sick.instance))
    {
        if sick.instance != evidence.instance {
            return Decision::Nothing;
        }
        let reason = format!(
            "nearly all failures are at {}, the other instances are well: {}",
            sick.instance,
            describe(rule, settings, sick.counts, &lately_at(evidence, &sick.instance), evidence.lanes)
        );
        return Decision::StepAside(Finding { rule, counts: sick.counts, reason });
    }
    let counts = total(evidence.window);
    let lately: Vec<HealthCounts> = evidence.lately.iter().map(|window| total(window)).collect();
    let everywhere =
        || lately.iter().chain([&counts]).any(|counts| fails_everywhere(*counts, evidence.lanes));
    let rule = rule_by_number(settings, counts, &lately).or_else(|| everywhere().then_some(Rule::EveryLane));
    match rule {
        Some(rule) => {
            let reason = describe(rule, settings, counts, &lately, evidence.lanes);
            Decision::Open(Finding { rule, counts, reason })
        }
        None => Decision::Nothing,
    }
}

/// The counts of all instances together.
pub fn total(window: &[InstanceHealth]) -> HealthCounts {
    let mut total = HealthCounts::default();
    for one in window {
        total += one.counts;
    }
    total
}

/// What an instance had in the shorter windows.
fn lately_at(evidence: &Evidence<'_>, instance: &str) -> Vec<HealthCounts> {
    let of_instance = |window: &Vec<InstanceHealth>| {
        window
            .iter()
            .find(|one| one.instance == instance)
            .map_or_else(HealthCounts::default, |one| one.counts)
    };
    evidence.lately.iter().map(of_instance).collect()
}

fn rule_by_number(settings: &CircuitSettings, counts: HealthCounts, lately: &[HealthCounts]) -> Option<Rule> {
    let is_large_lately =
        lately.iter().any(|lately| settings.is_telling(lately.failed_attempts, lately.succeeded));
    let holds = |failures: u64| {
        failures > settings.threshold && (is_large_lately || settings.is_telling(failures, counts.succeeded))
    };
    if holds(counts.failed) {
        Some(Rule::FinalFailures)
    } else if holds(counts.failing) {
        Some(Rule::FailingEvents)
    } else {
        None
    }
}

fn fails_everywhere(counts: HealthCounts, lanes: u64) -> bool {
    counts.succeeded == 0 && counts.failed_lanes >= 2 && counts.failed_lanes.saturating_mul(2) >= lanes
}

/// The instance that has nearly all failures while the others that are there have enough events and are well.
fn sick_alone<'a>(settings: &CircuitSettings, evidence: &Evidence<'a>) -> Option<&'a InstanceHealth> {
    if settings.step_aside.is_zero() || !evidence.can_step_aside {
        return None;
    }
    let fleet = total(evidence.window);
    let is_there =
        |one: &&InstanceHealth| one.instance == evidence.instance || evidence.others.contains(&one.instance);
    evidence.window.iter().find(|one| {
        let mut others = HealthCounts::default();
        for other in evidence.window.iter().filter(is_there).filter(|other| other.instance != one.instance) {
            others += other.counts;
        }
        let HealthCounts { succeeded, failed, failing, .. } = others;
        let others_are_well = succeeded.saturating_add(failed.max(failing)) >= settings.minimum_volume
            && !settings.is_large_share(failed, succeeded)
            && !settings.is_large_share(failing, succeeded);
        let has_nearly_all = |own: u64, all: u64| all == 0 || own as f64 >= NEARLY_ALL * all as f64;
        others_are_well
            && has_nearly_all(one.counts.failed, fleet.failed)
            && has_nearly_all(one.counts.failing, fleet.failing)
    })
}

fn describe(
    rule: Rule,
    settings: &CircuitSettings,
    counts: HealthCounts,
    lately: &[HealthCounts],
    lanes: u64,
) -> String {
    let window = seconds(settings.window);
    let (succeeded, threshold) = (counts.succeeded, settings.threshold);
    let share = |failures: u64| {
        let of = |failures: u64, succeeded: u64| {
            100.0 * failures as f64 / failures.saturating_add(succeeded).max(1) as f64
        };
        let latest = lately
            .iter()
            .filter(|lately| {
                lately.failed_attempts.saturating_add(lately.succeeded) >= settings.minimum_volume
            })
            .map(|lately| of(lately.failed_attempts, lately.succeeded))
            .fold(0.0, f64::max);
        let all = of(failures, succeeded);
        if latest > all {
            format!("{latest:.0} % of the latest attempts failed")
        } else {
            format!("{all:.0} % failed")
        }
    };
    match rule {
        Rule::FinalFailures => format!(
            "{failed} events used up their attempts within {window} (threshold {threshold}), {succeeded} succeeded: \
             {share}",
            failed = counts.failed,
            share = share(counts.failed),
        ),
        Rule::FailingEvents => format!(
            "{failing} events began to fail within {window} (threshold {threshold}), {succeeded} succeeded: {share}",
            failing = counts.failing,
            share = share(counts.failing),
        ),
        Rule::EveryLane => format!(
            "events used up their attempts in {failed_lanes} of {lanes} lanes within {window}, and nothing succeeds \
             any more",
            failed_lanes = counts.failed_lanes.min(lanes.max(2)),
        ),
    }
}

/// A duration for a person.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(instance: &str, succeeded: u64, failing: u64, failed: u64, failed_lanes: u64) -> InstanceHealth {
        let counts =
            HealthCounts { succeeded, failing, failed_attempts: failing + failed, failed, failed_lanes };
        InstanceHealth { instance: instance.to_owned(), counts }
    }

    fn names(window: &[InstanceHealth]) -> BTreeSet<String> {
        window.iter().map(|one| one.instance.clone()).collect()
    }

    fn judge(window: &[InstanceHealth], instance: &str, lanes: u64) -> Decision {
        let others = &names(window);
        let evidence = Evidence { window, lately: &[], lanes, instance, others, can_step_aside: true };
        decide(&CircuitSettings::default(), &evidence)
    }

    fn rule_for(window: &[InstanceHealth], lanes: u64) -> Option<Rule> {
        match judge(window, "a", lanes) {
            Decision::Nothing => None,
            Decision::Open(finding) => Some(finding.rule),
            Decision::StepAside(finding) => panic!("stepped aside: {finding:?}"),
        }
    }

    #[test]
    fn more_final_failures_than_the_threshold_open_it() {
        assert_eq!(rule_for(&[at("a", 100, 0, 100, 1)], 32), None);
        assert_eq!(rule_for(&[at("a", 101, 0, 101, 1)], 32), Some(Rule::FinalFailures));
        assert_eq!(rule_for(&[at("a", 102, 0, 101, 1)], 32), None, "more than half succeed");
        let spread = [at("a", 0, 0, 60, 1), at("b", 0, 0, 60, 1)];
        assert_eq!(rule_for(&spread, 32), Some(Rule::FinalFailures), "the fleet's failures count together");
    }

    #[test]
    fn many_failing_events_open_it_before_their_attempts_are_used_up() {
        assert_eq!(rule_for(&[at("a", 3, 100, 0, 0)], 32), None);
        assert_eq!(rule_for(&[at("a", 3, 101, 0, 0)], 32), Some(Rule::FailingEvents));
        assert_eq!(rule_for(&[at("a", 500, 101, 0, 0)], 32), None);
    }

    #[test]
    fn half_of_the_lanes_failing_and_nothing_succeeding_open_it() {
        assert_eq!(rule_for(&[at("a", 0, 2, 2, 2)], 4), Some(Rule::EveryLane));
        assert_eq!(rule_for(&[at("a", 0, 1, 1, 1), at("b", 0, 1, 1, 1)], 4), Some(Rule::EveryLane));
        assert_eq!(rule_for(&[at("a", 0, 2, 2, 2)], 5), None, "less than half");
        assert_eq!(rule_for(&[at("a", 1, 2, 2, 2)], 4), None, "one succeeded");
        assert_eq!(rule_for(&[at("a", 0, 9, 9, 1)], 1), None, "a single lane says nothing about others");
    }

    #[test]
    fn bad_events_do_not_open_it() {
        assert_eq!(rule_for(&[at("a", 0, 1, 1, 1)], 1), None, "one event in the only lane");
        assert_eq!(rule_for(&[at("a", 0, 1, 1, 1)], 2), None, "one event and nothing else");
        assert_eq!(rule_for(&[at("a", 400, 150, 150, 1)], 2), None, "one key among many");
        assert_eq!(rule_for(&[at("a", 0, 0, 0, 0)], 2), None, "rejected events are not counted");
        assert_eq!(rule_for(&[], 0), None);
    }

    #[test]
    fn a_small_volume_says_nothing() {
        let settings = CircuitSettings { threshold: 3, ..CircuitSettings::default() };
        let judge = |window: &[InstanceHealth]| {
            decide(
                &settings,
                &Evidence {
                    window,
                    lately: &[],
                    lanes: 8,
                    instance: "a",
                    others: &names(window),
                    can_step_aside: true,
                },
            )
        };
        assert_eq!(judge(&[at("a", 2, 9, 9, 1)]), Decision::Nothing);
        assert!(matches!(judge(&[at("a", 2, 18, 18, 1)]), Decision::Open(_)));
    }

    #[test]
    fn an_instance_that_is_sick_alone_steps_aside_and_the_fleet_goes_on() {
        let window = [at("a", 5, 200, 150, 2), at("b", 90, 1, 0, 0), at("c", 90, 0, 0, 0)];
        let Decision::StepAside(finding) = judge(&window, "a", 6) else { panic!("the sick instance stayed") };
        assert_eq!(finding.counts, window[0].counts);
        assert!(finding.reason.contains("150 events") && finding.reason.contains("are at a"), "{finding:?}");
        assert_eq!(judge(&window, "b", 6), Decision::Nothing);
        assert_eq!(judge(&window, "c", 6), Decision::Nothing);

        let second = Evidence {
            window: &window,
            lately: &[],
            lanes: 6,
            instance: "a",
            others: &names(&window),
            can_step_aside: false,
        };
        assert!(matches!(decide(&CircuitSettings::default(), &second), Decision::Open(_)));
        let never = CircuitSettings { step_aside: Duration::ZERO, ..CircuitSettings::default() };
        let evidence = Evidence { can_step_aside: true, ..second };
        assert!(matches!(decide(&never, &evidence), Decision::Open(_)));
    }

    #[test]
    fn an_instance_is_not_sick_alone_when_the_others_are_idle_or_fail_too() {
        let idle = [at("a", 0, 200, 150, 2), at("b", 19, 0, 0, 0)];
        assert_eq!(rule_for(&idle, 6), Some(Rule::FinalFailures));
        let failing = [at("a", 0, 200, 150, 2), at("b", 10, 15, 15, 2)];
        assert_eq!(rule_for(&failing, 6), Some(Rule::FinalFailures));
    }

    #[test]
    fn an_instance_is_not_sick_alone_when_the_others_are_gone_however_well_they_were() {
        let window = [at("a", 5, 200, 150, 2), at("b", 90, 0, 0, 0), at("c", 90, 0, 0, 0)];
        let judge = |instance: &str, others: &[&str]| {
            let others = &others.iter().map(|other| (*other).to_owned()).collect();
            decide(
                &CircuitSettings::default(),
                &Evidence { window: &window, lately: &[], lanes: 6, instance, others, can_step_aside: true },
            )
        };
        assert!(matches!(judge("a", &[]), Decision::Open(_)), "nobody is left");
        assert!(matches!(judge("a", &["c"]), Decision::StepAside(_)));
        assert_eq!(judge("b", &[]), Decision::Nothing, "it is the sick one that is gone");
    }

    #[test]
    fn the_reason_has_the_numbers() {
        let Decision::Open(finding) = judge(&[at("a", 2, 0, 143, 1)], "a", 8) else { panic!("did not open") };
        assert_eq!(
            finding.reason,
            "143 events used up their attempts within 30 s (threshold 100), 2 succeeded: 99 % failed"
        );
        let Decision::Open(finding) = judge(&[at("a", 0, 4, 4, 4)], "a", 8) else { panic!("did not open") };
        assert_eq!(
            finding.reason,
            "events used up their attempts in 4 of 8 lanes within 30 s, and nothing succeeds any more"
        );
    }

    fn windows() -> impl Strategy<Value = Vec<InstanceHealth>> {
        let counts = (0_u64..300, 0_u64..300, 0_u64..300, 0_u64..10);
        proptest::collection::vec(counts, 1..5).prop_map(|all| {
            let health = |(index, (succeeded, failing, failed, lanes)): (usize, (u64, u64, u64, u64))| {
                at(&format!("i{index}"), succeeded, failing, failed, lanes.min(failed))
            };
            all.into_iter().enumerate().map(health).collect()
        })
    }

    fn thresholds() -> impl Strategy<Value = CircuitSettings> {
        (1_u64..200, 1_u64..100, 0.05_f64..=1.0).prop_map(|(threshold, minimum_volume, failure_ratio)| {
            CircuitSettings { threshold, minimum_volume, failure_ratio, ..CircuitSettings::default() }
        })
    }

    /// What all instances decide.
    fn decisions(settings: &CircuitSettings, window: &[InstanceHealth], lanes: u64) -> Vec<Decision> {
        let judge = |one: &InstanceHealth| {
            decide(
                settings,
                &Evidence {
                    window,
                    lately: &[],
                    lanes,
                    instance: &one.instance,
                    others: &names(window),
                    can_step_aside: true,
                },
            )
        };
        window.iter().map(judge).collect()
    }

    fn opens(decisions: &[Decision]) -> bool {
        decisions.iter().all(|decision| matches!(decision, Decision::Open(_)))
    }

    fn steps_aside(decisions: &[Decision]) -> usize {
        decisions.iter().filter(|decision| matches!(decision, Decision::StepAside(_))).count()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn all_instances_open_it_or_one_steps_aside_or_nobody_does_anything(settings in thresholds(), window in windows(), lanes in 1_u64..20) {
            let decisions = decisions(&settings, &window, lanes);
            let nothing = decisions.iter().filter(|decision| **decision == Decision::Nothing).count();
            prop_assert!(opens(&decisions) || nothing + steps_aside(&decisions) == window.len());
            prop_assert!(steps_aside(&decisions) <= 1);
        }

        #[test]
        fn more_failures_never_make_it_better(
            settings in thresholds(), window in windows(), lanes in 1_u64..20,
            whose: usize, failing in 0_u64..200, failed in 0_u64..200, failed_lanes in 0_u64..10,
        ) {
            let before = decisions(&settings, &window, lanes);
            let mut worse = window.clone();
            let index = whose % window.len();
            worse[index].counts += HealthCounts { succeeded: 0, failing, failed_attempts: failing + failed, failed, failed_lanes };
            let after = decisions(&settings, &worse, lanes);
            if opens(&before) {
                prop_assert!(opens(&after) || steps_aside(&after) == 1);
            }
            if matches!(before[index], Decision::StepAside(_)) {
                prop_assert!(matches!(after[index], Decision::StepAside(_)));
            }
        }

        #[test]
        fn a_single_failing_event_never_opens_it(settings in thresholds(), succeeded in 0_u64..500, lanes in 1_u64..20) {
            let window = [at("a", succeeded, 1, 1, 1)];
            prop_assert_eq!(decisions(&settings, &window, lanes), [Decision::Nothing]);
        }

        #[test]
        fn without_failures_nothing_happens(settings in thresholds(), succeeded in 0_u64..500, lanes in 0_u64..20) {
            prop_assert_eq!(decisions(&settings, &[at("a", succeeded, 0, 0, 0)], lanes), [Decision::Nothing]);
        }
    }
}
