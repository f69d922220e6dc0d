//! What a link is attached to: the nodes of a namespace, as Event Hubs' clients address them.
//!
//! Clients name them by a path or by a URL; scheme and authority do not matter, since a custom endpoint may be dialled.

use tidegate_model::position::PartitionId;

use crate::audience::ResourcePath;

/// A node that a link can be attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// `$cbs`: takes tokens.
    Cbs,
    /// `$management`, or `<hub>/$management`: tells about hubs and partitions.
    Management,
    /// A hub to send to, or one of its partitions: `<hub>`, `<hub>/Partitions/<id>`, `<hub>/Publishers/<name>`.
    Hub {
        /// Its name as it was asked for.
        hub: String,
        /// The partition, if one is named.
        partition: Option<PartitionName>,
    },
    /// A partition to receive from: `<hub>/ConsumerGroups/<group>/Partitions/<id>`.
    Partition {
        /// The hub as it was asked for.
        hub: String,
        /// The consumer group as it was asked for.
        group: String,
        /// The partition.
        partition: PartitionName,
    },
}

/// A partition as a client named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartitionName {
    /// The text.
    pub(super) text: String,
    /// Its number; `None` when the text is not one.
    pub(super) id: Option<PartitionId>,
}

impl PartitionName {
    pub(super) fn new(text: &str) -> Self {
        // Written as a number is: neither "01" nor "+1" is a partition.
        let id = text.parse::<u32>().ok().filter(|id| id.to_string() == text).map(PartitionId);
        Self { text: text.to_owned(), id }
    }
}

impl Node {
    /// The node at an address; `None` when there is none of this form.
    pub(super) fn at(path: &ResourcePath) -> Option<Self> {
        let segments: Vec<&str> = path.segments().collect();
        let is = |text: &str, name: &str| text.eq_ignore_ascii_case(name);
        Some(match segments[..] {
            [node] if is(node, "$cbs") => Self::Cbs,
            [node] | [_, node] if is(node, "$management") => Self::Management,
            [hub] => Self::Hub { hub: hub.to_owned(), partition: None },
            [hub, kind, id] if is(kind, "partitions") => {
                Self::Hub { hub: hub.to_owned(), partition: Some(PartitionName::new(id)) }
            }
            [hub, kind, _] if is(kind, "publishers") => Self::Hub { hub: hub.to_owned(), partition: None },
            [hub, groups, group, partitions, id]
                if is(groups, "consumergroups") && is(partitions, "partitions") =>
            {
                Self::Partition {
                    hub: hub.to_owned(),
                    group: group.to_owned(),
                    partition: PartitionName::new(id),
                }
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(address: &str) -> Option<Node> {
        Node::at(&ResourcePath::of_address(address).unwrap())
    }

    #[test]
    fn addresses_are_paths_or_urls() {
        let hub = |hub: &str, partition: Option<&str>| {
            Some(Node::Hub { hub: hub.to_owned(), partition: partition.map(PartitionName::new) })
        };
        assert_eq!(node("$cbs"), Some(Node::Cbs));
        assert_eq!(node("telemetry/$management"), Some(Node::Management));
        assert_eq!(node("amqps://127.0.0.1/$management"), Some(Node::Management));
        assert_eq!(node("telemetry"), hub("telemetry", None));
        assert_eq!(node("amqps://127.0.0.1:5672/telemetry"), hub("telemetry", None));
        assert_eq!(node("telemetry/Partitions/3"), hub("telemetry", Some("3")));
        assert_eq!(node("telemetry/Publishers/device-1"), hub("telemetry", None));
        assert_eq!(
            node("amqps://h/Telemetry/ConsumerGroups/$Default/Partitions/0"),
            Some(Node::Partition {
                hub: "Telemetry".to_owned(),
                group: "$Default".to_owned(),
                partition: PartitionName::new("0"),
            })
        );
        for none in ["", "telemetry/ConsumerGroups/$Default", "a/b/c/d", "telemetry/Partitions/0/more"] {
            assert_eq!(node(none), None, "{none}");
        }
    }

    #[test]
    fn a_partition_is_a_plain_number() {
        assert_eq!(PartitionName::new("7").id, Some(PartitionId(7)));
        for text in ["", "07", "+7", "-1", "x", "4294967296"] {
            assert_eq!(PartitionName::new(text).id, None, "{text:?}");
        }
    }
}
