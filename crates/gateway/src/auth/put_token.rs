//! Putting a token: how a connection is granted rights, by the claims-based security of AMQP or by SASL PLAIN.
//!
//! A client sends its token to the node `$cbs` with the resource it wants to use. The token must be good, and reach that
//! resource; what it allows there until its end is a [`Grant`].

use tidegate_model::clock::Timestamp;

use super::access_token::AccessTokenRefused;
use super::grants::Grant;
use super::{AuthError, Authorizer, shortened};
use crate::audience::ResourcePath;

/// The type of a shared access signature in a request.
pub const SAS_TOKEN_TYPE: &str = "servicebus.windows.net:sastoken";

/// The type of an access token in a request.
pub const JWT_TYPE: &str = "jwt";

/// A request to put a token, as a client sends it to `$cbs`.
#[derive(Clone, Copy)]
pub struct PutToken<'a> {
    /// The application property `type`.
    pub token_type: &'a str,
    /// The application property `name`: what the token is put for.
    pub audience: &'a str,
    /// The body.
    pub token: &'a str,
}

impl Authorizer {
    /// What a token allows on the resource that it is put for.
    ///
    /// # Errors
    /// Why the client is not let in, with the status code for the answer.
    pub fn put_token(&self, request: &PutToken<'_>, now: Timestamp) -> Result<Grant, TokenRefused> {
        let path = ResourcePath::of_audience(request.audience)
            // A name without a host asks for less than the same name as a host would, so it is a path.
            .or_else(|_| ResourcePath::of_path(request.audience))
            .map_err(|problem| TokenRefused::BadRequest {
                problem: format!("the property name is wrong: {problem}"),
            })?;
        if request.token_type.eq_ignore_ascii_case(SAS_TOKEN_TYPE) {
            let fields = request
                .token
                .split_once(' ')
                .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("SharedAccessSignature"))
                .map(|(_, fields)| fields)
                .ok_or_else(|| TokenRefused::BadRequest {
                    problem: "the token does not begin with SharedAccessSignature and a blank".to_owned(),
                })?;
            self.grant_by_signature(fields, path, now).map_err(TokenRefused::from)
        } else if request.token_type.eq_ignore_ascii_case(JWT_TYPE) {
            let tokens = self.access_tokens.as_ref().ok_or(AccessTokenRefused::NotConfigured);
            let token = tokens.and_then(|tokens| tokens.read(request.token, now)).map_err(AuthError::from)?;
            Ok(Grant {
                principal: token.subject,
                path,
                rights: token.rights,
                expires_at: Some(token.expires_at),
            })
        } else {
            let problem = format!(
                "the property type is {:?}; there are {SAS_TOKEN_TYPE:?} and {JWT_TYPE:?}",
                shortened(request.token_type)
            );
            Err(TokenRefused::BadRequest { problem })
        }
    }

    fn grant_by_signature(
        &self,
        fields: &str,
        path: ResourcePath,
        now: Timestamp,
    ) -> Result<Grant, AuthError> {
        let (token, rules) = self.verified(fields, &path, now)?;
        let in_scope = rules.iter().filter(|rule| rule.scope.covers(&path));
        let rights = in_scope.map(|rule| rule.rights).reduce(|all, more| all.and(more));
        let rights = rights.ok_or_else(|| AuthError::out_of_scope(rules[0]))?;
        Ok(Grant { principal: token.key_name, path, rights, expires_at: Some(token.expires_at) })
    }

    /// What the user of SASL PLAIN may do: the name of an access rule and its key. The grants last as long as the
    /// connection; there is one for each place where a rule of that name counts.
    ///
    /// # Errors
    /// When there is no such rule, or its key is another.
    pub fn sign_in(&self, name: &str, key: &str) -> Result<Vec<Grant>, AuthError> {
        let mut named = self.rules_named(name).peekable();
        if named.peek().is_none() {
            return Err(AuthError::UnknownKeyName { name: shortened(name) });
        }
        let grants: Vec<Grant> = named
            .filter(|rule| rule.has_key(key))
            .map(|rule| Grant {
                principal: rule.name.clone(),
                path: rule.scope.path(),
                rights: rule.rights,
                expires_at: None,
            })
            .collect();
        if grants.is_empty() { Err(AuthError::WrongKey { name: shortened(name) }) } else { Ok(grants) }
    }
}

/// Why a token is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// The request is malformed.
    #[error("{problem}")]
    BadRequest {
        /// What is wrong with it.
        problem: String,
    },
    /// The token does not open that.
    #[error("{0}")]
    Unauthorized(#[from] AuthError),
    /// The token is good, but there is no such hub.
    #[error("The messaging entity '{hub}' could not be found.")]
    NotFound {
        /// Its name, shortened.
        hub: String,
    },
}

impl TokenRefused {
    /// The status code of the answer, one of HTTP's as AMQP's request and response use them.
    pub fn status(&self) -> i32 {
        match self {
            Self::BadRequest { .. } | Self::Unauthorized(AuthError::Malformed { .. }) => 400,
            Self::Unauthorized(error) if error.is_unavailable() => 503,
            Self::Unauthorized(_) => 401,
            Self::NotFound { .. } => 404,
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use hmac::{Hmac, KeyInit, Mac};
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;
    use sha2::Sha256;
    use tidegate_model::event::HubName;

    use super::super::rule::{AccessRule, Right, Scope, SecretKey};
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const LATER: i64 = 1_700_003_600;

    fn rule(name: &str, keys: &[&str], right: Right, hub: Option<&str>) -> AccessRule {
        AccessRule {
            name: name.into(),
            keys: keys.iter().map(|key| SecretKey::new(*key).unwrap()).collect(),
            rights: [right].into_iter().collect(),
            scope: hub.map_or(Scope::Namespace, |hub| Scope::Hub(HubName::new(hub).unwrap())),
        }
    }

    fn authorizer() -> Authorizer {
        let rules = vec![
            rule("root", &["root-1", "root-2"], Right::Manage, None),
            rule("app", &["app-everywhere"], Right::Listen, None),
            rule("app", &["app-flights"], Right::Send, Some("flights")),
            rule("drones", &["drones"], Right::Send, Some("drones")),
        ];
        Authorizer::new(rules).unwrap()
    }

    /// A token over `sr` as it is.
    fn token(sr: &str, name: &str, key: &str, se: i64) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(format!("{sr}\n{se}").as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let signature = utf8_percent_encode(&signature, NON_ALPHANUMERIC);
        format!("SharedAccessSignature sr={sr}&sig={signature}&se={se}&skn={name}")
    }

    fn put(audience: &str, token: &str) -> Result<Grant, TokenRefused> {
        authorizer().put_token(&PutToken { token_type: SAS_TOKEN_TYPE, audience, token }, NOW)
    }

    /// The audiences and encodings of the three official clients that were traced.
    #[test]
    fn a_token_grants_what_it_is_put_for() {
        for (sr, audience, path) in [
            ("sb%3A%2F%2F127.0.0.1%3A5672%2Fflights", "sb://127.0.0.1:5672/flights", "flights"),
            (
                "sb%3A%2F%2Fh%2Fflights",
                "sb://h/flights/ConsumerGroups/$Default/Partitions/0",
                "flights/ConsumerGroups/$Default/Partitions/0",
            ),
            (
                "amqps%3a%2f%2f127.0.0.1%2fflights",
                "amqps://127.0.0.1/flights/$management",
                "flights/$management",
            ),
            ("sb%3a%2f%2Fh%2fFLIGHTS%2f", "amqps://other/Flights/Partitions/3", "flights/partitions/3"),
            ("sb%3A%2F%2Fh", "sb://h/flights", "flights"),
            ("sb%3A%2F%2Fh", "flights/Partitions/3", "flights/partitions/3"),
            ("sb%3A%2F%2Fh", "sb://h/", ""),
        ] {
            for key in ["root-1", "root-2"] {
                let grant = put(audience, &token(sr, "root", key, LATER))
                    .unwrap_or_else(|error| panic!("{sr}: {error}"));
                assert_eq!(grant.path, ResourcePath::of_path(path).unwrap(), "{audience}");
                assert!(grant.rights.include(Right::Manage));
                assert_eq!(grant.expires_at, Some(Timestamp::from_millis(LATER * 1000)));
                assert_eq!(grant.principal, "root");
            }
        }
    }

    #[test]
    fn one_name_in_two_places_is_two_rules() {
        let of_hub =
            put("sb://h/flights", &token("sb%3A%2F%2Fh%2Fflights", "app", "app-flights", LATER)).unwrap();
        assert!(of_hub.rights.include(Right::Send) && !of_hub.rights.include(Right::Listen));
        let of_all = put("sb://h/flights", &token("sb%3A%2F%2Fh", "app", "app-everywhere", LATER)).unwrap();
        assert!(of_all.rights.include(Right::Listen) && !of_all.rights.include(Right::Send));
        let elsewhere =
            put("sb://h/drones", &token("sb%3A%2F%2Fh", "app", "app-flights", LATER)).unwrap_err();
        assert_eq!(elsewhere.status(), 401);
        assert!(elsewhere.to_string().contains("for the hub flights only"), "{elsewhere}");
    }

    #[test]
    fn what_does_not_open_is_refused_with_its_status() {
        let sr = "sb%3A%2F%2Fh%2Fflights";
        let good = token(sr, "root", "root-1", LATER);
        for (audience, token, status, complaint) in [
            ("sb://h/flights", token(sr, "root", "wrong", LATER), 401, "does not match"),
            ("sb://h/flights", token(sr, "nobody", "root-1", LATER), 401, "no access rule"),
            ("sb://h/flights", token(sr, "root", "root-1", 1_700_000_000), 401, "expired"),
            ("sb://h/drones", good.clone(), 401, "is for \"flights\""),
            ("sb://h", good.clone(), 401, "is for \"flights\""),
            ("sb://h/flights2", good.clone(), 401, "is for \"flights\""),
            ("sb://h/flights", good.replace("%3A", "%3a"), 401, "does not match"),
            ("sb://h/flights", token(sr, "drones", "drones", LATER), 401, "for the hub drones only"),
            ("sb://h/flights", good.replace("se=", "es="), 400, "se is missing"),
            ("sb://h/flights", good.replace("SharedAccessSignature ", ""), 400, "does not begin with"),
            ("sb://h/flights", String::new(), 400, "does not begin with"),
            (&format!("sb://h/{}", "x".repeat(2000)), good.clone(), 400, "name is wrong"),
        ] {
            let refused = put(audience, &token).unwrap_err();
            assert_eq!(refused.status(), status, "{refused}");
            assert!(refused.to_string().contains(complaint), "{refused}");
        }
        let other = PutToken { token_type: "password", audience: "sb://h/flights", token: &good };
        let refused = authorizer().put_token(&other, NOW).unwrap_err();
        assert_eq!((refused.status(), refused.to_string().contains("\"password\"")), (400, true));
        let jwt = PutToken { token_type: JWT_TYPE, audience: "sb://h/flights", token: "a.b.c" };
        let refused = authorizer().put_token(&jwt, NOW).unwrap_err();
        assert_eq!((refused.status(), refused.to_string().contains("takes no access tokens")), (401, true));
    }

    #[test]
    fn a_user_signs_in_with_the_name_and_a_key_of_a_rule() {
        let grants = authorizer().sign_in("root", "root-2").unwrap();
        assert_eq!((grants.len(), grants[0].path.is_namespace(), grants[0].expires_at), (1, true, None));
        let grants = authorizer().sign_in("app", "app-flights").unwrap();
        assert_eq!((grants.len(), grants[0].path.to_string().as_str()), (1, "flights"));
        for (name, key) in [("root", "app-flights"), ("root", ""), ("nobody", "root-1"), ("", "")] {
            let refused = authorizer().sign_in(name, key).unwrap_err();
            assert!(key.is_empty() || !refused.to_string().contains(key), "{refused}");
        }
    }

    proptest! {
        /// Whatever is put for whatever: what is granted is within the token and within the rule.
        #[test]
        fn nothing_is_granted_beyond_token_and_rule(
            sr in "(sb://h/?|amqps://[a-z.]{1,5}/)(flights|FLIGHTS|drones|x)?(/[a-zA-Z0-9$]{0,4}){0,2}",
            audience in "((sb|http)://h/)?(flights|Flights|drones|x)?(/[a-zA-Z0-9$]{0,4}){0,3}",
            who in 0usize..4,
        ) {
            let (name, key, hub) =
                [("root", "root-1", ""), ("app", "app-everywhere", ""), ("app", "app-flights", "flights"), ("drones", "drones", "drones")][who];
            let encoded = utf8_percent_encode(&sr, NON_ALPHANUMERIC).to_string();
            if let Ok(grant) = put(&audience, &token(&encoded, name, key, LATER)) {
                prop_assert!(ResourcePath::of_audience(&sr).unwrap().covers(&grant.path), "{sr} {grant:?}");
                prop_assert!(ResourcePath::of_path(hub).unwrap().covers(&grant.path), "{hub} {grant:?}");
                prop_assert!(grant.rights.include(Right::Manage) == (name == "root"));
            }
        }

        #[test]
        fn no_request_panics(kind in 0usize..3, audience in "\\PC{0,40}", text in "\\PC{0,60}") {
            let token_type = [SAS_TOKEN_TYPE, JWT_TYPE, "x"][kind];
            let _ = authorizer().put_token(&PutToken { token_type, audience: &audience, token: &text }, NOW);
            let text = format!("SharedAccessSignature {text}");
            prop_assert!(put(&audience, &text).is_err());
        }
    }
}
