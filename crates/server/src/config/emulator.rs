//! The configuration of the official Event Hubs emulator, `Config.json`, read as it is.
//!
//! ```json
//! {"UserConfig": {
//!   "NamespaceConfig": [{"Type": "EventHub", "Name": "emulatorNs1", "Entities": [
//!     {"Name": "eh1", "PartitionCount": "2", "ConsumerGroups": [{"Name": "cg1"}]}]}],
//!   "LoggingConfig": {"Type": "File"}}}
//! ```
//!
//! What works there works here. The emulator's own limits (one namespace, 10 hubs, 32 partitions, 20 groups) are not held;
//! who passes one is told, since the file would not work there. What is not known is not used, which is told as well. As
//! in the emulator, names of members are compared without regard to case, and a number may be written as a text.
//! Its shape: `EventHub-Emulator/Schema/Config-schema.json` of Azure/azure-event-hubs-emulator-installer.

use serde_json::{Map, Value};

use tidegate_model::error::ErrorCode;
use tidegate_model::event::HubName;

use crate::config::elements::hub::{HubConfig, MAX_PARTITIONS, add_group};
use crate::config::issue::{listed, suggest};
use crate::config::{Config, DevelopmentKey};
use crate::failure::{Exit, Failure, Problem};

/// Where the emulator listens, and so we do.
const LISTEN: &str = "127.0.0.1:5672";

/// The largest file that is read, in bytes.
const MAX_BYTES: usize = 4 << 20;

/// The limits of the emulator.
const EMULATOR_HUBS: usize = 10;
const EMULATOR_PARTITIONS: u32 = 32;
const EMULATOR_GROUPS: usize = 20;

/// Reads the text; `origin` is what messages call it. What a person should know about it is the second part of the answer.
///
/// # Errors
/// All problems of the text.
pub(super) fn read(text: &str, origin: &str) -> Result<(Config, Vec<String>), Failure> {
    let syntax = |message: String| {
        Failure::usage(ErrorCode::CONFIG_SYNTAX, format!("{origin}{message}"))
            .help("it should be the Config.json of the Event Hubs emulator")
    };
    if text.len() > MAX_BYTES {
        return Err(syntax(format!(" has {} bytes; {MAX_BYTES} at most are read", text.len())));
    }
    // Editors on Windows begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root: Value =
        serde_json::from_str(text).map_err(|error| syntax(format!(":{}: {error}", error.line())))?;

    let mut reading = Reading { origin, problems: Vec::new(), notes: Vec::new() };
    let hubs = reading.root(&root);
    let Reading { problems, notes, .. } = reading;
    if !problems.is_empty() {
        return Err(Failure { problems, exit: Exit::Usage });
    }
    let mut config = Config::empty();
    config.hubs = hubs;
    config.hubs.sort_by(|one, other| one.name.cmp(&other.name));
    config.amqp.listen = Some(LISTEN.parse().expect("it is an address"));
    config.amqp.development_key = DevelopmentKey::Loopback;
    Ok((config, notes))
}

/// The same configuration as a file of ours says it.
pub(super) fn as_toml(config: &Config) -> String {
    let mut text = String::new();
    for hub in &config.hubs {
        let groups: Vec<String> = hub.consumer_groups.iter().map(|group| format!("\"{group}\"")).collect();
        text.push_str(&format!("[hub.\"{}\"]\npartitions = {}\n", hub.name, hub.partitions));
        text.push_str(&format!("consumer_groups = [{}]\n", groups.join(", ")));
    }
    text.push_str(&format!("[amqp]\nlisten = \"{LISTEN}\"\ndevelopment_key = \"loopback\"\n"));
    text
}

/// A file being read.
struct Reading<'a> {
    origin: &'a str,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

type Object = Map<String, Value>;

impl Reading<'_> {
    fn root(&mut self, root: &Value) -> Vec<HubConfig> {
        let Some(root) = self.object(root, "") else { return Vec::new() };
        self.tell_unknown(root, "", &["UserConfig", "$schema"]);
        let at = "UserConfig";
        let Some(user) = self.needed(root, "", at).and_then(|value| self.object(value, at)) else {
            return Vec::new();
        };
        self.tell_unknown(user, at, &["NamespaceConfig", "LoggingConfig"]);
        if member(user, "LoggingConfig").is_some() {
            self.note(format!(
                "{at}.LoggingConfig is not used: logs go to standard error, and TIDEGATE_LOG says which"
            ));
        }
        let Some(namespaces) = self.needed(user, at, "NamespaceConfig") else { return Vec::new() };
        let at = "UserConfig.NamespaceConfig";
        let Some(namespaces) = self.array(namespaces, at) else { return Vec::new() };
        if namespaces.len() > 1 {
            self.note(format!(
                "{at} has {} namespaces, whose hubs are put into one; the emulator takes one",
                namespaces.len()
            ));
        }
        let mut hubs = Vec::new();
        for (index, namespace) in namespaces.iter().enumerate() {
            self.namespace(namespace, &format!("{at}[{index}]"), &mut hubs);
        }
        if hubs.len() > EMULATOR_HUBS {
            self.note(format!("there are {} hubs; the emulator takes {EMULATOR_HUBS}", hubs.len()));
        }
        hubs
    }

    fn namespace(&mut self, namespace: &Value, at: &str, hubs: &mut Vec<HubConfig>) {
        let Some(namespace) = self.object(namespace, at) else { return };
        self.tell_unknown(namespace, at, &["Type", "Name", "Entities"]);
        if let Some(kind) = member(namespace, "Type").filter(|kind| !is_text(kind, "EventHub")) {
            let message = format!("{at}.Type is {}: expected \"EventHub\"", shown(kind));
            self.problem(ErrorCode::CONFIG_BAD_VALUE, message, "a namespace of Service Bus cannot be served");
        }
        let Some(entities) = self.needed(namespace, at, "Entities") else { return };
        let at = format!("{at}.Entities");
        let Some(entities) = self.array(entities, &at) else { return };
        if entities.is_empty() {
            self.note(format!("{at} is empty: there is no hub to publish to"));
        }
        for (index, entity) in entities.iter().enumerate() {
            self.entity(entity, &format!("{at}[{index}]"), hubs);
        }
    }

    fn entity(&mut self, entity: &Value, at: &str, hubs: &mut Vec<HubConfig>) {
        let Some(entity) = self.object(entity, at) else { return };
        self.tell_unknown(entity, at, &["Name", "PartitionCount", "ConsumerGroups"]);
        let name = self.hub_name(entity, at, hubs);
        let partitions = self.partitions(entity, at);
        let groups = self.groups(entity, at);
        if let (Some(name), Some(partitions)) = (name, partitions) {
            hubs.push(HubConfig::with_defaults(name, partitions, groups));
        }
    }

    fn hub_name(&mut self, entity: &Object, at: &str, hubs: &[HubConfig]) -> Option<HubName> {
        let value = self.needed(entity, at, "Name")?;
        let refused = match value.as_str().map(HubName::new) {
            None => "expected a text".to_owned(),
            Some(Err(invalid)) => format!("a name {}", invalid.problem),
            Some(Ok(name)) => {
                let twin = hubs.iter().find(|hub| hub.name.as_str().eq_ignore_ascii_case(name.as_str()));
                match twin {
                    Some(twin) => {
                        format!("the hub {} has this name, whatever the case of its letters", twin.name)
                    }
                    None if super::is_reserved(name.as_str()) => super::RESERVED.to_owned(),
                    None => return Some(name),
                }
            }
        };
        let message = format!("{at}.Name is {}: {refused}", shown(value));
        self.problem(ErrorCode::CONFIG_BAD_VALUE, message, "give the hub another name");
        None
    }

    fn partitions(&mut self, entity: &Object, at: &str) -> Option<u32> {
        let value = self.needed(entity, at, "PartitionCount")?;
        let count = match value {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_u64().and_then(|count| u32::try_from(count).ok()),
        };
        let count = count.filter(|count| (1..=MAX_PARTITIONS).contains(count));
        match count {
            None => {
                let message = format!(
                    "{at}.PartitionCount is {}: expected a whole number from 1 to {MAX_PARTITIONS}",
                    shown(value)
                );
                self.problem(ErrorCode::CONFIG_BAD_VALUE, message, "for example \"PartitionCount\": \"2\"");
            }
            Some(count) if count > EMULATOR_PARTITIONS => {
                self.note(format!(
                    "{at}.PartitionCount is {count}; the emulator takes {EMULATOR_PARTITIONS} at most"
                ));
            }
            Some(_) => {}
        }
        count
    }

    fn groups(&mut self, entity: &Object, at: &str) -> Vec<tidegate_gateway::namespace::ConsumerGroupName> {
        let mut groups = Vec::new();
        let at = format!("{at}.ConsumerGroups");
        let Some(list) = member(entity, "ConsumerGroups").filter(|value| !value.is_null()) else {
            return groups;
        };
        let Some(list) = self.array(list, &at) else { return groups };
        for (index, group) in list.iter().enumerate() {
            let at = format!("{at}[{index}]");
            let Some(group) = self.object(group, &at) else { continue };
            self.tell_unknown(group, &at, &["Name"]);
            let Some(name) = self.needed(group, &at, "Name") else { continue };
            let added = match name.as_str() {
                Some(text) => add_group(&mut groups, text),
                None => Err("expected a text".to_owned()),
            };
            if let Err(refused) = added {
                let message = format!("{at}.Name is {}: {refused}", shown(name));
                self.problem(ErrorCode::CONFIG_BAD_VALUE, message, "give the consumer group another name");
            }
        }
        if list.len() > EMULATOR_GROUPS {
            self.note(format!(
                "{at} has {} groups; the emulator takes {EMULATOR_GROUPS} at most",
                list.len()
            ));
        }
        groups
    }

    fn object<'v>(&mut self, value: &'v Value, at: &str) -> Option<&'v Object> {
        if value.as_object().is_none() {
            self.not_a("an object", value, at);
        }
        value.as_object()
    }

    fn array<'v>(&mut self, value: &'v Value, at: &str) -> Option<&'v Vec<Value>> {
        if value.as_array().is_none() {
            self.not_a("an array", value, at);
        }
        value.as_array()
    }

    fn not_a(&mut self, kind: &str, value: &Value, at: &str) {
        let at = if at.is_empty() { "the whole" } else { at };
        let message = format!("{at} is {}: expected {kind}", shown(value));
        self.problem(ErrorCode::CONFIG_BAD_VALUE, message, "");
    }

    fn needed<'v>(&mut self, object: &'v Object, at: &str, name: &str) -> Option<&'v Value> {
        let found = member(object, name);
        if found.is_none() {
            let message = format!("{} has no \"{name}\"", if at.is_empty() { "the whole" } else { at });
            self.problem(ErrorCode::CONFIG_MISSING, message, "");
        }
        found
    }

    fn tell_unknown(&mut self, object: &Object, at: &str, known: &[&str]) {
        for name in object.keys().filter(|name| !known.iter().any(|known| known.eq_ignore_ascii_case(name))) {
            let name: String = name.chars().take(64).collect();
            let place = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            let nearest = match suggest(&name, known) {
                nearest if nearest.is_empty() => format!("there are {}", listed(known)),
                nearest => nearest,
            };
            self.note(format!("{place} is not known and not used; {nearest}"));
        }
    }

    fn note(&mut self, text: String) {
        // A file can be wrong in the same way a great many times.
        const MOST: usize = 100;
        if self.notes.len() < MOST {
            self.notes.push(format!("{}: {text}", self.origin));
        }
    }

    fn problem(&mut self, code: ErrorCode, message: String, help: &str) {
        let message = format!("{}: {message}", self.origin);
        self.problems.push(Problem { code, message, help: help.to_owned() });
    }
}

fn member<'v>(object: &'v Object, name: &str) -> Option<&'v Value> {
    object.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn is_text(value: &Value, text: &str) -> bool {
    value.as_str().is_some_and(|value| value.eq_ignore_ascii_case(text))
}

/// A value as a message shows it: short, on one line.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        value => value.to_string().chars().take(80).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The file that comes with the emulator.
    const SHIPPED: &str = r#"{
        "UserConfig": {
            "NamespaceConfig": [
            {
                "Type": "EventHub",
                "Name": "emulatorNs1",
                "Entities": [
                { "Name": "eh1", "PartitionCount": "2", "ConsumerGroups": [ { "Name": "cg1" } ] }
                ]
            }
            ],
            "LoggingConfig": { "Type": "File" }
        }
    }"#;

    fn with_entities(entities: &str) -> String {
        format!(
            r#"{{"UserConfig":{{"NamespaceConfig":[{{"Type":"EventHub","Name":"emulatorNs1","Entities":{entities}}}]}}}}"#
        )
    }

    fn groups(hub: &HubConfig) -> Vec<&str> {
        hub.consumer_groups.iter().map(tidegate_gateway::namespace::ConsumerGroupName::as_str).collect()
    }

    #[test]
    fn the_file_that_comes_with_the_emulator_is_read_as_it_is() {
        let (config, notes) = read(SHIPPED, "Config.json").unwrap();
        assert_eq!(config.hubs.len(), 1);
        let hub = &config.hubs[0];
        assert_eq!((hub.name.as_str(), hub.partitions, groups(hub)), ("eh1", 2, vec!["cg1"]));
        assert_eq!(config.amqp.listen.unwrap().to_string(), "127.0.0.1:5672");
        assert_eq!(config.amqp.development_key, DevelopmentKey::Loopback);
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("Config.json: UserConfig.LoggingConfig is not used"), "{notes:?}");
        assert_eq!(Config::parse(&as_toml(&config), "c", crate::config::Registered::Any).unwrap(), config);
    }

    #[test]
    fn what_is_written_in_other_ways_is_read_too() {
        let text = format!("\u{feff}{}", SHIPPED.replace("\"2\"", "3").replace("Entities", "entities"));
        assert_eq!(read(&text, "c").unwrap().0.hubs[0].partitions, 3);
        let text = with_entities(
            r#"[{"Name":"b","PartitionCount":"1"},{"Name":"a","PartitionCount":"1","ConsumerGroups":[{"Name":"$default"},{"Name":"x"}]}]"#,
        );
        let (config, _) = read(&text, "c").unwrap();
        assert_eq!(
            config.hubs.iter().map(|hub| (hub.name.as_str(), groups(hub))).collect::<Vec<_>>(),
            [("a", vec!["x"]), ("b", vec![])]
        );
    }

    #[test]
    fn what_the_emulator_would_not_take_works_and_is_told() {
        let many: Vec<String> =
            (0..11).map(|n| format!(r#"{{"Name":"h{n}","PartitionCount":33}}"#)).collect();
        let (config, notes) = read(&with_entities(&format!("[{}]", many.join(","))), "c").unwrap();
        assert_eq!(config.hubs.len(), 11);
        assert!(
            notes.iter().any(|note| note.contains("there are 11 hubs; the emulator takes 10")),
            "{notes:?}"
        );
        assert!(notes.iter().any(|note| note.contains("is 33; the emulator takes 32")), "{notes:?}");
        let groups: Vec<String> = (0..21).map(|n| format!(r#"{{"Name":"g{n}"}}"#)).collect();
        let text = with_entities(&format!(
            r#"[{{"Name":"a","PartitionCount":1,"ConsumerGroups":[{}],"Retention":1}}]"#,
            groups.join(",")
        ));
        let (config, notes) = read(&text, "c").unwrap();
        assert_eq!(config.hubs[0].consumer_groups.len(), 21);
        assert!(notes.iter().any(|note| note.contains("21 groups; the emulator takes 20")), "{notes:?}");
        assert!(
            notes.iter().any(
                |note| note.contains("Entities[0].Retention is not known and not used; there are `Name`")
            ),
            "{notes:?}"
        );
        let (_, notes) = read(&SHIPPED.replace("LoggingConfig", "LogingConfig"), "c").unwrap();
        assert!(notes[0].contains("did you mean `LoggingConfig`?"), "{notes:?}");
    }

    #[test]
    fn what_cannot_be_served_is_an_error_with_its_place() {
        let entity = |text: &str| with_entities(&format!("[{text}]"));
        for (text, complaint) in [
            ("{".to_owned(), "c:1: EOF while parsing"),
            ("[]".to_owned(), "c: the whole is an array: expected an object"),
            ("{}".to_owned(), "c: the whole has no \"UserConfig\""),
            (r#"{"UserConfig":{}}"#.to_owned(), "UserConfig has no \"NamespaceConfig\""),
            (with_entities("{}"), "NamespaceConfig[0].Entities is an object: expected an array"),
            (entity(r#"{"PartitionCount":1}"#), "Entities[0] has no \"Name\""),
            (entity(r#"{"Name":"a"}"#), "Entities[0] has no \"PartitionCount\""),
            (
                entity(r#"{"Name":"a/b","PartitionCount":1}"#),
                "Entities[0].Name is \"a/b\": a name may hold only",
            ),
            (entity(r#"{"Name":"restart","PartitionCount":1}"#), "links in mails"),
            (
                entity(r#"{"Name":"a","PartitionCount":"0"}"#),
                "PartitionCount is \"0\": expected a whole number from 1",
            ),
            (entity(r#"{"Name":"a","PartitionCount":1025}"#), "PartitionCount is 1025"),
            (entity(r#"{"Name":"a","PartitionCount":"two"}"#), "PartitionCount is \"two\""),
            (
                entity(r#"{"Name":"a","PartitionCount":1},{"Name":"A","PartitionCount":1}"#),
                "Entities[1].Name is \"A\": the hub a has",
            ),
            (
                entity(r#"{"Name":"a","PartitionCount":1,"ConsumerGroups":[{"Name":"$x"}]}"#),
                "ConsumerGroups[0].Name is \"$x\"",
            ),
            (
                entity(r#"{"Name":"a","PartitionCount":1,"ConsumerGroups":[{"Name":"x"},{"Name":"X"}]}"#),
                "ConsumerGroups[1].Name is \"X\"",
            ),
            (SHIPPED.replace("EventHub", "ServiceBus"), "Type is \"ServiceBus\": expected \"EventHub\""),
        ] {
            let failure = read(&text, "c").unwrap_err();
            assert_eq!((failure.exit, failure.problems.len()), (Exit::Usage, 1), "{failure}");
            assert!(failure.to_string().contains(complaint), "{text}: {failure}");
        }
        let two = entity(r#"{"Name":"-","PartitionCount":-1}"#);
        assert_eq!(read(&two, "c").unwrap_err().problems.len(), 2, "all at once");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}", entity in "\\PC{0,40}") {
            let _ = read(&text, "c");
            let _ = read(&with_entities(&entity), "c");
            let name = serde_json::Value::from(entity).to_string();
            let _ = read(&with_entities(&format!(r#"[{{"Name":{name},"PartitionCount":{name}}}]"#)), "c");
        }
    }
}
