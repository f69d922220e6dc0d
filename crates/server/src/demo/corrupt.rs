//! Corrupt events for the demo: real lines, spoilt in ways that happen.

use bytes::Bytes;

/// A way in which a line is spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Corruption {
    /// The sender or the connection died in the middle.
    CutOff,
    /// The field that names the aircraft is not there.
    NoId,
    /// The field that names the aircraft is an object.
    IdOfWrongType,
    /// A byte that no UTF-8 text has.
    NotUtf8,
}

/// The event property that labels a corrupt event with its kind.
pub(crate) const LABEL: &str = "demo-corrupt";

impl Corruption {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::CutOff, Self::NoId, Self::IdOfWrongType, Self::NotUtf8];

    /// Its label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::CutOff => "cut-off-json",
            Self::NoId => "no-id",
            Self::IdOfWrongType => "id-of-wrong-type",
            Self::NotUtf8 => "not-utf-8",
        }
    }

    /// Spoils a line: a JSON object with the text member `icao24`.
    pub(crate) fn spoil(self, line: &[u8]) -> Bytes {
        const ID: &[u8] = b"\"icao24\":";
        let id = find(line, ID).unwrap_or(0);
        // The id is a text of hexadecimal digits: it ends with the second quote, and a comma follows.
        let value = id + ID.len();
        let end = value + 1 + find(line.get(value + 1..).unwrap_or_default(), b"\"").unwrap_or(0) + 1;
        let spliced = |middle: &[u8], rest: &[u8]| [&line[..value.min(line.len())], middle, rest].concat();
        Bytes::from(match self {
            Self::CutOff => line[..line.len() * 2 / 3].to_vec(),
            Self::NoId => [&line[..id], line.get(end + 1..).unwrap_or_default()].concat(),
            Self::IdOfWrongType => {
                let id_text = line.get(value..end).unwrap_or_default();
                spliced(&[b"{\"hex\":", id_text, b"}"].concat(), line.get(end..).unwrap_or_default())
            }
            Self::NotUtf8 => spliced(b"\"\xff\"", line.get(end..).unwrap_or_default()),
        })
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const LINE: &[u8] = br#"{"altitude":20250.0,"callsign":"AFR9455","icao24":"398564","onground":false}"#;

    #[test]
    fn each_kind_is_spoilt_in_its_own_way_only() {
        let spoilt = |kind: Corruption| kind.spoil(LINE);
        assert!(serde_json::from_slice::<Value>(&spoilt(Corruption::CutOff)).unwrap_err().is_eof());

        let no_id: Value = serde_json::from_slice(&spoilt(Corruption::NoId)).unwrap();
        assert_eq!(no_id, serde_json::json!({"altitude": 20250.0, "callsign": "AFR9455", "onground": false}));

        let wrong: Value = serde_json::from_slice(&spoilt(Corruption::IdOfWrongType)).unwrap();
        assert_eq!(wrong["icao24"], serde_json::json!({"hex": "398564"}));
        assert_eq!(wrong["onground"], false);

        let bytes = spoilt(Corruption::NotUtf8);
        assert!(std::str::from_utf8(&bytes).is_err());
        let repaired = String::from_utf8_lossy(&bytes).into_owned();
        assert!(serde_json::from_str::<Value>(&repaired).is_ok(), "{repaired}");
    }

    #[test]
    fn a_line_without_id_is_spoilt_without_a_panic() {
        for line in [&b""[..], b"{}", b"\"icao24\":", b"\"icao24\":\"1"] {
            for kind in Corruption::ALL {
                kind.spoil(line);
            }
        }
    }
}
