//! Connections that do nothing: opened, with a session and a link to send on, and then silent.

use serde::{Deserialize, Serialize};

use super::server::{HUB, KEY, RULE, Server};
use crate::bench::data::PARTITIONS;
use crate::bench::pipeline::runtime;
use tidegate_hostile::peer::Peer;

/// File descriptors that the processes need beside the connections.
const OTHER_FILES: u64 = 200;

/// What they took.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub(crate) struct Idle {
    pub(crate) connections: usize,
    /// The resident set before the first of them and with all of them, in MB.
    pub(crate) before_mb: f64,
    pub(crate) with_all_mb: f64,
}

/// Makes as many connections as the operating system allows, at most `wanted`.
pub(crate) fn idle(server: &mut Server, wanted: usize) -> anyhow::Result<Idle> {
    let address = server.address;
    let allowed = usize::try_from(files_allowed().saturating_sub(OTHER_FILES))?;
    let connections = wanted.min(allowed);
    runtime()?.block_on(async {
        // The first ones pay for what all share.
        for partition in 0..PARTITIONS {
            Peer::connect(address, RULE, KEY).await?.sender(HUB, partition).await?;
        }
        let before = server.usage()?;
        let mut peers = Vec::with_capacity(connections);
        for number in 0..connections {
            let mut peer = Peer::connect(address, RULE, KEY).await?;
            peer.sender(HUB, u32::try_from(number)? % PARTITIONS).await?;
            peers.push(peer);
        }
        let after = server.usage()?;
        Ok(Idle { connections, before_mb: before.rss_mb, with_all_mb: after.rss_mb })
    })
}

/// How many files this process and its children may have open, once the limit is as high as it can be.
pub(crate) fn files_allowed() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let highest = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = setrlimit(Resource::Nofile, highest);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
