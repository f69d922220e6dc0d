//! The reference documentation of the configuration, made from the descriptions that also read it.

use std::fmt::Write as _;

use crate::config::elements;
use crate::config::key::{Default, Element};

/// The text of `docs/reference/configuration.md`.
pub fn configuration() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         <!-- Generated from crates/server/src/config/elements; regenerate with\n     \
         TIDEGATE_UPDATE_REFERENCE=1 cargo test -p tidegate reference -->\n\n\
         `tidegate run` reads one TOML file: the one given with `--config`, else `tidegate.toml` in the data directory, \
         else `tidegate.toml` in the current directory. It is read strictly: a key or table that is not listed here is an \
         error, and all errors are reported at once. `tidegate config check` reads a file and does nothing else.\n\n\
         The Event Hubs emulator's `Config.json` is read as it is: with `--emulator-config FILE`, or as any configuration \
         whose name ends in `.json`. Its hubs and consumer groups are made; everything else is as without a configuration, \
         but that the AMQP front door is at 127.0.0.1:5672 and the emulator's key is taken (`development_key = \"loopback\"`). \
         What is not used of the file, and what the emulator itself would not take, is told.\n\n\
         A complete example:\n\n```toml\n",
    );
    text.push_str(crate::config::SAMPLE);
    text.push_str("```\n");
    for element in elements::ALL {
        write_element(&mut text, element);
    }
    text
}

fn write_element(text: &mut String, element: &Element) {
    let _ = write!(
        text,
        "\n## `{}`\n\n{}\n\n```toml\n{}```\n\n| key | value | default | meaning |\n|---|---|---|---|\n",
        element.header, element.doc, element.example
    );
    for key in element.keys {
        let default = match key.default() {
            Default::Required => "required".to_owned(),
            Default::Toml(toml) => format!("`{toml}`"),
            Default::Described(meaning) => meaning.to_owned(),
        };
        let _ = writeln!(
            text,
            "| `{}` | {}; e.g. `{}` | {default} | {} |",
            key.name(),
            key.type_name(),
            key.example(),
            key.doc()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_can_be_read() {
        for element in elements::ALL {
            for key in element.keys {
                assert!(key.default_is_valid(), "{} of {}", key.name(), element.header);
            }
        }
    }

    #[test]
    fn the_committed_reference_is_the_generated_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/configuration.md");
        if std::env::var_os("TIDEGATE_UPDATE_REFERENCE").is_some() {
            std::fs::write(path, configuration()).expect("write the reference");
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == configuration(),
            "docs/reference/configuration.md is out of date; regenerate it with\n  \
             TIDEGATE_UPDATE_REFERENCE=1 cargo test -p tidegate reference"
        );
    }
}
