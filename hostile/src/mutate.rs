//! Changes to bytes, as fuzzers make them: small ones, so that most of what was there keeps its sense.

/// SplitMix64 (Steele, Lea, Flood 2014): the same seed makes the same changes.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a limit; 0 if there is none.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next_number() % (limit.max(1) as u64)).unwrap_or(0)
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }

    /// Random bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next_number() as u8).collect()
    }
}

/// Numbers at which encodings and arithmetic change.
const BORDERS: [u32; 14] =
    [0, 1, 7, 8, 127, 128, 255, 256, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];

/// Changes bytes in one to four places. `other` lends pieces, and nothing grows beyond `most` bytes.
pub fn mutate(bytes: &mut Vec<u8>, other: &[u8], most: usize, random: &mut Random) {
    for _ in 0..=random.below(4) {
        change(bytes, other, random);
    }
    bytes.truncate(most);
}

fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(bytes.len());
    let piece = |of: &[u8], random: &mut Random| {
        let start = random.below(of.len());
        let length = random.below((of.len() - start).min(64) + 1);
        of[start..start + length].to_vec()
    };
    match random.below(8) {
        _ if bytes.is_empty() => *bytes = other.to_vec(),
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next_number() as u8,
        2 => {
            let border = BORDERS[random.below(BORDERS.len())].to_be_bytes();
            let width = [1, 2, 4][random.below(3)];
            for (place, byte) in bytes[at..].iter_mut().zip(&border[4 - width..]) {
                *place = *byte;
            }
        }
        3 => {
            let end = (at + 1 + random.below(32)).min(bytes.len());
            bytes.drain(at..end);
        }
        4 => {
            let inserted = piece(bytes, random);
            bytes.splice(at..at, inserted);
        }
        5 if !other.is_empty() => {
            let inserted = piece(other, random);
            bytes.splice(at..at, inserted);
        }
        6 if !other.is_empty() => {
            let from = random.below(other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        _ => {
            let length = random.below(16);
            let inserted = random.bytes(length);
            bytes.splice(at..at, inserted);
        }
    }
}
