//! Names of traces and spans.

/// Which span: its trace, and itself in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpanContext {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    /// Whether somebody keeps it.
    pub(super) sampled: bool,
}

impl SpanContext {
    /// Reads a W3C `traceparent`, such as `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`. Later versions may have
    /// more behind it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version.len() != 2 || version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let context = Self { trace: hex(trace)?, span: hex(span)?, sampled: hex::<1>(flags)?[0] & 1 == 1 };
        (context.trace != [0; 16] && context.span != [0; 8]).then_some(context)
    }

    /// The context of the thing with this number: always the same one, so that it need not be remembered. `salt` is
    /// different in each life of a program.
    pub(super) fn of(salt: u64, kind: Kind, number: u64) -> Self {
        let mixed = |step: u64| mix(salt ^ mix(number ^ mix(step)));
        let mut trace = [0; 16];
        // What belongs to an invocation is in its trace.
        let of_trace = if kind == Kind::Publish { 10 } else { 20 };
        trace[..8].copy_from_slice(&mixed(of_trace).to_be_bytes());
        trace[8..].copy_from_slice(&mixed(of_trace + 1).to_be_bytes());
        // All zeros mean nothing.
        trace[0] |= 1;
        let mut span = mixed(kind as u64).to_be_bytes();
        span[0] |= 1;
        Self { trace, span, sampled: false }
    }

    /// Whether its trace is among a share of all, which is the same for every span of the trace: the lower 56 bits decide, as
    /// in W3C Trace Context Level 2.
    pub(super) fn is_among(&self, ratio: f64) -> bool {
        let random = self.trace[9..].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        (random as f64) < ratio * (1_u64 << 56) as f64
    }
}

/// What a span is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Publish = 1,
    Invocation = 2,
    Commit = 3,
}

/// Lower-case hexadecimal digits, exactly as many as there is room for.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N * 2 || !text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Spreads a number over all others: the end of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_traceparent_is_read_and_nothing_else() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = SpanContext::parse(text).unwrap();
        assert_eq!((context.trace[0], context.span[7], context.sampled), (0x4b, 0xb7, true));
        assert!(
            !SpanContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00").unwrap().sampled
        );
        assert!(SpanContext::parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_some());
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert_eq!(SpanContext::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_share_of_the_traces_is_about_that_share() {
        let among =
            |ratio| (0..10_000).filter(|n| SpanContext::of(7, Kind::Invocation, *n).is_among(ratio)).count();
        assert_eq!((among(0.0), among(1.0)), (0, 10_000));
        assert!((800..1200).contains(&among(0.1)), "{}", among(0.1));
    }

    #[test]
    fn a_commit_is_another_span_of_its_invocations_trace() {
        let [invocation, commit] = [Kind::Invocation, Kind::Commit].map(|kind| SpanContext::of(3, kind, 9));
        assert!(invocation.trace == commit.trace && invocation.span != commit.span);
        assert_ne!(SpanContext::of(4, Kind::Invocation, 9).trace, invocation.trace, "another life");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,70}") {
            let _ = SpanContext::parse(&text);
        }
    }
}
