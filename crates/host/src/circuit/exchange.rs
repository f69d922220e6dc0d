//! Changes a register and finds out whether it changed.

use tidegate_model::error::ErrorKind;
use tidegate_model::ports::{RegisterChange, Registers, StoreError};
use tidegate_model::register::Version;

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// It is made. The register's version now; [`Version::NONE`] if it is removed.
    Done(Version),
    /// Somebody else changed the register before.
    Moved,
}

/// Changes a register. When the store's answer is lost, the register itself tells whether the change was made.
///
/// # Errors
/// What the store said when it refused, when the change is not there, or when that cannot be found out either.
pub(crate) async fn exchange<R: Registers + ?Sized>(
    store: &R,
    change: RegisterChange,
) -> Result<Exchange, StoreError> {
    let (key, from, value) = (change.key.clone(), change.from, change.value.clone());
    let error = match store.change_register(change).await {
        Ok(version) => {
            return Ok(Exchange::Done(if value.is_some() { version } else { Version::NONE }));
        }
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::Conflict | ErrorKind::Fenced => return Ok(Exchange::Moved),
        ErrorKind::Permanent => return Err(error),
        ErrorKind::Transient => {}
    }
    let Ok(stored) = store.register(&key).await else { return Err(error) };
    match (stored, value) {
        (Some(stored), Some(value)) if stored.version > from && stored.value == value => {
            Ok(Exchange::Done(stored.version))
        }
        (None, None) => Ok(Exchange::Done(Version::NONE)),
        (stored, _) if stored.as_ref().map_or(Version::NONE, |stored| stored.version) == from => Err(error),
        _ => Ok(Exchange::Moved),
    }
}
