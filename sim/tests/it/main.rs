//! The simulation itself: it repeats, the promises hold for a fixed set of seeds, and planted defects are caught.

mod promises;
mod repeats;
mod stores;
