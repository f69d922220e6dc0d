//! Lets a suite end and start its server: a socket on which each line is a command, answered with a line when it is done.
//!
//! | command | what happens |
//! |---|---|
//! | `kill` | the process ends as by a power cut |
//! | `stop` | it ends as an operator ends it |
//! | `start` | it runs again, on the same data and ports |
//!
//! The answer is `ok`, or what went wrong.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};

use crate::server::Server;

/// The command by which the owner of the socket takes it down.
const END: &str = "end";

/// A server under the control of a suite.
pub(crate) struct Control {
    address: SocketAddr,
    thread: JoinHandle<Server>,
}

impl Control {
    pub(crate) fn start(mut server: Server) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("the socket that controls the server")?;
        let address = listener.local_addr()?;
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A suite that goes away in the middle is told by its exit code.
                if let Ok(Served::Last) = serve(&stream, &mut server) {
                    break;
                }
            }
            server
        });
        Ok(Self { address, thread })
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Takes the control away. The server, ended.
    pub(crate) fn stop(self) -> anyhow::Result<Server> {
        let mut stream = TcpStream::connect(self.address)?;
        writeln!(stream, "{END}")?;
        let mut server =
            self.thread.join().map_err(|_| anyhow!("the thread that controls the server panicked"))?;
        server.kill()?;
        Ok(server)
    }
}

enum Served {
    More,
    Last,
}

fn serve(stream: &TcpStream, server: &mut Server) -> std::io::Result<Served> {
    let mut answers = stream;
    for line in BufReader::new(stream).lines() {
        let done = match line?.as_str() {
            "kill" => server.kill(),
            "stop" => server.stop(),
            "start" => server.start_again(),
            END => return Ok(Served::Last),
            other => Err(anyhow!("there is no command {other:?}")),
        };
        match done {
            Ok(()) => writeln!(answers, "ok")?,
            Err(error) => writeln!(answers, "{}", format!("{error:#}").replace('\n', " | "))?,
        }
    }
    Ok(Served::More)
}
