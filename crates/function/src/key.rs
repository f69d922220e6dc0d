//! What a key function may return.

use tidegate_model::answer::Rejection;
use tidegate_model::document::{DocumentId, InvalidDocumentId};

/// A value that names a document, or should: text, an integer, or one of these that may be missing.
///
/// An event whose key is missing or is no document id is rejected with a reason that says so.
pub trait IntoDocumentId {
    /// The id of the document.
    ///
    /// # Errors
    /// When the value names none.
    fn into_document_id(self) -> Result<DocumentId, Rejection>;
}

impl IntoDocumentId for DocumentId {
    fn into_document_id(self) -> Result<DocumentId, Rejection> {
        Ok(self)
    }
}

impl IntoDocumentId for &str {
    fn into_document_id(self) -> Result<DocumentId, Rejection> {
        DocumentId::new(self).into_document_id()
    }
}

impl IntoDocumentId for String {
    fn into_document_id(self) -> Result<DocumentId, Rejection> {
        self.as_str().into_document_id()
    }
}

impl IntoDocumentId for Result<DocumentId, InvalidDocumentId> {
    fn into_document_id(self) -> Result<DocumentId, Rejection> {
        self.map_err(|invalid| Rejection {
            reason: format!("the event's key cannot be a document id: it {}", invalid.0),
        })
    }
}

impl IntoDocumentId for Result<DocumentId, Rejection> {
    fn into_document_id(self) -> Self {
        self
    }
}

impl<K: IntoDocumentId> IntoDocumentId for Option<K> {
    fn into_document_id(self) -> Result<DocumentId, Rejection> {
        match self {
            Some(key) => key.into_document_id(),
            None => Err(Rejection { reason: "the event has no key: it names no document".to_owned() }),
        }
    }
}

macro_rules! integers {
    ($($integer:ty)*) => {$(
        impl IntoDocumentId for $integer {
            fn into_document_id(self) -> Result<DocumentId, Rejection> {
                self.to_string().into_document_id()
            }
        }
    )*};
}

integers! { u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_integers_name_documents() {
        assert_eq!("a b".into_document_id().expect("an id").as_str(), "a b");
        assert_eq!((-7i32).into_document_id().expect("an id").as_str(), "-7");
        assert_eq!(Some(String::from("x")).into_document_id().expect("an id").as_str(), "x");
    }

    #[test]
    fn what_names_no_document_says_why() {
        let reason = |key: &dyn Fn() -> Result<DocumentId, Rejection>| key().expect_err("no id").reason;
        assert_eq!(reason(&|| "".into_document_id()), "the event's key cannot be a document id: it is empty");
        assert_eq!(
            reason(&|| "a\nb".into_document_id()),
            "the event's key cannot be a document id: it holds control characters"
        );
        assert_eq!(
            reason(&|| None::<String>.into_document_id()),
            "the event has no key: it names no document"
        );
    }
}
