#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod attr;
pub mod clock;
pub mod cred;
pub mod dentry;
pub mod device;
pub mod env;
pub mod fdtable;
pub mod fifo;
pub mod file;
pub mod fs;
pub mod fs_type;
pub mod inode;
pub mod inode_state;
pub mod io;
pub mod locks;
pub mod mount;
pub mod namespace;
pub mod notify;
pub mod path;
pub mod seek;
pub mod super_block;
pub mod wait;
pub mod walk;
