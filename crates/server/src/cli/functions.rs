//! `tidegate functions`: the functions, and how they are set.

use serde_json::{Map, Value};

use tidegate_api::Function;

use crate::api::page::percent_encode;
use crate::cli::Context;
use crate::cli::listing::{Asking, Listing};
use crate::cli::output::printable;
use crate::client::{lines, understood};
use crate::failure::{Exit, Failure};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this one, with all of its settings.
    function: Option<String>,
    #[command(flatten)]
    asking: Asking,
}

const COLUMNS: [&str; 7] = ["function", "hub", "kind", "order", "collection", "version", "runs here"];

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    let mut session = args.asking.open(&context).await?;
    if let Some(name) = &args.function {
        let path = format!("/api/v1/functions/{}", percent_encode(name));
        let body = session.connection().get(&path).await?.into_body();
        // One on each hub it reads.
        for line in lines(&body) {
            if args.asking.json {
                session.output.raw_line(&line)?;
                continue;
            }
            for setting in listed(&understood::<Map<String, Value>>(&line)?) {
                session.output.line(&format!("  {}", printable(&setting)))?;
            }
        }
        let next = [format!("circuit status {name}"), format!("pause {name} --reason TEXT")];
        return session.finish(&next).await;
    }
    let mut first = None;
    let listed = session.list(Listing::all("/api/v1/functions", &COLUMNS), |row: Function, rows| {
        first.get_or_insert_with(|| row.function.clone());
        let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        rows.push(vec![
            row.function,
            row.hub,
            known(row.kind),
            known(row.settings.map(|settings| settings.order)),
            known(row.collection),
            known(row.version),
            if row.running { "yes" } else { "no" }.to_owned(),
        ]);
    });
    if listed.await? == 0 && !args.asking.json {
        session.output.line("no function is configured, and none has run here")?;
    }
    let next: Vec<String> = first.map(|name| format!("functions {name}")).into_iter().collect();
    session.finish(&next).await
}

/// Settings as lines, what is inside of one behind its name and a dot.
fn listed(settings: &Map<String, Value>) -> Vec<String> {
    fn add(prefix: &str, settings: &Map<String, Value>, lines: &mut Vec<(String, String)>) {
        for (name, setting) in settings {
            let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match setting {
                Value::Object(inner) if !inner.is_empty() => add(&name, inner, lines),
                setting => lines.push((name, value(setting))),
            }
        }
    }
    let mut lines = Vec::new();
    add("", settings, &mut lines);
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines.into_iter().map(|(name, value)| format!("{name:<width$}  {value}")).collect()
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_lines() {
        let settings =
            json!({ "function": "aircraft", "retry": { "max_attempts": 4, "more": {} }, "collection": null });
        let mut lines = listed(settings.as_object().expect("it is an object"));
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                "collection          -",
                "function            aircraft",
                "retry.max_attempts  4",
                "retry.more          {}",
            ]
        );
    }
}
