//! The metrics of a scrape as OTLP has them.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric,
    number_data_point,
};
use tidegate_model::clock::Timestamp;

use super::spans::{nanos, text};
use crate::families::{Family, FamilyKind, Sample};

/// The metrics of families that were counted from `start` to `now`.
pub(super) fn metrics_of(families: &[Family], start: Timestamp, now: Timestamp) -> Vec<Metric> {
    families.iter().map(|family| metric_of(family, start, now)).collect()
}

fn metric_of(family: &Family, start: Timestamp, now: Timestamp) -> Metric {
    let number = |sample: &Sample, start: u64| NumberDataPoint {
        attributes: attributes(&sample.labels),
        start_time_unix_nano: start,
        time_unix_nano: nanos(now),
        value: Some(number_data_point::Value::AsDouble(sample.value)),
        ..NumberDataPoint::default()
    };
    let data = match family.kind {
        FamilyKind::Counter => metric::Data::Sum(Sum {
            data_points: family.samples.iter().map(|sample| number(sample, nanos(start))).collect(),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        }),
        FamilyKind::Gauge | FamilyKind::Info => metric::Data::Gauge(Gauge {
            data_points: family.samples.iter().map(|sample| number(sample, 0)).collect(),
        }),
        FamilyKind::Histogram => metric::Data::Histogram(Histogram {
            data_points: histograms(&family.samples, start, now),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
        }),
    };
    let unit = match family.unit.as_deref() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        Some(other) => other,
        None => "1",
    };
    Metric {
        name: family.name.clone(),
        description: family.help.clone(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

/// Samples of one histogram follow each other: its sum, its count, its buckets, the last of which has no bound.
fn histograms(samples: &[Sample], start: Timestamp, now: Timestamp) -> Vec<HistogramDataPoint> {
    let mut points: Vec<HistogramDataPoint> = Vec::new();
    let mut below = 0;
    for sample in samples {
        match sample.suffix.as_str() {
            "_sum" => {
                below = 0;
                points.push(HistogramDataPoint {
                    attributes: attributes(&sample.labels),
                    start_time_unix_nano: nanos(start),
                    time_unix_nano: nanos(now),
                    sum: Some(sample.value),
                    ..HistogramDataPoint::default()
                });
            }
            "_count" => {
                if let Some(point) = points.last_mut() {
                    point.count = sample.value as u64;
                }
            }
            _ => {
                let (Some(point), Some(bound)) = (points.last_mut(), bound_of(sample)) else { continue };
                let up_to = sample.value as u64;
                point.bucket_counts.push(up_to.saturating_sub(below));
                below = up_to;
                if bound.is_finite() {
                    point.explicit_bounds.push(bound);
                }
            }
        }
    }
    points
}

fn bound_of(bucket: &Sample) -> Option<f64> {
    let (_, bound) = bucket.labels.iter().find(|(name, _)| name == "le")?;
    if bound == "+Inf" { Some(f64::INFINITY) } else { bound.parse().ok() }
}

fn attributes(labels: &[(String, String)]) -> Vec<KeyValue> {
    labels.iter().filter(|(name, _)| name != "le").map(|(name, value)| text(name, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::families_of;

    #[test]
    fn counters_gauges_and_histograms_keep_their_meaning() {
        let text = "# HELP c Many.\n# TYPE c counter\nc_total{f=\"x\"} 7\n# HELP g Now.\n# TYPE g gauge\n# UNIT g \
                    bytes\ng 3\n# HELP h Time.\n# TYPE h histogram\n# UNIT h seconds\nh_sum{f=\"x\"} 2.5\nh_count{f=\"x\"} \
                    3\nh_bucket{le=\"0.1\",f=\"x\"} 1\nh_bucket{le=\"1.0\",f=\"x\"} 1\nh_bucket{le=\"+Inf\",f=\"x\"} 3\n# EOF\n";
        let (start, now) = (Timestamp::from_millis(1), Timestamp::from_millis(2));
        let metrics = metrics_of(&families_of(text), start, now);
        let Some(metric::Data::Sum(sum)) = &metrics[0].data else { panic!("{metrics:?}") };
        assert!(sum.is_monotonic && sum.data_points[0].start_time_unix_nano == 1_000_000);
        assert_eq!(sum.data_points[0].attributes[0].key, "f");
        assert!(matches!(&metrics[1].data, Some(metric::Data::Gauge(_))) && metrics[1].unit == "By");
        let Some(metric::Data::Histogram(histogram)) = &metrics[2].data else { panic!("{metrics:?}") };
        let point = &histogram.data_points[0];
        assert_eq!((point.count, point.sum), (3, Some(2.5)));
        assert_eq!((&point.explicit_bounds[..], &point.bucket_counts[..]), (&[0.1, 1.0][..], &[1, 0, 2][..]));
        assert_eq!(point.attributes.len(), 1);
    }
}
