//! Who looks at the pages, and what they may do.

use serde::Deserialize;

pub use tidegate_access::Role;

use crate::api::Api;
use crate::problem::{Outcome, Problem};

/// Who looks, as the API's session says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Viewer {
    /// Whether they signed in; else they look without, where that is allowed.
    pub signed_in: bool,
    /// Their name.
    pub name: Option<String>,
    /// What they may do.
    pub role: Option<Role>,
    /// What forms carry to show that they are ours.
    pub csrf: Option<String>,
    /// Where to go to sign in with the organisation's identity provider.
    pub provider: Option<String>,
    /// What makes a link that signs somebody in, typed on the machine of the server.
    pub link_command: Option<String>,
}

impl Viewer {
    /// Asks the API. Who is nobody to it is nobody here.
    ///
    /// # Errors
    /// When the API cannot say.
    pub async fn ask(api: &Api) -> Outcome<Self> {
        match api.find("/api/v1/session").await {
            Ok(found) => Ok(found.unwrap_or_default()),
            Err(problem) if problem.asks_to_sign_in() => Ok(Self::default()),
            Err(problem) => Err(problem),
        }
    }

    /// Their name without the number of their token, which says nothing to a person.
    pub fn short_name(&self) -> &str {
        let name = self.name.as_deref().unwrap_or("signed in");
        name.split_once(" (token ").map_or(name, |(name, _)| name)
    }

    /// Whether they may do what needs a role.
    pub fn may(&self, needed: Role) -> bool {
        self.role.is_some_and(|role| role.covers(needed))
    }

    /// Refuses who may not do what needs a role, before anything is asked of them.
    ///
    /// # Errors
    /// When they may not.
    pub fn must_be(&self, needed: Role) -> Outcome<()> {
        if self.may(needed) {
            return Ok(());
        }
        let detail = format!("this needs the role {needed}");
        Err(Problem::new(axum::http::StatusCode::FORBIDDEN, "TG-403", detail)
            .action(format!("sign in with a token that has the role {needed}")))
    }
}
