//! `tidegate tokens`: who may do what, by access tokens.

use std::io::Write as _;

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use tidegate_access::link::ADDRESS;

use crate::cli::Context;
use crate::cli::listing::{Asking, Listing};
use crate::cli::output::Output;
use crate::client::{understood, user_name};
use crate::failure::{Exit, Failure};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Subcommand)]
enum Action {
    /// Lists the tokens: who has one, what they may do, until when.
    List {
        #[command(flatten)]
        asking: Asking,
    },
    /// Makes a token and prints it. It is printed once: nobody, the server neither, can show it again.
    Create(CreateArgs),
    /// Makes a link that signs somebody in on the page of a running server, and prints it. It works once, and for minutes.
    SignInLink(LinkArgs),
    /// Lists who is signed in on the page.
    Sessions {
        #[command(flatten)]
        asking: Asking,
    },
    /// Signs somebody out, from the next request on. With a token they can sign in again.
    EndSession {
        /// The number of the session.
        id: String,
        /// Why; kept in the audit trail.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// Ends a token, from the next request on. Who is signed in with it is signed out.
    Revoke {
        /// The number of the token.
        id: String,
        /// Why; kept in the audit trail.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// Gives the holder of a token another name. The audit trail keeps the old one where it stands.
    Rename {
        /// The number of the token.
        id: String,
        /// The new name.
        name: String,
        /// Why; kept in the audit trail.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        #[command(flatten)]
        asking: Asking,
    },
}

#[derive(clap::Args)]
struct CreateArgs {
    /// Who will have it: the name of a person or a program, as the audit trail shows it.
    name: String,
    /// What they may do: reader looks; operator redrives, discards, edits, opens and closes circuits, pauses, seeks; admin
    /// makes and deletes hubs and tokens as well.
    #[arg(long, value_name = "ROLE", value_parser = ["reader", "operator", "admin"])]
    role: String,
    /// How long it lasts, such as 12h or 90d; or never.
    #[arg(long, value_name = "TIME", default_value = "90d")]
    expires: String,
    /// Why; kept in the audit trail.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    asking: Asking,
}

#[derive(clap::Args)]
struct LinkArgs {
    /// Who will follow it, as the audit trail shows them [default: the user of this machine].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What they may do; as for a token.
    #[arg(long, value_name = "ROLE", default_value = "operator", value_parser = ["reader", "operator", "admin"])]
    role: String,
    /// How long it works, such as 15m; at most 24h.
    #[arg(long, value_name = "TIME", default_value = "15m")]
    valid: String,
    /// Why; kept in the audit trail.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Deserialize)]
struct CreatedLink {
    url: Option<String>,
    link: String,
    name: String,
    role: String,
    expires_at: String,
}

#[derive(Deserialize)]
struct OpenSession {
    id: String,
    name: String,
    role: String,
    token: Option<String>,
    opened_at: String,
    used_at: String,
}

#[derive(Deserialize)]
struct Token {
    id: String,
    name: String,
    role: String,
    state: String,
    created_by: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
}

#[derive(Deserialize)]
struct Created {
    token: String,
    #[serde(flatten)]
    shape: Token,
}

#[derive(Deserialize)]
struct Changed {
    unchanged: bool,
    #[serde(flatten)]
    shape: Token,
}

const COLUMNS: [&str; 7] = ["id", "name", "role", "state", "expires", "last used", "made by"];

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    match args.action {
        None => list(&args.asking, &context).await,
        Some(Action::List { asking }) => list(&asking, &context).await,
        Some(Action::Create(args)) => create(&args, &context).await,
        Some(Action::SignInLink(args)) => sign_in_link(&args).await,
        Some(Action::Sessions { asking }) => sessions(&asking, &context).await,
        Some(Action::EndSession { id, reason, asking }) => end_session(&asking, &id, &reason, &context).await,
        Some(Action::Revoke { id, reason, asking }) => {
            let request = serde_json::json!({ "reason": reason });
            let done = |token: &Changed| match token.unchanged {
                true => format!("the token {} of {} was revoked already", token.shape.id, token.shape.name),
                false => format!("revoked the token {} of {}", token.shape.id, token.shape.name),
            };
            change(&asking, &id, "revoke", &request, done, &context).await
        }
        Some(Action::Rename { id, name, reason, asking }) => {
            let request = serde_json::json!({ "name": name, "reason": reason });
            let done = |token: &Changed| format!("the token {} is of {}", token.shape.id, token.shape.name);
            change(&asking, &id, "rename", &request, done, &context).await
        }
    }
}

async fn list(asking: &Asking, context: &Context) -> Result<Exit, Failure> {
    let mut session = asking.open(context).await?;
    let count = session.list(Listing::all("/api/v1/tokens", &COLUMNS), |token: Token, rows| {
        rows.push(vec![
            token.id,
            token.name,
            token.role,
            token.state,
            token.expires_at.unwrap_or_else(|| "never".to_owned()),
            token.last_used_at.unwrap_or_else(|| "-".to_owned()),
            token.created_by,
        ]);
    });
    if count.await? == 0 && !asking.json {
        session.output.line("there are no access tokens")?;
    }
    session.finish(&["tokens create NAME --role operator".to_owned(), "tokens sign-in-link".to_owned()]).await
}

#[derive(Serialize)]
struct CreateRequest<'a> {
    name: &'a str,
    role: &'a str,
    expires: &'a str,
    reason: &'a str,
}

async fn create(args: &CreateArgs, context: &Context) -> Result<Exit, Failure> {
    let mut session = args.asking.open(context).await?;
    let CreateArgs { name, role, expires, reason, .. } = args;
    let request = CreateRequest { name, role, expires, reason };
    let answer = session.connection().post_json("/api/v1/tokens", &request).await?;
    if args.asking.json {
        session.output.raw_line(&answer)?;
        return session.finish(&[]).await;
    }
    let Created { token, shape } = understood(&answer)?;
    session.output.line(&token)?;
    let until = shape.expires_at.map_or_else(|| "for ever".to_owned(), |end| format!("until {end}"));
    session.output.flush()?;
    // A hint that cannot be shown is no failure of the command.
    let _ = writeln!(
        std::io::stderr(),
        "{} may do what the role {} may, {until}.\nThe token is shown this once. Sign in with it on the page; for commands \
         and programs it goes into TIDEGATE_KEY or a file for --key-file.",
        shape.name,
        shape.role
    );
    session.finish(&[format!("tokens revoke {}", shape.id)]).await
}

/// Asks a running server: a link leads to its page.
async fn sign_in_link(args: &LinkArgs) -> Result<Exit, Failure> {
    let LinkArgs { name, role, valid, reason, asking } = args;
    let (connection, server) = asking.target.connect_to_server()?;
    let name = name.clone().or_else(user_name).unwrap_or_else(|| "operator".to_owned());
    let request = serde_json::json!({ "name": name, "role": role, "valid": valid, "reason": reason });
    let answer = connection.post_json("/api/v1/sign-in-links", &request).await?;
    let mut output = Output::new(asking.json);
    if asking.json {
        output.raw_line(&answer)?;
        return output.finish(&[]).map(|()| Exit::Done);
    }
    let made: CreatedLink = understood(&answer)?;
    let url = made.url.unwrap_or_else(|| format!("{server}{ADDRESS}{}", made.link));
    output.line(&url)?;
    output.flush()?;
    // A hint that cannot be shown is no failure of the command.
    let _ = writeln!(
        std::io::stderr(),
        "Open it in a browser: it signs {} in with the role {}, once, until {}. Give it to nobody else.",
        made.name,
        made.role,
        made.expires_at
    );
    output.finish(&[]).map(|()| Exit::Done)
}

async fn sessions(asking: &Asking, context: &Context) -> Result<Exit, Failure> {
    const COLUMNS: [&str; 6] = ["id", "name", "role", "token", "since", "last used"];
    let mut session = asking.open(context).await?;
    let count = session.list(Listing::all("/api/v1/sessions", &COLUMNS), |open: OpenSession, rows| {
        let token = open.token.unwrap_or_else(|| "-".to_owned());
        rows.push(vec![open.id, open.name, open.role, token, open.opened_at, open.used_at]);
    });
    if count.await? == 0 && !asking.json {
        session.output.line("nobody is signed in")?;
    }
    session.finish(&["tokens end-session ID".to_owned()]).await
}

async fn end_session(asking: &Asking, id: &str, reason: &str, context: &Context) -> Result<Exit, Failure> {
    let mut session = asking.open(context).await?;
    let path = format!("/api/v1/sessions/{}/end", crate::api::page::percent_encode(id));
    let answer = session.connection().post_json(&path, &serde_json::json!({ "reason": reason })).await?;
    if asking.json {
        session.output.raw_line(&answer)?;
    } else {
        let ended: OpenSession = understood(&answer)?;
        session.output.line(&format!("{} is signed out of the session {}", ended.name, ended.id))?;
    }
    session.finish(&["tokens sessions".to_owned()]).await
}

async fn change(
    asking: &Asking,
    id: &str,
    action: &str,
    request: &serde_json::Value,
    done: impl FnOnce(&Changed) -> String,
    context: &Context,
) -> Result<Exit, Failure> {
    let mut session = asking.open(context).await?;
    let path = format!("/api/v1/tokens/{}/{action}", crate::api::page::percent_encode(id));
    let answer = session.connection().post_json(&path, request).await?;
    if asking.json {
        session.output.raw_line(&answer)?;
    } else {
        let changed: Changed = understood(&answer)?;
        session.output.line(&done(&changed))?;
    }
    session.finish(&["tokens list".to_owned()]).await
}
