//! Names: short, validated, cheap to clone.

/// A name that was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name:?} {problem}")]
pub struct InvalidName {
    /// Which kind of name it was meant to be.
    pub what: &'static str,
    /// The text that was refused, shortened to 64 characters.
    pub name: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Checks the rule all names share: 1 to `max` characters, alphanumeric at both ends, and inside also `-`, `_`, `.`.
/// It is Event Hubs' rule for entity names without the slash, so that a name is also a file name.
pub(crate) fn check(what: &'static str, name: &str, max: usize) -> Result<(), InvalidName> {
    let refuse = |problem| Err(InvalidName { what, name: name.chars().take(64).collect(), problem });
    if name.is_empty() {
        return refuse("is empty");
    }
    if name.len() > max {
        return refuse("is too long");
    }
    let (first, last) = (name.as_bytes()[0], name.as_bytes()[name.len() - 1]);
    if !first.is_ascii_alphanumeric() || !last.is_ascii_alphanumeric() {
        return refuse("must begin and end with a letter or a digit");
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        return refuse("may hold only letters, digits, '-', '_' and '.'");
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(smol_str::SmolStr);

        impl $name {
            /// Accepts a name of 1 to
            #[doc = concat!(stringify!($max), " characters: letters, digits, and inside also `-`, `_`, `.`.")]
            pub fn new(name: &str) -> Result<Self, $crate::event::InvalidName> {
                $crate::name::check($what, name, $max)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::event::InvalidName;
            fn try_from(name: String) -> Result<Self, Self::Error> {
                Self::new(&name)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::event::InvalidName;
            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Self::new(name)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}
pub(crate) use name_type;
