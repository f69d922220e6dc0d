//! The document around a page.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::Shared;
use crate::assets;
use crate::components::mark::Tone;
use crate::components::notice::notice;
use crate::page::{Page, Section};
use crate::shell::Theme;
use crate::viewer::Viewer;

/// What the frame shows beside the page.
pub struct Frame<'a> {
    /// Who looks.
    pub viewer: &'a Viewer,
    /// How it looks.
    pub theme: Theme,
    /// What the last form did.
    pub notice: Option<&'a str>,
    /// The page's own address.
    pub here: &'a str,
    /// What all requests share.
    pub shared: &'a Shared,
}

/// An entry of the navigation.
pub struct Entry {
    /// The part of the console.
    pub section: Section,
    /// What it is called.
    pub name: &'static str,
    /// Where it is.
    pub address: &'static str,
    /// The key that goes there after `g`.
    pub key: char,
}

const fn entry(section: Section, name: &'static str, address: &'static str, key: char) -> Entry {
    Entry { section, name, address, key }
}

/// The navigation, in groups: what flows, what failed, what came out, and the program itself.
pub const NAVIGATION: &[(&str, &[Entry])] = &[
    (
        "Flow",
        &[
            entry(Section::Overview, "Overview", "/", 'o'),
            entry(Section::Hubs, "Hubs", "/hubs", 'h'),
            entry(Section::Functions, "Functions", "/functions", 'f'),
            entry(Section::Documents, "Documents", "/documents", 'e'),
        ],
    ),
    (
        "Failures",
        &[
            entry(Section::DeadLetters, "Dead letters", "/dead-letters", 'd'),
            entry(Section::Circuits, "Circuits", "/circuits", 'c'),
            entry(Section::Alerts, "Alerts", "/alerts", 'a'),
        ],
    ),
    (
        "Find",
        &[
            entry(Section::Trace, "Trace", "/trace", 't'),
            entry(Section::Logs, "Logs", "/logs", 'l'),
            entry(Section::Query, "Query", "/query", 'q'),
        ],
    ),
    (
        "Program",
        &[
            entry(Section::Settings, "Settings", "/settings", 's'),
            entry(Section::Trail, "Audit trail", "/trail", 'u'),
        ],
    ),
];

/// The whole document, with the visitor's token in its forms.
pub fn document(page: &Page, frame: &Frame<'_>) -> String {
    let theme = (frame.theme != Theme::Auto).then(|| frame.theme.name());
    let live = !page.fragments.is_empty();
    let document = html! {
        (DOCTYPE)
        html lang="en" data-theme=[theme] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content=(if frame.theme == Theme::Auto { "light dark" } else { frame.theme.name() });
                title { (page.title) " · Tidegate" }
                link rel="icon" type="image/svg+xml" href=(assets::address("icon.svg"));
                link rel="stylesheet" href=(assets::address("console.css"));
                script src=(assets::address("console.js")) defer {}
            }
            body data-live=[live.then_some(frame.here)] data-now=(frame.shared.clock.now()) {
                a class="skip" href="#main" { "Skip to the content" }
                (hatch())
                (side(page.section))
                div class="page" {
                    (top(frame, live))
                    main id="main" tabindex="-1" {
                        @if let Some(said) = frame.notice {
                            div role="status" { (notice(Tone::Busy, &html! { (said) })) }
                        }
                        @if !page.crumbs.is_empty() {
                            nav class="crumbs" aria-label="Way" {
                                @for (name, address) in &page.crumbs { a href=(address) { (name) } span aria-hidden="true" { "/" } }
                            }
                        }
                        @if page.heading { h1 { (page.title) } }
                        (PreEscaped(&page.body))
                        // What the script says to those who listen.
                        p id="said" class="unseen" aria-live="polite" {}
                    }
                }
            }
        }
    };
    with_token(&document.into_string(), &frame.shared.csrf_mark, frame.viewer.csrf.as_deref())
}

/// Puts a visitor's token where pages left room for it, in HTML as well as in JSON. A token that would have to be escaped in
/// either is none of ours.
pub(crate) fn with_token(text: &str, mark: &str, token: Option<&str>) -> String {
    let is_plain =
        |token: &&str| token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~+/=".contains(&byte));
    text.replace(mark, token.filter(is_plain).unwrap_or_default())
}

fn side(current: Section) -> Markup {
    html! {
        div class="side" {
            nav aria-label="Main" {
                a class="brand" href="/" {
                    (PreEscaped(assets::LOGO))
                    span { "Tidegate" }
                }
                @for (group, entries) in NAVIGATION {
                    div class="group" {
                        h2 { (group) }
                        ul {
                            @for entry in *entries {
                                li {
                                    a href=(entry.address) data-go=(entry.key)
                                        aria-current=[(entry.section == current).then_some("page")] { (entry.name) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn top(frame: &Frame<'_>, live: bool) -> Markup {
    let viewer = frame.viewer;
    let next = frame.theme.next();
    html! {
        header class="top" {
            form method="get" action="/search" role="search" aria-label="Everything" class="search" {
                label class="unseen" for="q" { "Search: a key, hub/partition/sequence number, #dead letter, or error code" }
                input type="search" name="q" id="q" placeholder="Key, hub/partition/sequence, #dead letter" autocomplete="off"
                    aria-keyshortcuts="/";
            }
            @if live {
                p class="pulse" id="pulse" data-state="still" { span class="dot" aria-hidden="true" {} span id="pulse-word" { "As of loading" } }
            }
            div class="who" {
                form method="post" action="/theme" {
                    input type="hidden" name="theme" value=(next.name());
                    input type="hidden" name="back" value=(frame.here);
                    button type="submit" class="quiet" title={ "Theme: " (frame.theme.name()) ". Switch to " (next.name()) } {
                        span { (theme_word(frame.theme)) } span class="unseen" { ", switch to " (next.name()) }
                    }
                }
                a class="quiet" href="/keys" title="Keys" aria-keyshortcuts="?" { "?" span class="unseen" { " Keys of the console" } }
                @if viewer.signed_in {
                    span class="name" title=[viewer.name.as_deref()] {
                        (viewer.short_name())
                        // Who has no name of their own is called by their role.
                        @if let Some(role) = viewer.role.filter(|role| role.to_string() != viewer.short_name()) { small { (role) } }
                    }
                    form method="post" action="/sign-out" {
                        input type="hidden" name="csrf" value=(frame.shared.csrf_mark);
                        button type="submit" class="quiet" { "Sign out" }
                    }
                } @else {
                    a class="quiet" href=(crate::api::address("/sign-in", &[("then", Some(frame.here))])) { "Sign in" }
                }
            }
        }
    }
}

fn theme_word(theme: Theme) -> &'static str {
    match theme {
        Theme::Auto => "Theme: auto",
        Theme::Light => "Theme: light",
        Theme::Dark => "Theme: dark",
    }
}

/// The pattern that charts fill gaps with, so that they are seen without colours.
fn hatch() -> Markup {
    html! {
        svg class="defs" width="0" height="0" aria-hidden="true" focusable="false" {
            defs {
                pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    path class="hatch" d="M0 0V6" {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_goes_to_one_place() {
        let mut keys: Vec<char> =
            NAVIGATION.iter().flat_map(|(_, entries)| entries.iter()).map(|entry| entry.key).collect();
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }

    #[test]
    fn a_token_is_put_in_where_there_is_room_for_it() {
        assert_eq!(with_token("<input value=\"m-1\">", "m-1", Some("a-9=")), "<input value=\"a-9=\">");
        assert_eq!(with_token("<input value=\"m-1\">", "m-1", Some("a\">")), "<input value=\"\">");
        assert_eq!(with_token("<input value=\"m-1\">", "m-1", None), "<input value=\"\">");
    }
}
