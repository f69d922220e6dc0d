//! Points in time: told relative to now, with the exact one beneath.

use maud::{Markup, html};

use tidegate_model::clock::Timestamp;

use crate::text::{NOTHING, exact, relative};

/// A point in time as `12 s ago`; the exact one is in its title and in the element. Browsers with JavaScript keep it
/// current.
pub fn ago(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at) title=(exact(at)) data-relative { (relative(at, now)) } }
}

/// The same, where there may be none.
pub fn ago_if(at: Option<Timestamp>, now: Timestamp) -> Markup {
    html! {
        @match at {
            Some(at) => (ago(at, now)),
            None => span class="nothing" { (NOTHING) },
        }
    }
}

/// The exact point in time, where order matters more than age.
pub fn at(at: Timestamp) -> Markup {
    html! { time datetime=(at) { (exact(at)) } }
}
