//! The front doors of Tidegate: sends become durable appends.
