//! The directories of processes in `/proc` and of threads in `/proc/PID/task`.

use std::sync::Arc;

use chitin_abi::fs::DT_DIR;
use chitin_abi::{Errno, Result};
use chitin_vfs::fs::pseudo::{DirSink, DynamicDir, Listed, Node};

use super::View;
use super::process::{self, Object};

/// A number as a directory entry says it: decimal without leading zeros.
pub fn parse_number(name: &[u8]) -> Option<u32> {
    let text = core::str::from_utf8(name).ok()?;
    let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// Lists numbered entries in the order of their numbers, from `cursor` on.
///
/// The cursor behind an entry is its number plus one, so that a listing goes on at the right place when
/// processes come and go.
pub fn list_numbers(mut numbers: Vec<u32>, cursor: u64, emit: &mut DirSink<'_>) {
    numbers.sort_unstable();
    for number in numbers.into_iter().filter(|number| u64::from(*number) >= cursor) {
        let name = number.to_string();
        let listed =
            Listed { name: name.as_bytes(), kind: DT_DIR, ino: None, next: u64::from(number) + 1 };
        if !emit(listed) {
            break;
        }
    }
}

/// The processes.
pub struct Processes {
    view: Arc<View>,
}

impl Processes {
    /// Those of a mount.
    pub fn new(view: &Arc<View>) -> Self {
        Self { view: Arc::clone(view) }
    }
}

impl DynamicDir for Processes {
    fn lookup(&self, name: &[u8]) -> Result<Option<Node>> {
        let Some(global) = parse_number(name).and_then(|number| self.view.global(number)) else {
            return Ok(None);
        };
        let kernel = self.view.kernel()?;
        // A thread's number names its process, although it is not listed.
        let group = {
            let tree = kernel.tree.lock();
            match (tree.process(global), tree.task(global)) {
                (Some(entry), _) => Some(Arc::clone(&entry.group)),
                (None, Some(task)) => Some(Arc::clone(&task.group)),
                (None, None) => None,
            }
        };
        Ok(group.map(|group| process::directory(Object::process(&self.view, &group))))
    }

    fn list(&self, cursor: u64, emit: &mut DirSink<'_>) -> Result<()> {
        let kernel = self.view.kernel()?;
        let numbers = {
            let tree = kernel.tree.lock();
            let all = tree.processes().map(|(_, entry)| self.view.number(&entry.group.pid));
            all.filter(|number| *number != 0).collect()
        };
        list_numbers(numbers, cursor, emit);
        Ok(())
    }
}

/// The threads of a process.
pub struct Threads {
    process: Object,
}

impl Threads {
    /// Those of this process.
    pub fn new(process: &Object) -> Self {
        Self { process: process.clone() }
    }
}

impl DynamicDir for Threads {
    fn lookup(&self, name: &[u8]) -> Result<Option<Node>> {
        let view = self.process.view();
        let Some(global) = parse_number(name).and_then(|number| view.global(number)) else {
            return Ok(None);
        };
        let kernel = view.kernel()?;
        let found =
            kernel.tree.lock().task(global).map(|task| (Arc::clone(task), Arc::clone(&task.group)));
        match found {
            Some((task, group)) if group.tgid == self.process.tgid() => {
                Ok(Some(process::directory(Object::thread(view, &group, task.tid()))))
            }
            Some(_) => Ok(None),
            // A zombie leader is still listed under its own number.
            None if global == self.process.tgid() => {
                Ok(Some(process::directory(self.process.as_thread())))
            }
            None => Ok(None),
        }
    }

    fn list(&self, cursor: u64, emit: &mut DirSink<'_>) -> Result<()> {
        let view = self.process.view();
        let kernel = view.kernel()?;
        let mut numbers: Vec<u32> = {
            let tree = kernel.tree.lock();
            let entry = tree.process(self.process.tgid()).ok_or(Errno::ENOENT)?;
            entry.tasks.iter().map(|task| view.number(&task.pid())).collect()
        };
        if numbers.is_empty() {
            numbers.push(self.process.number());
        }
        list_numbers(numbers, cursor, emit);
        Ok(())
    }

    fn nlink(&self) -> u64 {
        let threads = self.process.view().kernel().map_or(0, |kernel| {
            kernel.tree.lock().process(self.process.tgid()).map_or(0, |entry| entry.tasks.len())
        });
        (threads as u64).saturating_add(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_numbers_are_names() {
        assert_eq!(parse_number(b"17"), Some(17));
        for name in [&b"017"[..], b"", b"+1", b"-1", b"1x", b"99999999999"] {
            assert_eq!(parse_number(name), None);
        }
    }

    #[test]
    fn listings_go_on_behind_the_cursor() {
        let mut seen = Vec::new();
        list_numbers(vec![9, 1, 4], 2, &mut |listed| {
            seen.push((listed.name.to_vec(), listed.next));
            true
        });
        assert_eq!(seen, [(b"4".to_vec(), 5), (b"9".to_vec(), 10)]);
    }
}
