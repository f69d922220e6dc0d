//! Settings: what holds, and who says so.

use maud::{Markup, html};

use tidegate_api::{Origin, Setting};

use crate::api::{Listing, address};
use crate::components::controls::{field, filter, tabs};
use crate::components::notice::empty;
use crate::components::table::{heads, table};
use crate::page::{Page, Section};
use crate::problem::Outcome;
use crate::viewer::Role;
use crate::visit::Visit;

/// The most pages of the API that are read: a configuration has a few hundred keys.
const MAX_PAGES: usize = 10;

/// The page.
pub(super) async fn show(visit: Visit) -> Outcome<Page> {
    let mut settings: Vec<Setting> = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let page: Listing<Setting> =
            visit.api.get(&address("/api/v1/configuration", &[("after", after.as_deref())])).await?;
        settings.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let wanted = visit.parameter("find").map(|text| text.to_lowercase());
    let is_all = visit.parameter("show").as_deref() == Some("all");
    let meant = |setting: &&Setting| {
        (is_all || setting.origin != Origin::Default || wanted.is_some())
            && wanted.as_ref().is_none_or(|wanted| {
                [Some(&setting.table), Some(&setting.key), setting.value.as_ref().filter(|_| !setting.secret)]
                    .into_iter()
                    .flatten()
                    .any(|text| text.to_lowercase().contains(wanted.as_str()))
            })
    };
    let mut shown: Vec<&Setting> = settings.iter().filter(meant).collect();
    // A table's own keys may stand before and after its sub-tables.
    let first_of = |table: &str| settings.iter().position(|setting| setting.table == table);
    shown.sort_by_cached_key(|setting| first_of(&setting.table));
    let set = settings.iter().filter(|setting| setting.origin != Origin::Default).count();
    Ok(Page::new(Section::Settings, "Settings").body(html! {
        (sections(&visit, Part::Configuration))
        (filter("/settings", &field("find", "Find", visit.parameter("find").as_deref(), "a table, key or value")))
        (tabs("Which", &[
            ("Set by somebody", "/settings".to_owned(), !is_all && wanted.is_none()),
            ("All, with defaults", "/settings?show=all".to_owned(), is_all),
        ]))
        @if settings.is_empty() {
            (empty("There is no configuration to show", &html! { "No server runs behind this page." }))
        } @else if shown.is_empty() {
            (empty("No setting matches", &html! { @if set == 0 && wanted.is_none() { "Everything is at its default. " } a href="/settings?show=all" { "Show all" } }))
        } @else {
            (listed(&shown))
        }
        p class="small" { "Secrets are named, never shown. Settings change in the file, the environment or the command line, and hold from the next start." }
    }))
}

/// The pages of this part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// What holds, and who says so.
    Configuration,
    /// Who has access.
    Tokens,
    /// Who is signed in.
    Sessions,
}

/// The ways between the pages of this part.
pub(super) fn sections(visit: &Visit, here: Part) -> Markup {
    let tab = |name, address: &str, part| (name, address.to_owned(), part == here);
    html! {
        @if visit.viewer.may(Role::Admin) {
            (tabs("Part", &[
                tab("Configuration", "/settings", Part::Configuration),
                tab("Tokens", "/tokens", Part::Tokens),
                tab("Sessions", "/sessions", Part::Sessions),
            ]))
        }
    }
}

fn listed(settings: &[&Setting]) -> Markup {
    let rows = html! {
        @for (nth, setting) in settings.iter().enumerate() {
            @if nth == 0 || settings[nth - 1].table != setting.table {
                tr class="part" { th scope="rowgroup" colspan="3" { code { (setting.table) } } }
            }
            tr {
                th scope="row" class="m" { (setting.key) }
                td class="m w" {
                    @if setting.secret {
                        @match &setting.value { Some(place) => { span class="small" { "secret, in " } (place) } None => span class="small" { "secret" } }
                    } @else {
                        @match (&setting.value, &setting.meaning) {
                            (Some(value), _) => (value),
                            (None, Some(meaning)) => span class="small" { (meaning) },
                            (None, None) => span class="nothing" { (crate::text::NOTHING) },
                        }
                    }
                }
                td { (origin(setting.origin)) @if let Some(place) = &setting.place { " " span class="small m w" { (place) } } }
            }
        }
    };
    table("Settings", &heads(&["Key", "Value", "Where it comes from"]), &rows)
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Default => "default",
        Origin::File => "file",
        Origin::Environment => "environment",
        Origin::CommandLine => "command line",
    }
}
