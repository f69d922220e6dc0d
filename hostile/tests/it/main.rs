//! Hostile peers against the real front door.
