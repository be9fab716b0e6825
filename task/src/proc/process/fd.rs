//! `/proc/PID/fd` and `/proc/PID/fdinfo`.

use std::sync::Arc;

use chitin_abi::fs::{DT_LNK, DT_REG, O_CLOEXEC};
use chitin_abi::{Errno, Result};
use chitin_vfs::env::VfsEnv;
use chitin_vfs::file::OpenFile;
use chitin_vfs::fs::pseudo::{DirSink, DynamicDir, Listed, Node};
use chitin_vfs::inode::MagicTarget;

use super::Object;
use super::links::shown;
use crate::proc::access;
use crate::proc::pids::parse_number;

/// What an entry of the directory is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Link,
    Info,
}

struct Descriptors {
    object: Object,
    kind: Kind,
}

/// A descriptor as a name says it: `0` is one, `00` is not.
fn parse(name: &[u8]) -> Option<i32> {
    if name == b"0" {
        Some(0)
    } else {
        parse_number(name).and_then(|number| i32::try_from(number).ok())
    }
}

fn open_file(object: &Object, fd: i32) -> Result<(Arc<OpenFile>, bool)> {
    let task = object.task().map_err(|_| Errno::ENOENT)?;
    task.files().get_with_flags(fd).map_err(|_| Errno::ENOENT)
}

/// The text of a descriptor's link.
fn text(file: &OpenFile, env: &VfsEnv) -> Vec<u8> {
    if let Some(text) = file.file().link_text() {
        return text;
    }
    match file.path() {
        Some(path) => shown(path, env),
        None => {
            let kind = match file.attr() {
                Ok(attr) if attr.file_type() == chitin_abi::fs::S_IFIFO => {
                    format!("pipe:[{}]", attr.ino)
                }
                Ok(attr) if attr.file_type() == chitin_abi::fs::S_IFSOCK => {
                    format!("socket:[{}]", attr.ino)
                }
                _ => "anon_inode:[unknown]".to_owned(),
            };
            kind.into_bytes()
        }
    }
}

fn link(object: &Object, fd: i32, file: &OpenFile) -> Node {
    let mut mode = 0o100;
    if file.readable() {
        mode |= 0o400;
    }
    if file.writable() {
        mode |= 0o200;
    }
    let (reading, following, owner) = (object.clone(), object.clone(), object.clone());
    Node::magic(
        mode,
        move |env| {
            access::check(env, &*reading.task().map_err(|_| Errno::ENOENT)?)?;
            Ok(text(&open_file(&reading, fd)?.0, env))
        },
        move |env| {
            access::check(env, &*following.task().map_err(|_| Errno::ENOENT)?)?;
            let file = open_file(&following, fd)?.0;
            Ok(match file.path() {
                Some(path) => MagicTarget::Path(path.clone()),
                None => MagicTarget::File(file),
            })
        },
    )
    .owned_by_now(move || owner.file_owner())
    .sized(64)
}

fn info(object: &Object, fd: i32) -> Node {
    let (target, owner) = (object.clone(), object.clone());
    Node::text_for(0o444, move |_, out| {
        let (file, close_on_exec) = open_file(&target, fd)?;
        let mut flags = file.flags().bits();
        if close_on_exec {
            flags |= O_CLOEXEC;
        }
        let mount = file.path().map_or(0, |path| path.mount().id());
        let ino = file.attr().map_or(0, |attr| attr.ino);
        let position = *file.position.lock();
        let head = format!("pos:\t{position}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{ino}\n");
        out.extend_from_slice(head.as_bytes());
        let table = target.task().map_or(0, |task| task.files().id());
        let locks = crate::proc::locks::of_file(target.view(), table, &file);
        out.extend_from_slice(locks.as_bytes());
        out.extend_from_slice(file.file().fd_info().as_bytes());
        Ok(())
    })
    .owned_by_now(move || owner.file_owner())
}

impl DynamicDir for Descriptors {
    fn lookup(&self, name: &[u8]) -> Result<Option<Node>> {
        let Some(fd) = parse(name) else { return Ok(None) };
        let Ok((file, _)) = open_file(&self.object, fd) else { return Ok(None) };
        Ok(Some(match self.kind {
            Kind::Link => link(&self.object, fd, &file),
            Kind::Info => info(&self.object, fd),
        }))
    }

    fn list(&self, cursor: u64, emit: &mut DirSink<'_>) -> Result<()> {
        let Ok(task) = self.object.task() else { return Ok(()) };
        let kind = if self.kind == Kind::Link { DT_LNK } else { DT_REG };
        for fd in task.files().descriptors() {
            let number = u64::from(fd.unsigned_abs());
            if number < cursor {
                continue;
            }
            let name = fd.to_string();
            if !emit(Listed { name: name.as_bytes(), kind, ino: None, next: number + 1 }) {
                break;
            }
        }
        Ok(())
    }

    fn size(&self) -> Option<u64> {
        let count = || self.object.task().map_or(0, |task| task.files().len() as u64);
        (self.kind == Kind::Link).then(count)
    }
}

fn directory(object: &Object, permissions: u32, kind: Kind) -> Node {
    let (owner, target) = (object.clone(), object.clone());
    Node::dir(permissions, Descriptors { object: object.clone(), kind })
        .owned_by_now(move || owner.file_owner())
        .check_access(move |_, _, env| {
            // A process may always look at its own descriptors, whatever ids it has taken on.
            let task = target.task().ok()?;
            let own = crate::proc::reader(env).is_some_and(|reader| reader.tgid() == task.tgid());
            own.then_some(Ok(()))
        })
}

/// `fd`.
pub fn fd(object: &Object) -> Node {
    directory(object, 0o500, Kind::Link)
}

/// `fdinfo`.
pub fn fdinfo(object: &Object) -> Node {
    directory(object, 0o555, Kind::Info)
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_plain_numbers() {
        assert_eq!(super::parse(b"0"), Some(0));
        assert_eq!(super::parse(b"12"), Some(12));
        assert_eq!(super::parse(b"00"), None);
        assert_eq!(super::parse(b"4294967295"), None);
    }
}
