//! How dead letters are found: by the index that leaves the least to look at, in the order of their numbers, without
//! reading their stories.

use std::collections::{BTreeMap, HashMap};

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use tidegate_model::checkpoint::Lane;
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::{DeadLetterFilter, DeadLetterId, DeadLetterStatus};

use super::states::stored_fingerprint;
use crate::error::Failure;
use crate::ownerships::lane;
use crate::sqlite_store::unsigned;

/// Up to how many dead letters are sorted by their numbers at once. Where a range of times or places holds more, it is
/// better to go through the numbers and leave out what is not in the range.
const SORTED_AT_ONCE: i64 = 50_000;

/// Conditions in SQL, with their values in order.
#[derive(Clone, Default)]
struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    /// Adds a condition with one `?`, if there is a value.
    fn add(&mut self, condition: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.sql.push_str(" AND ");
            self.sql.push_str(condition);
            self.values.push(value.into());
        }
    }
}

/// One way through the table; several ways together meet each dead letter once.
struct Way {
    /// Where to look.
    index: &'static str,
    /// What to leave out.
    conditions: Conditions,
}

impl Way {
    fn rows(
        &self,
        connection: &Connection,
        columns: &str,
        rest: &str,
        more: impl IntoIterator<Item = i64>,
        mut each: impl FnMut(&rusqlite::Row<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Self { index, conditions: Conditions { sql, values } } = self;
        let mut select = connection.prepare_cached(&format!(
            "SELECT {columns} FROM dead_letter_states {index} WHERE true{sql} {rest}"
        ))?;
        let values = values.iter().cloned().chain(more.into_iter().map(Value::from));
        let mut rows = select.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            each(row)?;
        }
        Ok(())
    }
}

/// From where on dead letters are gone through, and in which direction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    /// Numbers greater than this, the smallest first.
    After(i64),
    /// Numbers less than this, the greatest first.
    Before(i64),
}

impl Start {
    /// The rest of a statement that takes a number and a limit.
    fn sql(self) -> &'static str {
        match self {
            Self::After(_) => "AND id > ? ORDER BY id LIMIT ?",
            Self::Before(_) => "AND id < ? ORDER BY id DESC LIMIT ?",
        }
    }

    fn number(self) -> i64 {
        let (Self::After(number) | Self::Before(number)) = self;
        number
    }
}

/// The numbers of at most `limit` dead letters that match, in order; those that are nobody's at `free_at`, if given.
pub(super) fn ids(
    connection: &Connection,
    filter: &DeadLetterFilter,
    free_at: Option<Timestamp>,
    from: Start,
    limit: usize,
) -> Result<Vec<DeadLetterId>, Failure> {
    ids_by(connection, &ways(connection, filter, free_at)?, from, limit)
}

fn ids_by(
    connection: &Connection,
    ways: &[Way],
    from: Start,
    limit: usize,
) -> Result<Vec<DeadLetterId>, Failure> {
    let mut found = Vec::new();
    for way in ways {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        way.rows(connection, "id", from.sql(), [from.number(), limit], |row| {
            found.push(DeadLetterId(unsigned(row.get(0)?, "dead letter's number")?));
            Ok(())
        })?;
    }
    if ways.len() > 1 {
        found.sort_unstable();
        if matches!(from, Start::Before(_)) {
            found.reverse();
        }
        found.truncate(limit);
    }
    Ok(found)
}

/// A cause of dead letters that match.
pub(super) struct Cause {
    pub(super) fingerprint: i64,
    pub(super) count: u64,
    pub(super) first_at: i64,
    /// The newest of them: when it was set aside, and its number.
    pub(super) newest: (i64, i64),
}

/// The causes of the dead letters that match, each dead letter looked at; in no order.
pub(super) fn causes(connection: &Connection, filter: &DeadLetterFilter) -> Result<Vec<Cause>, Failure> {
    let mut by_cause: HashMap<i64, Cause> = HashMap::new();
    for way in ways(connection, filter, None)? {
        way.rows(connection, "fingerprint, dead_lettered_at, id", "", [], |row| {
            let at = row.get(1)?;
            let this = (at, row.get(2)?);
            let fingerprint = row.get(0)?;
            let new = || Cause { fingerprint, count: 0, first_at: at, newest: this };
            let group = by_cause.entry(fingerprint).or_insert_with(new);
            group.count += 1;
            group.first_at = group.first_at.min(at);
            group.newest = group.newest.max(this);
            Ok(())
        })?;
    }
    Ok(by_cause.into_values().collect())
}

/// How many unsettled dead letters each lane has from its checkpoint's start on, ordered by lane.
pub(crate) fn count_unsettled(connection: &Connection) -> Result<Vec<(Lane, u64)>, Failure> {
    let unsettled = DeadLetterStatus::ALL.into_iter().filter(|status| status.is_unsettled());
    let filter = DeadLetterFilter { status: unsettled.collect(), ..DeadLetterFilter::default() };
    let mut counts = BTreeMap::<Lane, u64>::new();
    for way in ways(connection, &filter, None)? {
        let counted = "AND sequence_number >=
                           (SELECT start FROM checkpoints AS checkpoint
                            WHERE checkpoint.function = dead_letter_states.function
                                  AND checkpoint.hub = dead_letter_states.hub
                                  AND checkpoint.partition = dead_letter_states.partition)
                       GROUP BY function, hub, partition";
        way.rows(connection, "function, hub, partition, count(*)", counted, [], |row| {
            *counts.entry(lane(row)?).or_default() += unsigned(row.get(3)?, "count")?;
            Ok(())
        })?;
    }
    Ok(counts.into_iter().collect())
}

/// The ways that lead to all that matches.
fn ways(
    connection: &Connection,
    filter: &DeadLetterFilter,
    free_at: Option<Timestamp>,
) -> Result<Vec<Way>, Failure> {
    ways_sorting(connection, filter, free_at, SORTED_AT_ONCE)
}

fn ways_sorting(
    connection: &Connection,
    filter: &DeadLetterFilter,
    free_at: Option<Timestamp>,
    sorted_at_once: i64,
) -> Result<Vec<Way>, Failure> {
    let conditions = conditions(filter, free_at);
    if filter.partition_key.is_some() {
        let (index, mut conditions) = ("INDEXED BY dead_letters_by_key", conditions);
        one_of(&mut conditions, &filter.status);
        return Ok(vec![Way { index, conditions }]);
    }
    if let Some(index) = narrow_index(connection, filter, sorted_at_once)? {
        let mut conditions = conditions;
        one_of(&mut conditions, &filter.status);
        return Ok(vec![Way { index, conditions }]);
    }
    let statuses =
        if filter.status.is_empty() { DeadLetterStatus::ALL.to_vec() } else { distinct(&filter.status) };
    let with_status = |index, conditions: &Conditions| {
        let mut ways = Vec::new();
        for status in &statuses {
            let mut conditions = conditions.clone();
            conditions.add("status = ?", Some(status.as_str().to_owned()));
            ways.push(Way { index, conditions });
        }
        ways
    };
    if filter.fingerprint.is_some() {
        return Ok(with_status("INDEXED BY dead_letters_by_cause", &conditions));
    }
    let by_function = "INDEXED BY dead_letters_by_function";
    if filter.function.is_some() {
        return Ok(with_status(by_function, &conditions));
    }
    if filter.status.is_empty() {
        return Ok(vec![Way { index: "NOT INDEXED", conditions }]);
    }
    let mut ways = Vec::new();
    for function in functions(connection)? {
        let mut conditions = conditions.clone();
        conditions.add("function = ?", Some(function));
        ways.extend(with_status(by_function, &conditions));
    }
    Ok(ways)
}

/// All conditions but that on the status.
fn conditions(filter: &DeadLetterFilter, free_at: Option<Timestamp>) -> Conditions {
    let mut conditions = Conditions::default();
    let text = |name: &str| name.to_owned();
    conditions.add("fingerprint = ?", filter.fingerprint.map(stored_fingerprint));
    conditions.add("function = ?", filter.function.as_ref().map(|function| text(function.as_str())));
    conditions.add("hub = ?", filter.hub.as_ref().map(|hub| text(hub.as_str())));
    conditions.add("partition = ?", filter.partition.map(|partition| i64::from(partition.0)));
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    conditions.add("sequence_number >= ?", filter.from_sequence_number.map(|from| number(from.0)));
    conditions.add("sequence_number < ?", filter.before_sequence_number.map(|before| number(before.0)));
    conditions.add("partition_key = ?", filter.partition_key.clone());
    conditions.add("class = ?", filter.class.map(|class| text(class.as_str())));
    conditions.add("dead_lettered_at >= ?", filter.since.map(Timestamp::as_millis));
    conditions.add("dead_lettered_at < ?", filter.until.map(Timestamp::as_millis));
    conditions.add("(lease_until IS NULL OR lease_until <= ?)", free_at.map(Timestamp::as_millis));
    conditions
}

fn one_of(conditions: &mut Conditions, statuses: &[DeadLetterStatus]) {
    if !statuses.is_empty() {
        let places = vec!["?"; statuses.len()].join(", ");
        conditions.sql.push_str(&format!(" AND status IN ({places})"));
        conditions.values.extend(statuses.iter().map(|status| Value::from(status.as_str().to_owned())));
    }
}

/// The index over times or places, if the filter names a range of it that holds few dead letters. What is found there
/// has to be sorted by number.
fn narrow_index(
    connection: &Connection,
    filter: &DeadLetterFilter,
    sorted_at_once: i64,
) -> Result<Option<&'static str>, Failure> {
    let place = DeadLetterFilter {
        function: filter.function.clone(),
        hub: filter.hub.clone(),
        partition: filter.partition,
        from_sequence_number: filter.from_sequence_number,
        before_sequence_number: filter.before_sequence_number,
        ..DeadLetterFilter::default()
    };
    let names_place = filter.function.is_some() && filter.hub.is_some() && filter.partition.is_some();
    let time = DeadLetterFilter { since: filter.since, until: filter.until, ..DeadLetterFilter::default() };
    let names_time = filter.since.is_some() || filter.until.is_some();
    let ranges = [
        (names_place, "INDEXED BY dead_letters_by_place", place),
        (names_time, "INDEXED BY dead_letters_by_time", time),
    ];
    for (is_named, index, range) in ranges {
        if !is_named {
            continue;
        }
        let way = Way { index, conditions: conditions(&range, None) };
        let mut held = 0;
        way.rows(connection, "1", "LIMIT ?", [sorted_at_once + 1], |_| {
            held += 1;
            Ok(())
        })?;
        if held <= sorted_at_once {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// The functions that have dead letters: one look into the index for each, not one for each dead letter.
fn functions(connection: &Connection) -> Result<Vec<String>, Failure> {
    let mut next = connection.prepare_cached(
        "SELECT min(function) FROM dead_letter_states INDEXED BY dead_letters_by_function WHERE function > ?1",
    )?;
    let mut functions: Vec<String> = Vec::new();
    loop {
        let last = functions.last().map_or("", String::as_str);
        let Some(function) = next.query_row([last], |row| row.get(0))? else { return Ok(functions) };
        functions.push(function);
    }
}

fn distinct(statuses: &[DeadLetterStatus]) -> Vec<DeadLetterStatus> {
    DeadLetterStatus::ALL.into_iter().filter(|status| statuses.contains(status)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::counts::CauseCounts;
    use crate::dead_letters::states;
    use crate::schema;
    use tidegate_model::attempt::FailureClass;
    use tidegate_model::checkpoint::FunctionName;
    use tidegate_model::clock::{Clock, TestClock};
    use tidegate_model::dead_letter::{DeadLetter, Fingerprint, StoredDeadLetter};
    use tidegate_model::event::{Event, EventData, HubName};
    use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber};

    fn function(n: u64) -> FunctionName {
        FunctionName::new(&format!("f{n}")).unwrap()
    }

    fn hub(n: u64) -> HubName {
        HubName::new(&format!("h{n}")).unwrap()
    }

    fn reason(n: u64) -> String {
        ["no answer", "not text", "not JSON"][(n % 3) as usize].to_owned()
    }

    /// A store with dead letters of every kind, in no order of time.
    fn store(random: &dyn Fn(u64) -> u64) -> (Connection, Vec<StoredDeadLetter>) {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::prepare(&mut connection, "memory".as_ref()).unwrap();
        let letter = |id| {
            let data = EventData::new(&b"x"[..]).with_key(format!("k{}", random(3)));
            let lane = Lane {
                function: function(random(3)),
                hub: hub(random(2)),
                partition: PartitionId(random(3) as u32),
            };
            let letter = DeadLetter {
                lane,
                incarnation: Incarnation(uuid::Uuid::nil()),
                event: Event {
                    sequence_number: SequenceNumber(random(50)),
                    enqueued_at: Timestamp::default(),
                    data,
                },
                function_version: String::new(),
                class: if random(2) == 0 { FailureClass::Permanent } else { FailureClass::Exhausted },
                reason: reason(random(3)),
                attempts: Vec::new(),
                dead_lettered_at: Timestamp::from_millis(random(1000) as i64),
                document: None,
            };
            let mut stored = StoredDeadLetter::open(DeadLetterId(id), letter, Timestamp::default());
            stored.status = DeadLetterStatus::ALL[random(6) as usize];
            stored
        };
        let letters: Vec<_> = (1..=400).map(letter).collect();
        let mut counts = CauseCounts::default();
        for stored in &letters {
            super::super::open(&connection, &stored.letter, Timestamp::default(), &mut counts).unwrap();
            let opened = states::find(&connection, stored.id).unwrap().unwrap();
            states::change(&connection, opened, stored.status, Timestamp::default(), &mut counts).unwrap();
        }
        counts.write(&connection).unwrap();
        assert_eq!(super::super::causes::differences(&connection).unwrap(), [""; 0]);
        (connection, letters)
    }

    fn filter(random: &dyn Fn(u64) -> u64) -> DeadLetterFilter {
        let maybe = |one_in: u64| random(one_in) == 0;
        let cause = || Fingerprint::of(&function(random(3)), FailureClass::Permanent, &reason(random(3)));
        DeadLetterFilter {
            function: maybe(2).then(|| function(random(4))),
            hub: maybe(2).then(|| hub(random(2))),
            partition: maybe(2).then(|| PartitionId(random(3) as u32)),
            from_sequence_number: maybe(4).then(|| SequenceNumber(random(50))),
            before_sequence_number: maybe(4).then(|| SequenceNumber(random(50))),
            partition_key: maybe(6).then(|| format!("k{}", random(3))),
            class: maybe(4).then_some(FailureClass::Permanent),
            fingerprint: maybe(5).then(cause),
            since: maybe(3).then(|| Timestamp::from_millis(random(1000) as i64)),
            until: maybe(3).then(|| Timestamp::from_millis(random(1000) as i64)),
            status: (0..random(3)).map(|_| DeadLetterStatus::ALL[random(6) as usize]).collect(),
        }
    }

    #[test]
    fn every_way_leads_to_the_same_dead_letters() {
        let clock = TestClock::new(Timestamp::default(), 5);
        let random = |limit: u64| clock.random() % limit;
        let (connection, letters) = store(&random);
        let mut indexes: Vec<&str> = Vec::new();
        for _ in 0..500 {
            let filter = filter(&random);
            let (after, limit) = (random(400), random(60) as usize);
            let expected: Vec<_> = letters
                .iter()
                .filter(|stored| stored.id.0 > after && filter.matches(stored))
                .map(|stored| stored.id)
                .take(limit)
                .collect();
            let expected_back: Vec<_> = (letters.iter().rev())
                .filter(|stored| stored.id.0 < after && filter.matches(stored))
                .map(|stored| stored.id)
                .take(limit)
                .collect();
            // What is sorted is found by times and places; with nothing to be sorted, by numbers.
            for sorted_at_once in [SORTED_AT_ONCE, 0] {
                let ways = ways_sorting(&connection, &filter, None, sorted_at_once).unwrap();
                indexes.extend(ways.iter().map(|way| way.index));
                let found = ids_by(&connection, &ways, Start::After(after as i64), limit).unwrap();
                assert_eq!(found, expected, "{filter:?}");
                let found = ids_by(&connection, &ways, Start::Before(after as i64), limit).unwrap();
                assert_eq!(found, expected_back, "{filter:?}");
            }
        }
        indexes.sort_unstable();
        indexes.dedup();
        assert_eq!(indexes.len(), 6, "{indexes:?}");
    }

    /// A page costs what it shows, however many dead letters there are: each way begins behind the cursor in the order of
    /// the numbers, and nothing is sorted.
    #[test]
    fn a_page_is_read_in_the_order_of_an_index_from_behind_its_cursor() {
        let clock = TestClock::new(Timestamp::default(), 7);
        let (connection, _) = store(&|limit| clock.random() % limit);
        let cause = Fingerprint::of(&function(1), FailureClass::Permanent, &reason(1));
        let all = DeadLetterFilter::default();
        let unsettled = vec![DeadLetterStatus::Open, DeadLetterStatus::Quarantined];
        let filters = [
            all.clone(),
            DeadLetterFilter { status: unsettled.clone(), ..all.clone() },
            DeadLetterFilter { function: Some(function(1)), ..all.clone() },
            DeadLetterFilter {
                partition_key: Some("k1".to_owned()),
                status: unsettled.clone(),
                ..all.clone()
            },
            DeadLetterFilter { fingerprint: Some(cause), status: unsettled, ..all.clone() },
            // What holds too many to be sorted is read by number as well.
            DeadLetterFilter { since: Some(Timestamp::from_millis(0)), ..all },
        ];
        for filter in filters {
            for way in ways_sorting(&connection, &filter, None, 0).unwrap() {
                let Way { index, conditions: Conditions { sql, values } } = &way;
                for (from, bound) in [(Start::After(7), "rowid>?"), (Start::Before(7), "rowid<?")] {
                    let select = format!(
                        "EXPLAIN QUERY PLAN SELECT id FROM dead_letter_states {index} WHERE true{sql} {}",
                        from.sql()
                    );
                    let values = values.iter().cloned().chain([Value::from(7), Value::from(50)]);
                    let mut explain = connection.prepare(&select).unwrap();
                    let plan =
                        explain.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
                    let plan: Vec<String> = plan.map(Result::unwrap).collect();
                    let is_direct = plan.len() == 1
                        && plan[0].starts_with("SEARCH dead_letter_states USING")
                        && plan[0].contains(bound);
                    assert!(is_direct, "{filter:?}: {plan:?}");
                }
            }
        }
    }
}
