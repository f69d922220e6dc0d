//! How many instances a function needs, for whoever starts and stops them.

mod decide;
mod keda;
pub mod messages;

pub use decide::{Demand, Policy, desired};
pub use keda::{KedaScaler, serve};
