//! Who signed in by the identity provider: a register each, changed with its line in the audit trail.

use serde::{Deserialize, Serialize};
use tidegate_model::clock::Timestamp;
use tidegate_model::ports::{RegisterChange, Registers, StoreError};
use tidegate_model::register::{RegisterKey, Version};
use tidegate_model::trail::{Act, NewTrailEntry};

use crate::oidc::Person;
use crate::role::Role;
use crate::secret::digest;

/// The [kind](RegisterKey::kind) of the registers; a register's name is the digest of what the provider calls the person.
pub const PERSON: &str = "person";

/// How often a change is decided anew because another came first.
const TRIES: u32 = 8;

/// What is known of somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonRecord {
    /// What the provider calls them for ever.
    pub subject: String,
    /// Their name at the last sign-in.
    pub name: String,
    /// Their role then.
    pub role: Role,
    /// When it was.
    pub signed_in_at: Timestamp,
}

/// Writes down that somebody signed in.
///
/// # Errors
/// When the store fails; then nobody is let in.
pub async fn sign_in_recorded(
    registers: &dyn Registers,
    person: &Person,
    act: Act,
) -> Result<(), StoreError> {
    let Person { subject, name, role, .. } = person;
    let key = RegisterKey::new(PERSON, digest(subject));
    let record =
        PersonRecord { subject: subject.clone(), name: name.clone(), role: *role, signed_in_at: act.at };
    let value = serde_json::to_value(&record).expect("a record has a JSON form");
    let mut tries = 0;
    loop {
        let from = registers.register(&key).await?.map_or(Version::NONE, |register| register.version);
        let detail = serde_json::json!({ "subject": subject, "role": role });
        let entry = NewTrailEntry { action: "session.open", subject: name.clone(), act: act.clone(), detail };
        let change = RegisterChange {
            key: key.clone(),
            from,
            value: Some(value.clone()),
            at: act.at,
            notices: Vec::new(),
            trail: vec![entry],
        };
        match registers.change_register(change).await {
            Err(StoreError::RegisterMoved { .. }) if tries < TRIES => tries += 1,
            result => return result.map(drop),
        }
    }
}
