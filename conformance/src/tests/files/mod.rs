//! Names, attributes and descriptors of files.

pub mod access;
pub mod acl;
pub mod chmod;
pub mod chown;
pub mod close;
pub mod create;
pub mod cwd;
pub mod dup;
pub mod getdents;
pub mod handle;
pub mod ioctl;
pub mod link;
pub mod open_flags;
pub mod openat2;
pub mod path_only;
pub mod quota;
pub mod remove;
pub mod rename;
pub mod stat;
pub mod tmpfile;
pub mod utimes;
pub mod xattr;
