//! The store of the machine with the log: opened, closed, lost, and looked at again.

use std::sync::Arc;

use tidegate_eventlog::simulation::FaultyStorage;
use tidegate_model::memory::MemoryStore;
use tidegate_model::ports::StoreError;
use tidegate_store::OpenError;

use super::{End, World};
use crate::embedded::{Embedded, Unopened};
use crate::oracle::try_now;
use crate::scenario::StoreKind;

impl World {
    /// Opens the embedded store on a disk that never fails.
    pub(super) fn open_store_apart(&mut self) {
        let disk = FaultyStorage::new(self.scenario.seed);
        if let Err(error) = self.open_embedded(&disk) {
            self.oracle.report("the store opens", error.to_string());
        }
    }

    /// Opens the embedded store beside the log, if the run has it, and looks at what is in it.
    pub(super) fn open_store(&mut self, disk: &FaultyStorage, after: Option<End>) -> Result<(), StoreError> {
        if self.scenario.store != StoreKind::Embedded {
            return Ok(());
        }
        self.open_embedded(disk)?;
        if disk.has_crashed() {
            return Err(StoreError::Unavailable { detail: "the machine has stopped".to_owned() });
        }
        let Some(embedded) = &self.embedded else { return Ok(()) };
        let problems = embedded.problems()?;
        if !problems.is_empty() {
            self.oracle.report("a store that is opened again is sound", problems.join("; "));
            return Ok(());
        }
        let commits = match embedded.commits() {
            Ok(commits) => commits,
            Err(error) => {
                self.oracle.report("a store that is opened again is sound", error.to_string());
                return Ok(());
            }
        };
        if let Some(end) = after {
            self.oracle.store_opened(&*self.store, commits, end == End::PowerFailed);
            self.settle_doubt();
            self.oracle.check_store(&*self.store);
        }
        Ok(())
    }

    fn open_embedded(&mut self, disk: &FaultyStorage) -> Result<(), StoreError> {
        let clock = self.site_clock.clone();
        let opened = Embedded::open(disk, self.scenario.wal_bytes, clock, self.mutation);
        let embedded = opened.map_err(|error| match error {
            Unopened::Open(OpenError::Store(error)) => error,
            Unopened::Open(error) => StoreError::Damaged { detail: error.to_string() },
            Unopened::Disk(error) => StoreError::Unavailable { detail: error.to_string() },
        })?;
        self.store = embedded.store();
        self.embedded = Some(embedded);
        Ok(())
    }

    /// The program with the store ends where it is.
    pub(super) fn drop_store(&mut self) {
        if self.scenario.store == StoreKind::Embedded {
            self.store = Arc::new(MemoryStore::new());
            self.embedded = None;
        }
    }

    /// The store is closed, more or less carefully.
    pub(super) fn close_store(&mut self) {
        if let (StoreKind::Embedded, Some(embedded)) = (self.scenario.store, &self.embedded)
            && self.power.one_in(2)
            && let Err(error) = try_now(embedded.store().close())
        {
            self.trace.note("site", format_args!("the store is not closed well: {error}"));
        }
        self.drop_store();
    }

    /// The disk of the store, if it can stop with its machine.
    pub(super) fn disk_of_store(&self) -> Option<FaultyStorage> {
        let site = self.site.as_ref().filter(|_| self.scenario.store == StoreKind::Embedded);
        site.map(|site| site.disk.clone())
    }

    /// Whether the machine with the store has stopped, so that nothing can be asked of it.
    pub(super) fn has_stopped(&self) -> bool {
        self.disk_of_store().is_some_and(|disk| disk.has_crashed())
    }

    /// Whether a change that failed may have happened all the same.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.has_stopped() || self.embedded.as_ref().is_some_and(|embedded| embedded.failure().is_some())
    }

    /// Asks the store to change something. `None` when it did not, or nobody knows, or nothing can be asked any more.
    pub(super) fn ask<T>(
        &self,
        what: &str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Option<T> {
        match try_now(answer) {
            Ok(answer) => (!self.has_stopped()).then_some(answer),
            Err(error) => {
                self.trace.note("operator", format_args!("{what}: {error}"));
                None
            }
        }
    }
}
