//! Facts about one thing: names and values, as a list or as large numbers.

use maud::{Markup, html};

use crate::components::mark::Tone;

/// Names and values, one below the other.
pub fn facts(rows: &[(&str, Markup)]) -> Markup {
    html! {
        dl class="facts" {
            @for (name, value) in rows {
                div { dt { (name) } dd { (value) } }
            }
        }
    }
}

/// A number that is looked for first.
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// The number, with its unit.
    pub value: String,
    /// What explains it, in small print.
    pub note: Option<Markup>,
    /// Where it leads.
    pub address: Option<String>,
    /// Whether it needs somebody.
    pub tone: Tone,
}

impl Figure {
    /// A calm number without more.
    pub fn new(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into(), note: None, address: None, tone: Tone::Calm }
    }

    /// With small print.
    #[must_use]
    pub fn note(mut self, note: Markup) -> Self {
        self.note = Some(note);
        self
    }

    /// As a link.
    #[must_use]
    pub fn leads_to(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// In another tone.
    #[must_use]
    pub fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }
}

/// A row of numbers.
pub fn figures(figures: &[Figure]) -> Markup {
    html! {
        dl class="figures" {
            @for figure in figures {
                div class=(figure.tone.class()) {
                    dt { (figure.name) }
                    dd {
                        @match &figure.address {
                            Some(address) => a href=(address) { (figure.value) },
                            None => (figure.value),
                        }
                        @if let Some(note) = &figure.note { small { (note) } }
                    }
                }
            }
        }
    }
}
