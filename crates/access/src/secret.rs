//! Random secrets and their digests.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tidegate_model::clock::Clock;

/// `N` random bytes as lower-case hexadecimal digits.
pub(crate) fn random_hex<const N: usize>(clock: &dyn Clock) -> String {
    let mut bytes = [0; N];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&clock.random().to_be_bytes()[..chunk.len()]);
    }
    hex(&bytes)
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// True when the text is `digits` lower-case hexadecimal digits.
pub(crate) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The SHA-256 of a secret in hexadecimal digits. A secret of 256 random bits cannot be guessed from it, however quickly
/// it is computed, so nothing slower is needed.
pub(crate) fn digest(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

/// True when the texts are the same. The time it takes does not say where they differ.
pub(crate) fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use tidegate_model::clock::SystemClock;

    use super::*;

    #[test]
    fn random_texts_have_their_length_and_differ() {
        let clock = SystemClock::shared();
        let (one, other) = (random_hex::<6>(&*clock), random_hex::<6>(&*clock));
        assert!(is_hex(&one, 12) && is_hex(&other, 12) && one != other);
        assert!(!is_hex("00C0FFEE00AA", 12) && !is_hex("", 12));
    }

    #[test]
    fn the_digest_is_sha_256() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(same("abc", "abc") && !same("abc", "abd") && !same("abc", "ab"));
    }
}
