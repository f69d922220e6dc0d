//! The processor: owns partitions, batches, invokes functions, decides outcomes, commits.
