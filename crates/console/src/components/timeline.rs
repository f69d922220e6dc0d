//! What happened, one thing below the other.

use maud::{Markup, html};

use tidegate_model::clock::Timestamp;

use crate::components::mark::{Tone, shape};
use crate::components::time::at as exact_time;

/// One thing that happened.
pub struct Moment {
    /// When, where that is known.
    pub at: Option<Timestamp>,
    /// How much it matters.
    pub tone: Tone,
    /// What.
    pub what: Markup,
    /// More about it.
    pub detail: Option<Markup>,
}

/// Moments in the order they are given.
pub fn timeline(moments: &[Moment]) -> Markup {
    html! {
        ol class="timeline" {
            @for moment in moments {
                li class=(moment.tone.class()) {
                    (shape(moment.tone))
                    div {
                        p { (moment.what) @if let Some(at) = moment.at { " " small { (exact_time(at)) } } }
                        @if let Some(detail) = &moment.detail { (detail) }
                    }
                }
            }
        }
    }
}
