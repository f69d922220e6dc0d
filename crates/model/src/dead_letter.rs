//! Dead letters: the events nobody could process, with everything that is known about them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::attempt::{Attempt, FailureClass};
use crate::checkpoint::{FunctionName, Lane};
use crate::clock::Timestamp;
use crate::document::{CollectionName, DocumentId};
use crate::event::{Event, EventData, HubName};
use crate::position::{Incarnation, PartitionId, SequenceNumber};

/// The number of a dead letter, given by the store, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeadLetterId(pub u64);

impl std::fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// An event set aside, whole, with the story of its failure.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The function that could not process it, and the hub and partition it came from.
    pub lane: Lane,
    /// The life of the hub it came from.
    pub incarnation: Incarnation,
    /// The event as it was read, byte for byte.
    pub event: Event,
    /// The version of the function that failed.
    pub function_version: String,
    /// Whether it can never be processed or its attempts ran out.
    pub class: FailureClass,
    /// Why, for a person.
    pub reason: String,
    /// Every failed attempt, oldest first. A rejected event has one.
    pub attempts: Vec<Attempt>,
    /// When it was set aside.
    pub dead_lettered_at: Timestamp,
    /// The document it was meant for as it was then, where the function could name one.
    pub document: Option<DocumentSnapshot>,
}

/// A document at the time an event for it was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentSnapshot {
    /// Its collection.
    pub collection: CollectionName,
    /// Its id.
    pub id: DocumentId,
    /// Its JSON text; `None` when there was no such document yet.
    pub body: Option<Bytes>,
}

/// How often a dead letter may come back from a redrive before it is quarantined.
pub const MAX_RETURNS: u32 = 3;

/// Where a dead letter is in its life.
///
/// ```text
///            redrive                   applied, filtered
///   open ───────────────► redriving ─────────────────────► redriven
///    │ ▲                      │
///    │ └───── failed ─────────┤ failed, for the MAX_RETURNS-th time
///    │ discard                ▼
///    └──────► discarded   quarantined ── redrive, forced ──► redriving
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeadLetterStatus {
    /// It waits for a decision.
    Open,
    /// It is parked in its lane again, and on its way to the function.
    Redriving,
    /// It was redriven and resolved.
    Redriven,
    /// A person decided that nobody needs it.
    Discarded,
    /// It keeps coming back: it is redriven only when that is asked for by force.
    Quarantined,
    /// Its lane was set back to before it: its event is processed again from the log.
    Replayed,
}

impl DeadLetterStatus {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::Open, Self::Redriving, Self::Redriven, Self::Discarded, Self::Quarantined, Self::Replayed];

    /// The word used in stored data and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Redriving => "redriving",
            Self::Redriven => "redriven",
            Self::Discarded => "discarded",
            Self::Quarantined => "quarantined",
            Self::Replayed => "replayed",
        }
    }

    /// True while its event counts as dead-lettered.
    pub fn is_unsettled(self) -> bool {
        matches!(self, Self::Open | Self::Quarantined)
    }
}

impl std::str::FromStr for DeadLetterStatus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(())
    }
}

/// A dead letter as the store keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDeadLetter {
    /// Its number.
    pub id: DeadLetterId,
    /// What was set aside. Its event is never changed; edits are beside it.
    pub letter: DeadLetter,
    /// Where it is in its life.
    pub status: DeadLetterStatus,
    /// When it got there.
    pub changed_at: Timestamp,
    /// What its cause has in common with others.
    pub fingerprint: Fingerprint,
    /// The event as it was edited last; `None` while it is as it was read.
    pub edited: Option<EventData>,
    /// How often it was edited.
    pub revision: u32,
    /// How often it was redriven.
    pub redrives: u32,
    /// How often it came back from that.
    pub returns: u32,
    /// Who works on it.
    pub lease: Option<Lease>,
    /// How often it was leased.
    pub leases: u32,
}

impl StoredDeadLetter {
    /// A dead letter that was set aside at `at`, under its new number.
    pub fn open(id: DeadLetterId, letter: DeadLetter, at: Timestamp) -> Self {
        Self {
            id,
            fingerprint: Fingerprint::of(&letter.lane.function, letter.class, &letter.reason),
            letter,
            status: DeadLetterStatus::Open,
            changed_at: at,
            edited: None,
            revision: 0,
            redrives: 0,
            returns: 0,
            lease: None,
            leases: 0,
        }
    }

    /// Its redrive failed at `at`: it takes the new story. The event stays as it was read, and the attempts at it are
    /// kept, all of them.
    pub fn come_back(&mut self, story: DeadLetter, at: Timestamp) {
        self.returns += 1;
        self.take_back(Some(story), at);
    }

    /// Its redrive ended at `at`, because it failed or a person took it back. There is no new story if it was not tried.
    pub fn take_back(&mut self, story: Option<DeadLetter>, at: Timestamp) {
        if let Some(story) = story {
            let mut attempts = std::mem::take(&mut self.letter.attempts);
            attempts.extend(story.attempts);
            self.fingerprint = Fingerprint::of(&self.letter.lane.function, story.class, &story.reason);
            self.letter.function_version = story.function_version;
            self.letter.class = story.class;
            self.letter.reason = story.reason;
            self.letter.attempts = attempts;
            self.letter.dead_lettered_at = story.dead_lettered_at;
            self.letter.document = story.document;
        }
        let quarantined = self.returns >= MAX_RETURNS;
        self.status = if quarantined { DeadLetterStatus::Quarantined } else { DeadLetterStatus::Open };
        self.changed_at = at;
    }

    /// Its redrive was applied or filtered at `at`.
    pub fn settle(&mut self, at: Timestamp) {
        self.status = DeadLetterStatus::Redriven;
        self.changed_at = at;
    }

    /// True when somebody else than `who` holds a lease on it that has not run out at `at`.
    pub fn is_leased_to_another(&self, who: &str, at: Timestamp) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.is_held(at) && lease.holder != who)
    }

    /// What a redrive gives the function.
    pub fn event_to_redrive(&self) -> Event {
        let data = self.edited.clone().unwrap_or_else(|| self.letter.event.data.clone());
        Event { data, ..self.letter.event.clone() }
    }
}

/// Somebody works on a dead letter until a time; others leave it alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who.
    pub holder: String,
    /// From this time on it is anybody's again.
    pub until: Timestamp,
}

impl Lease {
    /// True while it has not run out.
    pub fn is_held(&self, at: Timestamp) -> bool {
        at < self.until
    }
}

/// What the causes of several dead letters have in common: function, class and reason without what differs from event
/// to event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// Of a failure. Numbers, quoted text and hexadecimal names in the reason do not count.
    pub fn of(function: &FunctionName, class: FailureClass, reason: &str) -> Self {
        // FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/): it is stored, so it must never change.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |bytes: &[u8]| {
            for byte in bytes.iter().chain(&[0]) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        add(function.as_str().as_bytes());
        add(class.as_str().as_bytes());
        add(pattern_of(reason).as_bytes());
        Self(hash)
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex {
            return Err(());
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| ())
    }
}

/// A reason with what differs from event to event replaced: `…` for quoted text, `#` for words with digits.
pub fn pattern_of(reason: &str) -> String {
    let mut pattern = String::new();
    let mut rest = reason;
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '"' | '`' => match rest[1..].find(first) {
                Some(end) => {
                    pattern.push('…');
                    end + 2
                }
                None => {
                    pattern.push(first);
                    1
                }
            },
            _ if first.is_alphanumeric() || first == '_' => {
                let end = rest
                    .find(|character: char| !(character.is_alphanumeric() || matches!(character, '_' | '-')))
                    .unwrap_or(rest.len());
                let word = &rest[..end];
                if word.contains(|character: char| character.is_ascii_digit()) {
                    pattern.push('#');
                } else {
                    pattern.push_str(word);
                }
                end
            }
            _ => {
                pattern.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[len..];
    }
    pattern
}

/// Which dead letters are meant; an absent condition is true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Of this function.
    pub function: Option<FunctionName>,
    /// From this hub.
    pub hub: Option<HubName>,
    /// From this partition.
    pub partition: Option<PartitionId>,
    /// From this sequence number on.
    pub from_sequence_number: Option<SequenceNumber>,
    /// Before this sequence number.
    pub before_sequence_number: Option<SequenceNumber>,
    /// With this partition key.
    pub partition_key: Option<String>,
    /// Of this class.
    pub class: Option<FailureClass>,
    /// With this cause.
    pub fingerprint: Option<Fingerprint>,
    /// Set aside at this time or later.
    pub since: Option<Timestamp>,
    /// Set aside before this time.
    pub until: Option<Timestamp>,
    /// In one of these states; all when empty.
    pub status: Vec<DeadLetterStatus>,
}

impl DeadLetterFilter {
    /// True when every condition is.
    pub fn matches(&self, stored: &StoredDeadLetter) -> bool {
        fn holds<T>(condition: &Option<T>, check: impl FnOnce(&T) -> bool) -> bool {
            condition.as_ref().is_none_or(check)
        }
        let letter = &stored.letter;
        let number = letter.event.sequence_number;
        let key = letter.event.data.partition_key.as_deref();
        holds(&self.function, |function| letter.lane.function == *function)
            && holds(&self.hub, |hub| letter.lane.hub == *hub)
            && holds(&self.partition, |partition| letter.lane.partition == *partition)
            && holds(&self.from_sequence_number, |from| number >= *from)
            && holds(&self.before_sequence_number, |before| number < *before)
            && holds(&self.partition_key, |wanted| key == Some(wanted))
            && holds(&self.class, |class| letter.class == *class)
            && holds(&self.fingerprint, |fingerprint| stored.fingerprint == *fingerprint)
            && holds(&self.since, |since| letter.dead_lettered_at >= *since)
            && holds(&self.until, |until| letter.dead_lettered_at < *until)
            && (self.status.is_empty() || self.status.contains(&stored.status))
    }
}

/// Dead letters with one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterGroup {
    /// The cause.
    pub fingerprint: Fingerprint,
    /// The function.
    pub function: FunctionName,
    /// The class.
    pub class: FailureClass,
    /// The reason of the newest of them.
    pub reason: String,
    /// How many there are.
    pub count: u64,
    /// When the first of them was set aside.
    pub first_at: Timestamp,
    /// When the last of them was.
    pub last_at: Timestamp,
    /// The newest of them.
    pub newest: DeadLetterId,
}

/// What an act on one dead letter came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acted {
    /// It was done.
    Done,
    /// There is no such dead letter.
    NotFound,
    /// Its status does not allow it.
    WrongStatus(DeadLetterStatus),
    /// Somebody else works on it.
    Leased,
    /// Its hub was made anew since: its place in the order is gone.
    OtherIncarnation,
    /// An edit was made on another revision than the newest.
    OtherRevision(u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_in_values_have_one_pattern() {
        for (reason, pattern) in [
            ("not JSON: EOF at line 1 column 144", "not JSON: EOF at line # column #"),
            ("the account \"a b\" is closed", "the account … is closed"),
            ("device 3c6-4f is unknown", "device # is unknown"),
            ("an open \" quote", "an open \" quote"),
            ("ünïcode 7\u{0301}", "ünïcode #\u{0301}"),
            ("", ""),
        ] {
            assert_eq!(pattern_of(reason), pattern);
        }
    }

    #[test]
    fn a_fingerprint_is_what_it_always_was() {
        let function = FunctionName::new("aircraft").unwrap();
        let of = |reason| Fingerprint::of(&function, FailureClass::Permanent, reason);
        assert_eq!(of("line 1"), of("line 22"));
        assert_ne!(of("line 1"), of("column 1"));
        assert_ne!(of("line 1"), Fingerprint::of(&function, FailureClass::Exhausted, "line 1"));
        assert_eq!(of("line 1").to_string().parse(), Ok(of("line 1")));
    }
}
