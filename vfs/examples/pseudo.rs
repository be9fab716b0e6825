//! A tree of files that a program makes itself, as `/proc` is made: a counter that is text when it is read, that a write
//! changes, and whose changes wake who polls it; and a watch (inotify) on the directory.
//!
//! Run it with `cargo run -p chitin-vfs --example pseudo`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chitin_abi::fs::{IN_MODIFY, OpenFlags};
use chitin_abi::poll::PollEvents;
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use chitin_vfs::cred::Cred;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::file::File as _;
use chitin_vfs::fs::pseudo::{Dir, Node, PseudoFs, Style};
use chitin_vfs::io::{SliceSource, VecSink};
use chitin_vfs::mount::{MountFlags, NewMount};
use chitin_vfs::namespace::MountNamespace;
use chitin_vfs::notify::Inotify;
use chitin_vfs::wait::{Observer, WaitQueue};
use chitin_vfs::walk::{ResolveFlags, Walk};

/// The file: a number.
fn counter() -> Node {
    let (value, queue) = (Arc::new(AtomicU64::new(0)), Arc::new(WaitQueue::new()));
    let (shown, set, generation) = (Arc::clone(&value), Arc::clone(&value), value);
    let changed = Arc::clone(&queue);
    Node::text(0o644, move |out| {
        out.extend_from_slice(format!("{}\n", shown.load(Ordering::Relaxed)).as_bytes());
        Ok(())
    })
    .on_write(move |write| {
        set.store(write.number()?, Ordering::Relaxed);
        changed.notify(PollEvents::POLLPRI);
        Ok(write.bytes.len())
    })
    .on_poll(queue, move || generation.load(Ordering::Relaxed))
}

/// Who waits for the counter; a kernel would wake a thread here.
struct Waiter;

impl Observer for Waiter {
    fn notify(&self, events: PollEvents) {
        println!("woken by {events:?}");
    }
}

fn run() -> Result<()> {
    let root = Dir::new().with("counter", counter()).with("version", Node::fixed(0o444, "1\n"));
    let (super_block, root) = PseudoFs::mount(Style::proc(), Node::dir(0o555, root));
    let flags = MountFlags::default();
    let mount = NewMount { super_block, root, flags, source: b"none".to_vec() };
    let namespace = MountNamespace::new(mount);
    let (cred, env) = (Cred::root(), VfsEnv::default());
    let walk = Walk {
        root: namespace.root(),
        base: namespace.root(),
        cred: &cred,
        umask: 0,
        now: Timespec::default(),
        resolve: ResolveFlags::empty(),
        env: &env,
    };
    let inotify = Inotify::new(100);
    inotify.add_watch(&namespace.root(), IN_MODIFY, 100)?;

    let reader = walk.open(b"/counter", OpenFlags::empty(), 0)?.file;
    let waiter: Arc<dyn Observer> = Arc::new(Waiter);
    let queue = reader.file().wait_queue().ok_or(Errno::EPERM)?;
    let registration = queue.register(PollEvents::POLLPRI, &waiter);
    let writer = walk.open(b"/counter", OpenFlags::O_WRONLY, 0)?.file;
    writer.write(&mut SliceSource::new(b"42\n"), None, &env)?;
    drop(registration);

    assert!(reader.file().poll().contains(PollEvents::POLLPRI), "the change is reported");
    let mut text = VecSink::new(100);
    reader.read(&mut text, Some(0), &env)?;
    print!("the counter is {}", String::from_utf8_lossy(&text.bytes));
    let mut events = VecSink::new(1000);
    inotify.read_at(&mut events, 0)?;
    println!("the watch has {} bytes of events", events.bytes.len());
    Ok(())
}

fn main() -> core::result::Result<(), Box<dyn std::error::Error>> {
    run().map_err(|error: Errno| error.description().into())
}
