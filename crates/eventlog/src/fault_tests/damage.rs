//! Damage: bytes that changed behind the log's back.

use std::ops::Range;
use std::path::PathBuf;

use proptest::prelude::*;
use tidegate_model::ports::{AppendError, EventAppender, EventLog, ReadError};
use tidegate_model::position::{SequenceNumber, StartPosition};

use super::*;
use crate::frame::{FrameHeader, HEADER_BYTES};
use crate::fsck::{check_in, repair_in};
use crate::record::NEWEST_FORMAT;
use crate::segment::{HEADER_BLOCK, SegmentHeader, list_bases, segment_path};
use crate::storage::{Access, Storage};

const DIR_P0: &str = "/log/hub/0";

fn segment_files(storage: &FaultyStorage) -> Vec<PathBuf> {
    let dir = Path::new(DIR_P0);
    list_bases(storage, dir).unwrap().into_iter().map(|base| segment_path(dir, base)).collect()
}

fn content(storage: &FaultyStorage, path: &Path) -> Vec<u8> {
    let file = storage.open(path, Access::Read).unwrap();
    let mut bytes = Vec::new();
    file.read_at(0, usize::try_from(file.len().unwrap()).unwrap(), &mut bytes).unwrap();
    bytes
}

/// A closed log whose partition 0 has the events "0", "1", ... in appends of the given sizes, and partition 1 one event.
fn log_with(options: &LogOptions, appends: &[(usize, usize)]) -> (FaultyStorage, Vec<Event>) {
    let storage = FaultyStorage::new(1);
    let events = runtime().block_on(async {
        let (log, hub) = open_hub(&storage, options, 2).unwrap();
        append(&hub, PartitionId(1), &["other"]).await.unwrap();
        let mut number = 0;
        for (count, size) in appends {
            let events = (0..*count).map(|_| {
                number += 1;
                EventData::new(format!("{:1$}", number - 1, size))
            });
            hub.append(P0, events.collect()).await.unwrap();
        }
        let events = read_all(&hub, P0).await;
        log.close();
        events
    });
    (storage, events)
}

/// Reads partition 0 in spite of errors: what can be read from each number on.
async fn read_what_is_there(hub: &HubLog, tail: SequenceNumber) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut next = hub.status(P0).unwrap().head;
    while next < tail {
        let limit = ReadLimit { events: 3, ..MUCH };
        next = match hub.read(P0, next, limit).await {
            Ok(read) if read.is_empty() => break,
            Ok(read) => {
                events.extend(read);
                events.last().unwrap().sequence_number.next()
            }
            Err(ReadError::Damaged { detail, .. }) => {
                assert!(detail.contains(DIR_P0) && detail.contains("byte"), "{detail}");
                next.next()
            }
            Err(ReadError::BeyondTail { .. }) => break,
            Err(error) => panic!("{error}"),
        };
    }
    events
}

/// Every event of `found` is one of `all`, as it was.
fn assert_part_of(found: &[Event], all: &[Event]) {
    for event in found {
        assert_eq!(
            Some(event),
            all.get(event.sequence_number.0 as usize),
            "an event that was never published"
        );
    }
    assert!(found.is_sorted_by_key(|event| event.sequence_number));
}

/// The numbers of `all` that are missing in `found`.
fn missing(found: &[Event], all: &[Event]) -> Vec<u64> {
    let has = |number| found.binary_search_by_key(&number, |event| event.sequence_number).is_ok();
    all.iter()
        .map(|event| event.sequence_number)
        .filter(|number| !has(*number))
        .map(|number| number.0)
        .collect()
}

fn numbers(ranges: &[Range<SequenceNumber>]) -> Vec<u64> {
    ranges.iter().flat_map(|range| range.start.0..range.end.0).collect()
}

/// Opens, reads, repairs, and reads again; checks all that must hold whatever the damage. Returns the numbers lost.
fn survive(storage: &FaultyStorage, options: &LogOptions, all: &[Event]) -> Vec<u64> {
    runtime().block_on(async {
        let tail = SequenceNumber(all.len() as u64);
        let before = check_in(storage, Path::new(DIR)).unwrap();
        let was_damaged = {
            let (log, hub) = open_hub(storage, options, 2).unwrap();
            let found = read_what_is_there(&hub, tail).await;
            assert_part_of(&found, all);
            let status = hub.status(P0).unwrap();
            if !missing(&found, all).is_empty() {
                assert!(status.damage.is_some(), "events are missing and nobody says so");
            }
            if status.damage.is_some() {
                let refused = append(&hub, P0, &["x"]).await.unwrap_err();
                assert!(matches!(refused, AppendError::Damaged { .. }), "{refused}");
                assert!(!before.is_clean(), "fsck does not see {:?}", status.damage);
            }
            assert_eq!(
                bodies(&read_all(&hub, PartitionId(1)).await),
                ["other"],
                "damage took another partition"
            );
            log.close();
            status.damage.is_some()
        };
        let repaired = repair_in(storage, Path::new(DIR)).unwrap();
        let lost: Vec<_> = repaired.iter().flat_map(|repaired| numbers(&repaired.lost)).collect();
        assert!(!was_damaged || !repaired.is_empty());
        assert!(check_in(storage, Path::new(DIR)).unwrap().is_clean());
        assert_eq!(repair_in(storage, Path::new(DIR)).unwrap(), [], "a second repair has nothing to do");

        let storage = storage.after_crash();
        let (log, hub) = open_hub(&storage, options, 2).unwrap();
        let status = hub.status(P0).unwrap();
        assert_eq!(status.damage, None);
        assert_eq!(numbers(&status.lost), lost);
        let found = read_all(&hub, P0).await;
        assert_part_of(&found, all);
        assert_eq!(missing(&found, all), lost, "each event is there or declared lost");
        let appended = append(&hub, P0, &["new"]).await.unwrap();
        assert!(appended.first >= tail, "a number was given again");
        let from_each: Vec<_> = (0..tail.0).map(SequenceNumber).collect();
        for from in from_each {
            let next = hub.read(P0, from, ReadLimit { events: 1, ..MUCH }).await.unwrap();
            assert!(next[0].sequence_number >= from);
            assert_eq!(hub.locate(P0, StartPosition::SequenceNumber(from)).await, Ok(from));
        }
        log.close();
        lost
    })
}

#[test]
fn every_changed_byte_is_found_or_harmless() {
    let options = options(64 << 10);
    let (storage, all) = log_with(&options, &[(1, 5), (3, 10), (1, 0), (2, 30)]);
    let path = &segment_files(&storage)[0];
    let bytes = content(&storage, path);
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut found = 0;
    for at in (0..64).chain(HEADER_BLOCK as usize..end) {
        let copy = storage.after_crash();
        copy.corrupt(path, |bytes| bytes[at] ^= 0x40);
        let was_clean = check_in(&copy, Path::new(DIR)).unwrap().is_clean();
        survive(&copy, &options, &all);
        found += usize::from(!was_clean);
    }
    // All but the padding between frames and the mark at the end, which proves the rest.
    let harmless = 64 + (end - HEADER_BLOCK as usize) - found;
    assert!(harmless <= HEADER_BYTES + 4 * 7, "{harmless} changed bytes were not noticed");
}

#[test]
fn lost_events_are_named_and_the_rest_is_kept() {
    let options = options(64 << 10);
    let (storage, all) = log_with(&options, &[(2, 5), (3, 5), (2, 5)]);
    let path = segment_files(&storage).remove(0);
    // The second frame: its first record.
    let second = HEADER_BLOCK as usize + crate::frame::frame_len(2 * (6 + 5));
    storage.corrupt(&path, |bytes| bytes[second + HEADER_BYTES + 8] ^= 1);
    let damaged = content(&storage, &path);

    let report = check_in(&storage, Path::new(DIR)).unwrap();
    let partition = &report.hubs[0].partitions[0];
    assert_eq!((partition.segments, partition.events, partition.tail), (1, 4, SequenceNumber(7)));
    assert_eq!(partition.damage.len(), 1);
    assert_eq!((&partition.damage[0].file, partition.damage[0].offset), (&path, second as u64));
    assert_eq!(numbers(&[partition.damage[0].lost.clone()]), [2, 3, 4]);
    assert!(report.hubs[0].partitions[1].damage.is_empty());

    let (log, hub) = open_hub(&storage, &options, 2).unwrap();
    runtime().block_on(async {
        let status = hub.status(P0).unwrap();
        assert!(status.damage.unwrap().contains(&format!("{} at byte {second}", path.display())));
        assert_eq!(hub.read(P0, SequenceNumber::ZERO, MUCH).await.unwrap(), all[..2]);
        for from in [2, 3, 7] {
            let read = hub.read(P0, SequenceNumber(from), MUCH).await;
            assert!(matches!(read, Err(ReadError::Damaged { .. })), "{read:?}");
        }
    });
    drop((log, hub));

    assert_eq!(survive(&storage, &options, &all), [2, 3, 4]);
    let aside = Path::new("/log/.set-aside/hub/0/00000000000000000000.seg.1");
    assert_eq!(content(&storage, aside), damaged, "the damaged file is kept as it was");
}

#[test]
fn a_repair_that_a_crash_interrupts_is_done_again() {
    let options = options(64 << 10);
    let (storage, all) = log_with(&options, &[(1, 40_000), (2, 20_000), (1, 40_000), (2, 10)]);
    for path in segment_files(&storage) {
        storage.corrupt(&path, |bytes| bytes[HEADER_BLOCK as usize + 100] ^= 1);
    }
    for with_effect in [false, true] {
        for operation in 1.. {
            let storage = storage.after_crash();
            storage.crash_in(operation, with_effect);
            let done = repair_in(&storage, Path::new(DIR)).is_ok();
            let storage = storage.after_crash();
            // What the interrupted repair had declared lost already stays so.
            let before = check_in(&storage, Path::new(DIR)).unwrap();
            let declared = numbers(&before.hubs[0].partitions[0].lost);
            repair_in(&storage, Path::new(DIR)).unwrap();
            let after = check_in(&storage, Path::new(DIR)).unwrap();
            assert!(after.is_clean());
            let lost = numbers(&after.hubs[0].partitions[0].lost);
            assert!(declared.iter().all(|number| lost.contains(number)));
            assert_eq!(lost, [0, 1, 2, 3], "operation {operation}");
            let (_log, hub) = open_hub(&storage, &options, 2).unwrap();
            let found = runtime().block_on(read_all(&hub, P0));
            assert_eq!(found, all[4..]);
            if done {
                assert!(operation > 20, "the repair has only {operation} operations");
                break;
            }
        }
    }
}

#[test]
fn without_a_closing_mark_only_the_last_group_can_pass_for_a_torn_write() {
    let options = options(64 << 10);
    let (storage, all) = log_with(&options, &[(2, 5), (3, 5), (2, 5)]);
    let path = segment_files(&storage).remove(0);
    let frame = |events: usize| crate::frame::frame_len(events * (6 + 5));
    let ends =
        [frame(2), frame(2) + frame(3), 2 * frame(2) + frame(3)].map(|end| HEADER_BLOCK as usize + end);
    // As if the machine had stopped instead.
    storage.corrupt(&path, |bytes| bytes[ends[2]..].fill(0));
    for (at, is_noticed) in [(ends[0] - 8, true), (ends[1] - 8, true), (ends[2] - 8, false)] {
        let storage = storage.after_crash();
        storage.corrupt(&path, |bytes| bytes[at] ^= 1);
        assert_eq!(check_in(&storage, Path::new(DIR)).unwrap().is_clean(), !is_noticed, "byte {at}");
        let (log, hub) = open_hub(&storage, &options, 2).unwrap();
        let status = hub.status(P0).unwrap();
        assert_eq!(status.damage.is_some(), is_noticed, "byte {at}");
        if !is_noticed {
            assert_eq!(status.tail, SequenceNumber(5), "the last append is cut off");
            assert_eq!(runtime().block_on(read_all(&hub, P0)), all[..5]);
        }
        drop((log, hub));
    }
}

#[test]
fn damage_in_an_older_segment_is_found_when_it_is_read() {
    let options = options(64 << 10);
    let (storage, all) = log_with(&options, &[(1, 40_000), (1, 40_000), (1, 40_000), (1, 10)]);
    let paths = segment_files(&storage);
    assert_eq!(paths.len(), 3);
    storage.corrupt(&paths[1], |bytes| bytes[20_000] ^= 1);
    runtime().block_on(async {
        let (log, hub) = open_hub(&storage, &options, 2).unwrap();
        assert_eq!(hub.status(P0).unwrap().damage, None);
        assert_eq!(
            hub.read(P0, SequenceNumber::ZERO, MUCH).await.unwrap(),
            all[..1],
            "what lies before it is given"
        );
        let read = hub.read(P0, SequenceNumber(1), MUCH).await;
        assert!(matches!(read, Err(ReadError::Damaged { .. })), "{read:?}");
        assert_eq!(
            hub.read(P0, SequenceNumber(2), MUCH).await.unwrap(),
            all[2..],
            "what lies behind it is given"
        );
        assert!(matches!(append(&hub, P0, &["x"]).await, Err(AppendError::Damaged { .. })));
        log.close();
    });
    assert_eq!(survive(&storage, &options, &all), [1]);
}

#[test]
fn a_missing_file_is_damage() {
    let options = options(64 << 10);
    for gone in 0..2 {
        let (storage, all) = log_with(&options, &[(1, 40_000), (1, 40_000), (1, 40_000), (1, 10)]);
        storage.remove_file(&segment_files(&storage)[gone]).unwrap();
        if gone == 0 {
            // Nothing tells the first file from one that retention dropped, except the head.
            let (log, hub) = open_hub(&storage, &options, 2).unwrap();
            assert_eq!(hub.status(P0).unwrap().head, SequenceNumber(1));
            drop((log, hub));
        } else {
            assert_eq!(survive(&storage, &options, &all), [1]);
        }
    }
}

#[test]
fn a_partition_without_files_is_out_of_service_and_stays_so() {
    let options = options(64 << 10);
    let (storage, _) = log_with(&options, &[(1, 10)]);
    storage.remove_file(&segment_files(&storage)[0]).unwrap();
    for _ in 0..2 {
        runtime().block_on(async {
            let (log, hub) = open_hub(&storage, &options, 2).unwrap();
            assert!(hub.status(P0).unwrap().damage.unwrap().contains("no segment"));
            assert!(matches!(append(&hub, P0, &["x"]).await, Err(AppendError::Damaged { .. })));
            assert!(matches!(hub.read(P0, SequenceNumber::ZERO, MUCH).await, Err(ReadError::Damaged { .. })));
            assert_eq!(hub.locate(P0, StartPosition::Latest).await, Ok(SequenceNumber::ZERO));
            append(&hub, PartitionId(1), &["x"]).await.unwrap();
            log.close();
        });
        assert!(!check_in(&storage, Path::new(DIR)).unwrap().is_clean());
        assert_eq!(repair_in(&storage, Path::new(DIR)).unwrap(), []);
    }
}

#[test]
fn the_events_of_a_copied_log_do_not_pass_for_frames() {
    let options = options(1 << 20);
    let (storage, _) = log_with(&options, &[(5, 100); 20]);
    let path = &segment_files(&storage)[0];
    let copy = content(&storage, path);
    let (log, hub) = open_hub(&storage, &options, 2).unwrap();
    let runtime = runtime();
    let appended =
        runtime.block_on(hub.append(P0, vec![EventData::new(copy[4096..60_000].to_vec())])).unwrap();
    storage.crash_in(1, false);
    drop((log, hub));
    // The event that holds the copy is torn, so that recovery looks at every byte of it.
    let storage = storage.after_crash();
    let at = content(&storage, path).len();
    storage.corrupt(path, |bytes| {
        let body = (HEADER_BLOCK as usize..at)
            .rev()
            .find(|at| {
                bytes[*at..].starts_with(&crate::frame::MAGIC)
                    && bytes[at + 8..at + 16] == appended.first.0.to_le_bytes()
            })
            .unwrap();
        bytes[body + HEADER_BYTES] ^= 1;
    });
    let (_log, hub) = open_hub(&storage, &options, 2).unwrap();
    assert_eq!(hub.status(P0).unwrap().damage, None);
    assert_eq!(hub.status(P0).unwrap().tail, appended.first);
}

#[test]
fn batches_pass_over_lost_numbers() {
    let options = options(64 << 10);
    // The middle segment loses its last frame, and another one inside.
    let (storage, all) = log_with(&options, &[(2, 9_000); 9]);
    let paths = segment_files(&storage);
    assert_eq!(paths.len(), 3);
    for in_payload in [1000, 3 * 18_000] {
        storage.corrupt(&paths[1], |bytes| bytes[HEADER_BLOCK as usize + in_payload] ^= 1);
    }
    repair_in(&storage, Path::new(DIR)).unwrap();
    let (_log, hub) = open_hub(&storage, &options, 2).unwrap();
    runtime().block_on(async {
        let read = read_all(&hub, P0).await;
        assert_eq!(read.len(), all.len() - numbers(&hub.status(P0).unwrap().lost).len());
        assert!(read.len() < all.len());
        for events in [1, 3, 100] {
            let (mut next, mut seen) = (SequenceNumber::ZERO, Vec::new());
            let tail = hub.status(P0).unwrap().tail;
            while next < tail {
                let batch = hub.read_batch(P0, next, ReadLimit { events, ..MUCH }).await.unwrap();
                assert!(batch.next() > next, "reading goes on");
                seen.extend(batch.iter().map(|event| (event.sequence_number, event.body.to_vec())));
                next = batch.next();
            }
            let expected: Vec<_> =
                read.iter().map(|event| (event.sequence_number, event.body().to_vec())).collect();
            assert_eq!(seen, expected, "in reads of {events}");
        }
    });
}

/// Changes the first record of the frames of a file, and makes all checksums right again.
fn rewrite_first_records(bytes: &mut [u8], header: &SegmentHeader, change: impl Fn(&mut [u8])) {
    let (mut at, mut previous) = (HEADER_BLOCK as usize, header.seed());
    while let Ok((mut frame, _)) =
        FrameHeader::decode(bytes[at..at + HEADER_BYTES].try_into().unwrap(), header.seed())
    {
        let payload = &mut bytes[at + HEADER_BYTES..][..frame.payload_len as usize];
        if !payload.is_empty() {
            change(payload);
        }
        (frame.payload_checksum, frame.previous) = (crc32c::crc32c(payload), previous);
        let encoded;
        (encoded, previous) = frame.encode(header.seed());
        bytes[at..at + HEADER_BYTES].copy_from_slice(&encoded);
        at += usize::try_from(frame.frame_len()).unwrap();
    }
}

#[test]
fn records_of_a_newer_version_are_left_alone() {
    let options = options(1 << 20);
    let (storage, _) = log_with(&options, &[(3, 100); 4]);
    let path = &segment_files(&storage)[0];
    let header = SegmentHeader::read(&*storage.open(path, Access::Read).unwrap()).unwrap().unwrap();
    assert!(check_in(&storage, Path::new(DIR)).unwrap().is_clean());
    let newer = NEWEST_FORMAT + 1;
    // The format is behind the record's length.
    storage.corrupt(path, |bytes| rewrite_first_records(bytes, &header, |payload| payload[4] = newer));
    let before = content(&storage, path);
    let refused =
        LogError::UnknownFormat { path: path.clone(), found: newer.into(), known: NEWEST_FORMAT.into() };
    assert_eq!(check_in(&storage, Path::new(DIR)).unwrap_err(), refused);
    assert_eq!(repair_in(&storage, Path::new(DIR)).unwrap_err(), refused);
    assert_eq!(content(&storage, path), before);
    let (_log, hub) = open_hub(&storage, &options, 2).unwrap();
    for error in [
        runtime().block_on(hub.read(P0, SequenceNumber::ZERO, MUCH)).unwrap_err(),
        runtime().block_on(hub.read_batch(P0, SequenceNumber::ZERO, MUCH)).unwrap_err(),
    ] {
        assert!(error.to_string().contains("which a newer version wrote"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_damage_is_survived(
        appends in prop::collection::vec((1_usize..5, prop_oneof![0_usize..200, 20_000_usize..40_000]), 1..12),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1_usize..3000, any::<u8>()), 1..4),
    ) {
        let options = options(64 << 10);
        let (storage, all) = log_with(&options, &appends);
        let paths = segment_files(&storage);
        for (file, at, len, value) in hits {
            storage.corrupt(&paths[file.index(paths.len())], |bytes| {
                // Where something is written, most of the time.
                let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
                let at = at.index(used);
                let end = (at + len).min(used);
                bytes[at..end].fill(value);
            });
        }
        // Damage that reaches the closing mark may take the proof with it: then the end looks like a torn write.
        let tail = check_in(&storage, Path::new(DIR)).unwrap().hubs[0].partitions[0].tail;
        let known = all.len().min(usize::try_from(tail.0).unwrap());
        survive(&storage, &options, &all[..known]);
    }
}
