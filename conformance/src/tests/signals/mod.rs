//! Signals: how they are sent, blocked, waited for, taken, and what they interrupt.

pub(super) mod action;
pub(super) mod mask;
pub(super) mod restart;
pub(super) mod send;
pub(super) mod signalfd;
