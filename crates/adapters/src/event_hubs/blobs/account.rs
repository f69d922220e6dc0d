//! A storage account, as connection strings describe it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;

use crate::event_hubs::client::credential::TokenSource;

/// Where blobs are, and how to get in. `Debug` hides the secrets.
#[derive(Clone)]
pub struct BlobAccount {
    /// The address of the account; containers are below it.
    pub endpoint: Url,
    /// How to get in.
    pub access: BlobAccess,
}

/// How to get in.
#[derive(Clone)]
pub enum BlobAccess {
    /// With the account's key.
    SharedKey {
        /// The account.
        account: String,
        /// The key, decoded.
        key: Vec<u8>,
    },
    /// With a shared access signature: a query string, without `?`.
    Signature(String),
    /// With access tokens of Entra.
    Tokens(Arc<dyn TokenSource>),
}

impl fmt::Debug for BlobAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = match &self.access {
            BlobAccess::SharedKey { account, .. } => format!("the key of {account}"),
            BlobAccess::Signature(_) => "a signature".to_owned(),
            BlobAccess::Tokens(_) => "tokens".to_owned(),
        };
        f.debug_struct("BlobAccount")
            .field("endpoint", &self.endpoint.as_str())
            .field("access", &access)
            .finish()
    }
}

/// What is wrong with a connection string. No text holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccount {
    /// A part has no name.
    #[error("part {0} of the storage connection string has no name and `=`")]
    NoName(usize),
    /// It does not say where the blobs are.
    #[error("the storage connection string has neither BlobEndpoint nor AccountName")]
    NoEndpoint,
    /// The address is none.
    #[error("the address of the blobs is none: {0}")]
    BadEndpoint(String),
    /// It does not say how to get in.
    #[error("the storage connection string has neither AccountKey nor SharedAccessSignature")]
    NoAccess,
    /// The key is none.
    #[error("AccountKey is no base64 text")]
    BadKey,
}

/// The account of the emulator and its published key.
const EMULATOR: &str = "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=\
    Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;\
    BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1";

impl FromStr for BlobAccount {
    type Err = InvalidAccount;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = Vec::new();
        for (place, part) in text.split(';').map(str::trim).enumerate().filter(|(_, part)| !part.is_empty()) {
            parts.push(part.split_once('=').ok_or(InvalidAccount::NoName(place + 1))?);
        }
        let get = |name: &str| {
            let part = parts.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name));
            part.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
        };
        if get("UseDevelopmentStorage") == Some("true") {
            return EMULATOR.parse();
        }
        let endpoint = match (get("BlobEndpoint"), get("AccountName")) {
            (Some(endpoint), _) => endpoint.to_owned(),
            (None, Some(account)) => {
                let protocol = get("DefaultEndpointsProtocol").unwrap_or("https");
                let suffix = get("EndpointSuffix").unwrap_or("core.windows.net");
                format!("{protocol}://{account}.blob.{suffix}")
            }
            (None, None) => return Err(InvalidAccount::NoEndpoint),
        };
        let endpoint = Url::parse(&endpoint)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or(InvalidAccount::BadEndpoint(endpoint))?;
        let access = match (get("AccountName"), get("AccountKey"), get("SharedAccessSignature")) {
            (Some(account), Some(key), _) => {
                let key = STANDARD.decode(key).map_err(|_| InvalidAccount::BadKey)?;
                BlobAccess::SharedKey { account: account.to_owned(), key }
            }
            (_, _, Some(signature)) => BlobAccess::Signature(signature.trim_start_matches('?').to_owned()),
            _ => return Err(InvalidAccount::NoAccess),
        };
        Ok(Self { endpoint, access })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_strings_of_accounts_are_read() {
        let account: BlobAccount =
            "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=aHVzaA==;EndpointSuffix=core.windows.net"
                .parse()
                .unwrap();
        assert_eq!(account.endpoint.as_str(), "https://acc.blob.core.windows.net/");
        assert!(
            matches!(&account.access, BlobAccess::SharedKey { account, key } if account == "acc" && key == b"hush")
        );
        assert!(!format!("{account:?}").contains("hush") && !format!("{account:?}").contains("aHVzaA"));
        let emulator: BlobAccount = "UseDevelopmentStorage=true".parse().unwrap();
        assert_eq!(emulator.endpoint.path(), "/devstoreaccount1");
        let sas: BlobAccount =
            "BlobEndpoint=https://acc.blob.core.windows.net/;SharedAccessSignature=?sv=1&sig=a%3D"
                .parse()
                .unwrap();
        assert!(matches!(&sas.access, BlobAccess::Signature(query) if query == "sv=1&sig=a%3D"));
        for (text, error) in [
            ("nothing", InvalidAccount::NoName(1)),
            ("AccountKey=aA==", InvalidAccount::NoEndpoint),
            ("AccountName=a", InvalidAccount::NoAccess),
            ("AccountName=a;AccountKey=?", InvalidAccount::BadKey),
            (
                "BlobEndpoint=ftp://x;AccountName=a;AccountKey=aA==",
                InvalidAccount::BadEndpoint("ftp://x".into()),
            ),
        ] {
            assert_eq!(text.parse::<BlobAccount>().unwrap_err(), error);
        }
    }
}
