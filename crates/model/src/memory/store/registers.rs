//! The registers and the outbox, in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::notice::{Delivery, DeliveryState, NewNotice, Notice, NoticeId};
use crate::ports::{Outbox, RegisterChange, Registers, StoreError};
use crate::register::{Register, RegisterKey, Version};

use super::MemoryStore;

/// A register, or what is left of one that was removed: its last version.
pub(super) struct Slot {
    last_version: Version,
    register: Option<Register>,
}

/// The notices on their way.
#[derive(Default)]
pub(super) struct Notices {
    kept: BTreeMap<NoticeId, Notice>,
    last: u64,
}

impl Notices {
    fn add(&mut self, notice: NewNotice) {
        self.last += 1;
        let id = NoticeId(self.last);
        self.kept.insert(id, Notice { id, notice, deliveries: Vec::new() });
    }
}

#[async_trait]
impl Registers for MemoryStore {
    async fn register(&self, key: &RegisterKey) -> Result<Option<Register>, StoreError> {
        self.read(|state| state.registers.get(key)?.register.clone())
    }

    async fn registers(&self, kind: &'static str) -> Result<Vec<Register>, StoreError> {
        self.read(|state| {
            let slots = state.registers.iter().filter(|(key, _)| key.kind == kind);
            slots.filter_map(|(_, slot)| slot.register.clone()).collect()
        })
    }

    async fn change_register(&self, change: RegisterChange) -> Result<Version, StoreError> {
        self.act(|state| {
            let slot = state
                .registers
                .entry(change.key.clone())
                .or_insert(Slot { last_version: Version::NONE, register: None });
            let stored = slot.register.as_ref().map_or(Version::NONE, |register| register.version);
            if stored != change.from {
                return Err(StoreError::RegisterMoved { register: change.key.to_string() });
            }
            let version = Version(slot.last_version.0 + 1);
            slot.last_version = version;
            slot.register = change.value.map(|value| Register {
                name: change.key.name,
                version,
                value,
                changed_at: change.at,
            });
            for notice in change.notices {
                state.notices.add(notice);
            }
            for entry in change.trail {
                state.write_trail(entry);
            }
            Ok(version)
        })
    }
}

#[async_trait]
impl Outbox for MemoryStore {
    async fn due_notices(
        &self,
        targets: &[String],
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Notice>, StoreError> {
        self.read(|state| {
            let due = state.notices.kept.values().filter(|notice| notice.is_due(targets, now));
            due.take(limit).cloned().collect()
        })
    }

    async fn recent_notices(&self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        self.read(|state| state.notices.kept.values().rev().take(limit).cloned().collect())
    }

    async fn record_delivery(
        &self,
        notice: NoticeId,
        target: &str,
        state: DeliveryState,
        error: Option<&str>,
    ) -> Result<(), StoreError> {
        self.act(|stored| {
            // It may have been forgotten meanwhile.
            let Some(notice) = stored.notices.kept.get_mut(&notice) else {
                return Ok(());
            };
            let known = notice.deliveries.iter().position(|delivery| delivery.target == target);
            let tries = known.map_or(0, |index| notice.deliveries[index].tries);
            let delivery = Delivery {
                target: target.to_owned(),
                tries: tries + 1,
                state,
                error: error.map(str::to_owned),
            };
            match known {
                Some(index) => notice.deliveries[index] = delivery,
                None => notice.deliveries.push(delivery),
            }
            Ok(())
        })
    }

    async fn prune_notices(&self, now: Timestamp) -> Result<(), StoreError> {
        self.act(|state| {
            state.notices.kept.retain(|_, notice| !notice.is_outdated(now));
            Ok(())
        })
    }
}
