//! Reads the program's own OpenMetrics text: the families in it, and their samples.

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
    /// Counts in buckets.
    Histogram,
    /// Facts as labels.
    Info,
}

/// A family of samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its name, without the suffix of its samples.
    pub name: String,
    /// What it is.
    pub kind: FamilyKind,
    /// What it says, for a person.
    pub help: String,
    /// Its unit, if it has one.
    pub unit: Option<String>,
    /// Its samples.
    pub samples: Vec<Sample>,
}

/// A sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What its name has behind that of the family, such as `_total`.
    pub suffix: String,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// Its value.
    pub value: f64,
}

/// The families of a text that [`Telemetry::scrape`](crate::Telemetry::scrape) wrote. What is no such text is skipped.
pub fn families_of(open_metrics: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    let mut help = "";
    for line in open_metrics.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = typed.split_once(' ') else { continue };
            let kind = match kind {
                "counter" => FamilyKind::Counter,
                "histogram" => FamilyKind::Histogram,
                "info" => FamilyKind::Info,
                _ => FamilyKind::Gauge,
            };
            let (name, help) = (name.to_owned(), help.to_owned());
            families.push(Family { name, kind, help, unit: None, samples: Vec::new() });
        } else if let Some(unit) = line.strip_prefix("# UNIT ") {
            let unit = unit.split_once(' ').map(|(_, unit)| unit.to_owned());
            if let Some(family) = families.last_mut() {
                family.unit = unit;
            }
        } else if let (Some(family), false) = (families.last_mut(), line.starts_with('#')) {
            family.samples.extend(sample_of(line, &family.name));
        }
    }
    families
}

fn sample_of(line: &str, family: &str) -> Option<Sample> {
    let rest = line.strip_prefix(family)?;
    let name_end = rest.find(['{', ' '])?;
    let (suffix, rest) = rest.split_at(name_end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(labels) => labels_of(labels)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Sample { suffix: suffix.to_owned(), labels, value })
}

/// The labels up to the closing brace, and what follows it.
fn labels_of(mut text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        text = text.trim_start_matches(',');
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = rest.char_indices();
        text = loop {
            match characters.next()? {
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    escaped => value.push(escaped),
                },
                (at, '"') => break &rest[at + 1..],
                (_, character) => value.push(character),
            }
        };
        labels.push((name.to_owned(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_samples_are_read() {
        let text = "# HELP a_seconds Time.\n# TYPE a_seconds histogram\n# UNIT a_seconds seconds\na_seconds_sum{f=\"x\"} \
                    1.5\na_seconds_bucket{le=\"+Inf\",f=\"a \\\"b\\\" \\\\ }\"} 2\n# HELP b More.\n# TYPE b counter\nb_total \
                    7\n# EOF\n";
        let families = families_of(text);
        assert_eq!(families.len(), 2);
        assert_eq!((families[0].kind, families[0].unit.as_deref()), (FamilyKind::Histogram, Some("seconds")));
        assert_eq!(families[0].samples[0].suffix, "_sum");
        let bucket = &families[0].samples[1];
        assert_eq!(bucket.labels[1], ("f".to_owned(), "a \"b\" \\ }".to_owned()));
        let counter = Sample { suffix: "_total".to_owned(), labels: Vec::new(), value: 7.0 };
        assert_eq!((families[1].help.as_str(), &families[1].samples), ("More.", &vec![counter]));
    }
}
