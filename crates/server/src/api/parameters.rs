//! The parameters of a request, read by hand: each that is wrong, given twice or unknown is named.

use std::str::FromStr;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use tidegate_model::attempt::FailureClass;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::{DeadLetterFilter, DeadLetterStatus, Fingerprint};
use tidegate_model::event::HubName;
use tidegate_model::position::{PartitionId, SequenceNumber};

use crate::api::ApiError;

/// The parameters in the address of a request.
pub(crate) struct InPath<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(parameters)| Self(parameters))
            .map_err(|error| ApiError::bad_request(error.body_text()))
    }
}

/// The parameters in the query of a request that are not read yet.
pub(crate) struct Parameters(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query: Result<Query<Vec<(String, String)>>, QueryRejection> =
            Query::from_request_parts(parts, state).await;
        query
            .map(|Query(parameters)| Self(parameters))
            .map_err(|error| ApiError::bad_request(error.body_text()))
    }
}

impl Parameters {
    /// Those that stand elsewhere than in a query.
    pub(crate) fn of(given: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(given.into_iter().collect())
    }

    /// Takes the text of a parameter, if it is given.
    pub(crate) fn take(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let Some(place) = self.0.iter().position(|(given, _)| given == name) else { return Ok(None) };
        let (_, value) = self.0.swap_remove(place);
        if self.0.iter().any(|(given, _)| given == name) {
            return Err(ApiError::bad_request(format!("the parameter {name} is given twice")));
        }
        Ok(Some(value))
    }

    /// Takes the texts of a parameter that may be given more than once, in their order.
    pub(crate) fn take_all(&mut self, name: &str) -> Vec<String> {
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|(given, _)| given == name);
        self.0 = left;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// Takes a parameter of a type; `expected` tells a person what it must be.
    pub(crate) fn parsed<T: FromStr>(&mut self, name: &str, expected: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            let shown: String = text.chars().take(64).collect();
            ApiError::bad_request(format!("the parameter {name} cannot be {shown:?}"))
                .help(format!("{name} is {expected}"))
        })
    }

    /// As [`parsed`](Self::parsed), of a parameter that must be given.
    pub(crate) fn required<T: FromStr>(&mut self, name: &str, expected: &str) -> Result<T, ApiError> {
        self.parsed(name, expected)?.ok_or_else(|| {
            ApiError::bad_request(format!("the parameter {name} is missing"))
                .help(format!("{name} is {expected}"))
        })
    }

    /// Takes the number of a partition.
    pub(crate) fn partition(&mut self) -> Result<Option<PartitionId>, ApiError> {
        Ok(self.parsed("partition", NUMBER)?.map(PartitionId))
    }

    /// Takes a sequence number.
    pub(crate) fn sequence_number(&mut self, name: &str) -> Result<Option<SequenceNumber>, ApiError> {
        let number: Option<u64> = self.parsed(name, NUMBER)?;
        match number.filter(|number| *number > MAX_SEQUENCE_NUMBER) {
            Some(number) => {
                Err(ApiError::bad_request(format!("{name} {number} is larger than any sequence number")))
            }
            None => Ok(number.map(SequenceNumber)),
        }
    }

    /// Refuses what is left: nobody asked for it by that name.
    pub(crate) fn done(self) -> Result<(), ApiError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                let shown: String = name.chars().take(64).collect();
                Err(ApiError::bad_request(format!("there is no parameter {shown:?} here"))
                    .help("leave it out, or correct its name"))
            }
        }
    }
}

/// No event has a larger sequence number: stores and clients keep them as signed integers.
pub(crate) const MAX_SEQUENCE_NUMBER: u64 = i64::MAX as u64;

/// What an order may be.
pub(crate) const ORDER: &str = "oldest or newest";

/// What a number must be.
pub(crate) const NUMBER: &str = "a whole number, not negative";

/// What a name must be.
pub(crate) const NAME: &str = "a name: letters, digits, and inside also `-`, `_`, `.`";

/// What a time must be.
const TIME: &str = "a time such as 2026-01-31T12:00:00Z";

/// Takes the conditions on dead letters.
pub(crate) fn dead_letter_filter(parameters: &mut Parameters) -> Result<DeadLetterFilter, ApiError> {
    Ok(DeadLetterFilter {
        function: parameters.parsed::<FunctionName>("function", NAME)?,
        hub: parameters.parsed::<HubName>("hub", NAME)?,
        partition: parameters.partition()?,
        from_sequence_number: parameters.sequence_number("from_sequence")?,
        before_sequence_number: parameters.sequence_number("before_sequence")?,
        partition_key: parameters.take("key")?,
        class: parameters.parsed::<FailureClass>("class", "permanent or exhausted")?,
        fingerprint: parameters.parsed::<Fingerprint>(
            "cause",
            "the 16 hexadecimal digits of a fingerprint; list them: tidegate dead-letters groups",
        )?,
        since: parameters.parsed::<Timestamp>("since", TIME)?,
        until: parameters.parsed::<Timestamp>("until", TIME)?,
        status: parameters.parsed::<Statuses>("status", STATUSES)?.map_or_else(Vec::new, |list| list.0),
    })
}

const STATUSES: &str =
    "one or more of open, redriving, redriven, discarded, quarantined, replayed, joined by commas";

struct Statuses(Vec<DeadLetterStatus>);

impl FromStr for Statuses {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(list: &[(&str, &str)]) -> Parameters {
        Parameters(list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    fn refused(list: &[(&str, &str)]) -> ApiError {
        let mut parameters = parameters(list);
        dead_letter_filter(&mut parameters).and_then(|_| parameters.done()).unwrap_err()
    }

    #[test]
    fn every_condition_is_read() {
        let mut given = parameters(&[
            ("function", "f"),
            ("hub", "h"),
            ("partition", "3"),
            ("from_sequence", "4"),
            ("before_sequence", "5"),
            ("key", "a b"),
            ("class", "exhausted"),
            ("cause", "00000000000000ff"),
            ("since", "1970-01-01T00:00:01Z"),
            ("until", "1970-01-01T00:00:02Z"),
            ("status", "open,quarantined"),
        ]);
        let filter = dead_letter_filter(&mut given).unwrap();
        given.done().unwrap();
        assert_eq!(
            filter,
            DeadLetterFilter {
                function: FunctionName::new("f").ok(),
                hub: HubName::new("h").ok(),
                partition: Some(PartitionId(3)),
                from_sequence_number: Some(SequenceNumber(4)),
                before_sequence_number: Some(SequenceNumber(5)),
                partition_key: Some("a b".to_owned()),
                class: Some(FailureClass::Exhausted),
                fingerprint: Some(Fingerprint(255)),
                since: Some(Timestamp::from_millis(1000)),
                until: Some(Timestamp::from_millis(2000)),
                status: vec![DeadLetterStatus::Open, DeadLetterStatus::Quarantined],
            }
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (list, said) in [
            (&[("class", "odd")][..], "the parameter class cannot be \"odd\""),
            (&[("cause", "ff")], "the parameter cause cannot be \"ff\""),
            (&[("status", "open,,")], "the parameter status cannot be"),
            (&[("partition", "-1")], "the parameter partition cannot be \"-1\""),
            (&[("functoin", "f")], "there is no parameter \"functoin\" here"),
            (&[("key", "a"), ("key", "b")], "the parameter key is given twice"),
        ] {
            let error = format!("{:?}", refused(list));
            assert!(error.contains(&said.replace('"', "\\\"")), "{error}");
        }
    }
}
