//! The HTTP API as data: what requests and answers look like as JSON, for the server and for everybody who speaks to it.
//!
//! A listing is asked for a page at a time. With `Accept: application/json` a page is a [`Page`]; otherwise it is one JSON
//! object a line, and the cursor of the next page is in the header [`NEXT_HEADER`]. An error is a [`Problem`].
//!
//! Every shape is written and read by the same definition, and describes itself for the OpenAPI document.

mod alerts;
mod audit;
mod bulk_acts;
mod checkpoints;
mod circuits;
mod configuration;
mod dead_letters;
mod documents;
mod events;
mod failures;
mod functions;
mod hubs;
mod overview;
mod page;
mod parked;
mod problem;
mod sources;
mod telemetry;
mod trace;
mod trail;
mod values;

pub use alerts::{Alert, AlertStep, Notice, NoticeDelivery};
pub use audit::{
    AuditAccount, AuditFinding, AuditGap, AuditTally, DeepAuditStretch, FunctionAudit, PartitionAudit,
};
pub use bulk_acts::{BulkAct, BulkActRequest, BulkDeed};
pub use checkpoints::{Checkpoint, SeekRequest, SeekResult};
pub use circuits::{
    Circuit, CircuitActed, CircuitAction, Pause, PauseAction, PauseRequest, PauseResult, Probe,
    ReasonRequest, Stop,
};
pub use configuration::{Origin, Setting};
pub use dead_letters::{
    DeadLetter, DeadLetterActed, DeadLetterFilter, DeadLetterGroup, DeadLetterRef, DocumentState,
    EditRequest, EditResult, Lease, ManyRequest, Note, NoteRequest, Trend, TrendPoint,
};
pub use documents::{Collection, Document, DocumentHistory, QueryRequest, Writer};
pub use events::{Attempt, Event, EventData, EventEdit};
pub use failures::FailureCause;
pub use functions::{CircuitSettings, DryRun, DryRunRequest, Function, FunctionSettings, RetrySettings};
pub use hubs::{CreateHubRequest, DeletedHub, GroupAction, Hub, HubGroupRequest, HubGroupResult, Partition};
pub use overview::{
    CollectionOverview, FunctionCircuit, FunctionOverview, HubOverview, LaneOverview, Latency, Overview,
};
pub use page::{ListingOrder, Page};
pub use parked::{Parked, ParkedRequest, ParkedResult};
pub use problem::{PROBLEM_JSON, Problem};
pub use sources::{Source, SourceCheckpoint, SourcePartition, SourceState, SourceStatus};
pub use telemetry::{LogLine, Scale, Series, SeriesLine};
pub use trace::{FunctionTrace, Trace};
pub use trail::TrailLine;
pub use values::{JsonText, Properties};

/// The header that carries the cursor of the next page of an NDJSON listing, percent-encoded; absent on the last one.
pub const NEXT_HEADER: &str = "tidegate-next";

/// The header that says that rows of a query were left out because of a limit.
pub const TRUNCATED_HEADER: &str = "tidegate-truncated";

/// The header that names the person behind a key.
pub const USER_HEADER: &str = "tidegate-user";
