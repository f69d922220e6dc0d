//! The reference documentation of the commands, made from the descriptions that also read the command line.

use clap::{Command, CommandFactory as _};

use crate::cli::Cli;

/// The text of `docs/reference/commands.md`.
pub(crate) fn commands() -> String {
    let mut text = String::from(
        "# Commands\n\n\
         <!-- Generated from crates/server/src/cli; regenerate with\n     \
         TIDEGATE_UPDATE_REFERENCE=1 cargo test -p tidegate reference -->\n\n\
         Commands work against a running server or, with none running, straight on the data directory. They find the server \
         through `--data-dir`, where it leaves its address, or through `--server`. Every listing takes `--json`: one object \
         a line, described in [http-api.md](http-api.md). Results go to standard output; logs, errors and hints to standard \
         error.\n",
    );
    let mut root = Cli::command().term_width(100);
    root.build();
    write_command(&mut text, &root, "##");
    text
}

fn write_command(text: &mut String, command: &Command, heading: &str) {
    let mut command = command.clone().disable_help_subcommand(true);
    let name = command.get_bin_name().unwrap_or("tidegate").to_owned();
    let help = command.render_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    text.push_str(&format!("\n{heading} `{name}`\n\n```text\n{}\n```\n", help.join("\n").trim_end()));
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        write_command(text, subcommand, "##");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_reference_is_the_generated_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/commands.md");
        if std::env::var_os("TIDEGATE_UPDATE_REFERENCE").is_some() {
            std::fs::write(path, commands()).expect("write the reference");
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == commands(),
            "docs/reference/commands.md is out of date; regenerate it with\n  \
             TIDEGATE_UPDATE_REFERENCE=1 cargo test -p tidegate reference"
        );
    }
}
