//! The elements of the configuration, one file each: what its keys are, how they are read, what they mean.

pub mod access;
pub mod access_token;
pub mod alerts;
pub mod amqp;
pub mod audit;
pub mod byte_size;
pub(crate) mod circuit;
pub mod console;
pub(crate) mod dependency;
pub(crate) mod duration;
pub mod email;
pub mod function;
pub mod http;
pub mod hub;
mod initial_offset;
pub mod logs;
pub(crate) mod mask;
pub(crate) mod number;
pub mod oidc;
mod order;
pub mod otlp;
pub(crate) mod parking;
pub mod processor;
pub mod read_api;
pub mod retention;
pub(crate) mod retry;
pub mod scale;
pub mod secret;
pub mod source;
pub(crate) mod throughput;
pub mod tls;
pub mod webhook;

use tidegate_alerts::target::Target;

use crate::config::key::Element;
use crate::config::reader::Reader;

/// Every element, in the order of the reference.
pub(crate) static ALL: [&Element; 27] = [
    &hub::ELEMENT,
    &source::ELEMENT,
    &source::ENTRA_ELEMENT,
    &source::BLOBS_ELEMENT,
    &function::ELEMENT,
    &retry::ELEMENT,
    &parking::ELEMENT,
    &circuit::ELEMENT,
    &dependency::ELEMENT,
    &alerts::ELEMENT,
    &email::ELEMENT,
    &webhook::ELEMENT,
    &audit::ELEMENT,
    &http::ELEMENT,
    &read_api::ELEMENT,
    &console::ELEMENT,
    &oidc::ELEMENT,
    &mask::ELEMENT,
    &amqp::ELEMENT,
    &tls::ELEMENT,
    &access::ELEMENT,
    &access_token::ELEMENT,
    &throughput::ELEMENT,
    &processor::ELEMENT,
    &logs::ELEMENT,
    &otlp::ELEMENT,
    &scale::ELEMENT,
];

/// Reports what cannot work about a target; true when all can.
fn check_target(target: &Result<Target, String>, reader: &mut Reader<'_, '_>) -> bool {
    let problem = match target {
        Ok(target) => target.validate().err().map(|invalid| invalid.problem),
        Err(why) => Some(why.clone()),
    };
    if let Some(problem) = &problem {
        let at = reader.span();
        reader.contradiction(at, problem, "correct it, or remove the table");
    }
    problem.is_none()
}
