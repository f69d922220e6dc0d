//! Checksums of rows. SQLite's pages have none: without them a flipped bit in a document or a checkpoint would be
//! believed.

use tidegate_model::checkpoint::Lane;

/// CRC-32C over the fields of a row, each with its length or kind, so that no two rows run together the same way.
#[derive(Clone, Copy)]
pub(crate) struct Checksum(u32);

impl Checksum {
    /// The checksum of a row of `table`, before its fields.
    pub(crate) fn of(table: &'static str) -> Self {
        Self(crc32c::crc32c(table.as_bytes()))
    }

    #[must_use]
    pub(crate) fn number(self, number: i64) -> Self {
        Self(crc32c::crc32c_append(self.0, &number.to_le_bytes()))
    }

    #[must_use]
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        let length = Self(crc32c::crc32c_append(self.0, &(bytes.len() as u64).to_le_bytes()));
        Self(crc32c::crc32c_append(length.0, bytes))
    }

    #[must_use]
    pub(crate) fn lane(self, lane: &Lane) -> Self {
        self.bytes(lane.function.as_str().as_bytes())
            .bytes(lane.hub.as_str().as_bytes())
            .number(lane.partition.0.into())
    }

    #[must_use]
    pub(crate) fn optional(self, bytes: Option<&[u8]>) -> Self {
        match bytes {
            None => self.number(0),
            Some(bytes) => self.number(1).bytes(bytes),
        }
    }

    #[must_use]
    pub(crate) fn optional_number(self, number: Option<i64>) -> Self {
        match number {
            None => self.number(0),
            Some(number) => self.number(1).number(number),
        }
    }

    /// The value as it is stored.
    pub(crate) fn value(self) -> i64 {
        i64::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_together() {
        let row = || Checksum::of("row");
        assert_ne!(row().bytes(b"ab").bytes(b"c").value(), row().bytes(b"a").bytes(b"bc").value());
        assert_ne!(row().optional(None).value(), row().optional(Some(b"")).value());
        assert_ne!(row().value(), Checksum::of("raw").value());
    }
}
