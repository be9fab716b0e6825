//! Futexes: `futex(2)`, robust lists.

pub use crate::consts::futex::*;

c_struct! {
    /// `struct robust_list_head`.
    pub struct RobustListHead {
        pub list: u64,
        pub futex_offset: i64,
        pub list_op_pending: u64,
    }
}

c_struct! {
    /// `struct futex_waitv`.
    pub struct FutexWaitv {
        pub val: u64,
        pub uaddr: u64,
        pub flags: u32,
        pub reserved: u32,
    }
}

/// Most entries of a robust list that the kernel walks when a thread exits.
pub const ROBUST_LIST_MAX: usize = ROBUST_LIST_LIMIT as usize;
