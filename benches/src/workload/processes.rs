//! Processes and threads, and what goes between them.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::timed;
use crate::raw;

/// Sends a byte and waits for one.
fn bounce(mut to: impl Write, mut from: impl Read) -> io::Result<()> {
    to.write_all(b"x")?;
    from.read_exact(&mut [0])
}

/// Sends back every byte until the other end is closed.
fn echo(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut byte = [0];
    while from.read(&mut byte)? == 1 {
        to.write_all(&byte)?;
    }
    Ok(())
}

pub(super) fn pipe(count: u32) -> io::Result<Duration> {
    let (there, back) = (io::pipe()?, io::pipe()?);
    let mut ends = Some((there, back));
    let mut child_ends = None;
    if let Some(((there_reader, there_writer), (back_reader, back_writer))) = ends.take() {
        child_ends = Some((there_writer, back_reader, there_reader, back_writer));
    }
    let Some((to, from, child_from, child_to)) = child_ends else { return Ok(Duration::ZERO) };
    let (parent_to, parent_from) = (to.try_clone()?, from.try_clone()?);
    let child = raw::fork(move || {
        drop((to, from));
        i32::from(echo(&child_from, &child_to).is_err())
    })?;
    let time = timed(count, || bounce(&parent_to, &parent_from))?;
    // The child holds a copy of the writing end through the fork, so it is ended rather than waited for.
    end(child)?;
    Ok(time)
}

fn end(child: i32) -> io::Result<()> {
    Command::new("kill").args(["-9", &child.to_string()]).status()?;
    raw::wait(child).map(drop)
}

pub(super) fn socket(count: u32) -> io::Result<Duration> {
    let (here, there) = UnixStream::pair()?;
    let other = std::thread::spawn(move || echo(&there, &there));
    let time = timed(count, || bounce(&here, &here))?;
    drop(here);
    other.join().map_err(|_| io::Error::other("the echoing thread panicked"))??;
    Ok(time)
}

pub(super) fn thread(count: u32) -> io::Result<Duration> {
    timed(count, || {
        let thread = std::thread::Builder::new().spawn(|| ())?;
        thread.join().map_err(|_| io::Error::other("a thread panicked"))
    })
}

pub(super) fn mutex(count: u32) -> io::Result<Duration> {
    let (sum, start) = (Mutex::new(0_u64), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..count / 2 {
                    if let Ok(mut sum) = sum.lock() {
                        *sum += 1;
                    }
                }
            });
        }
    });
    Ok(start.elapsed())
}

pub(super) fn fork(count: u32) -> io::Result<Duration> {
    timed(count, || raw::wait(raw::fork(|| 0)?).map(drop))
}

pub(super) fn exec(count: u32) -> io::Result<Duration> {
    timed(count, || Command::new("/bin/true").status().map(drop))
}

pub(super) fn shell(count: u32) -> io::Result<Duration> {
    let script = "i=0; while [ $i -lt 50 ]; do /bin/true; i=$((i+1)); done";
    timed(count, || Command::new("/bin/sh").args(["-c", script]).status().map(drop))
}
