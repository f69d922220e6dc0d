//! The answer to a scrape: OpenMetrics, or the older text format of Prometheus for who does not ask for it.

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Prometheus,
}

impl Format {
    /// The one that an `Accept` header asks for.
    pub fn accepted(accept: Option<&str>) -> Self {
        let is_open = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
        if is_open { Self::OpenMetrics } else { Self::Prometheus }
    }
}

/// The `Content-Type` of a format.
pub fn content_type(format: Format) -> &'static str {
    match format {
        Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
    }
}

/// An OpenMetrics text in Prometheus' format: there a counter has its `_total` in its name, and there are neither units nor
/// an end.
pub(crate) fn in_prometheus_format(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + 1024);
    // The description of a family comes before its type, which decides about the name in both.
    let mut help = None;
    for line in open_metrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        match comment.split_once(' ') {
            Some(("HELP", described)) => help = Some(described),
            Some(("TYPE", typed)) => {
                let (name, kind) = typed.split_once(' ').unwrap_or((typed, "untyped"));
                let (suffix, kind) = match kind {
                    "counter" => ("_total", kind),
                    "info" => ("_info", "gauge"),
                    _ => ("", kind),
                };
                if let Some((_, description)) = help.take().and_then(|help| help.split_once(' ')) {
                    text.push_str(&format!("# HELP {name}{suffix} {description}\n"));
                }
                text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
            }
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_as_prometheus_wants_them() {
        let open = "# HELP a Things.\n# TYPE a counter\na_total{x=\"# y\"} 1\n# HELP b_seconds Time.\n# TYPE b_seconds \
                    histogram\n# UNIT b_seconds seconds\nb_seconds_sum 1.5\nb_seconds_count 1\nb_seconds_bucket{le=\"+Inf\"} \
                    1\n# HELP c It.\n# TYPE c info\nc_info{v=\"1\"} 1\n# EOF\n";
        let prometheus = "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"# y\"} 1\n# HELP b_seconds \
                          Time.\n# TYPE b_seconds histogram\nb_seconds_sum 1.5\nb_seconds_count 1\nb_seconds_bucket{le=\"\
                          +Inf\"} 1\n# HELP c_info It.\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n";
        assert_eq!(in_prometheus_format(open), prometheus);
    }

    #[test]
    fn who_does_not_ask_for_openmetrics_is_given_the_older_format() {
        assert_eq!(Format::accepted(None), Format::Prometheus);
        assert_eq!(Format::accepted(Some("text/plain;version=0.0.4, */*;q=0.1")), Format::Prometheus);
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2";
        assert_eq!(Format::accepted(Some(prometheus)), Format::OpenMetrics);
    }
}
