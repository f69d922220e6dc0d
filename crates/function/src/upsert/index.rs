//! Where the members of an object are in its text.
//!
//! The index of an object lists its members in the order of the text, each followed by the members of the object that is
//! its value, and so on. Objects within arrays are not indexed. So a text is scanned once, however deep it is merged.

/// A piece of a text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// The longest text that is indexed; no event and no document comes near it.
pub(super) const MAX_TEXT_BYTES: usize = 1 << 30;

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        let narrow = |place| u32::try_from(place).expect("no text is longer than MAX_TEXT_BYTES");
        Self { start: narrow(start), end: narrow(end) }
    }

    pub(super) fn of(self, text: &[u8]) -> &[u8] {
        &text[self.start as usize..self.end as usize]
    }

    /// The same piece in a copy of the text, in which what was at `from` is at `to`.
    fn moved(self, from: usize, to: usize) -> Self {
        Self::new(self.start as usize + to - from, self.end as usize + to - from)
    }
}

/// Where a member of an object is in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// The key, quotes included.
    pub(super) key: Span,
    /// The value.
    pub(super) value: Span,
    /// How many of the members that follow in the index are within the value.
    pub(super) nested: u32,
}

impl Member {
    /// The same member in a copy of the text, in which what was at `from` is at `to`.
    pub(super) fn moved(self, from: usize, to: usize) -> Self {
        Self { key: self.key.moved(from, to), value: self.value.moved(from, to), nested: self.nested }
    }
}

/// Adds a member to an index whose value is still to be seen. [`end_member`] completes it.
pub(super) fn begin_member(index: &mut Vec<Member>, key: Span) -> usize {
    index.push(Member { key, value: key, nested: 0 });
    index.len() - 1
}

/// Completes the member at this place, now that the members within its value are in the index.
pub(super) fn end_member(index: &mut [Member], place: usize, value: Span) {
    let nested = index.len() - place - 1;
    index[place].value = value;
    index[place].nested = u32::try_from(nested).expect("a text has fewer members than bytes");
}

/// An object: a text, or a part of one, and the index of its members.
#[derive(Clone, Copy)]
pub(super) struct View<'text> {
    pub(super) text: &'text [u8],
    pub(super) index: &'text [Member],
}

impl<'text> View<'text> {
    /// An object without members.
    pub(super) const EMPTY: Self = Self { text: b"{}", index: &[] };

    /// The members in the order of the text.
    pub(super) fn members(self) -> impl Iterator<Item = Source<'text>> {
        let mut rest = self.index;
        std::iter::from_fn(move || {
            let source = Source { text: self.text, index: rest };
            rest = &rest[1 + rest.first()?.nested as usize..];
            Some(source)
        })
    }

    /// The value of a member by the text of its key. The last one counts where a key comes twice.
    pub(super) fn get(self, key: &[u8]) -> Option<Source<'text>> {
        self.members().filter(|member| member.key() == key).last()
    }
}

/// A member and the text it is in.
#[derive(Clone, Copy)]
pub(super) struct Source<'text> {
    pub(super) text: &'text [u8],
    /// The index from this member on; never empty.
    index: &'text [Member],
}

impl<'text> Source<'text> {
    /// Where the member is.
    pub(super) fn member(self) -> Member {
        self.index[0]
    }

    /// The index of the value.
    pub(super) fn nested(self) -> &'text [Member] {
        &self.index[1..=self.index[0].nested as usize]
    }

    /// The text of the key, quotes included.
    pub(super) fn key(self) -> &'text [u8] {
        self.index[0].key.of(self.text)
    }

    /// The text of the value.
    pub(super) fn value(self) -> &'text [u8] {
        self.index[0].value.of(self.text)
    }

    /// The value if it is an object.
    pub(super) fn object(self) -> Option<View<'text>> {
        self.value().starts_with(b"{").then_some(View { text: self.text, index: self.nested() })
    }
}
