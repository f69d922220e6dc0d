//! The circuit breaker: one for the whole fleet, kept in the store.
//!
//! ```text
//!   health window ──► decide ──► open ──► (time passes) ──► half-open ──► one probe ──► closed ──► ramp
//!    all instances      │         ▲                             │
//!                       ▼         └────────── it failed ────────┘
//!                  step aside
//! ```
//!
//! A circuit belongs to a function, or to something that functions depend on and report on; then its name is no
//! function's. Its state is a [register](tidegate_model::register): every instance looks at the same evidence and decides
//! the same, and of several that act at once one wins. [`decide`], [`ramp`] and [`transition`] are pure; [`controller`]
//! has the effects. What a person does goes through [`acts`], with or without a running processor.
//!
//! # What is guaranteed
//!
//! - A circuit changes only by compare-and-set, together with its notice: two instances never both open it, and a state
//!   survives restarts and power cuts.
//! - There is at most one probe at a time. Whoever holds it has it for
//!   [`probe_timeout`](CircuitSettings::probe_timeout), measured on its own steady clock from before it asked; others take
//!   it over only after they have seen it unchanged for that long on theirs. Clocks that differ or jump change nothing.
//!   The holder must end the probe within its time: [`ProbeLease::time_left`].
//! - The probe goes to the instance with the oldest event, as far as that was announced: an instance claims the probe two
//!   poll intervals after it announced its own oldest event at the earliest, and not while another one that was heard of
//!   within the last three announces an older event. If announcements are late the probe is a younger event, never a
//!   second one. After a probe that failed, events that have never failed are [announced as the older
//!   ones](Flow::Probing).
//! - A store that does not answer changes nothing: the last known state stays, and nothing opens or closes. Before a
//!   state is known nothing flows.
//!
//! All instances must have the same settings.

pub mod acts;
pub mod controller;
pub mod counted;
pub mod decide;
pub mod gate;
pub mod guard;
pub mod lanes;
pub mod probe;
pub mod ramp;
pub mod settings;
pub mod status;
pub mod transition;

mod candidates;
pub(crate) mod exchange;
mod window;

pub use controller::{CircuitBreaker, CircuitSetup};
pub use gate::{Flow, Gate, GateState, StepAside};
pub use probe::{ProbeEnd, ProbeLease};
pub use settings::{CircuitSettings, ProbePolicy};
pub use status::{CircuitStatus, status};
