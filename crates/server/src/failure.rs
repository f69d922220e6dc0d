//! Failures as a person meets them: what happened, under which code, and the way out.

use std::fmt;

use tidegate_model::error::ErrorCode;

/// How the program ends. The numbers are part of its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done.
    Done = 0,
    /// The operation failed.
    Failed = 1,
    /// The command line or the configuration is wrong; nothing was attempted.
    Usage = 2,
    /// The audit found a sequence number that nothing accounts for.
    AuditGap = 3,
    /// Something goes on only when a person does something about it.
    NeedsPerson = 4,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// One thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The code of its page.
    pub code: ErrorCode,
    /// What happened, where, to what.
    pub message: String,
    /// The way out; empty when the message says it.
    pub help: String,
}

/// A command that failed: at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong, in the order a person should read it.
    pub problems: Vec<Problem>,
    /// How the program ends.
    pub exit: Exit,
}

impl Failure {
    /// An operation failed.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let problem = Problem { code, message: message.into(), help: String::new() };
        Self { problems: vec![problem], exit: Exit::Failed }
    }

    /// An error of one of the boxes or of the operating system; with the way out, where its code alone says it.
    pub(crate) fn of_error(code: ErrorCode, message: impl Into<String>) -> Self {
        let failure = Self::new(code, message);
        match code {
            ErrorCode::DISK_FULL => failure.help(
                "free some space on the disk of the data directory and try again; nothing that was acknowledged is lost",
            ),
            _ => failure,
        }
    }

    /// The command line or the configuration is wrong.
    pub fn usage(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new(code, message) }
    }

    /// The same failure with the way out of its last problem.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        if let Some(problem) = self.problems.last_mut() {
            problem.help = help.into();
        }
        self
    }

    /// What went wrong on one line, for a log.
    pub(crate) fn on_one_line(&self) -> String {
        let problems =
            self.problems.iter().map(|Problem { code, message, .. }| format!("[{code}] {message}"));
        problems.collect::<Vec<_>>().join("; ").replace('\n', " ")
    }

    /// The code of the first problem.
    pub fn code(&self) -> Option<ErrorCode> {
        self.problems.first().map(|problem| problem.code)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.message)?;
        for line in self.help.lines() {
            write!(f, "\n  help: {line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut codes: Vec<&str> = Vec::new();
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
            if !codes.contains(&problem.code.0) {
                codes.push(problem.code.0);
            }
        }
        for (place, code) in codes.iter().enumerate() {
            let separator = if place + 1 == codes.len() { "" } else { "\n" };
            write!(f, "  more: tidegate explain {code}{separator}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Gives an error of one of the boxes its place in front of a person.
macro_rules! failure_from {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::of_error(error.code(), error.to_string())
            }
        })*
    };
}

failure_from!(
    tidegate_model::ports::AppendError,
    tidegate_model::ports::ReadError,
    tidegate_model::ports::StoreError,
    tidegate_eventlog::LogError,
    tidegate_store::OpenError,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_shown_and_every_page_named_once() {
        let problem =
            |code, message: &str, help: &str| Problem { code, message: message.into(), help: help.into() };
        let failure = Failure {
            problems: vec![
                problem(ErrorCode::CONFIG_UNKNOWN_KEY, "one", "do this\nor that"),
                problem(ErrorCode::CONFIG_UNKNOWN_KEY, "two", ""),
            ],
            exit: Exit::Usage,
        };
        assert_eq!(
            failure.to_string(),
            "error[TG-101]: one\n  help: do this\n  help: or that\nerror[TG-101]: two\n  more: tidegate explain TG-101"
        );
    }
}
