#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod acl;
mod acl_cache;
pub mod anon;
pub mod anon_path;
pub mod attr;
pub mod clock;
pub mod cred;
pub mod dentry;
pub mod device;
pub mod env;
pub mod epoll;
pub mod eventfd;
pub mod fdtable;
pub mod file;
pub mod fs;
pub mod fs_type;
pub mod handle;
pub mod host_errno;
pub mod host_poll;
pub mod inode;
pub mod inode_state;
pub mod io;
pub mod locks;
pub mod memfd;
pub mod mount;
pub mod namespace;
pub mod notify;
pub mod path;
pub mod permission;
pub mod pipe;
pub mod rw;
pub mod secret;
pub mod seek;
pub mod super_block;
#[cfg(test)]
pub(crate) mod testing;
pub mod timerfd;
pub mod tty;
pub mod wait;
pub mod walk;
