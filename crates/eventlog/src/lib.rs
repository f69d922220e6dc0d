//! The embedded partitioned event log: append, group commit, read, recover, retain.
