//! The state of something: a shape and a word, so that no colour has to be seen.

use maud::{Markup, html};

/// How much of a person a state needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// All is as it should be, or nothing happens: grey.
    Calm,
    /// Something is under way or was decided by a person, such as a pause: the accent.
    Busy,
    /// It goes on by itself, but somebody may want to know.
    Watch,
    /// Somebody has to do something.
    Act,
}

impl Tone {
    /// The name of its class.
    pub fn class(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Busy => "busy",
            Self::Watch => "watch",
            Self::Act => "act",
        }
    }
}

/// A state: the shape of its tone and a word. Calm is a ring, busy a disc, watch a triangle, act a filled diamond.
pub fn mark(tone: Tone, word: &str) -> Markup {
    html! {
        span class={ "mark " (tone.class()) } { (shape(tone)) (word) }
    }
}

/// The shape alone, where the word is beside it already.
pub fn shape(tone: Tone) -> Markup {
    html! {
        svg class={ "shape " (tone.class()) } viewBox="0 0 12 12" aria-hidden="true" focusable="false" {
            @match tone {
                Tone::Calm => { circle cx="6" cy="6" r="3.6" fill="none" stroke="currentColor" stroke-width="1.6" {} }
                Tone::Busy => { circle cx="6" cy="6" r="4.2" fill="currentColor" {} }
                Tone::Watch => { path d="M6 1.2 11.4 10.8H.6Z" fill="currentColor" {} }
                Tone::Act => { path d="M6 .4 11.6 6 6 11.6.4 6Z" fill="currentColor" {} }
            }
        }
    }
}
