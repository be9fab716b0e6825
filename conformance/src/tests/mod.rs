//! The tests, one file per family.

use crate::suite::Family;

mod attr;
mod cred;
mod creds;
mod data;
mod epoll;
mod eventfd;
mod exec;
mod fcntl;
mod files;
mod futex;
mod inotify;
mod io;
mod ipc;
mod locks;
mod memory;
mod mmap;
mod mounts;
mod mqueue;
mod notify;
mod open;
mod pipe;
mod poll;
mod process;
mod ptrace;
mod select;
mod shared;
mod signal;
mod signals;
mod sockets;
mod support;
mod sysvipc;
mod time;
mod timer;
mod tree;
mod tty;
mod unix;
mod wait;

/// All families, by name.
pub const FAMILIES: &[Family] = &[
    attr::FAMILY,
    process::clone::FAMILY,
    process::clone3::FAMILY,
    cred::FAMILY,
    data::aio::FAMILY,
    data::copy::FAMILY,
    data::fallocate::FAMILY,
    data::memfd::FAMILY,
    data::readwrite::FAMILY,
    data::rwf::FAMILY,
    data::secret::FAMILY,
    data::seek::FAMILY,
    data::sendfile::FAMILY,
    data::splice::FAMILY,
    data::sync::FAMILY,
    data::truncate::FAMILY,
    data::vectors::FAMILY,
    creds::ids::FAMILY,
    creds::keys::FAMILY,
    creds::seccomp::FAMILY,
    creds::session::FAMILY,
    epoll::FAMILY,
    eventfd::FAMILY,
    exec::FAMILY,
    process::execve::FAMILY,
    process::pidfd::FAMILY,
    fcntl::FAMILY,
    files::access::FAMILY,
    files::acl::FAMILY,
    files::chmod::FAMILY,
    files::chown::FAMILY,
    files::close::FAMILY,
    files::create::FAMILY,
    files::cwd::FAMILY,
    files::dup::FAMILY,
    files::getdents::FAMILY,
    files::handle::FAMILY,
    files::ioctl::FAMILY,
    files::link::FAMILY,
    files::open_flags::FAMILY,
    files::openat2::FAMILY,
    files::path_only::FAMILY,
    files::quota::FAMILY,
    files::remove::FAMILY,
    files::rename::FAMILY,
    files::stat::FAMILY,
    files::tmpfile::FAMILY,
    files::utimes::FAMILY,
    files::xattr::FAMILY,
    futex::FAMILY,
    inotify::FAMILY,
    io::FAMILY,
    locks::advisory::FAMILY,
    locks::description::FAMILY,
    locks::dnotify::FAMILY,
    locks::hints::FAMILY,
    locks::lease::FAMILY,
    locks::owner::FAMILY,
    locks::record::FAMILY,
    ipc::mq::FAMILY,
    ipc::msg::FAMILY,
    ipc::sem::FAMILY,
    ipc::shm::FAMILY,
    memory::advise::FAMILY,
    memory::map::FAMILY,
    mmap::FAMILY,
    mounts::calls::FAMILY,
    mounts::descriptors::FAMILY,
    mounts::listing::FAMILY,
    mqueue::FAMILY,
    notify::fanotify::FAMILY,
    notify::handles::FAMILY,
    notify::watches::FAMILY,
    open::FAMILY,
    pipe::FAMILY,
    poll::counter::FAMILY,
    poll::epoll_modes::FAMILY,
    poll::polling::FAMILY,
    poll::selecting::FAMILY,
    poll::signals::FAMILY,
    poll::timers::FAMILY,
    ptrace::FAMILY,
    select::FAMILY,
    signals::action::FAMILY,
    signals::mask::FAMILY,
    signals::signalfd::FAMILY,
    signals::restart::FAMILY,
    signals::send::FAMILY,
    signal::FAMILY,
    sockets::datagram::FAMILY,
    sockets::many::FAMILY,
    sockets::names::FAMILY,
    sockets::options::FAMILY,
    sockets::passing::FAMILY,
    sockets::stream::FAMILY,
    sockets::urgent::FAMILY,
    sysvipc::FAMILY,
    time::clock::FAMILY,
    time::timerfd::FAMILY,
    time::timers::FAMILY,
    timer::FAMILY,
    tree::FAMILY,
    tty::devices::FAMILY,
    tty::fifos::FAMILY,
    tty::jobs::FAMILY,
    tty::pseudo::FAMILY,
    unix::FAMILY,
    wait::FAMILY,
    process::wait4::FAMILY,
    process::waitid::FAMILY,
];
