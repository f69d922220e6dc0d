//! The embedded store: documents, dead letters, attempts, checkpoints and ownership in one transaction.
