//! Source and target: the two ends of a link.

use bytestring::ByteString;

use crate::codec::names;
use crate::codec::names::descriptor;
use crate::codec::performative::DeliveryState;
use crate::codec::value::{Map, Symbol, Value};

/// Where the messages of a link come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    /// The address: relative or a URL.
    pub address: Option<ByteString>,
    /// What of the terminus is to survive.
    pub durable: Durability,
    /// When the terminus may be forgotten. None means at the end of the session.
    pub expiry_policy: Option<Symbol>,
    /// How long after that, in seconds.
    pub timeout: u32,
    /// The peer is to make up the address.
    pub dynamic: bool,
    /// Properties of the node to be made up.
    pub dynamic_node_properties: Map,
    /// Whether a message goes to one receiver or to all.
    pub distribution_mode: Option<Symbol>,
    /// Which messages are wanted.
    pub filter: Map,
    /// The outcome of deliveries settled without one.
    pub default_outcome: Option<Box<DeliveryState>>,
    /// The outcomes that can be chosen.
    pub outcomes: Vec<Symbol>,
    /// Extensions that the terminus has.
    pub capabilities: Vec<Symbol>,
}

impl Source {
    /// A source that is nothing but an address.
    pub fn at(address: impl Into<ByteString>) -> Self {
        Self { address: Some(address.into()), ..Self::default() }
    }

    /// The same source with a selector expression, such as `amqp.annotation.x-opt-offset > '-1'`, in the form that Event
    /// Hubs clients send.
    #[must_use]
    pub fn with_selector(mut self, expression: impl Into<ByteString>) -> Self {
        let filter = crate::codec::value::Described {
            descriptor: Value::Ulong(descriptor::SELECTOR_FILTER),
            value: Value::String(expression.into()),
        };
        self.filter.push(
            Value::Symbol(Symbol::from_static(names::SELECTOR_FILTER)),
            Value::Described(Box::new(filter)),
        );
        self
    }

    /// The expression of the selector filter, whether its descriptor is the number or the symbol.
    pub fn selector(&self) -> Option<&str> {
        self.filter.iter().find_map(|(_, filter)| {
            let Value::Described(described) = filter else { return None };
            let is_selector = match &described.descriptor {
                Value::Ulong(code) => *code == descriptor::SELECTOR_FILTER,
                name => name.as_str() == Some(names::SELECTOR_FILTER),
            };
            if is_selector { described.value.as_str() } else { None }
        })
    }
}

/// Where the messages of a link go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// The address: relative or a URL.
    pub address: Option<ByteString>,
    /// What of the terminus is to survive.
    pub durable: Durability,
    /// When the terminus may be forgotten. None means at the end of the session.
    pub expiry_policy: Option<Symbol>,
    /// How long after that, in seconds.
    pub timeout: u32,
    /// The peer is to make up the address.
    pub dynamic: bool,
    /// Properties of the node to be made up.
    pub dynamic_node_properties: Map,
    /// Extensions that the terminus has.
    pub capabilities: Vec<Symbol>,
}

impl Target {
    /// A target that is nothing but an address.
    pub fn at(address: impl Into<ByteString>) -> Self {
        Self { address: Some(address.into()), ..Self::default() }
    }
}

/// What of a terminus is to survive a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing.
    #[default]
    None,
    /// That it exists.
    Configuration,
    /// Its unsettled deliveries too.
    UnsettledState,
}
