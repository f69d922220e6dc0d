//! How the dead letters of each cause came over the last day.

use maud::{Markup, html};

use tidegate_api::Trend;

use tidegate_model::clock::Timestamp;

use crate::components::chart::{Chart, Line, Look, Unit, spark};
use crate::problem::Outcome;
use crate::series::Span;
use crate::text;
use crate::visit::Visit;

/// The trends of several causes; nothing where the API has none.
pub(super) struct Trends(Option<Trend>);

impl Trends {
    /// Asks the API.
    pub(super) async fn ask(visit: &Visit) -> Outcome<Self> {
        Ok(Self(visit.api.find("/api/v1/dead-letter-trend?within=24h&buckets=48").await?))
    }

    /// Whether there are any.
    pub(super) fn are_known(&self) -> bool {
        self.0.is_some()
    }

    fn points(&self, cause: &str) -> Option<(Timestamp, u64, Vec<Option<f64>>)> {
        let trend = self.0.as_ref()?;
        let none = vec![0; trend.groups.first().map_or(0, |group| group.counts.len())];
        let counts =
            trend.groups.iter().find(|group| group.fingerprint == cause).map_or(&none, |group| &group.counts);
        Some((trend.from, trend.step_s, counts.iter().map(|count| Some(*count as f64)).collect()))
    }

    /// A small line.
    pub(super) fn spark(&self, cause: &str) -> Markup {
        let Some((.., points)) = self.points(cause) else { return html! {} };
        let total: f64 = points.iter().flatten().sum();
        spark(&format!("{} in this time", text::count(total as u64)), &points)
    }

    /// A chart.
    pub(super) fn chart(&self, cause: &str) -> Markup {
        let Some((from, step_s, points)) = self.points(cause) else { return html! {} };
        Chart {
            title: "Set aside over time",
            unit: Unit::Events,
            lines: &[Line { name: "set aside", look: Look::Act, points: &points }],
            span: Span {
                from: Some(from),
                seconds: step_s as f64 * points.len() as f64,
                step_s: step_s as f64,
            },
            gap: false,
            tight: false,
            table: None,
        }
        .render()
    }
}
