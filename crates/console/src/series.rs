//! Values over time, for charts.

use std::collections::BTreeSet;

use tidegate_api::Series;

use crate::api::encoded;
use crate::problem::Outcome;
use crate::visit::Visit;

/// Measured values over time.
pub struct Measured(Option<Series>);

impl Measured {
    /// The values of these names over the last seconds. Where nothing is measured there are none, and no error: everything
    /// else of a page is still worth showing.
    ///
    /// # Errors
    /// What the API says otherwise.
    pub async fn fetch(
        visit: &Visit,
        names: impl IntoIterator<Item = String>,
        seconds: u32,
    ) -> Outcome<Self> {
        let names: BTreeSet<String> = names.into_iter().collect();
        if names.is_empty() {
            return Ok(Self(None));
        }
        let names: Vec<String> = names.iter().map(|name| format!("name={}", encoded(name))).collect();
        let path = format!("/api/v1/series?{}&seconds={seconds}", names.join("&"));
        visit.api.find(&path).await.map(Self)
    }

    /// The values under a name, the oldest first; none if there is no such.
    pub fn points(&self, name: &str) -> &[Option<f64>] {
        let lines = self.0.as_ref().map_or(&[][..], |series| &series.series);
        lines.iter().find(|line| line.name == name).map_or(&[], |line| &line.points)
    }
}
