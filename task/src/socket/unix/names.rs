//! Where names of unix sockets lead: the abstract names of a network namespace, and socket files.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use chitin_abi::fs::{S_IFMT, S_IFSOCK};
use chitin_abi::{Errno, Result};
use chitin_vfs::path::Path;
use parking_lot::Mutex;

use super::address::UnixAddress;
use super::{Kind, UnixSocket};
use crate::socket::Caller;
use crate::socket::control::FlightCounts;

/// Names that `bind` makes up have five hexadecimal digits.
const AUTOBIND_NAMES: u32 = 1 << 20;

/// The unix sockets of a network namespace.
#[derive(Default)]
pub struct UnixNamespace {
    names: Mutex<Names>,
    sockets: Mutex<Vec<Weak<UnixSocket>>>,
    /// Descriptors on their way.
    pub flight: Arc<FlightCounts>,
}

#[derive(Default)]
struct Names {
    /// As on Linux the types have a space of names each.
    abstract_names: HashMap<(Kind, Vec<u8>), Weak<UnixSocket>>,
    next_automatic: u32,
}

/// What a socket file's inode keeps.
struct Bound(Weak<UnixSocket>);

impl UnixNamespace {
    /// Notes a socket for /proc/net/unix.
    pub fn add(&self, socket: &Arc<UnixSocket>) {
        let mut sockets = self.sockets.lock();
        if sockets.len() >= 64 && sockets.len().is_power_of_two() {
            sockets.retain(|socket| socket.strong_count() > 0);
        }
        sockets.push(Arc::downgrade(socket));
    }

    /// All sockets that are open.
    pub fn sockets(&self) -> Vec<Arc<UnixSocket>> {
        self.sockets.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Gives a socket an abstract name.
    pub(super) fn bind(&self, name: &[u8], socket: &Arc<UnixSocket>) -> Result<()> {
        let mut names = self.names.lock();
        names.insert(name.to_vec(), socket)
    }

    /// Gives a socket a name that nobody else has.
    pub(super) fn autobind(&self, socket: &Arc<UnixSocket>) -> Result<Vec<u8>> {
        let mut names = self.names.lock();
        for _ in 0..AUTOBIND_NAMES {
            let number = names.next_automatic;
            names.next_automatic = (number + 1) % AUTOBIND_NAMES;
            let name = format!("{number:05x}").into_bytes();
            if names.insert(name.clone(), socket).is_ok() {
                return Ok(name);
            }
        }
        Err(Errno::ENOSPC)
    }

    /// Takes a name away from the socket, if it is its own.
    pub(super) fn unbind(&self, socket: &UnixSocket, name: &[u8]) {
        let mut names = self.names.lock();
        let key = (socket.kind, name.to_vec());
        if names.abstract_names.get(&key).is_some_and(|owner| core::ptr::eq(owner.as_ptr(), socket))
        {
            names.abstract_names.remove(&key);
        }
    }

    fn find(&self, kind: Kind, name: &[u8]) -> Result<Arc<UnixSocket>> {
        let names = self.names.lock();
        let same_kind = names.abstract_names.get(&(kind, name.to_vec()));
        same_kind.and_then(Weak::upgrade).ok_or(Errno::ECONNREFUSED)
    }
}

impl Names {
    fn insert(&mut self, name: Vec<u8>, socket: &Arc<UnixSocket>) -> Result<()> {
        let key = (socket.kind, name);
        if self.abstract_names.get(&key).is_some_and(|other| other.strong_count() > 0) {
            return Err(Errno::EADDRINUSE);
        }
        self.abstract_names.insert(key, Arc::downgrade(socket));
        Ok(())
    }
}

/// The socket that has this name.
pub(super) fn find(
    address: &UnixAddress,
    kind: Kind,
    caller: &Caller<'_>,
) -> Result<Arc<UnixSocket>> {
    let found = match address {
        UnixAddress::Abstract(name) => caller.net().unix.find(kind, name)?,
        UnixAddress::Path(path) => find_by_path(path, caller)?,
    };
    if found.kind == kind { Ok(found) } else { Err(Errno::EPROTOTYPE) }
}

fn find_by_path(path: &[u8], caller: &Caller<'_>) -> Result<Arc<UnixSocket>> {
    let inode = caller.find_writable(path)?.inode();
    if inode.attr()?.mode & S_IFMT != S_IFSOCK {
        return Err(Errno::ECONNREFUSED);
    }
    let extension = inode.state().extension().lock();
    let bound = extension.as_ref().and_then(|bound| bound.downcast_ref::<Bound>());
    bound.and_then(|bound| bound.0.upgrade()).ok_or(Errno::ECONNREFUSED)
}

fn make_file(path: &[u8], caller: &Caller<'_>) -> Result<Path> {
    caller.make_socket_file(path).map_err(|errno| match errno {
        Errno::EEXIST => Errno::EADDRINUSE,
        other => other,
    })
}

/// What binding a socket to a path fails with that has a name already: the file is made first, and goes again.
pub(super) fn bind_path_again(path: &[u8], caller: &Caller<'_>) -> Errno {
    let made = make_file(path, caller).and_then(|_| caller.remove_socket_file(path));
    made.err().unwrap_or(Errno::EINVAL)
}

/// Makes a socket file and ties the socket to it.
pub(super) fn bind_path(path: &[u8], socket: &Arc<UnixSocket>, caller: &Caller<'_>) -> Result<()> {
    let made = make_file(path, caller)?;
    let bound: Arc<Bound> = Arc::new(Bound(Arc::downgrade(socket)));
    let inode = made.inode();
    let old = inode.state().extension().lock().replace(bound);
    drop(old);
    // The inode, and with it what ties the socket to it, lives at least as long as the socket.
    socket.keep(made);
    Ok(())
}
