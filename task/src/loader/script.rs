//! `#!` lines: pure decoding.

use chitin_abi::{Errno, Result};

/// Bytes at the start of a file that are looked at (`BINPRM_BUF_SIZE`).
pub const SCRIPT_BUFFER: usize = 256;

/// What a `#!` line names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Path of the interpreter.
    pub interpreter: Vec<u8>,
    /// Everything behind it, as one argument.
    pub argument: Option<Vec<u8>>,
}

/// Decodes the first bytes of a file; `None` for what is no script.
///
/// # Errors
/// ENOEXEC for an empty line, or a name that the buffer cuts off.
pub fn parse(bytes: &[u8]) -> Result<Option<Script>> {
    let Some(line) = bytes.strip_prefix(b"#!") else { return Ok(None) };
    let line = line.get(..SCRIPT_BUFFER - 2).unwrap_or(line);
    // The kernel's buffer is padded with NULs, and a NUL ends the line as well as a newline does.
    let complete = line.len() < SCRIPT_BUFFER - 2;
    let end = line.iter().position(|byte| matches!(byte, b'\n' | 0));
    let line = match end {
        Some(end) => line.get(..end).unwrap_or_default(),
        None if complete => line,
        // The line is longer than the buffer: its end is lost, which only an argument may be.
        None => {
            let line = line.get(..line.len() - 1).unwrap_or_default();
            let name = trim_start(line);
            if !name.iter().any(|byte| is_blank(*byte)) {
                return Err(Errno::ENOEXEC);
            }
            line
        }
    };
    let line = trim_start(trim_end(line));
    if line.is_empty() {
        return Err(Errno::ENOEXEC);
    }
    let name_end = line.iter().position(|byte| is_blank(*byte)).unwrap_or(line.len());
    let (name, rest) = line.split_at(name_end);
    let argument = trim_start(rest);
    let argument = (!argument.is_empty()).then(|| argument.to_vec());
    Ok(Some(Script { interpreter: name.to_vec(), argument }))
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !is_blank(*byte)).unwrap_or(bytes.len());
    bytes.get(start..).unwrap_or_default()
}

fn trim_end(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| !is_blank(*byte)).map_or(0, |last| last + 1);
    bytes.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(interpreter: &[u8], argument: Option<&[u8]>) -> Result<Option<Script>> {
        Ok(Some(Script {
            interpreter: interpreter.to_vec(),
            argument: argument.map(<[u8]>::to_vec),
        }))
    }

    #[test]
    fn lines_as_linux_reads_them() {
        assert_eq!(parse(b"\x7fELF"), Ok(None));
        assert_eq!(parse(b"#"), Ok(None));
        assert_eq!(parse(b"#!/bin/sh\n"), script(b"/bin/sh", None));
        assert_eq!(parse(b"#!/bin/sh"), script(b"/bin/sh", None));
        assert_eq!(parse(b"#! \t/bin/sh  -e  -x \t\nfoo"), script(b"/bin/sh", Some(b"-e  -x")));
        assert_eq!(parse(b"#!/bin/sh\0-e\n"), script(b"/bin/sh", None));
        assert_eq!(parse(b"#!\n"), Err(Errno::ENOEXEC));
        assert_eq!(parse(b"#!   "), Err(Errno::ENOEXEC));
    }

    #[test]
    fn long_lines_are_cut_in_the_argument_only() {
        let mut long = b"#!/bin/sh ".to_vec();
        long.extend(core::iter::repeat_n(b'a', 400));
        long.truncate(SCRIPT_BUFFER);
        let Ok(Some(parsed)) = parse(&long) else { panic!("not a script") };
        assert_eq!(parsed.argument.map(|argument| argument.len()), Some(SCRIPT_BUFFER - 1 - 10));
        let mut name = b"#!/".to_vec();
        name.extend(core::iter::repeat_n(b'a', 400));
        assert_eq!(parse(&name), Err(Errno::ENOEXEC));
    }
}
