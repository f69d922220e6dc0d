//! How the dead letters of each cause came over the last day.

use maud::{Markup, html};

use tidegate_api::Trend;

use crate::components::chart::{Chart, Line, Look, spark};
use crate::problem::Outcome;
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

    fn points(&self, cause: &str) -> Option<(u64, Vec<Option<f64>>)> {
        let trend = self.0.as_ref()?;
        let none = vec![0; trend.groups.first().map_or(0, |group| group.counts.len())];
        let counts =
            trend.groups.iter().find(|group| group.fingerprint == cause).map_or(&none, |group| &group.counts);
        Some((trend.step_s, counts.iter().map(|count| Some(*count as f64)).collect()))
    }

    /// A small line.
    pub(super) fn spark(&self, cause: &str) -> Markup {
        let Some((_, points)) = self.points(cause) else { return html! {} };
        let total: f64 = points.iter().flatten().sum();
        spark(&format!("{} in this time", text::count(total as u64)), &points)
    }

    /// A chart.
    pub(super) fn chart(&self, cause: &str) -> Markup {
        let Some((step_s, points)) = self.points(cause) else { return html! {} };
        Chart {
            title: "Set aside over time",
            format: |events| text::count(events.max(0.0).round() as u64),
            lines: &[Line { name: "in each step", look: Look::Act, points: &points }],
            seconds: step_s as f64 * points.len() as f64,
            gap: false,
        }
        .render()
    }
}
