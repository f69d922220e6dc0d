//! `[audit]`: how long the audit trail is kept.

use crate::config::elements::retention::RetentionTime;
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;

/// The audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// How long its lines are kept.
    pub keep: RetentionTime,
}

const KEEP: Key<RetentionTime> = Key::with_default(
    "keep",
    "\"90d\"",
    "How long the lines of the audit trail are kept: who did what by hand, when, and why. What `tidegate dead-letters show` \
     tells about earlier acts comes from them.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[audit]",
    doc: "The audit trail, which `tidegate trail` shows.",
    keys: &[&KEEP as &dyn KeyInfo],
    example: "[audit]\nkeep = \"365d\"\n",
};

/// Reads the table.
pub(crate) fn read(reader: &mut Reader<'_, '_>) -> Option<AuditConfig> {
    Some(AuditConfig { keep: reader.get(&KEEP)? })
}
