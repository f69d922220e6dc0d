//! `[oidc]`: people whom an identity provider knows sign in on the page.

use toml_edit::Item;

use tidegate_access::Role;
use tidegate_access::oidc::{OidcSettings, RoleMapping};

use crate::config::elements::secret::SecretSource;
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::{Place, Setting};

/// The identity provider that people sign in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcConfig {
    /// Its address.
    pub issuer: String,
    /// What it calls this server.
    pub client_id: String,
    /// What this server shows it.
    pub client_secret: Option<SecretSource>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// The claim with a person's name.
    pub name_claim: Option<String>,
    /// The claim with their roles.
    pub role_claim: String,
    /// Which role each value of it means.
    pub roles: Vec<(String, Role)>,
}

const ISSUER: Key<String> = Key::required(
    "issuer",
    "The provider's address, letter by letter as its tokens have it in `iss`; `/.well-known/openid-configuration` is below it. \
     It begins with `https://`, but for one on this machine.",
);
const CLIENT_ID: Key<String> = Key::required(
    "client_id",
    "What the provider calls this server. It must know the address \
     `PUBLIC_URL/sign-in/oidc/callback`, with `public_url` of `[console]`, as one to send people back to.",
);
const CLIENT_SECRET: Key<SecretSource> = Key::optional(
    "client_secret",
    "none",
    "What this server shows the provider. Without one it is a public client, protected by PKCE alone.",
);
const SCOPES: Key<Texts> = Key::with_default(
    "scopes",
    "[\"openid\", \"profile\", \"email\"]",
    "What the provider is asked for. Some tell roles only for a scope of their own.",
);
const NAME_CLAIM: Key<String> = Key::optional(
    "name_claim",
    "the first there is of `preferred_username`, `email`, `name`, `sub`",
    "The claim with a person's name, as the audit trail shows it.",
);
const ROLE_CLAIM: Key<String> = Key::with_default(
    "role_claim",
    "\"roles\"",
    "The claim with a person's roles or groups: a list, or a text with blanks between; a JSON pointer such as \
     `/realm_access/roles` where it is inside another.",
);
const ROLES: Key<RoleNames> = Key::required(
    "roles",
    "What the values of that claim mean here. The highest counts; who has none is not let in.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[oidc]",
    doc: "An identity provider, such as Microsoft Entra ID or Keycloak, with which people sign in on the page (OpenID \
          Connect, authorization code with PKCE). What they may do holds until their session ends.",
    keys: &[&ISSUER as &dyn KeyInfo, &CLIENT_ID, &CLIENT_SECRET, &SCOPES, &NAME_CLAIM, &ROLE_CLAIM, &ROLES],
    example: "[oidc]\nissuer = \"https://login.example.com/realms/tide\"\nclient_id = \"tidegate\"\n\
              client_secret = { env = \"TIDEGATE_OIDC_SECRET\" }\n\
              roles = { tide-admins = \"admin\", tide-operators = \"operator\", everybody = \"reader\" }\n",
};

/// Reads the table.
pub(crate) fn read(reader: &mut Reader<'_, '_>) -> Option<OidcConfig> {
    let (issuer, client_id) = (reader.get(&ISSUER), reader.get(&CLIENT_ID));
    let client_secret = reader.get_optional(&CLIENT_SECRET);
    let (scopes, name_claim) = (reader.get(&SCOPES), reader.get_optional(&NAME_CLAIM));
    let (role_claim, roles) = (reader.get(&ROLE_CLAIM), reader.get(&ROLES));
    let scopes = scopes?.0;
    if !scopes.iter().any(|scope| scope == "openid") {
        let at = reader.span_of(&SCOPES);
        reader.contradiction(
            at,
            "`scopes` has no \"openid\"",
            "without it the provider names nobody: add it",
        );
        return None;
    }
    Some(OidcConfig {
        issuer: issuer?,
        client_id: client_id?,
        client_secret: client_secret?,
        scopes,
        name_claim: name_claim?,
        role_claim: role_claim?,
        roles: roles?.0,
    })
}

impl OidcConfig {
    /// How the provider is used, with the secret fetched.
    ///
    /// # Errors
    /// Why the secret cannot be had.
    pub(crate) fn settings(&self) -> Result<OidcSettings, String> {
        let refused = |why: String| format!("`client_secret` of [oidc]: {why}");
        let secret = self.client_secret.as_ref().map(SecretSource::fetch).transpose().map_err(refused)?;
        Ok(OidcSettings {
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            client_secret: secret.map(|secret| secret.reveal().to_owned()),
            scopes: self.scopes.clone(),
            name_claim: self.name_claim.clone(),
            mapping: RoleMapping { claim: self.role_claim.clone(), roles: self.roles.clone() },
        })
    }
}

/// Texts: at least one.
pub(crate) struct Texts(pub(crate) Vec<String>);

impl Setting for Texts {
    const TYPE: &'static str = "an array of texts";
    const EXAMPLE: &'static str = "[\"openid\", \"roles\"]";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let good =
            |value: &toml_edit::Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let texts = item.as_array().filter(|array| !array.is_empty());
        let texts: Option<Vec<String>> = texts.and_then(|array| array.iter().map(good).collect());
        if texts.is_none() {
            place.not_a::<Self>(item);
        }
        texts.map(Self)
    }
}

/// What the provider's roles mean.
struct RoleNames(Vec<(String, Role)>);

impl Setting for RoleNames {
    const TYPE: &'static str = "a table of the provider's names, each \"reader\", \"operator\" or \"admin\"";
    const EXAMPLE: &'static str = "{ tide-admins = \"admin\" }";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let role = |item: &Item| item.as_str().and_then(|text| text.parse::<Role>().ok());
        let table = item.as_table_like().filter(|table| !table.is_empty());
        let roles: Option<Vec<(String, Role)>> = table.and_then(|table| {
            table.iter().map(|(name, item)| Some((name.to_owned(), role(item)?))).collect()
        });
        if roles.is_none() {
            place.not_a::<Self>(item);
        }
        roles.map(Self)
    }
}

/// The name of a role.
impl Setting for Role {
    const TYPE: &'static str = "one of \"reader\", \"operator\", \"admin\"";
    const EXAMPLE: &'static str = "\"operator\"";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let role = item.as_str().and_then(|text| text.parse().ok());
        if role.is_none() {
            place.not_a::<Self>(item);
        }
        role
    }
}
