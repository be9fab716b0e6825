//! `/proc/sys` (`proc_sys(5)`).
//!
//! One row per setting ([`rows`]); the tree is built from their paths. A number or text that may be written but
//! that nothing here obeys is kept and shown again, as tools that set it expect. Settings that something obeys,
//! or that belong to a namespace, are [`Kind::Live`].

mod live;
mod rows;

use std::collections::BTreeMap;
use std::sync::Arc;

use chitin_abi::{Errno, Result};
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::pseudo::{Dir, LazyDir, Node, Write};
use parking_lot::Mutex;

use super::View;
use crate::kernel::Kernel;

/// What was written to settings that nothing obeys, by path.
#[derive(Default)]
pub struct Store {
    values: Mutex<BTreeMap<&'static str, Vec<u8>>>,
}

impl Store {
    fn get(&self, path: &'static str, default: &str) -> Vec<u8> {
        self.values.lock().get(path).cloned().unwrap_or_else(|| default.as_bytes().to_vec())
    }

    fn set(&self, path: &'static str, value: &[u8]) {
        self.values.lock().insert(path, value.to_vec());
    }
}

type Show = fn(&Kernel, &VfsEnv) -> Result<String>;
type Change = fn(&Kernel, &Write<'_>) -> Result<()>;

/// What a setting is.
#[derive(Clone, Copy)]
enum Kind {
    /// Cannot be changed.
    Fixed(&'static str),
    /// Numbers separated by white space, each in this range.
    Numbers(&'static str, i64, i64),
    /// A line of text.
    Text(&'static str),
    /// Something else.
    Live(Show, Option<Change>),
}

/// A setting: its path below `/proc/sys`, and what it is.
type Row = (&'static str, Kind);

/// Longest text that is kept.
const LONGEST: usize = 1024;

fn check_numbers(bytes: &[u8], count: usize, least: i64, most: i64) -> Result<Vec<u8>> {
    let text = core::str::from_utf8(bytes).map_err(|_| Errno::EINVAL)?;
    let mut numbers = Vec::new();
    for word in text.split_ascii_whitespace() {
        let number: i64 = word.parse().map_err(|_| Errno::EINVAL)?;
        if !(least..=most).contains(&number) {
            return Err(Errno::EINVAL);
        }
        numbers.push(number.to_string());
    }
    if numbers.is_empty() || numbers.len() > count {
        Err(Errno::EINVAL)
    } else {
        Ok(numbers.join("\t").into_bytes())
    }
}

fn change(kernel: &Kernel, row: Row, write: &Write<'_>) -> Result<()> {
    match row.1 {
        Kind::Fixed(_) | Kind::Live(_, None) => Err(Errno::EPERM),
        Kind::Live(_, Some(change)) => change(kernel, write),
        Kind::Text(_) if write.bytes.len() > LONGEST => Err(Errno::EINVAL),
        Kind::Text(_) => {
            kernel.sysctls.set(row.0, write.trimmed());
            Ok(())
        }
        Kind::Numbers(default, least, most) => {
            let count = default.split_ascii_whitespace().count();
            kernel.sysctls.set(row.0, &check_numbers(write.trimmed(), count, least, most)?);
            Ok(())
        }
    }
}

fn node(view: &Arc<View>, row: Row) -> Node {
    let (reading, writing) = (Arc::clone(view), Arc::clone(view));
    let mode = match row.1 {
        Kind::Fixed(_) | Kind::Live(_, None) => 0o444,
        _ => 0o644,
    };
    let node = Node::text_for(mode, move |env, out| {
        let kernel = reading.kernel()?;
        match row.1 {
            Kind::Fixed(text) => out.extend_from_slice(text.as_bytes()),
            Kind::Numbers(default, ..) | Kind::Text(default) => {
                out.append(&mut kernel.sysctls.get(row.0, default));
            }
            Kind::Live(show, _) => out.extend_from_slice(show(&kernel, env)?.as_bytes()),
        }
        out.push(b'\n');
        Ok(())
    });
    if mode == 0o444 {
        return node;
    }
    node.on_write(move |write| {
        // Only the first write of an open counts (`sysctl_writes_strict`).
        if write.offset == 0 {
            change(&*writing.kernel()?, row, write)?;
        }
        Ok(write.bytes.len())
    })
}

/// A directory that is being put together.
#[derive(Default)]
struct Branch {
    files: BTreeMap<&'static str, Row>,
    dirs: BTreeMap<&'static str, Branch>,
}

impl Branch {
    fn insert(&mut self, path: &'static str, row: Row) {
        match path.split_once('/') {
            Some((dir, rest)) => self.dirs.entry(dir).or_default().insert(rest, row),
            None => {
                self.files.insert(path, row);
            }
        }
    }

    fn build(self, view: &Arc<View>) -> Dir {
        let mut dir = Dir::new();
        for (name, branch) in self.dirs {
            dir.insert(name.as_bytes(), Node::dir(0o555, branch.build(view)));
        }
        for (name, row) in self.files {
            dir.insert(name.as_bytes(), node(view, row));
        }
        dir
    }
}

/// The directory `/proc/sys`. Few programs look into it.
pub fn directory(view: &Arc<View>) -> Node {
    let view = Arc::clone(view);
    Node::dir(0o555, LazyDir::new(move || entries(&view)))
}

fn entries(view: &Arc<View>) -> Dir {
    let mut root = Branch::default();
    for row in rows::ALL.iter().flat_map(|rows| rows.iter()) {
        root.insert(row.0, *row);
    }
    // A mount point that programs look for.
    root.dirs.entry("fs").or_default().dirs.entry("binfmt_misc").or_default();
    root.build(view)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_checked() {
        assert_eq!(check_numbers(b"1 2\t3\n", 3, 0, 9), Ok(b"1\t2\t3".to_vec()));
        assert_eq!(check_numbers(b"10", 1, 0, 9), Err(Errno::EINVAL));
        assert_eq!(check_numbers(b"1 2", 1, 0, 9), Err(Errno::EINVAL));
        assert_eq!(check_numbers(b"", 1, 0, 9), Err(Errno::EINVAL));
        assert_eq!(check_numbers(b"x", 1, 0, 9), Err(Errno::EINVAL));
    }

    #[test]
    fn every_path_is_there_once() {
        let mut paths: Vec<&str> =
            rows::ALL.iter().flat_map(|rows| rows.iter()).map(|row| row.0).collect();
        let all = paths.len();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), all);
    }
}
