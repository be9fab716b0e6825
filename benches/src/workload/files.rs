//! Files, in a directory of the workload's own below the temporary directory.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use super::timed;

/// A directory that is removed with everything in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("chitin-bench-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn file(&self, size: usize) -> io::Result<File> {
        let path = self.0.join("file");
        fs::write(&path, vec![7; size])?;
        File::options().read(true).write(true).open(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left lies in the temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn stat(count: u32) -> io::Result<Duration> {
    let scratch = Scratch::new()?;
    let deep = scratch.0.join("a/b/c");
    fs::create_dir_all(&deep)?;
    let file = deep.join("file");
    fs::write(&file, b"x")?;
    timed(count, || fs::metadata(&file).map(drop))
}

fn read(count: u32, size: usize) -> io::Result<Duration> {
    let scratch = Scratch::new()?;
    let (file, mut buffer) = (scratch.file(size)?, vec![0; size]);
    timed(count, || file.read_exact_at(&mut buffer, 0))
}

pub(super) fn read_small(count: u32) -> io::Result<Duration> {
    read(count, 4096)
}

pub(super) fn read_large(count: u32) -> io::Result<Duration> {
    read(count, 1 << 20)
}

pub(super) fn write_small(count: u32) -> io::Result<Duration> {
    let scratch = Scratch::new()?;
    let (file, buffer) = (scratch.file(4096)?, vec![1; 4096]);
    timed(count, || file.write_all_at(&buffer, 0))
}

pub(super) fn open_read_close(count: u32) -> io::Result<Duration> {
    let scratch = Scratch::new()?;
    scratch.file(4096)?;
    let (path, mut buffer) = (scratch.0.join("file"), [0; 100]);
    timed(count, || File::open(&path)?.read_exact(&mut buffer))
}

pub(super) fn create_remove(count: u32) -> io::Result<Duration> {
    let scratch = Scratch::new()?;
    let path = scratch.0.join("new");
    timed(count, || {
        File::create(&path)?;
        fs::remove_file(&path)
    })
}

pub(super) fn list(count: u32) -> io::Result<Duration> {
    let scratch = Scratch::new()?;
    for number in 0..1000 {
        File::create(scratch.0.join(format!("file-{number}")))?;
    }
    timed(count, || {
        let entries = fs::read_dir(&scratch.0)?.count();
        if entries == 1000 { Ok(()) } else { Err(io::Error::other("entries are missing")) }
    })
}
