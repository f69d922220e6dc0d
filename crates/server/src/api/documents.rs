//! Collections and documents.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::ETAG;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use tidegate_api as shapes;
use tidegate_model::document::{CollectionName, DocumentId};

use crate::api::page::Page;
use crate::api::parameters::InPath;
use crate::api::{Api, ApiError, etag};

/// Every collection that has documents.
#[utoipa::path(
    get, path = "/api/v1/collections", tag = "documents",
    responses(
        (status = 200, content(
            (shapes::Page<shapes::Collection> = "application/json"), (shapes::Collection = "application/x-ndjson"),
        ), description = "Collections that have documents, ordered by name"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn collections(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let mut page = Page::new(None);
    for (collection, documents) in api.store.collections().await? {
        page.push(&shapes::Collection { collection: collection.to_string(), documents });
    }
    Ok(page.finish(None))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    after: Option<String>,
    limit: Option<usize>,
}

/// A page of a collection, ordered by id.
#[utoipa::path(
    get, path = "/api/v1/collections/{collection}/documents", tag = "documents",
    params(
        ("collection" = String, Path, description = "The collection"),
        ("after" = Option<String>, Query, description = "The cursor of the page"),
        ("limit" = Option<u64>, Query, description = "At most so many objects; at most 1000", minimum = 1),
    ),
    responses(
        (status = 200, content(
            (shapes::Page<shapes::Document> = "application/json"), (shapes::Document = "application/x-ndjson"),
        ), description = "Documents, ordered by id"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    InPath(collection): InPath<String>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let collection = collection_name(&collection)?;
    let mut after = query.after.as_deref().map(document_id).transpose()?;
    let mut page = Page::new(query.limit);
    let mut more = true;
    while more && !page.is_full() {
        let wanted = page.wants();
        let documents = api.store.list_documents(&collection, after.as_ref(), wanted).await?;
        more = documents.len() == wanted;
        for document in documents {
            after = Some(document.id.clone());
            page.push(&shapes::Document::from(document));
        }
    }
    Ok(page.finish(after.filter(|_| more).map(|id| id.to_string())))
}

/// One document.
#[utoipa::path(
    get, path = "/api/v1/collections/{collection}/documents/{id}", tag = "documents",
    params(
        ("collection" = String, Path, description = "The collection"),
        ("id" = String, Path, description = "The document's id, percent-encoded"),
    ),
    responses(
        (status = 200, body = shapes::Document, description = "The document; its ETag is its own"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    InPath((collection, id)): InPath<(String, String)>,
) -> Result<Response, ApiError> {
    let (collection, id) = (collection_name(&collection)?, document_id(&id)?);
    let found = api.store.documents(&collection, std::slice::from_ref(&id)).await?;
    match found.into_iter().flatten().next() {
        Some(document) => {
            let etag = etag::quoted(&document.etag.to_string());
            Ok(([(ETAG, etag)], Json(shapes::Document::from(document))).into_response())
        }
        None => Err(no_document(&api, &collection, &id).await?),
    }
}

pub(super) async fn no_document(
    api: &Api,
    collection: &CollectionName,
    id: &DocumentId,
) -> Result<ApiError, ApiError> {
    let collections = api.store.collections().await?;
    let missing = ApiError::not_found(format!("the collection {collection} has no document {id:?}"));
    if collections.iter().any(|(name, _)| name == collection) {
        return Ok(missing.help(format!("list its documents: tidegate documents list {collection}")));
    }
    let names: Vec<&str> = collections.iter().map(|(name, _)| name.as_str()).collect();
    let known = if names.is_empty() { "there are none".to_owned() } else { names.join(", ") };
    Ok(missing.help(format!("collections with documents: {known}")))
}

pub(super) fn collection_name(name: &str) -> Result<CollectionName, ApiError> {
    CollectionName::new(name).map_err(|error| ApiError::bad_request(error.to_string()))
}

pub(super) fn document_id(id: &str) -> Result<DocumentId, ApiError> {
    DocumentId::new(id).map_err(|error| ApiError::bad_request(error.to_string()))
}
