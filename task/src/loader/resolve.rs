//! From a file to a program: `#!` lines are followed, headers read, the interpreter opened. Everything that
//! `execve(2)` reports as an error is found here, before anything of the caller is changed.

use std::sync::Arc;

use chitin_abi::{Errno, Result};
use chitin_vfs::file::{File, OpenFile};
use chitin_vfs::io::SliceSink;

use super::elf::{self, Header, Layout};
use super::script;

/// How often a script's interpreter may be a script.
const MAX_DEPTH: usize = 5;

/// Opens programs for the loader.
pub trait Opener {
    /// Opens a file for execution, by path.
    ///
    /// # Errors
    /// Those of `execve(2)` for the file itself: ENOENT, EACCES, ELOOP, ETXTBSY, ….
    fn open_exec(&self, path: &[u8]) -> Result<Arc<OpenFile>>;
}

/// An ELF file that was opened and understood.
pub struct ElfFile {
    /// The file.
    pub file: Arc<OpenFile>,
    /// Its header.
    pub header: Header,
    /// Its program headers.
    pub layout: Layout,
}

/// What is to be run.
pub struct Program {
    /// The program itself.
    pub elf: ElfFile,
    /// What links it, if it is linked when it starts.
    pub interpreter: Option<ElfFile>,
    /// Arguments, with those that scripts add.
    pub args: Vec<Vec<u8>>,
    /// Environment.
    pub env: Vec<Vec<u8>>,
    /// The path that was given to `execve(2)` (`AT_EXECFN`).
    pub filename: Vec<u8>,
}

/// Finds out what is to be run.
///
/// # Errors
/// ENOEXEC, ELIBBAD, ELOOP, EIO, and what `opener` says.
pub fn resolve(
    file: Arc<OpenFile>,
    filename: &[u8],
    mut args: Vec<Vec<u8>>,
    env: Vec<Vec<u8>>,
    opener: &dyn Opener,
) -> Result<Program> {
    if args.is_empty() {
        // Programs that look at argv[0] without counting are protected from callers that pass none.
        args.push(Vec::new());
    }
    let mut file = file;
    let mut path = filename.to_vec();
    for _ in 0..=MAX_DEPTH {
        let start = read_up_to(&**file.file(), 0, script::SCRIPT_BUFFER)?;
        let Some(script) = script::parse(&start)? else {
            let elf = parse(file, &start, Errno::ENOEXEC)?;
            let interpreter = open_interpreter(&elf, opener)?;
            return Ok(Program { elf, interpreter, args, env, filename: filename.to_vec() });
        };
        let inserted = [Some(script.interpreter.clone()), script.argument, Some(path)];
        args.splice(..1, inserted.into_iter().flatten());
        file = opener.open_exec(&script.interpreter)?;
        path = script.interpreter;
    }
    Err(Errno::ELOOP)
}

/// Understands an ELF file; `start` are its first bytes.
fn parse(file: Arc<OpenFile>, start: &[u8], bad: Errno) -> Result<ElfFile> {
    let header = elf::parse_header(start).map_err(|_| bad)?;
    let table = read_up_to(&**file.file(), header.table_offset, header.table_size())?;
    if table.len() < header.table_size() {
        return Err(bad);
    }
    let layout = elf::parse_layout(&header, &table).map_err(|_| bad)?;
    Ok(ElfFile { file, header, layout })
}

fn open_interpreter(elf: &ElfFile, opener: &dyn Opener) -> Result<Option<ElfFile>> {
    let Some((offset, len)) = elf.layout.interpreter else { return Ok(None) };
    let path = read_up_to(&**elf.file.file(), offset, len.min(elf::MAX_INTERPRETER) as usize)?;
    if path.len() as u64 != len {
        return Err(Errno::EIO);
    }
    let Some((0, name)) = path.split_last() else { return Err(Errno::ENOEXEC) };
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let file = opener.open_exec(name)?;
    let start = read_up_to(&**file.file(), 0, elf::HEADER_SIZE)?;
    if start.len() < elf::HEADER_SIZE {
        return Err(Errno::EIO);
    }
    parse(file, &start, Errno::ELIBBAD).map(Some)
}

/// Reads until `len` bytes are there or the file ends.
pub(super) fn read_up_to(file: &dyn File, offset: u64, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut done = 0;
    while done < len {
        let rest = bytes.get_mut(done..).unwrap_or_default();
        let at = offset.checked_add(done as u64).ok_or(Errno::EIO)?;
        match file.read_at(&mut SliceSink::new(rest), at)? {
            0 => break,
            count => done = done.saturating_add(count).min(len),
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}
