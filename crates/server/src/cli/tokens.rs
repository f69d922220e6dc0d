//! `tidegate tokens`: who may do what, by access tokens.

use std::io::Write as _;

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use crate::cli::Context;
use crate::cli::listing::{Asking, Listing};
use crate::client::understood;
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
    session.finish(&["tokens create NAME --role operator".to_owned()]).await
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
