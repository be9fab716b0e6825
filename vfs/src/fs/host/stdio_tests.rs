use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::Errno;
use chitin_abi::fs::{OpenFlags, SEEK_END};
use chitin_abi::poll::PollEvents;

use super::stdio::{HostFile, import};
use crate::cred::Cred;
use crate::env::VfsEnv;
use crate::file::{File, OpenFile, WriteAt};
use crate::host_poll::{HostPoll, NoHostPoll};
use crate::io::{SliceSource, VecSink};

fn poller() -> Arc<dyn HostPoll> {
    Arc::new(NoHostPoll)
}

fn open(fds: Vec<OwnedFd>) -> Vec<Arc<OpenFile>> {
    import(fds, &poller(), &Cred::root()).unwrap()
}

fn write(file: &OpenFile, bytes: &[u8]) -> usize {
    file.write(&mut SliceSource::new(bytes), None, &VfsEnv::default()).unwrap()
}

#[test]
fn two_descriptors_of_one_file_share_the_position() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"before ").unwrap();
    let again = file.try_clone().unwrap();
    let files = open(vec![file.try_clone().unwrap().into(), again.into()]);
    write(&files[0], b"out ");
    write(&files[1], b"err ");
    // Who shares the file on the host goes on behind it.
    file.write_all(b"after").unwrap();
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "before out err after");
}

#[test]
fn files_opened_twice_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let one = fs::File::create(&path).unwrap();
    let two = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let files = open(vec![one.into(), two.into()]);
    assert!(files[1].flags().contains(OpenFlags::O_APPEND));
    write(&files[0], b"abc");
    write(&files[1], b"def");
    write(&files[0], b"X");
    assert_eq!(fs::read(&path).unwrap(), b"abcXef");
    assert_eq!(files[0].file().seek(0, 0, SEEK_END), Ok(6));
    assert!(!files[0].readable());
}

#[test]
fn pipes_do_not_block() {
    let (read_end, write_end) = rustix::pipe::pipe().unwrap();
    let files = open(vec![read_end, write_end]);
    let mut sink = VecSink::new(10);
    assert_eq!(files[0].file().read_at(&mut sink, 0), Err(Errno::EAGAIN));
    assert!(!files[0].file().poll().contains(PollEvents::POLLIN));
    assert_eq!(write(&files[1], b"hello"), 5);
    assert!(files[0].file().poll().contains(PollEvents::POLLIN));
    assert_eq!(files[0].file().read_at(&mut sink, 0), Ok(5));
    let large = vec![7; 1 << 20];
    let written = write(&files[1], &large);
    assert!((4096..1 << 20).contains(&written), "{written}");
    assert_eq!(
        files[1].file().write_at(&mut SliceSource::new(&large), WriteAt::End),
        Err(Errno::EAGAIN)
    );
    assert!(files[0].file().is_stream());
    assert!(files[0].file().link_text().unwrap().starts_with(b"pipe:["));
    drop(files.into_iter().next());
}

#[test]
fn the_end_of_a_pipe_and_a_broken_one() {
    let (read_end, write_end) = rustix::pipe::pipe().unwrap();
    let reader = HostFile::new(read_end, &poller()).unwrap();
    drop(write_end);
    assert_eq!(reader.read_at(&mut VecSink::new(1), 0), Ok(0));
    let (read_end, write_end) = rustix::pipe::pipe().unwrap();
    let writer = HostFile::new(write_end, &poller()).unwrap();
    drop(read_end);
    assert_eq!(writer.write_at(&mut SliceSource::new(b"x"), WriteAt::End), Err(Errno::EPIPE));
}

#[test]
fn sockets_and_null() {
    let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
    let files = open(vec![one.into(), other.into(), fs::File::open("/dev/null").unwrap().into()]);
    let mut sink = VecSink::new(10);
    assert_eq!(files[0].file().read_at(&mut sink, 0), Err(Errno::EAGAIN));
    write(&files[1], b"hi");
    assert_eq!(files[0].file().read_at(&mut sink, 0), Ok(2));
    assert_eq!(files[2].file().read_at(&mut sink, 0), Ok(0));
    assert_eq!(files[2].file().link_text().unwrap(), b"/dev/null");
}

#[test]
fn directories_are_refused() {
    let dir: OwnedFd = fs::File::open("/").unwrap().into();
    assert_eq!(HostFile::new(dir, &poller()).err(), Some(Errno::EISDIR));
}
