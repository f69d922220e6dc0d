//! What commands print: tables for people, one JSON object a line for programs.

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;

use serde::Serialize;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use tidegate_model::error::ErrorCode;

use crate::failure::{Exit, Failure};

/// Where and how a command prints.
pub(crate) struct Output {
    json: bool,
    colour: bool,
    out: io::BufWriter<io::Stdout>,
}

impl Output {
    /// Prints to standard output, for a program if `json`, else for a person.
    pub(crate) fn new(json: bool) -> Self {
        let stdout = io::stdout();
        let colour = stdout.is_terminal() && colours_are_wanted();
        Self { json, colour, out: io::BufWriter::new(stdout) }
    }

    /// True when a program reads.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a line.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.raw_line(text.as_bytes())
    }

    /// Prints a line that may be any bytes.
    pub(crate) fn raw_line(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).and_then(|()| self.out.write_all(b"\n")).map_err(write_failure)
    }

    /// Prints an object as one line.
    pub(crate) fn object(&mut self, object: &impl Serialize) -> Result<(), Failure> {
        let json = serde_json::to_string(object).expect("the program's objects have JSON forms");
        self.line(&json)
    }

    /// Prints a table.
    pub(crate) fn table(&mut self, table: &Table) -> Result<(), Failure> {
        let text = table.render(self.colour);
        self.out.write_all(text.as_bytes()).map_err(write_failure)
    }

    /// Prints a heading.
    pub(crate) fn heading(&mut self, text: &str) -> Result<(), Failure> {
        let line = self.bold(text);
        self.line(&line)
    }

    /// The text in bold, where that can be seen.
    pub(crate) fn bold(&self, text: &str) -> String {
        self.styled("1", text)
    }

    /// The text as good news.
    pub(crate) fn good(&self, text: &str) -> String {
        self.styled("1;32", text)
    }

    /// The text as bad news.
    pub(crate) fn bad(&self, text: &str) -> String {
        self.styled("1;31", text)
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Makes everything printed so far visible.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(write_failure)
    }

    /// Tells a person something on standard error, whoever reads the rest.
    pub(crate) fn warn(&mut self, text: &str) -> Result<(), Failure> {
        self.flush()?;
        // A remark that cannot be shown is no failure of the command.
        let _ = writeln!(io::stderr(), "warning: {text}");
        Ok(())
    }

    /// Ends the output; `next` are the commands to type next, told to a person on standard error.
    pub(crate) fn finish(mut self, next: &[String]) -> Result<(), Failure> {
        self.flush()?;
        if !self.json && !next.is_empty() {
            let mut text = String::new();
            for (place, command) in next.iter().enumerate() {
                text.push_str(if place == 0 { "\nnext: " } else { "      " });
                text.push_str(command);
                text.push('\n');
            }
            // A hint that cannot be shown is no failure of the command.
            let _ = io::stderr().write_all(text.as_bytes());
        }
        Ok(())
    }
}

/// False where the person asked for no colours (<https://no-color.org>).
pub(crate) fn colours_are_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A reader such as `head` that has seen enough is no failure.
fn write_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure { problems: Vec::new(), exit: Exit::Done };
    }
    Failure::new(ErrorCode::DATA_DIR_IO, format!("cannot write to standard output: {error}"))
}

/// Rows with aligned columns.
pub(crate) struct Table {
    header: Vec<String>,
    right_aligned: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns. A name that begins with `>` makes a column of numbers.
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self {
            header: columns.iter().map(|name| name.trim_start_matches('>').to_owned()).collect(),
            right_aligned: columns.iter().map(|name| name.starts_with('>')).collect(),
            rows: Vec::new(),
        }
    }

    /// A table with columns of these names, whatever they are.
    pub(crate) fn with_columns(names: impl Iterator<Item = String>) -> Self {
        let header: Vec<String> = names.map(|name| printable(&name)).collect();
        Self { right_aligned: vec![false; header.len()], header, rows: Vec::new() }
    }

    /// Adds a row with a cell for each column.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.header.len());
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    fn render(&self, colour: bool) -> String {
        let widths: Vec<usize> = (0..self.header.len())
            .map(|column| {
                let cells = std::iter::once(&self.header).chain(&self.rows);
                cells.filter_map(|row| row.get(column)).map(|cell| width_of(cell)).max().unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        let mut write_row = |cells: &[String], style: Option<&str>| {
            let mut line = String::new();
            for (column, cell) in cells.iter().enumerate() {
                let pad = " ".repeat(widths.get(column).copied().unwrap_or(0).saturating_sub(width_of(cell)));
                let right = self.right_aligned.get(column).copied().unwrap_or(false);
                let cell = if right { format!("{pad}{cell}") } else { format!("{cell}{pad}") };
                line.push_str("  ");
                line.push_str(&cell);
            }
            let line = line.trim_end();
            match style {
                Some(style) => text.push_str(&format!("\x1b[{style}m{line}\x1b[0m\n")),
                None => text.push_str(&format!("{line}\n")),
            }
        };
        write_row(&self.header, colour.then_some("2"));
        for row in &self.rows {
            write_row(row, None);
        }
        text
    }
}

/// Text from events may hold anything; a terminal is shown no control characters, and none that turn the direction of what
/// follows them.
pub(crate) fn printable(text: &str) -> String {
    let misleads = |character: char| {
        character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|character| if misleads(character) { '\u{fffd}' } else { character }).collect()
}

/// How many columns of a terminal the text takes.
pub(crate) fn width_of(text: &str) -> usize {
    text.width()
}

/// The text, cut to `width` columns of a terminal.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let fits = |character: &char| {
        let taken = character.width().unwrap_or(0);
        let fits = taken <= left;
        left = left.saturating_sub(taken);
        fits
    };
    let mut cut: String = text.chars().take_while(fits).collect();
    if width > 0 {
        cut.push('…');
    }
    cut
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A path as it can be typed in a shell.
pub(crate) fn quoted(path: &Path) -> String {
    quoted_word(&path.display().to_string())
}

/// A word as it can be typed in a shell. Where it has control characters it cannot be, and is shown without them: it may come
/// from an event, and is not to act on the terminal.
pub(crate) fn quoted_word(word: &str) -> String {
    let word = printable(word);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.,:/+@%".contains(&byte);
    match !word.is_empty() && word.bytes().all(is_plain) {
        true => word,
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["name", ">count"]);
        table.row(vec!["a".into(), "10,000".into()]);
        table.row(vec!["longer\n".into(), "7".into()]);
        assert_eq!(table.render(false), "  name      count\n  a        10,000\n  longer\u{fffd}       7\n");
    }

    #[test]
    fn text_neither_commands_the_terminal_nor_turns_round() {
        let hostile = "a\u{1b}[2J\u{9b}\r\n\u{202e}b\u{2069}\u{2028}";
        let shown = printable(hostile);
        assert_eq!(shown, "a\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}\u{fffd}b\u{fffd}\u{fffd}");
    }

    #[test]
    fn numbers_and_paths_are_readable() {
        assert_eq!(
            ["0", "999", "1,000", "12,345,678"].map(str::to_owned),
            [0, 999, 1000, 12_345_678].map(grouped)
        );
        assert_eq!(quoted(Path::new("/tmp/a-b_1")), "/tmp/a-b_1");
        assert_eq!(quoted(Path::new("my data's")), r"'my data'\''s'");
        let words = ["a-1", "it's $HOME", "", "x; rm -r ~", "a\u{1b}[2J"].map(quoted_word);
        assert_eq!(words, ["a-1", r"'it'\''s $HOME'", "''", "'x; rm -r ~'", "'a\u{fffd}[2J'"]);
        assert_eq!(shortened("abcdef", 4), "abc…");
        assert_eq!([0, 1, 4, 5].map(|width| shortened("日本語", width)), ["", "…", "日…", "日本…"]);
    }
}
