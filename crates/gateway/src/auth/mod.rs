//! Who may do what: keys presented as they are, or signatures made with them.

mod rule;
mod sas;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tidegate_model::clock::Timestamp;
use tidegate_model::error::{ErrorCode, ErrorKind};

pub use rule::{AccessRule, EmptyKey, Right, Rights, Scope, SecretKey};
use sas::SasToken;

/// Decides whether a caller may do something.
///
/// A caller shows one of two things in the `Authorization` header:
///
/// - `Bearer <key>`: the key of a rule itself;
/// - `SharedAccessSignature sr=<audience>&sig=<signature>&se=<expiry>&skn=<rule>`: a token made from it, which ends at
///   its expiry and reaches no further than its audience.
#[derive(Debug)]
pub struct Authorizer {
    rules: Vec<AccessRule>,
}

impl Authorizer {
    /// Decides by these rules. Without any, nobody may do anything.
    pub fn new(rules: Vec<AccessRule>) -> Result<Self, DuplicateRule> {
        for (index, rule) in rules.iter().enumerate() {
            if rules[..index].iter().any(|earlier| earlier.name == rule.name) {
                return Err(DuplicateRule(rule.name.clone()));
            }
        }
        Ok(Self { rules })
    }

    /// Decides whether the caller who sent this `Authorization` header may use `required` on the resource at `path` at
    /// this time.
    ///
    /// A path is the resource's address below the namespace, such as `flights/partitions/0`, decoded; the empty path is
    /// the namespace. A hub's name in it is compared without regard to case, as in Event Hubs.
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
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        if scheme.eq_ignore_ascii_case("bearer") {
            self.by_key(credentials, required, &segments)
        } else if scheme.eq_ignore_ascii_case("sharedaccesssignature") {
            self.by_signature(credentials, required, &segments, now)
        } else {
            Err(AuthError::UnknownScheme)
        }
    }

    fn by_key(&self, key: &str, required: Right, segments: &[&str]) -> Result<Principal, AuthError> {
        // Digests have one length and are compared in constant time, and every rule is tried, so the time taken says
        // nothing about a key.
        let presented = Sha256::digest(key.as_bytes());
        let mut answer = Err(AuthError::UnknownKey);
        for rule in &self.rules {
            let matches = bool::from(Sha256::digest(rule.key.as_bytes()).ct_eq(&presented));
            if matches && answer.is_err() {
                answer = permit(rule, required, segments, rule.scope == Scope::Namespace);
            }
        }
        answer
    }

    fn by_signature(
        &self,
        fields: &str,
        required: Right,
        segments: &[&str],
        now: Timestamp,
    ) -> Result<Principal, AuthError> {
        let token = SasToken::parse(fields).map_err(|problem| AuthError::Malformed { problem })?;
        let Some(rule) = self.rules.iter().find(|rule| rule.name == token.key_name) else {
            return Err(AuthError::UnknownKeyName { name: shortened(&token.key_name) });
        };
        if !token.is_signed_with(&rule.key) {
            return Err(AuthError::WrongSignature { name: rule.name.clone() });
        }
        if token.expires_at <= now {
            return Err(AuthError::Expired { at: token.expires_at, now });
        }
        let reaches = token.audience.len() <= segments.len()
            && token.audience.iter().zip(segments).all(|(ours, asked)| ours.eq_ignore_ascii_case(asked));
        if !reaches {
            return Err(AuthError::WrongAudience {
                audience: shortened(&token.audience.join("/")),
                path: shortened(&segments.join("/")),
            });
        }
        permit(rule, required, segments, rule.scope == Scope::Namespace && token.audience.is_empty())
    }
}

fn permit(
    rule: &AccessRule,
    required: Right,
    segments: &[&str],
    namespace_wide: bool,
) -> Result<Principal, AuthError> {
    if !rule.scope.covers(segments) {
        return Err(AuthError::OutOfScope { rule: rule.name.clone(), scope: rule.scope.clone() });
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

/// Two rules have one name, so a signature could not say which key made it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two access rules are named {0:?}")]
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
    /// What the caller should do: the same request will never be let in.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Permanent
    }

    /// The code a person looks it up by.
    pub fn code(&self) -> ErrorCode {
        if self.is_forbidden() { ErrorCode::FORBIDDEN } else { ErrorCode::UNAUTHORIZED }
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
