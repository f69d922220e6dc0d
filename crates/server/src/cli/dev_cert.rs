//! `tidegate dev-cert`: a certificate to develop with, and how clients are told to trust it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use serde::Serialize;

use tidegate_model::clock::Timestamp;
use tidegate_model::error::ErrorCode;

use crate::cli::Context;
use crate::cli::output::{Output, quoted};
use crate::failure::{Exit, Failure};
use crate::files;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to put server.pem and server.key; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// A name or address that clients use beside localhost, 127.0.0.1 and ::1; may be repeated.
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Replace files that are there already.
    #[arg(long)]
    force: bool,
    /// Print one JSON object with the paths, and nothing else.
    #[arg(long)]
    json: bool,
}

/// How long it is good for: a year.
const VALID_FOR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// It is good from before it was made, for clients whose clocks are behind.
const SLACK: Duration = Duration::from_secs(24 * 60 * 60);

/// What it is good for without a word.
const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

#[derive(Serialize)]
struct MadeJson<'a> {
    certificate: &'a Path,
    key: &'a Path,
    hosts: &'a [String],
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let (certificate, key) = (args.out.join("server.pem"), args.out.join("server.key"));
    if let Some(there) = [&certificate, &key].into_iter().find(|path| path.exists()).filter(|_| !args.force) {
        let message = format!("{} is there already", there.display());
        return Err(Failure::usage(ErrorCode::BAD_REQUEST, message)
            .help("replace it with --force, or put the new one elsewhere with --out DIR"));
    }
    let mut hosts: Vec<String> = HOSTS.map(str::to_owned).into();
    for host in &args.host {
        if !hosts.contains(host) {
            hosts.push(host.clone());
        }
    }
    let (certificate_pem, key_pem) = make(&hosts, context.clock.now()).map_err(|error| {
        Failure::usage(
            ErrorCode::BAD_REQUEST,
            format!("no certificate can be made for {}: {error}", hosts.join(", ")),
        )
        .help("--host takes a name such as events.test, or an IP address; without a port")
    })?;
    std::fs::create_dir_all(&args.out).map_err(|error| files::failure(&args.out, "make", error))?;
    let write = |path: &Path, text: &str, mode| {
        files::write_atomically(path, text.as_bytes(), mode)
            .map_err(|error| files::failure(path, "write", error))
    };
    write(&key, &key_pem, files::Mode::Secret)?;
    write(&certificate, &certificate_pem, files::Mode::Public)?;

    let mut output = Output::new(args.json);
    if args.json {
        output.object(&MadeJson { certificate: &certificate, key: &key, hosts: &hosts })?;
    } else {
        tell(&mut output, &certificate, &key, &hosts)?;
    }
    output.finish(&[])?;
    Ok(Exit::Done)
}

/// A certificate that signs itself, and its private key, as PEM. It is no authority: who trusts it trusts nobody else by it.
fn make(hosts: &[String], now: Timestamp) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(hosts.to_vec())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "tidegate development");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let millis = u64::try_from(now.as_millis()).unwrap_or_default();
    let now = date_time_ymd(1970, 1, 1) + Duration::from_secs(millis / 1000);
    params.not_before = now - SLACK;
    params.not_after = now + VALID_FOR;
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn tell(output: &mut Output, certificate: &Path, key: &Path, hosts: &[String]) -> Result<(), Failure> {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (certificate, key) = (absolute(certificate), absolute(key));
    let trusted = quoted(&certificate);
    output.line(&format!("a certificate for {}, good for a year", hosts.join(", ")))?;
    output.line(&format!("  certificate  {}", certificate.display()))?;
    output.line(&format!("  private key  {} (readable by you only)", key.display()))?;
    output.heading("\nin tidegate.toml")?;
    output.line("  [amqp]")?;
    output.line("  listen = \"127.0.0.1:5671\"")?;
    let toml = |path: &Path| toml_text(&path.display().to_string());
    output.line(&format!("  tls = {{ certificate = {}, key = {} }}", toml(&certificate), toml(&key)))?;
    output.heading("\nclients, with the connection string that `tidegate run` prints")?;
    output.line("  Python   EventHubProducerClient.from_connection_string(…,")?;
    output.line(
        "               custom_endpoint_address=\"sb://127.0.0.1:5671\", transport_type=TransportType.Amqp,",
    )?;
    output.line(&format!("               connection_verify={})", toml(&certificate)))?;
    output.line(&format!("  JS       NODE_EXTRA_CA_CERTS={trusted} node …"))?;
    output.line(&format!("  Rust     SSL_CERT_FILE={trusted} cargo run …"))?;
    output
        .line("           and .with_custom_endpoint(\"amqps://127.0.0.1:5671\".to_owned()) on the builder")?;
    output.line("\nfor development only: clients elsewhere need a certificate from an authority they trust")
}

/// A text as TOML and Python both write it.
fn toml_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
