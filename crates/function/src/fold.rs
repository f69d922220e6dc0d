//! The typed fold: from the state of a document and an event about it to its next state.

use std::marker::PhantomData;

use bytes::Bytes;
use tidegate_model::answer::Rejection;
use tidegate_model::document::DocumentId;
use tidegate_model::event::Event;

use crate::definition::FunctionDefinition;
use crate::key::IntoDocumentId;
use crate::per_document::{OneDocument, PerDocument};
use crate::typed::{Document, Typed};
use crate::verdict::{FoldError, IntoVerdict, Verdict};

/// Begins a function that folds each event into one document, under this name.
///
/// ```text
/// fold("flights").decode(json::<Report>).key(|report| report.icao24.clone()).apply(track)
/// ```
pub fn fold(name: &str) -> Fold {
    Fold { name: name.to_owned() }
}

/// A fold that has a name.
#[derive(Debug)]
pub struct Fold {
    name: String,
}

impl Fold {
    /// Says how an event becomes the function's own type: [`json`](crate::json()), or any function that reads the
    /// event's body and properties and rejects what it cannot read.
    pub fn decode<E, Decode>(self, decode: Decode) -> DecodedFold<E, Decode>
    where
        Decode: Fn(&Event) -> Result<E, Rejection> + Send + Sync + 'static,
    {
        DecodedFold { name: self.name, decode, event: PhantomData }
    }
}

/// A fold that can decode events.
pub struct DecodedFold<E, Decode> {
    name: String,
    decode: Decode,
    event: PhantomData<fn() -> E>,
}

impl<E, Decode> DecodedFold<E, Decode> {
    /// Says which document an event is about. A missing or impossible id rejects the event.
    pub fn key<K, Key>(self, key: Key) -> KeyedFold<E, Decode, Key>
    where
        K: IntoDocumentId,
        Key: Fn(&E) -> K + Send + Sync + 'static,
    {
        KeyedFold { name: self.name, decode: self.decode, key, event: PhantomData }
    }
}

/// A fold that knows each event's document.
pub struct KeyedFold<E, Decode, Key> {
    name: String,
    decode: Decode,
    key: Key,
    event: PhantomData<fn() -> E>,
}

impl<E, Decode, Key> KeyedFold<E, Decode, Key> {
    /// Says what an event does to its document, and completes the function.
    ///
    /// `apply` is given the state before the event (`None` when there is no such document yet), the decoded event,
    /// and the event itself with its sequence number, time and properties. See [`IntoVerdict`] for what it may return.
    /// The state is its own copy: whatever it does to it, an event that is filtered, rejected or fails changes nothing.
    ///
    /// It may be called again for the same event, see the contract of [`Function`](crate::Function), and so should do
    /// nothing but compute.
    ///
    /// # Panics
    /// When the name given to [`fold`] is not the name of a function: it is a part of the program, and the first start
    /// shows it.
    pub fn apply<D, V, K, Apply>(self, apply: Apply) -> FunctionDefinition
    where
        D: Document,
        E: Send + 'static,
        K: IntoDocumentId + 'static,
        V: IntoVerdict<D> + 'static,
        Decode: Fn(&Event) -> Result<E, Rejection> + Send + Sync + 'static,
        Key: Fn(&E) -> K + Send + Sync + 'static,
        Apply: Fn(Option<D>, E, &Event) -> V + Send + Sync + 'static,
    {
        let Self { name, decode, key, .. } = self;
        let functions = Functions { decode, key, apply, types: PhantomData::<fn(D, E, V, K)> };
        FunctionDefinition::new(&name, PerDocument::new(functions))
    }
}

/// What the user gave.
struct Functions<Decode, Key, Apply, Types> {
    decode: Decode,
    key: Key,
    apply: Apply,
    types: PhantomData<Types>,
}

impl<D, E, V, K, Decode, Key, Apply> OneDocument for Functions<Decode, Key, Apply, fn(D, E, V, K)>
where
    D: Document,
    E: Send + 'static,
    K: IntoDocumentId + 'static,
    V: IntoVerdict<D> + 'static,
    Decode: Fn(&Event) -> Result<E, Rejection> + Send + Sync + 'static,
    Key: Fn(&E) -> K + Send + Sync + 'static,
    Apply: Fn(Option<D>, E, &Event) -> V + Send + Sync + 'static,
{
    type Input = (E, Event);
    type Document = Typed<D>;
    type Scratch = ();

    fn read(&self, event: Event, (): &mut ()) -> Result<(DocumentId, Self::Input), Rejection> {
        let decoded = (self.decode)(&event)?;
        let id = (self.key)(&decoded).into_document_id()?;
        Ok((id, (decoded, event)))
    }

    fn load(&self, json: &Bytes) -> Result<Typed<D>, String> {
        Typed::decode(json)
    }

    fn step(
        &self,
        current: Option<&Typed<D>>,
        (decoded, event): Self::Input,
        (): &mut (),
    ) -> Result<Verdict<Typed<D>>, FoldError> {
        let current = current.map(|document| document.0.clone());
        Ok(match (self.apply)(current, decoded, &event).into_verdict()? {
            Verdict::Apply(document) => Verdict::Apply(Typed(document)),
            Verdict::Filter => Verdict::Filter,
        })
    }
}
