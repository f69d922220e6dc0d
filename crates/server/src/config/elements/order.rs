//! `order` and `on_exhausted`: which events keep their order, and what becomes of one whose attempts are used up.

use tidegate_host::settings::{OnExhausted, Order};

use crate::config::value::word_setting;

word_setting!(
    Order: "one of \"partition\", \"key\", \"none\"" { Partition = "partition", Key = "key", None = "none" }
    example "\"key\""
);

word_setting!(
    OnExhausted: "one of \"dead-letter\", \"hold\"" { DeadLetter = "dead-letter", Hold = "hold" }
    example "\"hold\""
);
