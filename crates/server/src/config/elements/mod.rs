//! The elements of the configuration, one file each: what its keys are, how they are read, what they mean.

pub mod byte_size;
pub(crate) mod duration;
pub mod function;
pub mod http;
pub mod hub;
mod initial_offset;
pub mod processor;
pub mod retention;
pub(crate) mod retry;

use crate::config::key::Element;

/// Every element, in the order of the reference.
pub(crate) static ALL: [&Element; 5] =
    [&hub::ELEMENT, &function::ELEMENT, &retry::ELEMENT, &http::ELEMENT, &processor::ELEMENT];
