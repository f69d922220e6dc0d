//! The way to a server: TCP, and TLS unless it is the development emulator.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tidegate_model::clock::{Clock, timeout};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::error::ClientError;

/// How long a connection may take to come about, TLS included.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The port of AMQP inside TLS.
pub const TLS_PORT: u16 = 5671;

/// The port of plain AMQP, which the development emulator has.
pub const PLAIN_PORT: u16 = 5672;

/// What carries the bytes.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Where a server is.
#[derive(Clone)]
pub struct Server {
    /// Its name or address; an IPv6 address in brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How to speak TLS with it; `None` speaks plainly.
    pub tls: Option<Arc<ClientConfig>>,
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// TLS that trusts those whom this machine trusts.
///
/// # Errors
/// When the machine has no root certificates; the text says so.
pub fn platform_tls() -> Result<ClientConfig, String> {
    let config = builder().and_then(rustls::ConfigBuilder::with_platform_verifier).map_err(|error| {
        format!("TLS cannot be set up: {error}; are there root certificates on this machine?")
    })?;
    Ok(config.with_no_client_auth())
}

/// TLS that trusts only certificates that lead to one of those in `pem`, or are one of them.
///
/// # Errors
/// When there is none that can be read; the text says so.
pub fn tls_with_roots(pem: &[u8]) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("a certificate cannot be read: {error}"))?;
        roots.add(certificate).map_err(|error| format!("a certificate cannot be used: {error}"))?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    let config = builder().map_err(|error| format!("TLS cannot be set up: {error}"))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// TLS that trusts nobody, for what is never encrypted.
pub(crate) fn unused_tls() -> Result<ClientConfig, String> {
    let config = builder().map_err(|error| format!("TLS cannot be set up: {error}"))?;
    Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

/// Connects to a server.
///
/// # Errors
/// When it is not there, or cannot prove who it is.
pub(super) async fn connect(server: &Server, clock: &dyn Clock) -> Result<Box<dyn Stream>, ClientError> {
    match timeout(clock, CONNECT_TIMEOUT, connect_patiently(server)).await {
        Some(connected) => connected,
        None => Err(ClientError::TimedOut { what: "connecting", limit: CONNECT_TIMEOUT }),
    }
}

async fn connect_patiently(server: &Server) -> Result<Box<dyn Stream>, ClientError> {
    let bare = server.host.trim_start_matches('[').trim_end_matches(']');
    let unreachable = |error: std::io::Error| ClientError::Unreachable {
        server: server.to_string(),
        detail: error.to_string(),
    };
    let stream = TcpStream::connect((bare, server.port)).await.map_err(unreachable)?;
    // Only a matter of speed.
    let _ = stream.set_nodelay(true);
    let Some(tls) = &server.tls else { return Ok(Box::new(stream)) };
    let no_tls = |detail: String| ClientError::Tls { server: server.to_string(), detail };
    let name = ServerName::try_from(bare.to_owned()).map_err(|error| no_tls(error.to_string()))?;
    let stream = TlsConnector::from(Arc::clone(tls))
        .connect(name, stream)
        .await
        .map_err(|error| no_tls(error.to_string()))?;
    Ok(Box::new(stream))
}
