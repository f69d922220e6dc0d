//! Which server or data directory a command is about.

use std::path::{Path, PathBuf};

use tidegate_access::request::is_loopback_name;
use tidegate_model::error::ErrorCode;

use crate::cli::Context;
use crate::cli::output::quoted;
use crate::client::Connection;
use crate::config::{Config, Registered};
use crate::data_dir::{self, DataDir, IfMissing, Patience, announced_server};
use crate::failure::Failure;
use crate::keys::Keys;
use crate::node::{Node, NodeConfig};

/// Which server or data directory a command is about. Without --server, the server that has the data directory open is
/// asked; with none running, the directory is opened by the command itself.
#[derive(clap::Args)]
pub(crate) struct Target {
    /// The data directory.
    #[arg(long, value_name = "DIR", env = "TIDEGATE_DATA_DIR", hide_env_values = true, default_value = data_dir::DEFAULT)]
    pub(crate) data_dir: PathBuf,
    /// A running server, such as http://127.0.0.1:8780. Its key or token comes from --key-file or TIDEGATE_KEY; for a server on
    /// this machine else from the data directory, and without any one may look there.
    #[arg(long, value_name = "URL", env = "TIDEGATE_SERVER", hide_env_values = true)]
    pub(crate) server: Option<String>,
    /// A file with the server's key.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

/// A way to the API, and what must stay open meanwhile.
pub(crate) struct Connected {
    /// The way.
    pub(crate) connection: Connection,
    node: Option<Node>,
}

impl Connected {
    /// True when a server answers, whose functions run; false where the command opened the data directory itself.
    pub(crate) fn is_server(&self) -> bool {
        self.node.is_none()
    }

    /// Closes what was opened for the command.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        drop(self.connection);
        match self.node {
            Some(node) => node.close().await,
            None => Ok(()),
        }
    }
}

impl Target {
    /// Connects for looking at what is there, and for acting on it. Where the command opens the data directory itself, it
    /// knows what the configuration says, if one is given, and makes nothing.
    pub(crate) async fn connect(
        &self,
        context: &Context,
        config: Option<&Path>,
    ) -> Result<Connected, Failure> {
        self.connect_as(context, config, false).await
    }

    /// Connects for publishing. Where the command opens the data directory itself, it makes the hubs that the
    /// configuration declares; a server has made them.
    pub(crate) async fn connect_for_sending(
        &self,
        context: &Context,
        config: Option<&Path>,
    ) -> Result<Connected, Failure> {
        self.connect_as(context, config, true).await
    }

    /// A way to a running server, and its address; nothing is opened.
    ///
    /// # Errors
    /// When no server has the data directory open, or there is no key for it.
    pub(crate) fn connect_to_server(&self) -> Result<(Connection, String), Failure> {
        let server = match &self.server {
            Some(server) => server.clone(),
            None => match announced_server(&self.data_dir) {
                Some(server) => server.http,
                None => {
                    let message = format!("no server runs on {}", self.data_dir.display());
                    return Err(Failure::new(ErrorCode::SERVER_UNREACHABLE, message).help(
                        "start one with `tidegate run`, or name another with --server URL or --data-dir DIR\n\
                         `tidegate status` tells how a data directory stands that no server has open",
                    ));
                }
            },
        };
        let key = self.key(self.server.as_deref())?;
        Ok((Connection::to_server(&server, key.as_deref())?, server))
    }

    async fn connect_as(
        &self,
        context: &Context,
        config: Option<&Path>,
        makes: bool,
    ) -> Result<Connected, Failure> {
        if let Some(server) = &self.server {
            let connection = Connection::to_server(server, self.key(Some(server))?.as_deref())?;
            return Ok(Connected { connection, node: None });
        }
        let load = || config.map(|path| Config::load(path, Registered::Any)).transpose();
        // A wrong configuration leaves no directory behind.
        let (mut loaded, if_missing) = match self.data_dir.exists() {
            true => (None, IfMissing::Refuse),
            false => {
                let loaded = load()?;
                let if_missing =
                    if makes && loaded.is_some() { IfMissing::Create } else { IfMissing::Refuse };
                (loaded, if_missing)
            }
        };
        let mut patience = Patience::new(&*context.clock);
        let data_dir = loop {
            match DataDir::open(&self.data_dir, if_missing, &*context.clock) {
                Err(failure) if failure.code() == Some(ErrorCode::DATA_DIR_LOCKED) => {
                    if let Some(connection) = self.running_server().await? {
                        return Ok(Connected { connection, node: None });
                    }
                    // Another command, or a server that is just starting or ending.
                    if !patience.wait().await {
                        return Err(failure);
                    }
                }
                opened => break opened?,
            }
        };
        if loaded.is_none() {
            loaded = load()?;
        }
        let config = match &loaded {
            None => NodeConfig::AsItIs,
            Some(loaded) if makes => NodeConfig::Declared(&loaded.config),
            Some(loaded) => NodeConfig::Known(&loaded.config),
        };
        let node = Node::open(data_dir, config, context.clock.clone()).await?;
        let connection = Connection::to_router(node.router(), node.root_key()?)?;
        Ok(Connected { connection, node: Some(node) })
    }

    /// The server that has the data directory open, if it answers.
    async fn running_server(&self) -> Result<Option<Connection>, Failure> {
        let Some(server) = announced_server(&self.data_dir) else { return Ok(None) };
        let connection = Connection::to_server(&server.http, self.key(None)?.as_deref())?;
        Ok(connection.answers().await.then_some(connection))
    }

    /// The options that name this target, to be typed after a command.
    pub(crate) fn options(&self) -> String {
        if let Some(server) = &self.server {
            return format!(" --server {server}");
        }
        if self.data_dir.as_os_str() == data_dir::DEFAULT {
            return String::new();
        }
        format!(" --data-dir {}", quoted(&self.data_dir))
    }

    /// The key for a server that was named, or for the one that has the data directory open; if there is one.
    fn key(&self, named: Option<&str>) -> Result<Option<String>, Failure> {
        if let Some(file) = &self.key_file {
            let text = std::fs::read_to_string(file).map_err(|error| {
                Failure::usage(
                    ErrorCode::UNAUTHORIZED,
                    format!("cannot read the key file {}: {error}", file.display()),
                )
            })?;
            return Ok(Some(text.trim().to_owned()));
        }
        if let Ok(key) = std::env::var("TIDEGATE_KEY") {
            return Ok(Some(key));
        }
        // The key of a directory here opens everything: it is not sent to a machine of which only the address is known.
        let is_here = |server: &str| {
            let uri = server.parse::<axum::http::Uri>().ok();
            uri.and_then(|uri| uri.host().map(is_loopback_name)).unwrap_or_default()
        };
        if named.is_some_and(|server| !is_here(server)) {
            return Ok(None);
        }
        Keys::read(&self.data_dir)?.map(|keys| keys.root().map(str::to_owned)).transpose()
    }
}
