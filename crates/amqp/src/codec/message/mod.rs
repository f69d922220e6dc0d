//! Messages (section 3.2 of the specification), batches of them, and events as they are delivered.
//!
//! A message is a row of sections: header, delivery annotations, message annotations, properties, application properties,
//! body, footer. [`Message`] finds them without decoding them, so that a broker can pass a message on byte by byte;
//! each accessor then decodes only what it gives out.

mod batch;
mod build;
mod delivery;
mod properties;
mod sections;
mod view;

pub use batch::BatchBuilder;
pub use build::{MapWriter, MessageBuilder, MessageWriter};
pub use delivery::{PartitionRuntime, Stamp, encode_delivery};
pub use properties::{Header, MessageId, Properties};
pub use sections::{BodyKind, Section, Sections};
pub use view::{Body, DataSections, EventStamp, Message, Pairs};
