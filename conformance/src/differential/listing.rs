//! What a directory holds, told so that it does not depend on the kernel's choices.

use chitin_abi::Result;
use chitin_abi::fs::{
    AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_DIRECTORY, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, Stat,
};

use super::table::bytes;
use crate::suite::{Calls, Kernel, call};

/// Names with their types (`DT_…`), sorted, without `.` and `..`.
pub(super) fn list_directory(k: &dyn Kernel, path: &str) -> Result<Vec<(String, u8)>> {
    let fd = k.open(path, O_DIRECTORY, 0)?;
    let mut names = Vec::new();
    let mut buffer = vec![0_u8; 4096];
    loop {
        let count = call!(k, GETDENTS64, fd, buffer.as_mut_slice(), 4096)? as usize;
        if count == 0 {
            break;
        }
        let mut rest = buffer.get(..count).unwrap_or_default();
        while let [.., _] = rest {
            let length = usize::from(u16::from_ne_bytes([rest[16], rest[17]]));
            let name = rest[19..length].split(|byte| *byte == 0).next().unwrap_or_default();
            names.push((String::from_utf8_lossy(name).into_owned(), rest[18]));
            rest = &rest[length..];
        }
    }
    k.close(fd)?;
    names.retain(|(name, _)| name != "." && name != "..");
    names.sort();
    Ok(names)
}

/// Type, mode, owner; of files that are no directories the links and, of regular ones and links, the size.
pub(super) fn stat_line(stat: &Stat) -> String {
    let kind = stat.st_mode & S_IFMT;
    let mut text = format!("{:o} {}:{}", stat.st_mode, stat.st_uid, stat.st_gid);
    if kind != S_IFDIR {
        text += &format!(" {} links", stat.st_nlink);
    }
    if matches!(kind, S_IFREG | S_IFLNK) {
        text += &format!(" {} bytes", stat.st_size);
    }
    text
}

/// A tree, one line per file.
pub(super) fn list(k: &dyn Kernel, directory: &str, lines: &mut Vec<String>) {
    let names = match list_directory(k, directory) {
        Ok(names) => names,
        Err(errno) => return lines.push(format!("{directory}: {errno:?}")),
    };
    for (name, _) in names {
        let path = format!("{directory}/{name}");
        let stat = match k.fstatat(AT_FDCWD, &path, AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(errno) => {
                lines.push(format!("{path}: {errno:?}"));
                continue;
            }
        };
        let mut line = format!("{path}: {}", stat_line(&stat));
        match stat.st_mode & S_IFMT {
            S_IFLNK => {
                line += &format!(" -> {:?}", k.readlink(&path).map(|text| bytes(&text)));
            }
            S_IFREG => line += &content(k, &path),
            _ => {}
        }
        lines.push(line);
        if stat.st_mode & S_IFMT == S_IFDIR {
            list(k, &path, lines);
        }
    }
}

fn content(k: &dyn Kernel, path: &str) -> String {
    let read = k.open(path, 0, 0).and_then(|fd| {
        let content = k.read_some(fd, 1 << 18);
        k.close(fd)?;
        content
    });
    match read {
        Ok(content) => format!(", {}", bytes(&content)),
        Err(errno) => format!(", {errno:?}"),
    }
}
