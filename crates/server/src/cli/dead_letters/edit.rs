//! `dead-letters edit`: a new revision of an event.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use tidegate_model::error::ErrorCode;
use tidegate_model::event::MAX_EVENT_BYTES;

use crate::cli::Context;
use crate::cli::dead_letters::look::tell_diff;
use crate::cli::dead_letters::merge_patch;
use crate::cli::listing::Asking;
use crate::client::understood;
use crate::failure::{Exit, Failure};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Its id.
    id: u64,
    /// The new body is in this file; `-` is standard input.
    #[arg(long, value_name = "FILE", group = "body")]
    file: Option<PathBuf>,
    /// The new body.
    #[arg(long = "body", value_name = "TEXT", group = "body")]
    text: Option<String>,
    /// Change the body by this JSON merge patch, such as '{"speed": 12, "note": null}'.
    #[arg(long, value_name = "JSON", group = "body")]
    patch: Option<String>,
    /// Why; kept in the audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only show what would change.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Deserialize)]
struct Current {
    revision: u32,
    event: CurrentEvent,
}

#[derive(Deserialize)]
struct CurrentEvent {
    body: Option<String>,
    body_base64: Option<String>,
}

#[derive(Deserialize)]
struct Edited {
    result: String,
    revision: u32,
    diff: String,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let mut session = args.asking.open(context).await?;
    let id = args.id;
    let answer = session.connection().get(&format!("/api/v1/dead-letters/{id}")).await?.into_body();
    let Current { revision, event } = understood(&answer)?;
    let current = match (event.body, event.body_base64) {
        (Some(text), _) => text.into_bytes(),
        (None, bytes) => STANDARD.decode(bytes.unwrap_or_default()).unwrap_or_default(),
    };
    let new = match (&args.file, &args.text, &args.patch) {
        (Some(file), ..) => read(file)?,
        (None, Some(text), _) => text.clone().into_bytes(),
        (None, None, Some(patch)) => patched(&current, patch)?,
        (None, None, None) => in_editor(current).await?,
    };
    let event = serde_json::json!({ "body_base64": STANDARD.encode(&new) });
    let request = serde_json::json!({
        "revision": revision, "event": event, "reason": args.reason, "dry_run": args.dry_run,
    });
    let answer = session.connection().post_json(&format!("/api/v1/dead-letters/{id}/edit"), &request).await?;
    if args.asking.json {
        session.output.raw_line(&answer)?;
        return session.finish(&[]).await;
    }
    let Edited { result, revision, diff } = understood(&answer)?;
    tell_diff(&mut session.output, &diff)?;
    session.output.line(&match result.as_str() {
        "unchanged" => format!("dead letter {id} is like that already; nothing was changed"),
        "edited" => format!("dead letter {id} has revision {revision} now; the event as it was read is kept"),
        _ => format!("dead letter {id} would be changed; nothing was"),
    })?;
    session.finish(&[format!("dead-letters redrive {id} --reason TEXT --wait")]).await
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::usage(ErrorCode::BAD_REQUEST, format!("cannot read {}: {error}", file.display()))
            .help("name a file with the new body, or `-` for standard input")
    };
    // One more byte than an event may have tells that it is too large, without reading all of it.
    let most = MAX_EVENT_BYTES as u64 + 1;
    let mut body = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin().lock().take(most).read_to_end(&mut body).map_err(unreadable)?;
    } else {
        let opened = std::fs::File::open(file).map_err(unreadable)?;
        opened.take(most).read_to_end(&mut body).map_err(unreadable)?;
    }
    if body.len() as u64 == most {
        let message =
            format!("{} has more than {MAX_EVENT_BYTES} bytes, the limit of an event", file.display());
        return Err(Failure::new(ErrorCode::TOO_LARGE, message).help("make it shorter"));
    }
    Ok(body)
}

fn patched(current: &[u8], patch: &str) -> Result<Vec<u8>, Failure> {
    let text = std::str::from_utf8(current).map_err(|_| {
        Failure::usage(ErrorCode::BAD_REQUEST, "the body is no text, so it cannot be patched")
            .help("replace it with --file FILE")
    })?;
    merge_patch::merged(text, patch).map(String::into_bytes).map_err(|problem| {
        Failure::usage(ErrorCode::BAD_REQUEST, format!("the body cannot be patched: {problem}"))
            .help("a patch is an object such as '{\"speed\": 12, \"note\": null}'; what is no JSON is replaced with --body TEXT or --file FILE")
    })
}

/// Opens the body in the person's editor.
async fn in_editor(current: Vec<u8>) -> Result<Vec<u8>, Failure> {
    let named = |name| std::env::var(name).ok().filter(|editor| !editor.trim().is_empty());
    let Some(editor) = named("VISUAL").or_else(|| named("EDITOR")) else {
        return Err(Failure::usage(ErrorCode::BAD_REQUEST, "it is not said what the new body is").help(
            "give it with --body TEXT, --file FILE or --patch JSON, or name your editor in the variable EDITOR",
        ));
    };
    let editing = tokio::task::spawn_blocking(move || edit_with(&editor, &current));
    editing.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn edit_with(editor: &str, current: &[u8]) -> Result<Vec<u8>, Failure> {
    let cannot = |error: std::io::Error| {
        Failure::new(ErrorCode::DATA_DIR_IO, format!("the body cannot be edited with {editor:?}: {error}"))
            .help("give the new body with --body TEXT, --file FILE or --patch JSON")
    };
    let mut file =
        tempfile::Builder::new().prefix("tidegate-event-").suffix(".json").tempfile().map_err(cannot)?;
    file.write_all(current).and_then(|()| file.flush()).map_err(cannot)?;
    // An editor may be named with options, as in `code --wait`.
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("{editor} \"$1\""), "sh"]).arg(file.path());
    let status = command.status().map_err(cannot)?;
    if !status.success() {
        return Err(Failure::new(
            ErrorCode::BAD_REQUEST,
            format!("the editor {editor:?} ended with {status}; nothing was changed"),
        ));
    }
    // Editors replace files: it is read by its name. Many end the last line, which the event did not.
    let mut edited = read(file.path())?;
    if edited.ends_with(b"\n") && !current.ends_with(b"\n") {
        edited.pop();
    }
    Ok(edited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_editor_gets_the_body_and_gives_it_back() {
        assert_eq!(edit_with("true", b"{\"a\":1}").unwrap(), b"{\"a\":1}");
        assert_eq!(edit_with("sed -i s/1/2/", b"{\"a\":1}").unwrap(), b"{\"a\":2}");
        assert_eq!(edit_with("printf 'x\\n' >", b"{}").unwrap(), b"x");
        assert!(edit_with("false", b"").unwrap_err().to_string().contains("nothing was changed"));
    }
}
