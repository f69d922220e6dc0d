//! What a function is written against: folds over documents, batches, and the no-code upsert.
