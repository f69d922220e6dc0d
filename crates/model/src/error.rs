//! What a caller should do about an error, and the code a person looks it up by.

use serde::{Deserialize, Serialize};

/// What the caller should do. Every error of a port answers this question with its `kind()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorKind {
    /// It may work later, unchanged: a store is unavailable, a disk is full, a quota is used up.
    Transient,
    /// It will never work unchanged: the input or the data is wrong.
    Permanent,
    /// The state moved underneath: read it again and decide anew.
    Conflict,
    /// Somebody else owns this now: stop, and do not try again under the old epoch.
    Fenced,
}

/// The code of an error that a user can meet. Each has a page `docs/errors/<code>.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub &'static str);

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal;)*) => {
        impl ErrorCode {
            $($(#[doc = $doc])+ pub const $name: Self = Self($code);)*

            /// Every code; a check of the tree holds the pages to this list.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

codes! {
    /// The configuration has a key or table that does not exist.
    CONFIG_UNKNOWN_KEY = "TG-101";
    /// A value of the configuration is of the wrong type, unit or range.
    CONFIG_BAD_VALUE = "TG-102";
    /// The configuration names something that it does not declare, such as a hub.
    CONFIG_MISSING = "TG-103";
    /// The configuration file cannot be read as TOML, or the emulator's as JSON.
    CONFIG_SYNTAX = "TG-104";

    /// The data directory is in use by another process.
    DATA_DIR_LOCKED = "TG-201";
    /// The data directory was written in a format that this version does not know.
    DATA_DIR_FORMAT = "TG-202";
    /// A checkpoint belongs to another incarnation of its hub.
    INCARNATION_MISMATCH = "TG-203";
    /// A checkpoint points past the end of the log: acknowledged events are missing.
    CHECKPOINT_BEYOND_LOG = "TG-204";
    /// The data directory cannot be read or written.
    DATA_DIR_IO = "TG-205";
    /// The hub exists with another number of partitions.
    PARTITION_COUNT_CHANGED = "TG-206";

    /// A partition is out of service because its log is damaged before its end.
    PARTITION_DAMAGED = "TG-301";
    /// The log stopped because a sync failed.
    LOG_FAILED = "TG-302";
    /// The disk is full.
    DISK_FULL = "TG-303";
    /// The events asked for have been dropped by retention.
    EVENTS_EXPIRED = "TG-304";
    /// The store is damaged.
    STORE_DAMAGED = "TG-305";
    /// The store does not answer at the moment.
    STORE_UNAVAILABLE = "TG-306";
    /// The owner of a partition was replaced.
    FENCED = "TG-307";

    /// The request is malformed.
    BAD_REQUEST = "TG-400";
    /// The request carries no valid authorisation.
    UNAUTHORIZED = "TG-401";
    /// The authorisation is valid, but does not cover this request.
    FORBIDDEN = "TG-403";
    /// The hub, partition, collection or document does not exist.
    NOT_FOUND = "TG-404";
    /// The request did not arrive, or its work was not done, in the time allowed.
    TIMEOUT = "TG-408";
    /// The thing is in a state that does not allow the act, or somebody else has it or changed it.
    CONFLICT = "TG-409";
    /// An event or a request is larger than its limit.
    TOO_LARGE = "TG-413";
    /// A page of another site made the browser send the request, or it does not carry the token of its session.
    CROSS_SITE = "TG-419";
    /// The identity provider's answer lets nobody in, or the provider does not answer.
    SIGN_IN_FAILED = "TG-420";
    /// Too many bytes wait to be written, the throughput units are used up, or a sign-in was tried too often: slow down.
    THROTTLED = "TG-429";
    /// The server is stopping.
    STOPPING = "TG-503";
    /// No server answers, or it answers something unexpected.
    SERVER_UNREACHABLE = "TG-504";
    /// A query over the documents is refused.
    QUERY_REFUSED = "TG-505";
    /// The audit found sequence numbers that nothing accounts for.
    AUDIT_GAP = "TG-601";
}
