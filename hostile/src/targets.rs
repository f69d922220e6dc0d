//! The targets: functions that take any bytes and panic when a promise is broken.

mod codec;
mod engine;
mod http;
mod log;

/// Something that takes any bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, also that of its file in `fuzz/fuzz_targets`.
    pub name: &'static str,
    /// What it looks at.
    pub about: &'static str,
    /// Panics when a promise is broken.
    pub run: fn(&[u8]),
    /// Bytes that changes begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 9] = [
    Target {
        name: "values",
        about: "AMQP values: what is decoded can be encoded and is the same again",
        run: codec::values,
        seeds: crate::seeds::values,
    },
    Target {
        name: "performatives",
        about: "the bodies of frames: what is decoded can be encoded and is the same again",
        run: codec::performatives,
        seeds: codec::bodies,
    },
    Target {
        name: "sasl",
        about: "the frames of the security layer",
        run: codec::sasl,
        seeds: codec::sasl_bodies,
    },
    Target {
        name: "frames",
        about: "frames in a stream that comes in pieces: the pieces make no difference",
        run: codec::frames,
        seeds: crate::seeds::conversations,
    },
    Target {
        name: "messages",
        about: "messages: to events, into the log's form, and to receivers",
        run: codec::messages,
        seeds: crate::seeds::messages,
    },
    Target {
        name: "engine",
        about: "a server's end of a connection, whose client says anything: what it holds stays within its limits",
        run: engine::server,
        seeds: crate::seeds::conversations,
    },
    Target {
        name: "pair",
        about: "both ends of a connection, with bytes changed on the way",
        run: engine::pair,
        seeds: engine::scripts,
    },
    Target {
        name: "log",
        about: "the files of the event log: damage is found and told, never read as events",
        run: log::segment,
        seeds: log::seeds,
    },
    Target {
        name: "http",
        about: "requests to the HTTP door: every answer is an answer, and every error is JSON",
        run: http::requests,
        seeds: http::seeds,
    },
];

/// The target of this name.
pub fn named(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
