//! Unpacking gzip piece by piece, with a bound on how much it may grow.

use std::io::Write;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;

/// How much may come out before the ratio of out and in is looked at, in bytes: small inputs may be very repetitive.
const GRACE_BYTES: u64 = 1024 * 1024;

/// Unpacks a gzip stream of any number of members.
pub(super) struct Gunzip {
    decoder: MultiGzDecoder<Vec<u8>>,
    input: Bytes,
    bytes_in: u64,
    bytes_out: u64,
    max_inflation: u64,
}

/// Why a stream cannot be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum GunzipError {
    /// It is damaged or incomplete.
    #[error("the body is no complete gzip stream: {detail} (after {bytes_in} compressed bytes)")]
    Damaged { detail: String, bytes_in: u64 },
    /// It grows without measure.
    #[error("the compressed body grows to more than {max_inflation} times its size")]
    Bomb { max_inflation: u64 },
}

impl Gunzip {
    /// Unpacks, but not to more than `max_inflation` bytes for each compressed one.
    pub(super) fn new(max_inflation: u64) -> Self {
        let decoder = MultiGzDecoder::new(Vec::new());
        Self { decoder, input: Bytes::new(), bytes_in: 0, bytes_out: 0, max_inflation }
    }

    /// Gives it the next compressed piece. Everything before it must have been unpacked.
    pub(super) fn feed(&mut self, input: Bytes) {
        debug_assert!(self.input.is_empty(), "the piece before has not been unpacked");
        self.input = input;
    }

    /// The next unpacked piece, at most some tens of KiB; `None` when it needs more input.
    pub(super) fn unpack(&mut self) -> Result<Option<Vec<u8>>, GunzipError> {
        while !self.input.is_empty() {
            let taken = self.decoder.write(&self.input).map_err(|error| self.damaged(&error))?;
            if taken == 0 && self.decoder.get_ref().is_empty() {
                return Err(self.damaged(&std::io::ErrorKind::InvalidData.into()));
            }
            self.bytes_in += taken as u64;
            self.input = self.input.split_off(taken);
            if let Some(piece) = self.take_output()? {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// What is left at the end of the input. It is an error when the stream is not complete. Nothing may follow.
    pub(super) fn finish(&mut self) -> Result<Option<Vec<u8>>, GunzipError> {
        self.decoder.try_finish().map_err(|error| self.damaged(&error))?;
        self.take_output()
    }

    fn take_output(&mut self) -> Result<Option<Vec<u8>>, GunzipError> {
        let output = std::mem::take(self.decoder.get_mut());
        self.bytes_out += output.len() as u64;
        if self.bytes_out > GRACE_BYTES + self.bytes_in.saturating_mul(self.max_inflation) {
            return Err(GunzipError::Bomb { max_inflation: self.max_inflation });
        }
        Ok(if output.is_empty() { None } else { Some(output) })
    }

    fn damaged(&self, error: &std::io::Error) -> GunzipError {
        GunzipError::Damaged { detail: error.to_string(), bytes_in: self.bytes_in }
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn gunzip(packed: &[u8], piece: usize, max_inflation: u64) -> Result<Vec<u8>, GunzipError> {
        let mut gunzip = Gunzip::new(max_inflation);
        let mut text = Vec::new();
        for piece in packed.chunks(piece.max(1)) {
            gunzip.feed(Bytes::copy_from_slice(piece));
            while let Some(unpacked) = gunzip.unpack()? {
                assert!(unpacked.len() <= 64 * 1024, "{} bytes at once", unpacked.len());
                text.extend(unpacked);
            }
        }
        text.extend(gunzip.finish()?.unwrap_or_default());
        Ok(text)
    }

    #[test]
    fn members_follow_each_other() {
        let packed = [gzip(b"one\n"), gzip(b""), gzip(b"two\n")].concat();
        for piece in [1, 2, 7, 1000] {
            assert_eq!(gunzip(&packed, piece, 200).unwrap(), b"one\ntwo\n");
        }
    }

    #[test]
    fn a_stream_that_is_cut_anywhere_is_not_complete() {
        let packed = gzip(b"a line that is cut");
        for end in 0..packed.len() {
            assert!(gunzip(&packed[..end], 5, 200).is_err(), "cut at {end} was accepted");
        }
    }

    #[test]
    fn a_bomb_is_stopped_early() {
        let packed = gzip(&vec![0; 64 * 1024 * 1024]);
        assert_eq!(gunzip(&packed, packed.len(), 200), Err(GunzipError::Bomb { max_inflation: 200 }));
        assert_eq!(gunzip(&packed, 4096, 5000).unwrap().len(), 64 * 1024 * 1024);
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_out(text in proptest::collection::vec(any::<u8>(), 0..5000), piece in 1_usize..600) {
            prop_assert_eq!(gunzip(&gzip(&text), piece, 200).unwrap(), text);
        }

        #[test]
        fn damage_is_an_error_or_comes_out_right(
            text in proptest::collection::vec(any::<u8>(), 1..300), at in any::<prop::sample::Index>(), flip in 1_u8..,
        ) {
            let mut packed = gzip(&text);
            let at = at.index(packed.len());
            packed[at] ^= flip;
            // Some header bytes (time, operating system) have no meaning for the content.
            if let Ok(unpacked) = gunzip(&packed, 64, 200) {
                prop_assert_eq!(unpacked, text);
            }
        }

        #[test]
        fn hostile_streams_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = gunzip(&[&[0x1f, 0x8b, 8][..], &bytes].concat(), 50, 200);
        }
    }
}
