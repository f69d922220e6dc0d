//! Which dead letters are meant: by number, or by what they have in common.

use tidegate_model::clock::{Clock, Timestamp};
use tidegate_model::error::ErrorCode;

use crate::cli::listing::{Listing, Session, address};
use crate::cli::output::quoted_word;
use crate::client::{Connection, Pages, understood};
use crate::config::elements::duration;
use crate::failure::Failure;

/// Conditions; those that are given must all hold.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Filter {
    /// Only of this function.
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Only from this hub.
    #[arg(long, value_name = "NAME")]
    hub: Option<String>,
    /// Only from this partition.
    #[arg(long, value_name = "N")]
    partition: Option<u32>,
    /// Only with this partition key.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only of this class: permanent or exhausted.
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// Only with this cause: a fingerprint, as `dead-letters groups` shows it.
    #[arg(long, value_name = "FINGERPRINT")]
    cause: Option<String>,
    /// Only those set aside since then: a time such as 2026-01-31T12:00:00Z, or so long ago, such as 2h.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those set aside before then; as --since.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only from this sequence number on.
    #[arg(long, value_name = "N")]
    from_sequence: Option<u64>,
    /// Only before this sequence number.
    #[arg(long, value_name = "N")]
    before_sequence: Option<u64>,
    /// Only those that are open, redriving, redriven, discarded, quarantined or replayed; several are joined by commas.
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
}

impl Filter {
    /// The function that they must be of.
    pub(super) fn function(&self) -> Option<&str> {
        self.function.as_deref()
    }

    /// True when nothing is asked for.
    pub(super) fn is_empty(&self) -> bool {
        let Self { function, hub, partition, key, class, cause, since, until, status, .. } = self;
        let texts = [function, hub, key, class, cause, since, until, status];
        texts.iter().all(|text| text.is_none())
            && partition.is_none()
            && self.from_sequence.is_none()
            && self.before_sequence.is_none()
    }

    /// The options that say the same, to be typed.
    pub(super) fn options(&self) -> String {
        let Self { function, hub, partition, key, class, cause, since, until, status, .. } = self;
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let options = [
            ("function", function.clone()),
            ("hub", hub.clone()),
            ("partition", number(partition.map(u64::from))),
            ("key", key.clone()),
            ("class", class.clone()),
            ("cause", cause.clone()),
            ("since", since.clone()),
            ("until", until.clone()),
            ("from-sequence", number(self.from_sequence)),
            ("before-sequence", number(self.before_sequence)),
            ("status", status.clone()),
        ];
        let given = options.into_iter().filter_map(|(name, value)| Some((name, value?)));
        given.map(|(name, value)| format!(" --{name} {}", quoted_word(&value))).collect()
    }

    /// True when it says in which states.
    pub(super) fn has_status(&self) -> bool {
        self.status.is_some()
    }

    /// The same conditions on those in these states.
    #[must_use]
    pub(super) fn with_status(&self, status: &str) -> Self {
        Self { status: Some(status.to_owned()), ..self.clone() }
    }

    /// The same conditions on those with this cause.
    #[must_use]
    pub(super) fn with_cause(&self, fingerprint: &str) -> Self {
        Self { cause: Some(fingerprint.to_owned()), ..self.clone() }
    }

    /// The parameters of the API.
    pub(super) fn parameters(
        &self,
        clock: &dyn Clock,
    ) -> Result<Vec<(&'static str, Option<String>)>, Failure> {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        Ok(vec![
            ("function", self.function.clone()),
            ("hub", self.hub.clone()),
            ("partition", number(self.partition.map(u64::from))),
            ("key", self.key.clone()),
            ("class", self.class.clone()),
            ("cause", self.cause.clone()),
            ("since", time(self.since.as_deref(), "--since", clock)?),
            ("until", time(self.until.as_deref(), "--until", clock)?),
            ("from_sequence", number(self.from_sequence)),
            ("before_sequence", number(self.before_sequence)),
            ("status", self.status.clone()),
        ])
    }
}

/// A time, or so long before now.
fn time(text: Option<&str>, option: &str, clock: &dyn Clock) -> Result<Option<String>, Failure> {
    let Some(text) = text else { return Ok(None) };
    if let Some(ago) = duration::parse(text) {
        return Ok(Some(clock.now().minus(ago).to_string()));
    }
    match text.parse::<Timestamp>() {
        Ok(time) => Ok(Some(time.to_string())),
        Err(_) => Err(Failure::usage(ErrorCode::BAD_REQUEST, format!("{option} cannot be {text:?}"))
            .help("write a time such as 2026-01-31T12:00:00Z, or so long ago, such as 90s, 15m, 2h, 7d")),
    }
}

/// Which dead letters an act is about.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Which {
    /// Their numbers.
    #[arg(value_name = "ID")]
    pub(super) ids: Vec<u64>,
    #[command(flatten)]
    pub(super) filter: Filter,
    /// All of them.
    #[arg(long)]
    all: bool,
}

/// The dead letters that an act is about.
pub(super) struct Chosen {
    /// Their numbers, ascending where they were found and in the order given where they were named.
    pub(super) ids: Vec<u64>,
    /// The conditions they were found by; `None` where they were named.
    pub(super) filter: Option<Filter>,
}

impl Which {
    /// The arguments that say the same, to be typed.
    pub(super) fn arguments(&self) -> String {
        let ids: String = self.ids.iter().map(|id| format!(" {id}")).collect();
        let all = if self.all { " --all" } else { "" };
        format!("{ids}{}{all}", self.filter.options())
    }

    /// Finds them. `usual` are the states that are meant where no other is asked for.
    pub(super) async fn choose(
        &self,
        connection: &Connection,
        usual: &str,
        clock: &dyn Clock,
    ) -> Result<Chosen, Failure> {
        let by_filter = !self.filter.is_empty();
        match (self.ids.is_empty(), by_filter || self.all) {
            (false, false) => {
                let mut ids = Vec::with_capacity(self.ids.len());
                let mut seen = std::collections::HashSet::new();
                ids.extend(self.ids.iter().copied().filter(|id| seen.insert(*id)));
                return Ok(Chosen { ids, filter: None });
            }
            (false, true) => {
                return Err(Failure::usage(
                    ErrorCode::BAD_REQUEST,
                    "numbers and conditions are given, and only one of the two can be meant",
                )
                .help("name dead letters by their numbers, or by conditions such as --cause FINGERPRINT"));
            }
            (true, false) => {
                return Err(Failure::usage(ErrorCode::BAD_REQUEST, "it is not said which dead letters")
                    .help("name them by number, by conditions such as --cause FINGERPRINT, or with --all"));
            }
            (true, true) => {}
        }
        let filter =
            if self.filter.has_status() { self.filter.clone() } else { self.filter.with_status(usual) };
        let ids = find(connection, &filter, None, None, clock).await?;
        Ok(Chosen { ids, filter: Some(filter) })
    }
}

/// The numbers of the dead letters that match, after `after` and up to `last`.
pub(super) async fn find(
    connection: &Connection,
    filter: &Filter,
    after: Option<u64>,
    last: Option<u64>,
    clock: &dyn Clock,
) -> Result<Vec<u64>, Failure> {
    #[derive(serde::Deserialize)]
    struct Found {
        id: u64,
    }
    let mut parameters = filter.parameters(clock)?;
    parameters.push(("after", after.map(|after| after.to_string())));
    let mut pages = Pages::new(connection, address("/api/v1/dead-letter-ids", &parameters), "after", None);
    let mut ids = Vec::new();
    while let Some(line) = pages.next().await? {
        let Found { id } = understood(&line)?;
        if last.is_some_and(|last| id > last) {
            break;
        }
        ids.push(id);
    }
    Ok(ids)
}

/// What an act would be about, for a dry run.
pub(super) async fn tell(session: &mut Session, chosen: &Chosen, clock: &dyn Clock) -> Result<(), Failure> {
    if session.output.is_json() {
        for id in &chosen.ids {
            session.output.object(&serde_json::json!({ "id": id }))?;
        }
        return Ok(());
    }
    if let Some(filter) = &chosen.filter
        && !chosen.ids.is_empty()
    {
        let path = address("/api/v1/dead-letter-groups", &filter.parameters(clock)?);
        super::look::list_groups(session, Listing::all(path, &super::look::GROUP_COLUMNS)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidegate_model::clock::TestClock;

    use super::*;

    #[tokio::test]
    async fn a_time_is_absolute_or_ago() {
        let clock = TestClock::new(Timestamp::from_millis(3_600_000), 1);
        clock.set_now(Timestamp::from_millis(3_600_000).minus(clock.monotonic()));
        let read = |text| time(Some(text), "--since", &*clock).unwrap().unwrap();
        assert!(read("1h").starts_with("1970-01-01T00:00:00"));
        assert_eq!(read("2026-01-31T12:00:00+01:00"), "2026-01-31T11:00:00.000Z");
        let wrong = time(Some("yesterday"), "--since", &*clock).unwrap_err().to_string();
        assert!(wrong.contains("--since cannot be \"yesterday\""), "{wrong}");
        assert!(Filter::default().is_empty());
        let of_hub = Filter { hub: Some("h".to_owned()), key: Some("it's".to_owned()), ..Filter::default() };
        assert_eq!(of_hub.with_cause("ab").options(), r" --hub h --key 'it'\''s' --cause ab");
        assert!(!Filter::default().with_status("open").is_empty());
    }
}
