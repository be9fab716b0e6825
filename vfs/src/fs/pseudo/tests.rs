use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use chitin_abi::fs::{DT_DIR, DT_REG, OpenFlags, SEEK_CUR, SEEK_END, SEEK_SET};
use chitin_abi::poll::PollEvents;
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

use super::{Dir, DirSink, DynamicDir, Listed, Node, PseudoFs, Style, TableDir, TableEntry};
use crate::attr::SetAttr;
use crate::env::VfsEnv;
use crate::file::{File, WriteAt};
use crate::inode::Inode;
use crate::io::{SliceSource, VecSink};
use crate::wait::WaitQueue;

fn env() -> VfsEnv {
    VfsEnv::default()
}

fn mount(root: Dir) -> Arc<dyn Inode> {
    PseudoFs::mount(Style::proc(), Node::dir(0o555, root)).1
}

fn open(dir: &Arc<dyn Inode>, name: &str) -> Arc<dyn File> {
    dir.lookup(name.as_bytes()).unwrap().open(OpenFlags::O_RDWR, &env()).unwrap()
}

fn read(file: &Arc<dyn File>, offset: u64, count: usize) -> Result<Vec<u8>> {
    let mut sink = VecSink::new(count);
    file.read_at(&mut sink, offset)?;
    Ok(sink.bytes)
}

fn names(dir: &Arc<dyn File>, from: u64, most: usize) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    dir.read_dir(from, &mut |entry| {
        if found.len() == most {
            return false;
        }
        found.push((String::from_utf8_lossy(entry.name).into_owned(), entry.next));
        true
    })
    .unwrap();
    found
}

/// Directories named by the numbers in the list.
struct Numbers(Arc<Mutex<Vec<u64>>>);

impl DynamicDir for Numbers {
    fn lookup(&self, name: &[u8]) -> Result<Option<Node>> {
        let number = std::str::from_utf8(name).ok().and_then(|text| text.parse().ok());
        Ok(number
            .filter(|number| self.0.lock().contains(number))
            .map(|_| Node::dir(0o555, Dir::new())))
    }

    fn list(&self, cursor: u64, emit: &mut DirSink<'_>) -> Result<()> {
        let numbers = self.0.lock().clone();
        for number in numbers.into_iter().filter(|number| *number >= cursor) {
            let name = number.to_string();
            if !emit(Listed { name: name.as_bytes(), kind: DT_DIR, ino: None, next: number + 1 }) {
                break;
            }
        }
        Ok(())
    }
}

#[test]
fn text_is_kept_for_a_pass_and_made_again_at_offset_zero() {
    let count = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&count);
    let root = mount(Dir::new().with(
        "n",
        Node::text(0o444, move |out| {
            out.extend_from_slice(
                format!("pass {}\n", counter.fetch_add(1, Ordering::Relaxed)).as_bytes(),
            );
            Ok(())
        }),
    ));
    let file = open(&root, "n");
    assert_eq!(read(&file, 0, 4).unwrap(), b"pass");
    assert_eq!(read(&file, 4, 100).unwrap(), b" 0\n");
    assert_eq!(read(&file, 7, 100).unwrap(), b"");
    assert_eq!(read(&file, u64::MAX, 100).unwrap(), b"");
    assert_eq!(read(&file, 0, 100).unwrap(), b"pass 1\n");
    assert_eq!(count.load(Ordering::Relaxed), 2);
    assert_eq!(file.seek(3, 2, SEEK_CUR), Ok(5));
    assert_eq!(file.seek(3, -1, SEEK_SET), Err(Errno::EINVAL));
    assert_eq!(file.seek(3, 0, SEEK_END), Err(Errno::EINVAL));
    assert_eq!(file.map().err(), Some(Errno::ENODEV));
}

#[test]
fn writes_reach_the_handler() {
    let value = Arc::new(AtomicU64::new(0));
    let stored = Arc::clone(&value);
    let root = mount(Dir::new().with("plain", Node::fixed(0o644, "x")).with(
        "setting",
        Node::sink(0o644).on_write(move |write| {
            stored.store(write.number()?, Ordering::Relaxed);
            Ok(write.bytes.len())
        }),
    ));
    let file = open(&root, "setting");
    assert_eq!(file.write_at(&mut SliceSource::new(b" 42\n"), WriteAt::Offset(0)), Ok((4, 4)));
    assert_eq!(value.load(Ordering::Relaxed), 42);
    assert_eq!(file.write_at(&mut SliceSource::new(b"no"), WriteAt::Offset(0)), Err(Errno::EINVAL));
    assert_eq!(read(&file, 0, 1), Err(Errno::EINVAL));
    let plain = open(&root, "plain");
    assert_eq!(
        plain.write_at(&mut SliceSource::new(b"no"), WriteAt::Offset(0)),
        Err(Errno::EINVAL)
    );
}

#[test]
fn listing_goes_on_while_entries_come_and_go() {
    let numbers = Arc::new(Mutex::new(vec![1, 5, 9]));
    let root =
        mount(Dir::new().with("fixed", Node::fixed(0o444, "")).and(Numbers(Arc::clone(&numbers))));
    let dir = Arc::clone(&root).open(OpenFlags::empty(), &env()).unwrap();
    let first = names(&dir, 0, 4);
    assert_eq!(
        first.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        [".", "..", "fixed", "1"]
    );
    *numbers.lock() = vec![1, 7, 9, 11];
    let rest = names(&dir, first[3].1, 10);
    assert_eq!(rest.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["7", "9", "11"]);
    assert!(names(&dir, rest[2].1, 10).is_empty());
    assert!(root.lookup(b"7").is_ok());
    assert_eq!(root.lookup(b"5").err(), Some(Errno::ENOENT));
    assert_eq!(names(&dir, u64::MAX, 10), []);
}

#[test]
fn numbers_are_stable_and_listed() {
    let numbers = Arc::new(Mutex::new(vec![3]));
    let root =
        mount(Dir::new().with("own", Node::fixed(0o444, "").numbered(77)).and(Numbers(numbers)));
    let dir = Arc::clone(&root).open(OpenFlags::empty(), &env()).unwrap();
    let mut listed = Vec::new();
    dir.read_dir(2, &mut |entry| {
        listed.push((entry.ino, entry.kind));
        true
    })
    .unwrap();
    let ino = |name: &[u8]| root.lookup(name).unwrap().attr().unwrap().ino;
    assert_eq!(listed, [(ino(b"own"), DT_REG), (ino(b"3"), DT_DIR)]);
    assert_eq!(ino(b"own"), 77);
    assert_eq!(ino(b"3"), ino(b"3"));
}

#[test]
fn attributes_follow_the_style() {
    let tree = || Dir::new().with("f", Node::fixed(0o444, "").owned_by_now(|| (5, 6)));
    let change = SetAttr { mode: Some(0o600), ..SetAttr::default() };
    let now = Timespec { tv_sec: 9, tv_nsec: 0 };
    let proc = mount(tree()).lookup(b"f").unwrap();
    let attr = proc.attr().unwrap();
    assert_eq!((attr.mode, attr.uid, attr.gid, attr.size, attr.nlink), (0o100_444, 5, 6, 0, 1));
    assert_eq!(proc.set_attr(&change, now), Err(Errno::EPERM));
    assert_eq!(proc.set_attr(&SetAttr { size: Some(0), ..SetAttr::default() }, now), Ok(()));
    let sys = PseudoFs::mount(Style::sysfs(), Node::dir(0o755, tree())).1;
    let file = sys.lookup(b"f").unwrap();
    assert_eq!(file.set_attr(&change, now), Ok(()));
    let again = sys.lookup(b"f").unwrap().attr().unwrap();
    assert_eq!((again.mode, again.ctime.tv_sec, again.size), (0o100_600, 9, 4096));
    assert_eq!(file.open(OpenFlags::O_WRONLY, &env()).err(), Some(Errno::EACCES));
}

#[test]
fn tables_make_only_what_is_asked_for() {
    static TABLE: [TableEntry<u32>; 2] = [
        TableEntry { name: "id", kind: DT_REG, make: |id| Node::fixed(0o444, id.to_string()) },
        TableEntry { name: "never", kind: DT_REG, make: |_| unreachable!() },
    ];
    let root = mount(
        Dir::new()
            .with("t", Node::dir(0o555, TableDir::new(8, &TABLE)))
            .with("gone", Node::dir(0o555, TableDir::new(8, &TABLE).alive_while(|_| false))),
    );
    let table = root.lookup(b"t").unwrap();
    assert_eq!(read(&open(&table, "id"), 0, 9).unwrap(), b"8");
    let dir = table.open(OpenFlags::empty(), &env()).unwrap();
    assert_eq!(names(&dir, 3, 9), [("never".to_owned(), 4)]);
    assert_eq!(root.lookup(b"gone").unwrap().lookup(b"id").err(), Some(Errno::ENOENT));
    assert_eq!(root.attr().unwrap().nlink, 4);
}

#[test]
fn poll_reports_each_change_once() {
    let generation = Arc::new(AtomicU64::new(1));
    let watched = Arc::clone(&generation);
    let queue = Arc::new(WaitQueue::new());
    let node = Node::fixed(0o444, "").on_poll(queue, move || watched.load(Ordering::Relaxed));
    let file = open(&mount(Dir::new().with("mounts", node)), "mounts");
    assert!(!file.poll().contains(PollEvents::POLLPRI));
    generation.store(2, Ordering::Relaxed);
    assert!(file.poll().contains(PollEvents::POLLPRI | PollEvents::POLLERR));
    assert!(!file.poll().contains(PollEvents::POLLPRI));
    assert!(file.wait_queue().is_some());
}

#[test]
fn only_the_kernel_makes_files() {
    let root = mount(Dir::new().with("l", Node::symlink(|_| Ok(b"x".to_vec()))));
    let new = crate::attr::NewFile { mode: 0o100_644, uid: 0, gid: 0, rdev: 0 };
    assert_eq!(root.create(b"a", &new).err(), Some(Errno::ENOENT));
    assert_eq!(root.mkdir(b"a", &new).err(), Some(Errno::ENOENT));
    let sys = PseudoFs::mount(Style::sysfs(), Node::dir(0o755, Dir::new())).1;
    assert_eq!(sys.create(b"a", &new).err(), Some(Errno::EACCES));
    assert_eq!(sys.mkdir(b"a", &new).err(), Some(Errno::EPERM));
    assert_eq!(root.unlink(b"l").err(), Some(Errno::EPERM));
    assert_eq!(root.lookup(b"l").unwrap().read_link(&env()).unwrap(), b"x");
    assert_eq!(root.read_link(&env()).err(), Some(Errno::EINVAL));
    assert_eq!(root.lookup(b"l").unwrap().lookup(b"y").err(), Some(Errno::ENOTDIR));
}
