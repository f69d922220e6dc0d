//! Sentences that stand out: what is wrong, that there is nothing, what was done.

use maud::{Markup, html};

use crate::components::mark::{Tone, shape};

/// A sentence in a tone.
pub fn notice(tone: Tone, content: &Markup) -> Markup {
    html! {
        p class={ "notice " (tone.class()) } { (shape(tone)) span { (content) } }
    }
}

/// In place of a list that is empty: what is not there, and what that means or how it comes.
pub fn empty(what: &str, why: &Markup) -> Markup {
    html! {
        div class="empty" { p { strong { (what) } } p { (why) } }
    }
}
