//! The `tidegate` program as a library.
