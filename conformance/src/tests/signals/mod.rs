//! Signals: how they are sent, blocked, waited for, taken, and what they interrupt.

pub(super) mod restart;
pub(super) mod send;
