//! `tls = { … }`: what encrypts a front door.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use toml_edit::Item;

use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::{Place, Setting};

/// The files that a front door is encrypted with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate, and those between it and the root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

const CERTIFICATE: Key<PathBuf> = Key::required(
    "certificate",
    "A PEM file with the server's certificate, and after it those that lead from it to the root.",
);
const KEY: Key<PathBuf> = Key::required("key", "A PEM file with the private key of the certificate.");

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "tls = { … }",
    doc: "What encrypts a front door, a table within `[amqp]`. Relative paths are seen from where the configuration is. The \
          files are read when the server starts, and again when they have changed; files that cannot be used then change \
          nothing. TLS 1.2 and 1.3 are spoken. `tidegate dev-cert` makes such files for development.",
    keys: &[&CERTIFICATE as &dyn KeyInfo, &KEY],
    example: "tls = { certificate = \"server.pem\", key = \"server.key\" }\n",
};

impl Setting for TlsConfig {
    const TYPE: &'static str = "a table, see [tls](#tls----)";
    const EXAMPLE: &'static str = "{ certificate = \"server.pem\", key = \"server.key\" }";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        if item.as_table_like().is_none() {
            place.wrong(item, "expected a table", Self::EXAMPLE);
            return None;
        }
        let header = format!("`tls` of {}", place.table);
        let mut reader = Reader::new(&ELEMENT, header, item, item.span(), place.issues)?;
        let (certificate, key) = (reader.get(&CERTIFICATE), reader.get(&KEY));
        Some(Self { certificate: certificate?, key: key? })
    }
}

impl Setting for PathBuf {
    const TYPE: &'static str = "the path of a file";
    const EXAMPLE: &'static str = "\"server.pem\"";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let path = item.as_str().filter(|text| !text.is_empty() && !text.contains('\0')).map(Self::from);
        if path.is_none() {
            place.not_a::<Self>(item);
        }
        path
    }
}

impl TlsConfig {
    /// Makes relative paths such that are seen from `directory`.
    pub(crate) fn seen_from(&mut self, directory: &Path) {
        for path in [&mut self.certificate, &mut self.key] {
            *path = directory.join(&path);
        }
    }

    /// What a listener needs, from the files.
    ///
    /// # Errors
    /// Which file cannot be used, and why. No text holds a part of the key.
    pub(crate) fn server(&self) -> Result<Arc<ServerConfig>, String> {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        let read: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(&self.certificate).and_then(|certificates| certificates.collect());
        let chain =
            read.map_err(|error| format!("`certificate` of `tls`: {certificate} {}", what_is_wrong(&error)))?;
        if chain.is_empty() {
            return Err(format!("`certificate` of `tls`: {certificate} has no certificate in PEM form"));
        }
        let private_key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| format!("`key` of `tls`: {key} {}", what_is_wrong(&error)))?;
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider has both versions")
            .with_no_client_auth();
        let config = builder.with_single_cert(chain, private_key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => format!("`tls`: {key} is not the key of {certificate}"),
            error => format!("`tls`: {certificate} and {key} cannot be used: {error}"),
        })?;
        Ok(Arc::new(config))
    }
}

fn what_is_wrong(error: &PemError) -> String {
    match error {
        PemError::Io(error) => format!("cannot be read: {error}"),
        PemError::NoItemsFound => "has nothing of that kind in PEM form".to_owned(),
        // The parser's own texts may repeat lines of the file.
        _ => "is no PEM file".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate for localhost and its private key, as PEM.
    fn certificate() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn tls(certificate: &str, key: &str) -> Result<Arc<ServerConfig>, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cert.pem"), certificate).unwrap();
        std::fs::write(dir.path().join("key.pem"), key).unwrap();
        let mut config = TlsConfig { certificate: "cert.pem".into(), key: "key.pem".into() };
        config.seen_from(dir.path());
        config.server()
    }

    #[test]
    fn a_certificate_and_its_key_are_taken() {
        let (certificate, key) = certificate();
        tls(&certificate, &key).unwrap();
        tls(&format!("{certificate}{certificate}"), &format!("a comment\n{key}")).unwrap();
    }

    #[test]
    fn what_cannot_work_is_named_without_the_key() {
        let ((certificate, key), (_, other_key)) = (certificate(), certificate());
        let broken = "-----BEGIN PRIVATE KEY-----\nhush!\n-----END PRIVATE KEY-----\n";
        for (certificate, key, complaint) in [
            (&*certificate, &*other_key, "key.pem is not the key of"),
            ("", &key, "cert.pem has no certificate"),
            (&key, &key, "cert.pem has no certificate"),
            (&certificate, &certificate, "key.pem has nothing of that kind"),
            (&certificate, broken, "key.pem is no PEM file"),
        ] {
            let error = tls(certificate, key).unwrap_err();
            assert!(error.contains(complaint) && !error.contains("hush"), "{error}");
        }
        let nowhere = TlsConfig { certificate: "/nowhere/cert.pem".into(), key: "/nowhere/key.pem".into() };
        assert!(nowhere.server().unwrap_err().contains("/nowhere/cert.pem cannot be read: "));
    }
}
