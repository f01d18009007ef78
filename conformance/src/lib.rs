//! The conformance suite: cases, oracles, judgement, reports.

pub mod oracle;
pub mod property;
