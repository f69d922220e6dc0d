//! Making a damaged partition usable: set aside, rewrite, replace.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use tidegate_model::position::SequenceNumber;

use super::Repaired;
use super::survey::{PartitionSurvey, Piece, SegmentSurvey};
use crate::error::LogError;
use crate::frame::{Cursor, FrameHeader, FrameKind, HEADER_BYTES};
use crate::partition::joined;
use crate::segment::SegmentHeader;
use crate::storage::{Access, Storage, StorageFile, read_exact_at, write_all_at, write_zeros};

/// Copies are made in steps of this many bytes.
const COPY_STEP: u64 = 1 << 20;

/// Repairs a partition if it is damaged.
pub(super) fn repair_partition(
    storage: &dyn Storage,
    log_dir: &Path,
    survey: &PartitionSurvey,
) -> Result<Option<Repaired>, LogError> {
    let identity = &survey.identity;
    let mut repaired = Repaired {
        hub: identity.hub.clone(),
        partition: identity.partition,
        set_aside: Vec::new(),
        lost: Vec::new(),
    };
    let aside = log_dir.join(".set-aside").join(identity.hub.as_str()).join(identity.partition.to_string());
    for segment in &survey.segments {
        let damage: Vec<_> = segment.damage().collect();
        if damage.is_empty() {
            continue;
        }
        // The original is safe before anything is replaced.
        let copy =
            set_aside(storage, log_dir, &aside, segment).map_err(LogError::io("set aside", &segment.path))?;
        rewrite(storage, segment).map_err(LogError::io("rewrite", &segment.path))?;
        tracing::warn!(file = %segment.path.display(), copy = %copy.display(), "repaired a damaged segment");
        repaired.set_aside.push(copy);
        repaired.lost.extend(damage.into_iter().map(|damage| damage.lost).filter(|lost| !lost.is_empty()));
    }
    repaired.lost = joined(std::mem::take(&mut repaired.lost).into_iter());
    Ok((!repaired.set_aside.is_empty()).then_some(repaired))
}

/// Copies a damaged file where nothing will touch it.
fn set_aside(
    storage: &dyn Storage,
    log_dir: &Path,
    aside: &Path,
    segment: &SegmentSurvey,
) -> io::Result<PathBuf> {
    storage.create_dir(aside)?;
    let name = segment.path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
    // An earlier repair of the same file must not be overwritten.
    let taken = storage.list(aside)?;
    let free = (1_u64..)
        .map(|number| format!("{name}.{number}"))
        .find(|free| taken.iter().all(|entry| entry.name != *free))
        .ok_or(io::ErrorKind::AlreadyExists)?;
    let copy = aside.join(free);
    let from = storage.open(&segment.path, Access::Read)?;
    let to = storage.create(&copy)?;
    let mut position = 0;
    while position < segment.file_len {
        let step = (segment.file_len - position).min(COPY_STEP);
        copy_bytes(&*from, position, &*to, position, step)?;
        position += step;
    }
    to.sync_data()?;
    for dir in aside.ancestors() {
        storage.sync_dir(dir)?;
        if dir == log_dir {
            break;
        }
    }
    Ok(copy)
}

/// Copies bytes; what the medium does not give becomes zeros.
fn copy_bytes(from: &dyn StorageFile, at: u64, to: &dyn StorageFile, to_at: u64, len: u64) -> io::Result<()> {
    let len_in_memory = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
    match read_exact_at(from, at, len_in_memory) {
        Ok(bytes) => write_all_at(to, &mut [IoSlice::new(&bytes)], to_at),
        Err(error) => {
            tracing::warn!(at, len, %error, "these bytes cannot be read; the copy has zeros instead");
            write_zeros(to, to_at, to_at + len)
        }
    }
}

/// Replaces a segment by what can be read of it, whole or not at all.
fn rewrite(storage: &dyn Storage, segment: &SegmentSurvey) -> io::Result<()> {
    let has_lost = segment.pieces.iter().any(|piece| match piece {
        Piece::Frame { header, .. } => header.kind == FrameKind::Lost,
        Piece::Damage { lost, .. } => !lost.is_empty(),
    });
    let header = SegmentHeader { has_lost, ..segment.header };
    let unfinished = segment.path.with_extension("tmp");
    let from = storage.open(&segment.path, Access::Read)?;
    let to = storage.create(&unfinished)?;
    header.write(&*to)?;
    let mut writer = Rewriter { from: &*from, to: &*to, seed: header.seed(), cursor: header.first_cursor() };
    for piece in &segment.pieces {
        match piece {
            Piece::Frame { position, header } => writer.copy_frame(*position, header)?,
            Piece::Damage { lost, .. } => writer.declare_lost(lost.end)?,
        }
    }
    to.sync_data()?;
    storage.rename(&unfinished, &segment.path)?;
    storage.sync_dir(segment.dir())
}

/// Writes frames one after the other into a new file.
struct Rewriter<'f> {
    from: &'f dyn StorageFile,
    to: &'f dyn StorageFile,
    seed: u32,
    cursor: Cursor,
}

impl Rewriter<'_> {
    fn copy_frame(&mut self, position: u64, header: &FrameHeader) -> io::Result<()> {
        let body = self.cursor.position + HEADER_BYTES as u64;
        let len = header.frame_len() - HEADER_BYTES as u64;
        copy_bytes(self.from, position + HEADER_BYTES as u64, self.to, body, len)?;
        self.write_header(FrameHeader { previous: self.cursor.previous, unsynced: 0, ..*header })
    }

    /// Declares the numbers from here to `end` lost.
    fn declare_lost(&mut self, end: SequenceNumber) -> io::Result<()> {
        while self.cursor.next < end {
            let count = u32::try_from(end.distance_from(self.cursor.next)).unwrap_or(u32::MAX);
            self.write_header(FrameHeader {
                kind: FrameKind::Lost,
                payload_len: 0,
                first: self.cursor.next,
                count,
                enqueued_at: self.cursor.time,
                unsynced: 0,
                previous: self.cursor.previous,
                payload_checksum: 0,
            })?;
        }
        Ok(())
    }

    fn write_header(&mut self, header: FrameHeader) -> io::Result<()> {
        let (bytes, checksum) = header.encode(self.seed);
        write_all_at(self.to, &mut [IoSlice::new(&bytes)], self.cursor.position)?;
        self.cursor = self.cursor.after(&header, checksum);
        Ok(())
    }
}
