//! The documents, in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::document::{CollectionName, Document, DocumentId};
use crate::ports::{Documents, StoreError};

use super::MemoryStore;

#[async_trait]
impl Documents for MemoryStore {
    async fn documents(
        &self,
        collection: &CollectionName,
        ids: &[DocumentId],
    ) -> Result<Vec<Option<Document>>, StoreError> {
        self.read(|state| {
            let documents = state.documents.get(collection);
            ids.iter().map(|id| documents.and_then(|documents| documents.get(id)).cloned()).collect()
        })
    }

    async fn list_documents(
        &self,
        collection: &CollectionName,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.read(|state| {
            let documents = state.documents.get(collection).into_iter().flat_map(BTreeMap::values);
            documents
                .filter(|document| after.is_none_or(|after| document.id > *after))
                .take(limit)
                .cloned()
                .collect()
        })
    }

    async fn collections(&self) -> Result<Vec<(CollectionName, u64)>, StoreError> {
        self.read(|state| {
            let collections = state.documents.iter();
            collections.map(|(name, documents)| (name.clone(), documents.len() as u64)).collect()
        })
    }
}
