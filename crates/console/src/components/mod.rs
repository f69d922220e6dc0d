//! The parts that pages are made of. Each is a function that returns markup; none knows the API.

pub mod chart;
pub mod controls;
pub mod diff;
pub mod facts;
pub mod lane;
pub mod map;
pub mod mark;
pub mod notice;
pub mod payload;
pub mod plot;
pub mod source;
pub mod table;
pub mod time;
pub mod timeline;
