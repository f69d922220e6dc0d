//! The certificate of a front door while the server runs: renewed files are used from the next connection on.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use tidegate_model::clock::Timestamp;

use crate::config::TlsConfig;

/// The files of a certificate, and what was made of them last.
pub(crate) struct Certificate {
    files: TlsConfig,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    server: Arc<ServerConfig>,
    /// `None` when the certificate does not say it in a way that is understood.
    ends_at: Option<Timestamp>,
    /// How the files were when they were read last, whether or not they could be used.
    seen: [Option<Stamp>; 2],
}

/// What tells that a file is another than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    inode: (u64, u64),
    size: u64,
}

impl From<Metadata> for Stamp {
    fn from(file: Metadata) -> Self {
        Self {
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
            inode: (file.dev(), file.ino()),
            size: file.size(),
        }
    }
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// Which file cannot be used, and why. No text holds a part of the key.
    pub(crate) fn load(files: TlsConfig) -> Result<Self, String> {
        let seen = stamps(&files);
        let (server, ends_at) = (files.server()?, ends_at(&files.certificate));
        let loaded = Mutex::new(Loaded { server, ends_at, seen });
        Ok(Self { files, loaded })
    }

    /// When the certificate that is used ends: no client takes it after that.
    pub(crate) fn ends_at(&self) -> Option<Timestamp> {
        self.current();
        self.loaded.lock().ends_at
    }

    /// What the next connection is encrypted with. Files that have changed are read again; while they cannot be used, which
    /// may be because only one of the two is there yet, the old certificate stays. The files are looked at for each
    /// connection: that costs far less than its handshake.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        let mut loaded = self.loaded.lock();
        // Looked at before they are read: a file that changes meanwhile is read again by the next connection.
        let seen = stamps(&self.files);
        if seen != loaded.seen {
            loaded.seen = seen;
            let certificate = self.files.certificate.display();
            match self.files.server() {
                Ok(server) => {
                    loaded.server = server;
                    loaded.ends_at = ends_at(&self.files.certificate);
                    tracing::info!(%certificate, "the certificate was renewed");
                }
                Err(why) => tracing::warn!(
                    %certificate, %why, "the changed certificate cannot be used; the old one stays until it can"
                ),
            }
        }
        Arc::clone(&loaded.server)
    }
}

fn stamps(files: &TlsConfig) -> [Option<Stamp>; 2] {
    [&files.certificate, &files.key].map(|path| std::fs::metadata(path).ok().map(Stamp::from))
}

/// When the first certificate of a file ends, which is the server's own.
fn ends_at(file: &Path) -> Option<Timestamp> {
    let certificate = CertificateDer::from_pem_file(file).ok()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&certificate).ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    Some(Timestamp::from_millis(seconds.saturating_mul(1000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, certificate: &str, key: &str) {
        std::fs::write(dir.join("cert.pem"), certificate).unwrap();
        std::fs::write(dir.join("key.pem"), key).unwrap();
    }

    fn made() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn renewed_files_are_used_and_broken_ones_change_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let ((old, old_key), (new, new_key)) = (made(), made());
        write(dir.path(), &old, &old_key);
        let mut files = TlsConfig { certificate: "cert.pem".into(), key: "key.pem".into() };
        files.seen_from(dir.path());
        let certificate = Certificate::load(files).unwrap();
        let first = certificate.current();
        // rcgen's own default.
        assert_eq!(certificate.ends_at(), "4096-01-01T00:00:00Z".parse().ok());
        assert!(Arc::ptr_eq(&first, &certificate.current()), "nothing has changed");

        std::fs::write(dir.path().join("cert.pem"), &new).unwrap();
        assert!(Arc::ptr_eq(&first, &certificate.current()), "the key does not belong to it yet");
        std::fs::write(dir.path().join("key.pem"), &new_key).unwrap();
        let second = certificate.current();
        assert!(!Arc::ptr_eq(&first, &second));

        std::fs::write(dir.path().join("key.pem"), "broken").unwrap();
        assert!(Arc::ptr_eq(&second, &certificate.current()));
        std::fs::remove_file(dir.path().join("cert.pem")).unwrap();
        assert!(Arc::ptr_eq(&second, &certificate.current()));
        write(dir.path(), &old, &old_key);
        assert!(!Arc::ptr_eq(&second, &certificate.current()));
    }
}
