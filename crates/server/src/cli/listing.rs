//! What all commands have in common that ask the API: which server, in which form, and listings.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::api::page::percent_encode;
use crate::cli::Context;
use crate::cli::output::{Output, Table};
use crate::cli::target::{Connected, Target};
use crate::client::{Connection, Pages, understood};
use crate::failure::{Exit, Failure};

/// A table is printed every so many rows: one of everything would need all of it in memory at once.
const ROWS: usize = 1000;

/// Which server or data directory, and in which form the answer is printed.
#[derive(clap::Args)]
pub(crate) struct Asking {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Print JSON: one object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Asking {
    /// Connects.
    pub(crate) async fn open(&self, context: &Context) -> Result<Session, Failure> {
        self.open_with(context, None).await
    }

    /// Connects; where the command opens the data directory itself, it knows what the configuration says.
    pub(crate) async fn open_with(
        &self,
        context: &Context,
        config: Option<&Path>,
    ) -> Result<Session, Failure> {
        let connected = self.target.connect(context, config).await?;
        Ok(Session { connected, output: Output::new(self.json), options: self.target.options() })
    }
}

/// A command under way.
pub(crate) struct Session {
    pub(crate) connected: Connected,
    pub(crate) output: Output,
    /// The options that name the target, to be typed after a command.
    pub(crate) options: String,
}

impl Session {
    /// The way to the API.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connected.connection
    }

    /// Prints a listing: for a program each object as it is, for a person a table whose rows `row` makes of each object. How
    /// many objects there were.
    pub(crate) async fn list<T: DeserializeOwned>(
        &mut self,
        listing: Listing<'_>,
        mut row: impl FnMut(T, &mut Vec<Vec<String>>),
    ) -> Result<u64, Failure> {
        let Listing { path, cursor, limit, columns } = listing;
        let mut pages = Pages::new(&self.connected.connection, path, cursor, limit);
        let (mut count, mut shown) = (0, false);
        let mut rows: Vec<Vec<String>> = Vec::new();
        loop {
            let line = pages.next().await?;
            if let Some(line) = &line {
                count += 1;
                if self.output.is_json() {
                    self.output.raw_line(line)?;
                    continue;
                }
                row(understood(line)?, &mut rows);
            }
            if !rows.is_empty() && (line.is_none() || rows.len() >= ROWS) {
                let mut table = Table::new(columns);
                rows.drain(..).for_each(|row| table.row(row));
                self.output.table(&table)?;
                shown = true;
            }
            if line.is_none() {
                return if shown { self.output.flush().map(|()| count) } else { Ok(count) };
            }
        }
    }

    /// Says so if nothing was found because there is no such function: somebody who mistyped its name must not believe that
    /// all is well.
    ///
    /// # Errors
    /// When a function is named and none of this name is configured or has run; the error names those there are.
    pub(crate) async fn nothing_found_of(&self, function: Option<&str>) -> Result<(), Failure> {
        let Some(function) = function else { return Ok(()) };
        let path = address("/api/v1/circuits", &[("function", Some(function.to_owned()))]);
        self.connection().get(&path).await?;
        Ok(())
    }

    /// The same command with the options that name the target, as one to type next.
    pub(crate) fn next(&self, command: &str) -> String {
        format!("tidegate {command}{}", self.options)
    }

    /// Ends the command; `next` are those to type next, without the program's name and target.
    pub(crate) async fn finish(self, next: &[String]) -> Result<Exit, Failure> {
        let next: Vec<String> = next.iter().map(|command| self.next(command)).collect();
        self.output.finish(&next)?;
        self.connected.close().await?;
        Ok(Exit::Done)
    }
}

/// Which listing, and how it is shown to a person.
pub(crate) struct Listing<'l> {
    /// Its address.
    pub(crate) path: String,
    /// The parameter that takes the cursor of the next page.
    pub(crate) cursor: &'static str,
    /// At most so many objects.
    pub(crate) limit: Option<u64>,
    /// The columns of the table; see [`Table::new`].
    pub(crate) columns: &'l [&'l str],
}

impl<'l> Listing<'l> {
    /// All of the listing at `path`.
    pub(crate) fn all(path: impl Into<String>, columns: &'l [&'l str]) -> Self {
        Self { path: path.into(), cursor: "after", limit: None, columns }
    }

    /// At most so many objects of it.
    #[must_use]
    pub(crate) fn limit(mut self, limit: Option<u64>) -> Self {
        self.limit = limit;
        self
    }
}

/// An address with parameters, those of them that have a value.
pub(crate) fn address(path: &str, parameters: &[(&str, Option<String>)]) -> String {
    let given: Vec<String> = parameters
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", percent_encode(value.as_deref()?))))
        .collect();
    if given.is_empty() { path.to_owned() } else { format!("{path}?{}", given.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_the_parameters_that_are_given() {
        assert_eq!(address("/a", &[("b", None)]), "/a");
        let given = [("b", Some("x y".to_owned())), ("c", None), ("d", Some("1".to_owned()))];
        assert_eq!(address("/a", &given), "/a?b=x%20y&d=1");
    }
}
