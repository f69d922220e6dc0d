//! Secrets: given in the file, or better by the name of a variable or a file that holds them.

use std::path::{Path, PathBuf};

use toml_edit::{Item, TableLike};

use tidegate_alerts::target::Secret;

use crate::config::value::{Place, Setting};

/// The largest file that a secret is read from, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Where a secret is. It is fetched when the program starts to run functions, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In the configuration itself.
    Text(String),
    /// In this environment variable.
    Variable(String),
    /// In this file; a relative path is seen from where the configuration is.
    File(PathBuf),
}

impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("(secret)"),
            Self::Variable(name) => write!(f, "(secret in the variable {name})"),
            Self::File(path) => write!(f, "(secret in {})", path.display()),
        }
    }
}

impl SecretSource {
    /// Fetches the secret. One line break at the end is not a part of it.
    ///
    /// # Errors
    /// Says why it cannot be had, and never repeats it.
    pub(crate) fn fetch(&self) -> Result<Secret, String> {
        let text = match self {
            Self::Text(text) => text.clone(),
            Self::Variable(name) => match std::env::var(name) {
                Ok(text) => text,
                Err(std::env::VarError::NotPresent) => {
                    return Err(format!("the environment variable {name} is not set"));
                }
                Err(std::env::VarError::NotUnicode(_)) => {
                    return Err(format!("the environment variable {name} is not UTF-8 text"));
                }
            },
            Self::File(path) => read_file(path)?,
        };
        let text = text.strip_suffix('\n').map_or(&*text, |text| text.strip_suffix('\r').unwrap_or(text));
        if text.is_empty() {
            return Err(format!("{} is empty", self.place()));
        }
        Ok(Secret::new(text))
    }

    /// Something that has the form of a secret, to check all else without it.
    pub(crate) fn placeholder(&self) -> Secret {
        match self {
            Self::Text(text) => Secret::new(text.clone()),
            Self::Variable(_) | Self::File(_) => Secret::new("a secret that is fetched later"),
        }
    }

    /// Something that has the form of an address, to check all else without it.
    pub(crate) fn placeholder_url(&self) -> Secret {
        match self {
            Self::Text(text) => Secret::new(text.clone()),
            Self::Variable(_) | Self::File(_) => Secret::new("https://fetched-later.invalid/"),
        }
    }

    /// Makes a relative path one that is seen from `directory`.
    pub(crate) fn seen_from(&mut self, directory: &Path) {
        if let Self::File(path) = self {
            *path = directory.join(&path);
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Text(_) => "it".to_owned(),
            Self::Variable(name) => format!("the environment variable {name}"),
            Self::File(path) => path.display().to_string(),
        }
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let length = std::fs::metadata(path).map_err(|error| format!("{shown} cannot be read: {error}"))?.len();
    if length > MAX_FILE {
        return Err(format!("{shown} has {length} bytes; a secret has {MAX_FILE} at most"));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8 text"))
}

impl Setting for SecretSource {
    const TYPE: &'static str =
        "a text, or `{ env = \"NAME\" }` or `{ file = \"PATH\" }` to keep it out of the file";
    const EXAMPLE: &'static str = "{ env = \"TIDEGATE_SECRET\" }";
    const SECRET: bool = true;

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let source = match (item.as_str(), item.as_table_like()) {
            (Some(text), _) if !text.is_empty() => Some(Self::Text(text.to_owned())),
            (_, Some(table)) => elsewhere(table),
            _ => None,
        };
        if source.is_none() {
            // What is written there may be the secret, only in a wrong form: it is not shown.
            place.wrong_unseen(item, &format!("expected {}", Self::TYPE), Self::EXAMPLE);
        }
        source
    }
}

fn elsewhere(table: &dyn TableLike) -> Option<SecretSource> {
    let mut members = table.iter();
    let (name, item) = members.next()?;
    let text = item.as_str().filter(|text| !text.is_empty())?.to_owned();
    match (name, members.next()) {
        ("env", None) => Some(SecretSource::Variable(text)),
        ("file", None) => Some(SecretSource::File(PathBuf::from(text))),
        _ => None,
    }
}

/// Headers with secret values, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecretHeaders(pub(crate) Vec<(String, SecretSource)>);

impl Setting for SecretHeaders {
    const TYPE: &'static str =
        "a table of headers; each value is a text, `{ env = \"NAME\" }` or `{ file = \"PATH\" }`";
    const EXAMPLE: &'static str = "{ Authorization = { env = \"HOOK_AUTHORIZATION\" } }";
    const SECRET: bool = true;

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let Some(table) = item.as_table_like() else {
            place.wrong_unseen(item, &format!("expected {}", Self::TYPE), Self::EXAMPLE);
            return None;
        };
        let headers: Vec<Option<(String, SecretSource)>> = table
            .iter()
            .map(|(name, item)| SecretSource::read(item, place).map(|source| (name.to_owned(), source)))
            .collect();
        headers.into_iter().collect::<Option<Vec<_>>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched(source: SecretSource) -> Result<String, String> {
        source.fetch().map(|secret| secret.reveal().to_owned())
    }

    #[test]
    fn a_secret_in_a_file_is_its_text_without_the_last_line_break() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, " hush \r\n").unwrap();
        let mut source = SecretSource::File(PathBuf::from("password"));
        source.seen_from(dir.path());
        assert_eq!(fetched(source.clone()), Ok(" hush ".to_owned()));

        std::fs::write(&path, "\n").unwrap();
        assert!(fetched(source.clone()).unwrap_err().ends_with("password is empty"));
        std::fs::write(&path, [0xff]).unwrap();
        assert!(fetched(source.clone()).unwrap_err().ends_with("password is not UTF-8 text"));
        std::fs::remove_file(&path).unwrap();
        assert!(fetched(source).unwrap_err().contains("password cannot be read: "));
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let source = SecretSource::Variable("TIDEGATE_NO_SUCH_SECRET".to_owned());
        assert_eq!(
            fetched(source),
            Err("the environment variable TIDEGATE_NO_SUCH_SECRET is not set".to_owned())
        );
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", SecretSource::Text("hush".to_owned())), "(secret)");
    }
}
