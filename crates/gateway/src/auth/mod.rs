//! Who may do what: keys presented as they are, signatures made with them, and tokens of an identity provider.
//!
//! An HTTP request shows one of them each time ([`Authorizer::authorize`]). An AMQP connection puts tokens
//! ([`Authorizer::put_token`]) or signs in ([`Authorizer::sign_in`]), and holds what that granted ([`Grants`]).

mod access_token;
mod grants;
mod put_token;
mod rule;
mod sas;

use std::time::Duration;

use tidegate_model::clock::{SharedClock, Timestamp};
use tidegate_model::error::{ErrorCode, ErrorKind};

pub use access_token::{
    AccessTokenRefused, AccessTokenSettings, AccessTokens, InvalidTokenKey, TokenAlgorithm,
};
pub use grants::{Denied, Grant, Grants, MAX_GRANTS, TooManyGrants, WhyDenied};
pub use put_token::{JWT_TYPE, PutToken, SAS_TOKEN_TYPE, TokenRefused};
pub use rule::{AccessRule, EmptyKey, Right, Rights, Scope, SecretKey};
use sas::SasToken;

use crate::audience::ResourcePath;

/// Decides whether a caller may do something.
///
/// A caller shows one of three things in the `Authorization` header:
///
/// - `Bearer <key>`: the key of a rule itself;
/// - `SharedAccessSignature sr=<audience>&sig=<signature>&se=<expiry>&skn=<rule>`: a token made from it, which ends at
///   its expiry and reaches no further than its audience;
/// - `Bearer <token>`: a JSON Web Token, where the server takes some.
#[derive(Debug)]
pub struct Authorizer {
    rules: Vec<AccessRule>,
    access_tokens: Option<AccessTokens>,
}

impl Authorizer {
    /// Decides by these rules. Without any, nobody may do anything.
    ///
    /// # Errors
    /// When two rules have one name and one scope. The same name in different scopes is possible, as in Event Hubs.
    pub fn new(rules: Vec<AccessRule>) -> Result<Self, DuplicateRule> {
        for (index, rule) in rules.iter().enumerate() {
            if rules[..index].iter().any(|earlier| earlier.name == rule.name && earlier.scope == rule.scope) {
                return Err(DuplicateRule(rule.name.clone()));
            }
        }
        Ok(Self { rules, access_tokens: None })
    }

    /// The same, and takes access tokens as well.
    #[must_use]
    pub fn with_access_tokens(mut self, tokens: AccessTokens) -> Self {
        self.access_tokens = Some(tokens);
        self
    }

    /// Sees to it that the keys are known which the access token in this `Authorization` header may be signed with, where they
    /// are published. Without it such a token is judged by the keys that are known already.
    pub async fn fetch_keys(&self, header: Option<&str>, clock: &SharedClock) {
        let token = header.and_then(|header| header.trim().split_once(' '));
        if let Some((_, token)) = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) {
            self.fetch_keys_for(token.trim(), clock).await;
        }
    }

    /// The same for a token by itself.
    pub async fn fetch_keys_for(&self, token: &str, clock: &SharedClock) {
        if let Some(tokens) = self.access_tokens.as_ref().filter(|_| is_jwt(token)) {
            tokens.fetch_keys(token, clock).await;
        }
    }

    /// True when it takes tokens that are signed with keys which somebody publishes.
    pub fn takes_published_tokens(&self) -> bool {
        self.access_tokens.as_ref().is_some_and(AccessTokens::is_published)
    }

    /// True when [`fetch_keys_for`](Self::fetch_keys_for) would ask somebody, at this time of the clock that does not jump.
    pub fn would_ask_for_keys(&self, token: &str, now: Duration) -> bool {
        self.access_tokens.as_ref().is_some_and(|tokens| is_jwt(token) && tokens.would_ask(token, now))
    }

    /// Decides whether the caller who sent this `Authorization` header may use `required` on the resource at `path` at
    /// this time.
    ///
    /// A path is the resource's address below the namespace, such as `flights/partitions/0`, decoded; the empty path is
    /// the namespace. A hub's name in it is compared without regard to case, as in Event Hubs.
    ///
    /// # Errors
    /// Why not.
    pub fn authorize(
        &self,
        header: Option<&str>,
        required: Right,
        path: &str,
        now: Timestamp,
    ) -> Result<Principal, AuthError> {
        let header = header.ok_or(AuthError::Missing)?.trim();
        let (scheme, credentials) = header.split_once(' ').unwrap_or((header, ""));
        let credentials = credentials.trim();
        let path = ResourcePath::of_path(path)
            .map_err(|problem| AuthError::Malformed { problem: problem.to_string() })?;
        if scheme.eq_ignore_ascii_case("bearer") {
            match &self.access_tokens {
                // A key may have dots as well, so it is looked for first.
                Some(tokens) if is_jwt(credentials) => {
                    self.by_key(credentials, required, &path).or_else(|refused| match refused {
                        AuthError::UnknownKey => by_access_token(tokens, credentials, required, now),
                        refused => Err(refused),
                    })
                }
                _ => self.by_key(credentials, required, &path),
            }
        } else if scheme.eq_ignore_ascii_case("sharedaccesssignature") {
            let (token, rules) = self.verified(credentials, &path, now)?;
            let whole = token.audience.is_namespace();
            first_that_permits(&rules, required, &path, whole).unwrap_or(Err(AuthError::UnknownKey))
        } else {
            Err(AuthError::UnknownScheme)
        }
    }

    fn by_key(&self, key: &str, required: Right, path: &ResourcePath) -> Result<Principal, AuthError> {
        // Every rule is tried, so the time taken says nothing about a key.
        let rules: Vec<&AccessRule> = self.rules.iter().filter(|rule| rule.has_key(key)).collect();
        first_that_permits(&rules, required, path, true).unwrap_or(Err(AuthError::UnknownKey))
    }

    /// A signature token that is good and reaches the resource at `path`, and the rules whose key made it: at least one.
    fn verified<'t>(
        &self,
        fields: &'t str,
        path: &ResourcePath,
        now: Timestamp,
    ) -> Result<(SasToken<'t>, Vec<&AccessRule>), AuthError> {
        let token = SasToken::parse(fields).map_err(|problem| AuthError::Malformed { problem })?;
        if self.rules_named(&token.key_name).next().is_none() {
            return Err(AuthError::UnknownKeyName { name: shortened(&token.key_name) });
        }
        let made_it = |rule: &&AccessRule| rule.keys.iter().any(|key| token.is_signed_with(key));
        let rules: Vec<&AccessRule> = self.rules_named(&token.key_name).filter(made_it).collect();
        if rules.is_empty() {
            return Err(AuthError::WrongSignature { name: shortened(&token.key_name) });
        }
        if token.expires_at <= now {
            return Err(AuthError::Expired { at: token.expires_at, now });
        }
        if !token.audience.covers(path) {
            return Err(AuthError::WrongAudience {
                audience: shortened(&token.audience.to_string()),
                path: shortened(&path.to_string()),
            });
        }
        Ok((token, rules))
    }

    fn rules_named(&self, name: &str) -> impl Iterator<Item = &AccessRule> {
        self.rules.iter().filter(move |rule| rule.name == name)
    }
}

/// Whether a text has the parts of a JSON Web Token.
fn is_jwt(text: &str) -> bool {
    text.matches('.').count() == 2
}

fn by_access_token(
    tokens: &AccessTokens,
    token: &str,
    required: Right,
    now: Timestamp,
) -> Result<Principal, AuthError> {
    let token = tokens.read(token, now)?;
    if token.rights.include(required) {
        Ok(Principal { rule: token.subject, namespace_wide: true })
    } else {
        Err(AuthError::RightMissing { rule: token.subject, required })
    }
}

/// The answer of the first rule that lets the caller, else of the last that does not; `None` without rules.
fn first_that_permits(
    rules: &[&AccessRule],
    required: Right,
    path: &ResourcePath,
    whole: bool,
) -> Option<Result<Principal, AuthError>> {
    let mut answers =
        rules.iter().map(|rule| permit(rule, required, path, whole && rule.scope == Scope::Namespace));
    let mut last = answers.next();
    while let (Some(Err(_)), Some(next)) = (&last, answers.next()) {
        last = Some(next);
    }
    last
}

fn permit(
    rule: &AccessRule,
    required: Right,
    path: &ResourcePath,
    namespace_wide: bool,
) -> Result<Principal, AuthError> {
    if !rule.scope.covers(path) {
        return Err(AuthError::out_of_scope(rule));
    }
    if !rule.rights.include(required) {
        return Err(AuthError::RightMissing { rule: rule.name.clone(), required });
    }
    Ok(Principal { rule: rule.name.clone(), namespace_wide })
}

/// Text of a caller as it is repeated to him: not longer than a name is.
fn shortened(text: &str) -> String {
    text.chars().take(256).collect()
}

/// A caller who may do what he asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The rule that lets him.
    pub rule: String,
    /// True when he may know of everything in the namespace, not only of the hub he asked for.
    pub namespace_wide: bool,
}

/// Two rules have one name in one place, so it could not be said which of them counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two access rules are named {0:?} and count in the same place")]
pub struct DuplicateRule(pub String);

/// Why a caller may not do what he asked for. None of the texts holds a key or a signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no `Authorization` header.
    #[error("the request has no Authorization header")]
    Missing,
    /// The header holds bytes that are no visible ASCII characters.
    #[error("the Authorization header is no plain text")]
    NotText,
    /// The header is neither of the two kinds.
    #[error("the Authorization header has an unknown scheme")]
    UnknownScheme,
    /// A signature token cannot be read.
    #[error("the shared access signature cannot be read: {problem}")]
    Malformed {
        /// What is wrong with it.
        problem: String,
    },
    /// No rule has this bearer key.
    #[error("the bearer key is the key of no access rule")]
    UnknownKey,
    /// No rule has the name in `skn`.
    #[error(
        "the shared access signature names the key {name:?} (skn), which is no access rule of this server"
    )]
    UnknownKeyName {
        /// The name, shortened.
        name: String,
    },
    /// The signature was made with another key, or over another text.
    #[error("the signature does not match the key {name:?}")]
    WrongSignature {
        /// The rule whose key it was compared with.
        name: String,
    },
    /// The key of SASL PLAIN is not the rule's.
    #[error("the key is not one of the access rule {name:?}")]
    WrongKey {
        /// The rule.
        name: String,
    },
    /// An access token does not count.
    #[error(transparent)]
    AccessToken(#[from] AccessTokenRefused),
    /// The token's time is over.
    #[error("the shared access signature expired at {at}; the server's time is {now}")]
    Expired {
        /// Its end.
        at: Timestamp,
        /// The server's time.
        now: Timestamp,
    },
    /// The token is for something else.
    #[error("the shared access signature is for {audience:?} (sr), not for {path:?}")]
    WrongAudience {
        /// The path in the token.
        audience: String,
        /// The path asked for.
        path: String,
    },
    /// The rule counts elsewhere.
    #[error("the access rule {rule:?} does not reach there: it is for {}", scope_text(.scope))]
    OutOfScope {
        /// The rule.
        rule: String,
        /// Where it counts.
        scope: Scope,
    },
    /// The rule allows other things.
    #[error("the access rule {rule:?} does not include the right {required}")]
    RightMissing {
        /// The rule.
        rule: String,
        /// What it would have to include.
        required: Right,
    },
}

fn scope_text(scope: &Scope) -> String {
    match scope {
        Scope::Namespace => "the namespace".to_owned(),
        Scope::Hub(hub) => format!("the hub {hub} only"),
    }
}

impl AuthError {
    fn out_of_scope(rule: &AccessRule) -> Self {
        Self::OutOfScope { rule: rule.name.clone(), scope: rule.scope.clone() }
    }

    /// What the caller should do: the same request will never be let in, unless nobody could tell.
    pub fn kind(&self) -> ErrorKind {
        if self.is_unavailable() { ErrorKind::Transient } else { ErrorKind::Permanent }
    }

    /// True when it cannot be told who calls, because the keys of the identity provider are not there.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::AccessToken(AccessTokenRefused::NoKeys { .. }))
    }

    /// The code a person looks it up by.
    pub fn code(&self) -> ErrorCode {
        match self {
            _ if self.is_forbidden() => ErrorCode::FORBIDDEN,
            _ if self.is_unavailable() => ErrorCode::SIGN_IN_FAILED,
            _ => ErrorCode::UNAUTHORIZED,
        }
    }

    /// True when the caller is known and may not do this; false when it is not known who calls.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::OutOfScope { .. } | Self::RightMissing { .. })
    }

    /// What the caller can do about it.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Missing | Self::NotText | Self::UnknownScheme => {
                "send the header `Authorization: Bearer <key>`, or \
                 `Authorization: SharedAccessSignature sr=<address>&sig=<signature>&se=<expiry>&skn=<rule>`"
            }
            Self::Malformed { .. } => {
                "send sr=<percent-encoded address>&sig=<percent-encoded base64>&se=<seconds since 1970>&skn=<rule>"
            }
            Self::WrongKey { .. } => {
                "sign in with the name of an access rule and its key as it is, not decoded"
            }
            Self::AccessToken(AccessTokenRefused::NoKeys { .. }) => {
                "send it again later; the server's administrator finds more in its log"
            }
            Self::AccessToken(_) => "get a new token from the issuer that the server's configuration names",
            Self::UnknownKey => "send the key of an access rule of this server's configuration",
            Self::UnknownKeyName { .. } => "sign with the name and key of an access rule of this server",
            Self::WrongSignature { .. } => {
                "check the key; the signature is base64(HMAC-SHA256(key as text, sr as sent + line feed + se))"
            }
            Self::Expired { .. } => "make a new signature, and check the clocks of both machines",
            Self::WrongAudience { .. } => "sign for the address of the hub, or for the namespace",
            Self::OutOfScope { .. } => "use a rule for this hub or for the namespace",
            Self::RightMissing { .. } => "use a rule that includes this right",
        }
    }
}
