//! A served tree against another implementation: diod, which speaks plain 9P2000.L.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chitin_abi::fs::{OpenFlags, S_IFREG};
use chitin_abi::{Errno, Result};
use chitin_vfs::attr::NewFile;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::file::WriteAt;
use chitin_vfs::fs::gofer::{GoferFs, GoferOptions, Session};
use chitin_vfs::inode::Inode;
use chitin_vfs::io::{SliceSource, VecSink};

struct Diod(Child);

impl Drop for Diod {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Notes that a test did not run.
fn skip(test: &str, reason: &str) {
    eprintln!("SKIPPED {test}: {reason}");
    if let Some(path) = std::env::var_os("CHITIN_SKIP_FILE") {
        let file = fs::OpenOptions::new().append(true).create(true).open(path);
        let line = format!("{test}: {reason}\n");
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.expect("the list of skips can be written");
    }
}

/// A server of a directory and a connection with it; `None` where there is no diod.
fn serve(directory: &std::path::Path) -> Option<(Diod, TcpStream)> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("diod")
        .args(["-f", "-n", "-N", "-l", &format!("127.0.0.1:{port}"), "-e"])
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let child = match child {
        Ok(child) => Diod(child),
        Err(error) => {
            skip("a_tree_of_diod", &format!("no diod (package diod): {error}"));
            return None;
        }
    };
    for _ in 0..200 {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            return Some((child, stream));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("diod does not listen");
}

fn read(inode: &Arc<dyn Inode>) -> Vec<u8> {
    let file = Arc::clone(inode).open(OpenFlags::empty(), &VfsEnv::default()).unwrap();
    let mut sink = VecSink::new(1 << 20);
    file.read_at(&mut sink, 0).unwrap();
    sink.bytes
}

#[test]
fn a_tree_of_diod() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("f"), "text of the host").unwrap();
    fs::create_dir(directory.path().join("d")).unwrap();
    let Some((_diod, stream)) = serve(directory.path()) else { return };
    let session = Session::connect(stream.into(), Duration::from_secs(20)).unwrap();
    assert!(!session.is_extended());
    let tree = directory.path().to_str().unwrap().as_bytes();
    let (_, root) = GoferFs::new(&session, tree, GoferOptions::default()).unwrap();
    assert_eq!(read(&root.lookup(b"f").unwrap()), b"text of the host");
    assert_eq!(root.lookup(b"none").err(), Some(Errno::ENOENT));
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let new = NewFile { mode: S_IFREG | 0o640, uid, gid, rdev: 0 };
    let file = root.lookup(b"d").unwrap().create(b"new", &new).unwrap();
    let opened = Arc::clone(&file).open(OpenFlags::O_RDWR, &VfsEnv::default()).unwrap();
    let data = vec![5; 300_000];
    opened.write_at(&mut SliceSource::new(&data), WriteAt::Offset(0)).unwrap();
    opened.sync(false).unwrap();
    assert_eq!(fs::read(directory.path().join("d/new")).unwrap(), data);
    assert_eq!(read(&file), data);
    let dir = root.lookup(b"d").unwrap();
    dir.rename(b"new", &root, b"moved", 0).unwrap();
    dir.symlink(b"link", b"../moved", &new).unwrap();
    let mut names = Vec::new();
    let listing = Arc::clone(&root).open(OpenFlags::O_DIRECTORY, &VfsEnv::default()).unwrap();
    listing
        .read_dir(0, &mut |entry| {
            names.push(String::from_utf8(entry.name.to_vec()).unwrap());
            true
        })
        .unwrap();
    names.sort();
    assert_eq!(names, [".", "..", "d", "f", "moved"]);
    let link = dir.lookup(b"link").unwrap();
    assert_eq!(link.read_link(&VfsEnv::default()).unwrap(), b"../moved");
    let gone: Result<()> = root.unlink(b"moved");
    assert_eq!((gone, directory.path().join("moved").exists()), (Ok(()), false));
    assert!(root.super_block().fs().stats().unwrap().blocks > 0);
}
