//! A function with its name, whatever form it was written in.

use std::sync::Arc;

use tidegate_model::checkpoint::FunctionName;
use tidegate_model::document::CollectionName;
use tidegate_model::event::Event;
use tidegate_model::ports::{Function, FunctionDescriptor, FunctionError, Invocation};

/// The version of a function that names none.
pub const DEFAULT_VERSION: &str = "1";

/// A function that is ready to run: what it does, and under which name.
///
/// By default its documents are in the collection of the same name, and its version is [`DEFAULT_VERSION`].
pub struct FunctionDefinition {
    descriptor: FunctionDescriptor,
    planner: Box<dyn Planner>,
}

impl FunctionDefinition {
    /// # Panics
    /// When `name` is not the name of a function: it is a part of the program, and the first start shows it.
    pub(crate) fn new(name: &str, planner: impl Planner) -> Self {
        let checked = (FunctionName::new(name), CollectionName::new(name));
        let (Ok(function), Ok(collection)) = checked else {
            panic!(
                "{name:?} is not the name of a function: 1 to 128 letters and digits, inside also '-', '_', '.'"
            )
        };
        let descriptor =
            FunctionDescriptor { name: function, version: DEFAULT_VERSION.to_owned(), collection };
        Self { descriptor, planner: Box::new(planner) }
    }

    /// The same function with a version, which dead letters record. `env!("CARGO_PKG_VERSION")` is a good one.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.descriptor.version = version.into();
        self
    }

    /// The same function with its documents in another collection.
    ///
    /// # Panics
    /// When `collection` is not the name of a collection: it is a part of the program, and the first start shows it.
    #[must_use]
    pub fn collection(mut self, collection: &str) -> Self {
        match CollectionName::new(collection) {
            Ok(collection) => self.descriptor.collection = collection,
            Err(invalid) => panic!("{invalid}"),
        }
        self
    }

    /// The same function as somebody else: for names that come from a configuration.
    #[must_use]
    pub fn described_as(mut self, descriptor: FunctionDescriptor) -> Self {
        self.descriptor = descriptor;
        self
    }
}

impl Function for FunctionDefinition {
    fn descriptor(&self) -> &FunctionDescriptor {
        &self.descriptor
    }

    fn plan(&self, events: Vec<Event>) -> Result<Box<dyn Invocation>, FunctionError> {
        self.planner.plan(events)
    }
}

impl From<FunctionDefinition> for Arc<dyn Function> {
    fn from(definition: FunctionDefinition) -> Self {
        Arc::new(definition)
    }
}

impl std::fmt::Debug for FunctionDefinition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FunctionDefinition").field(&self.descriptor).finish()
    }
}

/// What the forms have in common: the first half of an invocation.
pub(crate) trait Planner: Send + Sync + 'static {
    /// See [`Function::plan`].
    fn plan(&self, events: Vec<Event>) -> Result<Box<dyn Invocation>, FunctionError>;
}
