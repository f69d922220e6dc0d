//! Sequence numbers of 32 bits that wrap around (RFC 1982), as transfer ids, delivery ids and delivery counts are.

/// Whether `a` comes before `b`, in half a circle.
pub(super) fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// What is left of a window of `size` that starts at `start`, when the next id is `next`. Nothing, when `next` is already
/// beyond its end or before its start by a nonsensical distance.
pub(super) fn left_in_window(start: u32, size: u32, next: u32) -> u32 {
    // Both can be far apart after the peer has shrunk its window: the distance is signed.
    let used = next.wrapping_sub(start) as i32;
    match u32::try_from(used) {
        Ok(used) => size.saturating_sub(used),
        // The peer says that it has seen more than was sent. It is taken at its word only for the window itself.
        Err(_) => size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_wraps_around() {
        assert!(before(1, 2));
        assert!(!before(2, 2));
        assert!(before(u32::MAX, 0));
        assert!(!before(0, u32::MAX));
    }

    #[test]
    fn windows_wrap_around_and_never_underflow() {
        assert_eq!(left_in_window(0, 2048, 48), 2000);
        assert_eq!(left_in_window(u32::MAX, 10, 4), 5);
        assert_eq!(left_in_window(0, 3, 9), 0);
        assert_eq!(left_in_window(0, u32::MAX, 9), u32::MAX - 9);
        assert_eq!(left_in_window(9, 5, 0), 5);
    }
}
