//! Names of people and programs, as the audit trail has them.

/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// Refuses what cannot stand in the audit trail as a name: who reads a line must be able to tell where the name ends.
///
/// # Errors
/// When the name is empty or too long, begins or ends with a blank, or has control characters or parentheses.
pub fn check(name: &str) -> Result<(), InvalidName> {
    let plain = |character: char| !character.is_control() && !matches!(character, '(' | ')');
    let good =
        !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.trim() == name && name.chars().all(plain);
    if good { Ok(()) } else { Err(InvalidName { name: name.chars().take(64).collect() }) }
}

/// The nearest name that can stand there, of what an identity provider says; `None` when nothing is left of it.
pub fn nearest(name: &str) -> Option<String> {
    let plain = |character: char| match character {
        '(' | ')' => '_',
        other if other.is_control() => ' ',
        other => other,
    };
    let mut text: String = name.chars().map(plain).collect();
    while text.len() > MAX_NAME_BYTES {
        text.pop();
    }
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Nobody can have this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is no name of a person or program: it has 1 to {MAX_NAME_BYTES} bytes, without control characters, \
     parentheses, and blanks at its ends"
)]
pub struct InvalidName {
    /// The name, shortened to 64 characters.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_ends_where_a_reader_thinks() {
        for good in ["mia", "Mia Torres", "mia@example.com", "Zoë", "ci/deploy"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for wrong in ["", " mia", "mia ", "mia (admin)", "a\nb", &"x".repeat(129)] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_a_provider_says_becomes_a_name(text in "\\PC*") {
            if let Some(name) = nearest(&text) {
                prop_assert_eq!(check(&name), Ok(()));
            }
        }
    }
}
