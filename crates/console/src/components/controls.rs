//! What a person acts with: forms that carry the token against forged requests, buttons that ask first, filters.

use maud::{Markup, html};

use crate::viewer::Role;
use crate::visit::Visit;

/// A form that changes something. It carries the token of the session, and the page to come back to.
///
/// For a visitor who may not do it there is a sentence in its place that says what they lack.
pub fn act(visit: &Visit, needed: Role, address: &str, content: &Markup) -> Markup {
    html! {
        @if visit.viewer.may(needed) {
            form method="post" action=(address) class="deed" {
                input type="hidden" name="csrf" value=(visit.shared.csrf_mark);
                input type="hidden" name="back" value=(visit.here());
                (content)
            }
        } @else {
            (lacking(visit, needed))
        }
    }
}

/// Says which role something needs, and how to get it.
pub fn lacking(visit: &Visit, needed: Role) -> Markup {
    html! {
        p class="lacking" {
            "This needs the role " (needed) ". "
            a href=(crate::api::address("/sign-in", &[("then", Some(visit.here()))])) { "Sign in" }
            @if visit.viewer.signed_in { " with another token" }
            "."
        }
    }
}

/// Something that is asked for only when it is wanted: its content is hidden behind a button that names it.
pub fn on_demand(label: &str, content: &Markup) -> Markup {
    html! {
        details class="demand" { summary { span class="button" { (label) } } div class="demanded" { (content) } }
    }
}

/// The field for a reason, which is kept in the audit trail. `id` is unique in the page.
pub fn reason(id: &str, required: bool) -> Markup {
    html! {
        label for=(id) { "Reason" @if !required { " (optional)" } }
        input type="text" name="reason" id=(id) required[required] maxlength="1024" autocomplete="off"
            placeholder="kept in the audit trail";
    }
}

/// The button of a form.
pub fn submit(label: &str) -> Markup {
    html! { button type="submit" { (label) } }
}

/// The button of a form that destroys or cannot be taken back.
pub fn submit_grave(label: &str) -> Markup {
    html! { button type="submit" class="grave" { (label) } }
}

/// A form that narrows what a page shows: its fields go into the page's address.
pub fn filter(address: &str, fields: &Markup) -> Markup {
    html! {
        form method="get" action=(address) class="filter" {
            (fields)
            button type="submit" { "Show" }
        }
    }
}

/// A field of a filter. `id` is unique in the page, and the name of the parameter.
pub fn field(id: &str, label: &str, value: Option<&str>, hint: &str) -> Markup {
    html! {
        div class="field" {
            label for=(id) { (label) }
            input type="text" name=(id) id=(id) value=(value.unwrap_or_default()) placeholder=(hint) autocomplete="off";
        }
    }
}

/// A field of a filter with given choices: what is sent and what is shown. The first is what stands for no choice.
pub fn choice(id: &str, label: &str, value: Option<&str>, choices: &[(String, String)]) -> Markup {
    html! {
        div class="field" {
            label for=(id) { (label) }
            select name=(id) id=(id) {
                @for (sent, shown) in choices {
                    option value=(sent) selected[value.unwrap_or_default() == sent] { (shown) }
                }
            }
        }
    }
}

/// A link to the same page under another view: one of several, of which the current is marked.
pub fn tabs(label: &str, tabs: &[(&str, String, bool)]) -> Markup {
    html! {
        nav class="tabs" aria-label=(label) {
            @for (name, address, current) in tabs {
                a href=(address) aria-current=[current.then_some("page")] { (name) }
            }
        }
    }
}
