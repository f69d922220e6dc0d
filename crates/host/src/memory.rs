//! Memory that is bounded: who needs some waits until there is enough of it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// An amount of memory, counted in permits: a permit a byte.
#[derive(Clone, Debug)]
pub struct Memory {
    permits: Arc<Semaphore>,
    total: u32,
}

impl Memory {
    /// So many bytes; what is above 4 GiB is not used.
    pub fn new(bytes: usize) -> Self {
        let total = u32::try_from(bytes).unwrap_or(u32::MAX);
        Self { permits: Arc::new(Semaphore::new((total as usize).min(Semaphore::MAX_PERMITS))), total }
    }

    /// Waits for `bytes`. More than there is altogether is given when all of it is free.
    pub async fn acquire(&self, bytes: usize) -> OwnedSemaphorePermit {
        let permits = Arc::clone(&self.permits).acquire_many_owned(self.at_most_all(bytes)).await;
        permits.expect("it is never closed")
    }

    /// `bytes`, if they are free now.
    pub fn try_acquire(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_many_owned(self.at_most_all(bytes)).ok()
    }

    fn at_most_all(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).map_or(self.total, |bytes| bytes.min(self.total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_larger_than_all_of_it_goes_alone() {
        let memory = Memory::new(100);
        let small = memory.acquire(1).await;
        assert!(memory.try_acquire(1000).is_none());
        drop(small);
        let large = memory.acquire(usize::MAX).await;
        assert!(memory.try_acquire(1).is_none());
        drop(large);
        assert!(memory.try_acquire(100).is_some());
    }
}
