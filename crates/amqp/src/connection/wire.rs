//! Frames into the output, none larger than the peer takes.

use bytestring::ByteString;

use super::output::Output;
use crate::codec::frame;
use crate::codec::performative::{AmqpError, Encode};
use crate::codec::value::Map;

#[derive(Debug)]
pub(super) struct Wire {
    pub(super) output: Output,
    /// The largest frame that is sent.
    pub(super) max_frame: u32,
}

impl Wire {
    /// Writes a frame; false, and nothing written, when it is larger than the peer takes.
    pub(super) fn send(&mut self, channel: u16, performative: &impl Encode) -> bool {
        let max_frame = self.max_frame as usize;
        self.output.write(|out| {
            let start = out.len();
            frame::write_frame(out, channel, performative);
            let fits = out.len() - start <= max_frame;
            if !fits {
                out.truncate(start);
            }
            fits
        })
    }

    /// Writes a frame that tells an error, the error shortened if the frame would be too large.
    pub(super) fn send_error<P: Encode>(
        &mut self,
        channel: u16,
        error: Option<&AmqpError>,
        frame: impl Fn(Option<AmqpError>) -> P,
    ) {
        if !self.send(channel, &frame(error.cloned())) {
            let short = error.map(|error| shortened(error, self.max_frame));
            // A condition that alone is larger than a frame: the peer hears only that there is none.
            if !self.send(channel, &frame(short)) {
                self.send(channel, &frame(None));
            }
        }
    }
}

/// The error with as much of its description as a frame of this size can hold.
pub(super) fn shortened(error: &AmqpError, max_frame: u32) -> AmqpError {
    let room = (max_frame as usize).saturating_sub(256);
    let description = error.description.as_ref().map(|text| {
        match text.char_indices().find(|&(at, c)| at + c.len_utf8() > room) {
            Some((end, _)) => ByteString::from(&text[..end]),
            None => text.clone(),
        }
    });
    AmqpError { condition: error.condition.clone(), description, info: Map::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::names::condition;
    use crate::codec::performative::Close;

    #[test]
    fn an_error_is_shortened_at_a_character_until_it_fits() {
        let mut wire = Wire { output: Output::default(), max_frame: 512 };
        let long = AmqpError::new(condition::NOT_FOUND, "ä".repeat(1000));
        wire.send_error(0, Some(&long), |error| Close { error });
        assert!(wire.output.len() <= 512 && wire.output.len() > 256, "{}", wire.output.len());
        let short = shortened(&long, 512);
        assert_eq!(short.description.as_deref(), Some("ä".repeat(128).as_str()));
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let mut wire = Wire { output: Output::default(), max_frame: 512 };
        let error = AmqpError::new(condition::NOT_FOUND, "x".repeat(1000));
        assert!(!wire.send(0, &Close { error: Some(error) }));
        assert!(wire.output.is_empty());
    }
}
