//! The functions of a program: those it brings along, and those that the configuration alone describes.

use std::sync::Arc;

use tidegate_function::{DEFAULT_VERSION, upsert};
use tidegate_model::ports::{Function, FunctionDescriptor};

use crate::config::{FunctionConfig, FunctionKind};

/// The functions that a program brings along, by name.
#[derive(Clone, Default)]
pub(crate) struct Registry(Vec<Arc<dyn Function>>);

impl Registry {
    /// Adds a function; one of the same name is replaced.
    pub(crate) fn register(&mut self, function: Arc<dyn Function>) {
        self.0.retain(|other| other.descriptor().name != function.descriptor().name);
        self.0.push(function);
    }

    /// The names of all functions.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.0.iter().map(|function| function.descriptor().name.as_str()).collect()
    }

    /// The function that a configuration describes. `None` when it is not registered, which the configuration's check
    /// has excluded.
    pub(crate) fn build(&self, config: &FunctionConfig) -> Option<Arc<dyn Function>> {
        match &config.kind {
            FunctionKind::Rust => {
                self.0.iter().find(|function| function.descriptor().name == config.name).cloned()
            }
            FunctionKind::Upsert(settings) => {
                let descriptor = FunctionDescriptor {
                    name: config.name.clone(),
                    version: DEFAULT_VERSION.to_owned(),
                    collection: settings.collection.clone(),
                };
                let function = upsert(config.name.as_str(), settings.upsert.clone());
                Some(Arc::new(function.described_as(descriptor)))
            }
        }
    }
}
