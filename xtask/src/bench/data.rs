//! The events of a run: telemetry of about 200 bytes, one in a hundred corrupt, always the same for the same numbers.
//!
//! The file has a section for each producer. Two producers share a partition, and a section holds only devices of its
//! partition, so that a batch goes to one partition as it does with a producer that batches by key.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use tidegate_model::partitioner::partition_of_key;

pub(crate) const PARTITIONS: u32 = 8;
pub(crate) const PRODUCERS: usize = 16;

/// One in so many events is corrupt.
pub(crate) const CORRUPT_EVERY: usize = 100;

/// Writes `events` events of `devices` devices to `path`, and beside it where the sections begin.
pub(crate) fn write(path: &Path, events: usize, devices: usize) -> anyhow::Result<()> {
    let mut of_partition: Vec<Vec<usize>> = vec![Vec::new(); PARTITIONS as usize];
    for device in 0..devices {
        of_partition[partition_of_key(&id(device), PARTITIONS).0 as usize].push(device);
    }
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut random = Random(events as u64 ^ ((devices as u64) << 32));
    let mut sections = Vec::new();
    let mut written = 0;
    for producer in 0..PRODUCERS {
        sections.push(written);
        let devices = &of_partition[partition_of(producer) as usize];
        let count = events / PRODUCERS + usize::from(producer < events % PRODUCERS);
        for number in 0..count {
            let device = devices[random.below(devices.len())];
            let mut event = event(device, number, &mut random);
            if random.below(CORRUPT_EVERY) == 0 {
                event.truncate(event.len() / 2);
            }
            event.push('\n');
            file.write_all(event.as_bytes())?;
            written += event.len() as u64;
        }
    }
    sections.push(written);
    file.into_inner()?.sync_all()?;
    std::fs::write(path.with_extension("sections"), serde_json::to_vec(&sections)?)?;
    Ok(())
}

/// Where the sections begin, and the end of the last.
pub(crate) fn sections(path: &Path) -> anyhow::Result<Vec<u64>> {
    Ok(serde_json::from_slice(&std::fs::read(path.with_extension("sections"))?)?)
}

/// The partition that a producer sends to.
pub(crate) fn partition_of(producer: usize) -> u32 {
    u32::try_from(producer).expect("there are 16 producers") % PARTITIONS
}

fn id(device: usize) -> String {
    format!("device-{device:07}")
}

fn event(device: usize, number: usize, random: &mut Random) -> String {
    format!(
        "{{\"deviceId\":\"{}\",\"timestamp\":{},\"latitude\":{}.{:06},\"longitude\":{}.{:06},\"altitude\":{}.5,\"speed\":{}.25,\"heading\":{},\"battery\":0.{:02},\"status\":\"{}\",\"firmware\":\"4.2.{}\"}}",
        id(device),
        1_633_608_001_000_u64 + number as u64,
        random.below(90),
        random.below(1_000_000),
        random.below(180),
        random.below(1_000_000),
        random.below(12_000),
        random.below(900),
        random.below(360),
        random.below(100),
        ["cruising", "climbing", "descending", "parked"][random.below(4)],
        random.below(10),
    )
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).expect("below a usize")
    }
}
