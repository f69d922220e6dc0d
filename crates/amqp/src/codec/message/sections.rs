//! Where the sections of a message are.

use crate::codec::error::{DecodeError, DecodeProblem};
use crate::codec::names::descriptor;
use crate::codec::read::{Decoded, Reader, unexpected_descriptor};

/// The place of a section in the bytes of a message. Empty when the message does not have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Section {
    start: u32,
    content: u32,
    end: u32,
}

impl Section {
    /// Where the section is, its descriptor included.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Where its value is, without the descriptor.
    pub fn content(self) -> std::ops::Range<usize> {
        self.content as usize..self.end as usize
    }

    /// True when the message does not have the section.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// What the body of a message is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyKind {
    /// Nothing: the message ends before its body.
    #[default]
    None,
    /// One or more data sections.
    Data,
    /// One or more sequence sections.
    Sequence,
    /// One value.
    Value,
}

/// The sections of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sections {
    /// How the message is to be handled.
    pub header: Section,
    /// Annotations from hop to hop.
    pub delivery_annotations: Section,
    /// Annotations that stay with the message.
    pub message_annotations: Section,
    /// The standard properties.
    pub properties: Section,
    /// The producer's own properties.
    pub application_properties: Section,
    /// The body: all of its sections, one behind the other. Its content is that of the first.
    pub body: Section,
    /// What stands behind the body.
    pub footer: Section,
    /// What the body is made of.
    pub body_kind: BodyKind,
    /// How many sections the body has.
    pub body_sections: u32,
}

const PLACE: &str = "message";

impl Sections {
    /// Finds the sections. Their order, and the type and the size of each, are checked; what is in them is not. The footer
    /// may also stand before the body: the JavaScript client puts it there.
    pub fn scan(message: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(message);
        if u32::try_from(message.len()).is_err() {
            return Err(reader.wrong(PLACE, DecodeProblem::Invalid("a message above 4 GiB")));
        }
        let mut sections = Self::default();
        let mut last = 0;
        while !reader.is_at_end() {
            let start = reader.at() as u32;
            let code = reader.descriptor(PLACE)?;
            let content = reader.at() as u32;
            if code <= last {
                let repeats = matches!(code, descriptor::DATA | descriptor::AMQP_SEQUENCE) && code == last;
                let is_body =
                    matches!(code, descriptor::DATA | descriptor::AMQP_SEQUENCE | descriptor::AMQP_VALUE);
                let behind_footer = is_body && last == descriptor::FOOTER && sections.body_sections == 0;
                if !repeats && !behind_footer {
                    return Err(DecodeError::new(PLACE, start as usize, DecodeProblem::SectionOrder));
                }
            }
            sections.skip_content(&mut reader, code, start)?;
            let found = Section { start, content, end: reader.at() as u32 };
            match code {
                descriptor::HEADER => sections.header = found,
                descriptor::DELIVERY_ANNOTATIONS => sections.delivery_annotations = found,
                descriptor::MESSAGE_ANNOTATIONS => sections.message_annotations = found,
                descriptor::PROPERTIES => sections.properties = found,
                descriptor::APPLICATION_PROPERTIES => sections.application_properties = found,
                descriptor::FOOTER if sections.footer.is_empty() => sections.footer = found,
                descriptor::FOOTER => {
                    return Err(DecodeError::new(PLACE, start as usize, DecodeProblem::SectionOrder));
                }
                _ => {
                    if sections.body_sections == 0 {
                        sections.body = found;
                    } else if code == last {
                        sections.body.end = found.end;
                    } else {
                        // The body is of one kind only.
                        return Err(DecodeError::new(PLACE, start as usize, DecodeProblem::SectionOrder));
                    }
                    sections.body_sections += 1;
                    sections.body_kind = match code {
                        descriptor::DATA => BodyKind::Data,
                        descriptor::AMQP_SEQUENCE => BodyKind::Sequence,
                        _ => BodyKind::Value,
                    };
                }
            }
            last = code;
        }
        Ok(sections)
    }

    /// Where the sections begin that are the producer's alone: properties and everything behind them.
    pub(super) fn producer_part(&self, length: usize) -> usize {
        [self.properties, self.application_properties, self.body, self.footer]
            .into_iter()
            .filter(|section| !section.is_empty())
            .map(|section| section.start as usize)
            .min()
            .unwrap_or(length)
    }

    /// Whether the footer stands before the body.
    pub fn has_footer_first(&self) -> bool {
        !self.footer.is_empty() && self.footer.end <= self.body.start
    }

    /// Steps over the value of a section, which must be of the section's type.
    fn skip_content(&self, reader: &mut Reader<'_>, code: u64, start: u32) -> Decoded<()> {
        match code {
            descriptor::DATA => reader.binary("message.data").map(|_| ()),
            descriptor::HEADER => reader.skip_list("message.header"),
            descriptor::PROPERTIES => reader.skip_list("message.properties"),
            descriptor::AMQP_SEQUENCE => reader.skip_list("message.amqp-sequence"),
            descriptor::DELIVERY_ANNOTATIONS => reader.skip_map("message.delivery-annotations"),
            descriptor::MESSAGE_ANNOTATIONS => reader.skip_map("message.message-annotations"),
            descriptor::APPLICATION_PROPERTIES => reader.skip_map("message.application-properties"),
            descriptor::FOOTER => reader.skip_map("message.footer"),
            descriptor::AMQP_VALUE => reader.skip("message.amqp-value"),
            other => Err(unexpected_descriptor(PLACE, start as usize, other)),
        }
    }
}
