//! Redriving and discarding: first what would be done and to how many, then a reason, then it is done.

use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};

use tidegate_api::{BulkAct, BulkActRequest, Circuit, DeadLetterActed, DeadLetterGroup};

use super::filter::Filter;
use super::{SHORT, refusal};
use crate::api::{Listing, encoded};
use crate::bulk::{Deed, Tally, request};
use crate::components::controls::{act as act_form, reason, submit, submit_grave};
use crate::components::facts::facts;
use crate::components::mark::Tone;
use crate::components::notice::{empty, notice};
use crate::components::table::{heads, table};
use crate::components::time::at;
use crate::form::{Fields, done};
use crate::page::{Page, Section};
use crate::problem::{Outcome, Problem};
use crate::shell::see_other;
use crate::text;
use crate::viewer::Role;
use crate::visit::Visit;

/// How many dead letters can be picked by hand: the API takes so many at once.
const MAX_PICKED: usize = 1000;

/// Where all that match a filter are acted on.
pub(super) fn address(deed: Deed, filter: &Filter) -> String {
    filter.address("/dead-letters/act", &[("do", Some(deed.name()))])
}

/// What is acted on.
enum Target {
    Picked(Vec<u64>),
    Matching(Filter),
}

fn target(fields: &Fields) -> Outcome<Target> {
    let mut picked = Vec::new();
    for id in fields.all("id") {
        let shown =
            || Problem::bad_request(format!("{:?} is the number of no dead letter", text::shortened(id, 32)));
        picked.push(id.trim().parse::<u64>().map_err(|_| shown())?);
    }
    if picked.len() > MAX_PICKED {
        return Err(Problem::bad_request(format!(
            "{} dead letters are picked, and {MAX_PICKED} is the most",
            picked.len()
        ))
        .action("act on all that match a filter instead"));
    }
    if !picked.is_empty() {
        return Ok(Target::Picked(picked));
    }
    // The list sends nothing but its picks: without one nothing is meant.
    if fields.is_set("picks") {
        return Err(Problem::bad_request("no dead letter is selected")
            .action("go back, and check the boxes of those you mean"));
    }
    Ok(Target::Matching(Filter::of_fields(fields)))
}

fn deed(fields: &Fields) -> Outcome<Deed> {
    Deed::named(fields.text("do")).ok_or_else(|| {
        Problem::bad_request("it is not said what to do")
            .action("choose redrive or discard in the list of dead letters")
    })
}

/// Says what would be done, and asks why.
pub(super) async fn confirm(visit: Visit) -> Outcome<Page> {
    let fields = Fields::parse(visit.uri.query().unwrap_or_default().as_bytes());
    page(&visit, &fields, None).await
}

async fn page(visit: &Visit, fields: &Fields, refused: Option<&Problem>) -> Outcome<Page> {
    visit.viewer.must_be(Role::Operator)?;
    let deed = deed(fields)?;
    let title = match deed {
        Deed::Redrive => "Redrive dead letters",
        Deed::Discard => "Discard dead letters",
    };
    let target = target(fields)?;
    let content = match &target {
        Target::Picked(ids) => picked(visit, deed, ids),
        Target::Matching(filter) => matching(visit, deed, filter, fields).await?,
    };
    let page = Page::new(Section::DeadLetters, title).below("Dead letters", "/dead-letters");
    Ok(page.body(html! {
        @if let Some(problem) = refused { (refusal(problem)) }
        (content)
    }))
}

fn meaning(deed: Deed) -> Markup {
    html! {
        @match deed {
            Deed::Redrive => p { "Their functions process the events once more, each at its place in the order of its key. An event that fails again comes back as the same dead letter; one that comes back too often is quarantined." }
            Deed::Discard => p { "The events are given up: no function processes them any more. They stay in the list of the discarded, with who did it and why." }
        }
    }
}

fn form(visit: &Visit, deed: Deed, label: &str, hidden: &Markup, force: bool) -> Markup {
    act_form(
        visit,
        Role::Operator,
        "/dead-letters/act",
        &html! {
            input type="hidden" name="do" value=(deed.name());
            (hidden)
            @if force {
                span class="check" { input type="checkbox" name="force" value="1" id="force"; label for="force" { "also quarantined ones" } }
            }
            (reason("reason", true))
            @match deed { Deed::Redrive => (submit(label)), Deed::Discard => (submit_grave(label)) }
            a class="button" href="/dead-letters" { "Cancel" }
        },
    )
}

fn picked(visit: &Visit, deed: Deed, ids: &[u64]) -> Markup {
    let hidden = html! { @for id in ids { input type="hidden" name="id" value=(id); } };
    let count = text::counted(ids.len() as u64, "dead letter", "dead letters");
    html! {
        p class="lead" { "You picked " (count) ": " @for (nth, id) in ids.iter().take(50).enumerate() { @if nth > 0 { ", " } a href={ "/dead-letters/" (id) } { "#" (id) } } @if ids.len() > 50 { ", …" } }
        (meaning(deed))
        (form(visit, deed, &format!("{} {count}", verb(deed)), &hidden, deed == Deed::Redrive))
    }
}

fn verb(deed: Deed) -> &'static str {
    match deed {
        Deed::Redrive => "Redrive",
        Deed::Discard => "Discard",
    }
}

/// The dry run of an act on all that match: how many there are, of which causes, and what stands in the way.
async fn matching(visit: &Visit, deed: Deed, filter: &Filter, fields: &Fields) -> Outcome<Markup> {
    // What comes after it was counted is not meant.
    let until =
        if fields.text("until").is_empty() { visit.now.to_string() } else { fields.text("until").to_owned() };
    let filter = filter.with("until", &until);
    let count = async |status: &str| -> Outcome<Vec<DeadLetterGroup>> {
        let wanted = filter
            .get("status")
            .is_none_or(|asked| asked == "all" || asked.split(',').any(|one| one == status));
        if !wanted {
            return Ok(Vec::new());
        }
        let query = filter.with("status", status).api_query(visit.now);
        Ok(visit
            .api
            .get::<Listing<DeadLetterGroup>>(&format!("/api/v1/dead-letter-groups?{query}"))
            .await?
            .items)
    };
    let (open, quarantined) = (count("open").await?, count("quarantined").await?);
    let sum = |groups: &[DeadLetterGroup]| groups.iter().map(|group| group.count).sum::<u64>();
    let (open_count, quarantined_count) = (sum(&open), sum(&quarantined));
    let total = open_count + quarantined_count;
    if total == 0 {
        return Ok(html! {
            (empty("There is nothing to do", &html! { "None that matches " (filter.without("until").in_words()) " waits for a decision. " a href="/dead-letters" { "All dead letters" } "." }))
        });
    }
    let circuits = match deed {
        Deed::Redrive => visit
            .api
            .find::<Listing<Circuit>>("/api/v1/circuits")
            .await?
            .map_or_else(Vec::new, |page| page.items),
        Deed::Discard => Vec::new(),
    };
    let mut groups: Vec<&DeadLetterGroup> = open.iter().chain(&quarantined).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    let stopped = circuits.iter().filter(|circuit| {
        (circuit.state != "closed" || circuit.paused.is_some())
            && groups.iter().any(|group| group.function == circuit.function)
    });
    let rows = html! {
        @for group in groups.iter().take(20) {
            tr {
                td class="n" { (text::count(group.count)) }
                th scope="row" class="w" { a href={ "/dead-letters/groups/" (encoded(&group.fingerprint)) } { (text::shortened(&group.reason, SHORT)) } }
                td { (group.function) }
                td { a href={ "/dead-letters/" (group.example) } { "#" (group.example) } }
            }
        }
    };
    let hidden = html! {
        (filter.without("status").hidden())
        input type="hidden" name="status" value=[filter.get("status")];
        input type="hidden" name="expected" value=(total);
        input type="hidden" name="expected_open" value=(open_count);
    };
    let what = match deed {
        Deed::Redrive => open_count,
        Deed::Discard => total,
    };
    let label = format!("{} {}", verb(deed), text::counted(what, "dead letter", "dead letters"));
    Ok(html! {
        p class="lead" { "Nothing is done yet. " strong { (text::counted(total, "dead letter", "dead letters")) } " would be meant." }
        (facts(&[
            ("Which", filter.without("until").in_words()),
            ("Set aside before", html! { @match until.parse() { Ok(until) => (at(until)), Err(_) => (until) } }),
            ("Open", html! { (text::count(open_count)) }),
            ("Quarantined", html! {
                (text::count(quarantined_count))
                @if quarantined_count > 0 && deed == Deed::Redrive { span class="small" { " came back too often, and are left out unless you say so" } }
            }),
        ]))
        @for circuit in stopped {
            (notice(Tone::Watch, &html! {
                @if circuit.state == "closed" { "The function " (circuit.function) " is paused" } @else { "The circuit of " (circuit.function) " is " (circuit.state) }
                ": redriven events wait until it goes on. " a href={ "/circuits/" (encoded(&circuit.function)) } { "Look at it" }
            }))
        }
        (meaning(deed))
        @if deed == Deed::Redrive && groups.iter().all(|group| group.class == "permanent") {
            (notice(Tone::Watch, &html! {
                "All of these were rejected for good: redriven as they are, they come back unless the function was changed since."
            }))
        }
        (form(visit, deed, &label, &hidden, deed == Deed::Redrive && quarantined_count > 0))
        h2 { "By cause" }
        (table("By cause", &heads(&[">Count", "Cause", "Function", "Example"]), &rows))
        @if groups.len() > 20 { p class="small" { "and " (groups.len() - 20) " more causes" } }
    })
}

/// Does it.
pub(super) async fn act(visit: Visit, fields: Fields) -> Outcome<Response> {
    visit.viewer.must_be(Role::Operator)?;
    let (deed, target) = (deed(&fields)?, target(&fields)?);
    let why = fields.text("reason").trim();
    if why.is_empty() {
        let problem =
            Problem::bad_request("this needs a reason").action("say why: it is kept in the audit trail.");
        return Ok(page(&visit, &fields, Some(&problem)).await?.status(problem.status).into_response());
    }
    let force = fields.is_set("force");
    match target {
        Target::Picked(ids) => {
            let path = format!("/api/v1/dead-letters/{}", deed.name());
            let answers: Listing<DeadLetterActed> =
                visit.api.post(&path, &request(&ids, force, why), fields.csrf()).await?;
            let mut tally = Tally::default();
            tally.add(&answers.items);
            let to = match ids.as_slice() {
                [id] => format!("/dead-letters/{id}"),
                _ => "/dead-letters?view=list".to_owned(),
            };
            Ok(done(&to, &in_words(deed, &tally)))
        }
        Target::Matching(filter) => {
            // Of all statuses those that can be acted on.
            let filter = if filter.get("status") == Some("all") { filter.without("status") } else { filter };
            let asked = BulkActRequest {
                act: deed.into(),
                filter: filter.conditions(visit.now),
                force,
                reason: why.to_owned(),
            };
            let started: BulkAct = visit.api.post("/api/v1/dead-letter-acts", &asked, fields.csrf()).await?;
            Ok(see_other(&format!("/dead-letters/acts/{}", started.id)))
        }
    }
}

/// What came of an act, in a sentence.
pub(super) fn in_words(deed: Deed, tally: &Tally) -> String {
    let mut said = format!("{}: {}.", deed.done(), text::counted(tally.done, "dead letter", "dead letters"));
    for (why, count) in &tally.refused {
        said.push_str(&format!(
            " Not {}: {}, because {why}.",
            deed.done().to_lowercase(),
            text::count(*count)
        ));
    }
    said
}
