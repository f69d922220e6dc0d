//! Until when the certificates of the front doors are good.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::tls::Certificate;

/// The certificates of front doors, each with the name of its door. Files that were renewed are read at the next scrape.
pub(crate) struct Certificates(pub(crate) Vec<(&'static str, Arc<Certificate>)>);

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(door, _)| door)).finish()
    }
}

impl Collector for Certificates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut metric = encoder.encode_descriptor(
            "tidegate_certificate_expiry_timestamp",
            "When the certificate of a front door ends, since 1970",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        for (door, certificate) in &self.0 {
            let Some(ends) = certificate.ends_at() else { continue };
            let seconds = ConstGauge::new(ends.as_millis() as f64 / 1e3);
            seconds.encode(metric.encode_family(&[("door", *door)])?)?;
        }
        Ok(())
    }
}
