//! Operations on files.

use std::ffi::CString;

use chitin_abi::fs::{
    AT_FDCWD, O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDWR, O_TRUNC, O_WRONLY,
};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use serde::{Deserialize, Serialize};

use super::listing::{list, list_directory, stat_line};
use super::table::{SLOTS, Slots, bytes, done, show};
use crate::suite::{Arg, Calls, Kernel, call};

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    Open { slot: u8, path: String, flags: u32, mode: u32 },
    Close { slot: u8 },
    Read { slot: u8, count: u32 },
    Write { slot: u8, count: u32, byte: u8 },
    Pread { slot: u8, count: u32, offset: i64 },
    Pwrite { slot: u8, count: u32, offset: i64, byte: u8 },
    Seek { slot: u8, offset: i64, whence: u32 },
    Truncate { path: String, size: i64 },
    Ftruncate { slot: u8, size: i64 },
    Fallocate { slot: u8, mode: u32, offset: i64, length: i64 },
    CopyRange { from: u8, to: u8, count: u32 },
    Dup { from: u8, to: u8 },
    SetFlags { slot: u8, flags: u32 },
    Mkdir { path: String, mode: u32 },
    Rmdir { path: String },
    Unlink { path: String },
    Link { old: String, new: String },
    Symlink { target: String, path: String },
    Rename { old: String, new: String, flags: u32 },
    Chmod { path: String, mode: u32 },
    Stat { path: String, follow: bool },
    Fstat { slot: u8 },
    Readlink { path: String },
    ReadDirectory { path: String },
    Access { path: String, mode: u32 },
    SetXattr { path: String, name: String, value: u8, flags: u32 },
    GetXattr { path: String, name: String },
    ListXattr { path: String },
    RemoveXattr { path: String, name: String },
    Flock { slot: u8, operation: u32 },
    Lock { slot: u8, kind: u16, start: i64, length: i64 },
}

/// Names of one or more components that never lead out of the directory.
fn paths() -> impl Strategy<Value = String> + Clone {
    let name = prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "c"]),
        1 => prop::sample::select(vec![".", ".."]),
    ];
    (prop::collection::vec(name, 1..4), prop::bool::weighted(0.08)).prop_map(|(names, slash)| {
        let mut depth = 0_usize;
        let mut kept = Vec::new();
        for name in names {
            match name {
                ".." if depth == 0 => kept.push("."),
                ".." => {
                    depth -= 1;
                    kept.push(name);
                }
                "." => kept.push(name),
                _ => {
                    depth += 1;
                    kept.push(name);
                }
            }
        }
        kept.join("/") + if slash { "/" } else { "" }
    })
}

fn targets() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "a/b", "b/c", "./a", "c/"]).prop_map(str::to_owned)
}

fn open_flags() -> impl Strategy<Value = u32> {
    let access = prop::sample::select(vec![0, O_WRONLY, O_RDWR, O_RDWR]);
    let more = prop::sample::select(vec![
        0,
        O_CREAT,
        O_CREAT,
        O_CREAT | O_EXCL,
        O_TRUNC,
        O_CREAT | O_TRUNC,
        O_CREAT | O_APPEND,
        O_APPEND,
        O_DIRECTORY,
        O_NOFOLLOW,
        O_PATH,
        O_CREAT | O_DIRECTORY,
    ]);
    (access, more).prop_map(|(access, more)| access | more)
}

fn offsets() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => 0..64_i64,
        2 => prop::sample::select(vec![4095, 4096, 4097, 8192, 12288, 65536, 100_000]),
        1 => Just(-1),
    ]
}

fn counts() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..64_u32, 2 => prop::sample::select(vec![4096, 5000, 8192, 70_000])]
}

fn names() -> impl Strategy<Value = String> {
    let names = vec!["user.a", "user.b", "trusted.c", "user.", "nothing.d"];
    prop::sample::select(names).prop_map(str::to_owned)
}

/// Any operation.
pub(super) fn operations() -> impl Strategy<Value = Operation> + 'static {
    prop_oneof![3 => of_names(), 3 => of_content(), 1 => of_attributes()]
}

fn of_names() -> impl Strategy<Value = Operation> {
    use Operation as O;
    let mode = || prop::sample::select(vec![0o755, 0o700, 0o644, 0o1777, 0o6755]);
    let flags =
        prop_oneof![5 => Just(0_u32), 1 => Just(1), 1 => Just(2), 1 => Just(3), 1 => Just(4)];
    prop_oneof![
        4 => (paths(), mode()).prop_map(|(path, mode)| O::Mkdir { path, mode }),
        1 => paths().prop_map(|path| O::Rmdir { path }),
        2 => paths().prop_map(|path| O::Unlink { path }),
        2 => (paths(), paths()).prop_map(|(old, new)| O::Link { old, new }),
        1 => (targets(), paths()).prop_map(|(target, path)| O::Symlink { target, path }),
        4 => (paths(), paths(), flags).prop_map(|(old, new, flags)| O::Rename { old, new, flags }),
        1 => (paths(), any::<bool>()).prop_map(|(path, follow)| O::Stat { path, follow }),
        1 => paths().prop_map(|path| O::Readlink { path }),
        1 => paths().prop_map(|path| O::ReadDirectory { path }),
    ]
}

fn of_content() -> impl Strategy<Value = Operation> {
    use Operation as O;
    let slot = || 0..SLOTS;
    let byte = || 1..=255_u8;
    let fallocate = prop::sample::select(vec![0, 1, 2, 3, 8, 16, 17, 32]);
    prop_oneof![
        5 => (slot(), paths(), open_flags(), prop::sample::select(vec![0o644, 0o600, 0o4711]))
            .prop_map(|(slot, path, flags, mode)| O::Open { slot, path, flags, mode }),
        1 => slot().prop_map(|slot| O::Close { slot }),
        2 => (slot(), counts()).prop_map(|(slot, count)| O::Read { slot, count }),
        4 => (slot(), counts(), byte()).prop_map(|(slot, count, byte)| O::Write { slot, count, byte }),
        2 => (slot(), counts(), offsets())
            .prop_map(|(slot, count, offset)| O::Pread { slot, count, offset }),
        3 => (slot(), counts(), offsets(), byte())
            .prop_map(|(slot, count, offset, byte)| O::Pwrite { slot, count, offset, byte }),
        2 => (slot(), offsets(), 0..6_u32)
            .prop_map(|(slot, offset, whence)| O::Seek { slot, offset, whence }),
        1 => (paths(), offsets()).prop_map(|(path, size)| O::Truncate { path, size }),
        2 => (slot(), offsets()).prop_map(|(slot, size)| O::Ftruncate { slot, size }),
        2 => (slot(), fallocate, offsets(), offsets())
            .prop_map(|(slot, mode, offset, length)| O::Fallocate { slot, mode, offset, length }),
        1 => (slot(), slot(), counts()).prop_map(|(from, to, count)| O::CopyRange { from, to, count }),
        1 => (slot(), slot()).prop_map(|(from, to)| O::Dup { from, to }),
        1 => (slot(), prop::sample::select(vec![0, O_APPEND]))
            .prop_map(|(slot, flags)| O::SetFlags { slot, flags }),
        1 => slot().prop_map(|slot| O::Fstat { slot }),
    ]
}

fn of_attributes() -> impl Strategy<Value = Operation> {
    use Operation as O;
    let slot = || 0..SLOTS;
    let flock = prop::sample::select(vec![5, 6, 8, 1, 99]);
    let mode = prop::sample::select(vec![0o000, 0o644, 0o4755, 0o2755, 0o7777]);
    prop_oneof![
        2 => (paths(), mode).prop_map(|(path, mode)| O::Chmod { path, mode }),
        1 => (paths(), 0..8_u32).prop_map(|(path, mode)| O::Access { path, mode }),
        2 => (paths(), names(), any::<u8>(), 0..3_u32)
            .prop_map(|(path, name, value, flags)| O::SetXattr { path, name, value, flags }),
        1 => (paths(), names()).prop_map(|(path, name)| O::GetXattr { path, name }),
        1 => paths().prop_map(|path| O::ListXattr { path }),
        1 => (paths(), names()).prop_map(|(path, name)| O::RemoveXattr { path, name }),
        1 => (slot(), flock).prop_map(|(slot, operation)| O::Flock { slot, operation }),
        2 => (slot(), 0..3_u16, 0..8_i64, 0..8_i64)
            .prop_map(|(slot, kind, start, length)| O::Lock { slot, kind, start, length }),
    ]
}

/// Runs operations in the current directory.
pub(super) fn run(k: &dyn Kernel, operations: &[Operation]) -> Vec<String> {
    let mut slots = Slots::default();
    let mut lines: Vec<String> = operations
        .iter()
        .map(|operation| {
            let result = step(k, &mut slots, operation);
            format!("{operation:?} -> {result}")
        })
        .collect();
    slots.close_all(k);
    list(k, ".", &mut lines);
    lines
}

/// Runs operations in a directory, mounts an overlay over it, and runs others there.
pub(super) fn run_overlay(k: &dyn Kernel, below: &[Operation], above: &[Operation]) -> Vec<String> {
    const PRIVATE: u32 = 0x4_4000;
    const NEW_MOUNTS: u32 = 0x0002_0000;
    let mounts = call!(k, UNSHARE, NEW_MOUNTS)
        .and_then(|_| call!(k, MOUNT, c"none", c"/", Arg::Null, PRIVATE, Arg::Null));
    if let Err(errno) = mounts {
        return vec![format!("unavailable: {errno:?}")];
    }
    for name in ["lower", "upper", "work", "merged"] {
        if let Err(errno) = k.mkdir(name, 0o755) {
            return vec![format!("unavailable: {errno:?}")];
        }
    }
    let mut lines = vec!["below".to_owned()];
    let entered = call!(k, CHDIR, c"lower");
    lines.extend(run(k, below));
    let options = c"lowerdir=lower,upperdir=upper,workdir=work,redirect_dir=on";
    let mounted = entered
        .and_then(|_| call!(k, CHDIR, c".."))
        .and_then(|_| call!(k, MOUNT, c"overlay", c"merged", c"overlay", 0, options))
        .and_then(|_| call!(k, CHDIR, c"merged"));
    if let Err(errno) = mounted {
        return vec![format!("unavailable: {errno:?}")];
    }
    lines.push("above".to_owned());
    lines.extend(run(k, above));
    lines
}

fn step(k: &dyn Kernel, slots: &mut Slots, operation: &Operation) -> String {
    use Operation as O;
    match operation {
        O::Open { slot, path, flags, mode } => {
            let opened = k.open(path, *flags, *mode);
            show(slots.put(k, *slot, opened))
        }
        O::Close { slot } => done(slots.close(k, *slot)),
        O::Mkdir { path, mode } => done(k.mkdir(path, *mode)),
        O::Rmdir { path } => done(k.rmdir(path)),
        O::Unlink { path } => done(k.unlink(path)),
        O::Link { old, new } => done(k.link(old, new)),
        O::Symlink { target, path } => done(k.symlink(target, path)),
        O::Rename { old, new, flags } => done(k.rename2(old, new, *flags)),
        O::Stat { path, follow } => {
            let flags = if *follow { 0 } else { chitin_abi::fs::AT_SYMLINK_NOFOLLOW };
            show(k.fstatat(AT_FDCWD, path, flags).map(|stat| stat_line(&stat)))
        }
        O::Readlink { path } => show(k.readlink(path).map(|text| bytes(&text))),
        O::ReadDirectory { path } => {
            show(list_directory(k, path).map(|names| format!("{names:?}")))
        }
        O::Chmod { .. }
        | O::Access { .. }
        | O::Truncate { .. }
        | O::SetXattr { .. }
        | O::GetXattr { .. }
        | O::ListXattr { .. }
        | O::RemoveXattr { .. } => attribute(k, operation),
        _ => content(k, slots, operation),
    }
}

fn attribute(k: &dyn Kernel, operation: &Operation) -> String {
    use Operation as O;
    let path = |text: &str| CString::new(text).unwrap_or_default();
    let mut buffer = [0_u8; 256];
    let found = |result: chitin_abi::Result<u64>, buffer: &[u8]| {
        show(result.map(|count| bytes(&buffer[..(count as usize).min(buffer.len())])))
    };
    match operation {
        O::Chmod { path: name, mode } => done(call!(k, CHMOD, path(name).as_c_str(), *mode)),
        O::Access { path: name, mode } => done(call!(k, ACCESS, path(name).as_c_str(), *mode)),
        O::Truncate { path: name, size } => done(call!(k, TRUNCATE, path(name).as_c_str(), *size)),
        O::SetXattr { path: file, name, value, flags } => {
            let (file, name) = (path(file), path(name));
            let value = vec![*value; usize::from(*value)];
            let (value, length) = (value.as_slice(), value.len());
            done(call!(k, SETXATTR, file.as_c_str(), name.as_c_str(), value, length, *flags))
        }
        O::GetXattr { path: file, name } => {
            let (file, name) = (path(file), path(name));
            let result = call!(k, GETXATTR, file.as_c_str(), name.as_c_str(), &mut buffer, 256);
            found(result, &buffer)
        }
        O::ListXattr { path: file } => {
            let result = call!(k, LISTXATTR, path(file).as_c_str(), &mut buffer, 256);
            let count = result.map_or(0, |count| (count as usize).min(buffer.len()));
            let mut names: Vec<String> = buffer[..count]
                .split(|byte| *byte == 0)
                .map(|name| String::from_utf8_lossy(name).into_owned())
                // Others are the kernel's own business.
                .filter(|name| name.starts_with("user.") || name.starts_with("trusted.c"))
                .collect();
            names.sort();
            show(result.map(|_| format!("{names:?}")))
        }
        O::RemoveXattr { path: file, name } => {
            let (file, name) = (path(file), path(name));
            done(call!(k, REMOVEXATTR, file.as_c_str(), name.as_c_str()))
        }
        _ => String::new(),
    }
}

fn content(k: &dyn Kernel, slots: &mut Slots, operation: &Operation) -> String {
    use Operation as O;
    let mut room = vec![0_u8; 70_000];
    match operation {
        O::Read { slot, count } => {
            let buffer = &mut room[..*count as usize];
            let result = k.read(slots.get(*slot), buffer);
            show(result.map(|count| bytes(&buffer[..count])))
        }
        O::Write { slot, count, byte } => {
            show(k.write(slots.get(*slot), &vec![*byte; *count as usize]))
        }
        O::Pread { slot, count, offset } => {
            let buffer = &mut room[..*count as usize];
            let result = k.pread(slots.get(*slot), buffer, *offset);
            show(result.map(|count| bytes(&buffer[..count])))
        }
        O::Pwrite { slot, count, offset, byte } => {
            show(k.pwrite(slots.get(*slot), &vec![*byte; *count as usize], *offset))
        }
        O::Seek { slot, offset, whence } => show(k.lseek(slots.get(*slot), *offset, *whence)),
        O::Ftruncate { slot, size } => done(k.ftruncate(slots.get(*slot), *size)),
        O::Fallocate { slot, mode, offset, length } => {
            done(call!(k, FALLOCATE, slots.get(*slot), *mode, *offset, *length))
        }
        O::CopyRange { from, to, count } => {
            let (from, to) = (slots.get(*from), slots.get(*to));
            show(call!(k, COPY_FILE_RANGE, from, Arg::Null, to, Arg::Null, *count, 0))
        }
        O::Dup { from, to } => {
            let copy = k.dup(slots.get(*from));
            show(slots.put(k, *to, copy))
        }
        O::SetFlags { slot, flags } => {
            done(k.fcntl(slots.get(*slot), chitin_abi::fs::F_SETFL, u64::from(*flags)))
        }
        O::Fstat { slot } => show(k.fstat(slots.get(*slot)).map(|stat| stat_line(&stat))),
        O::Flock { slot, operation } => {
            // Never waits.
            done(call!(k, FLOCK, slots.get(*slot), *operation | 4))
        }
        O::Lock { slot, kind, start, length } => {
            const F_OFD_SETLK: u32 = 37;
            let mut lock = [0_u8; 32];
            lock[..2].copy_from_slice(&kind.to_ne_bytes());
            lock[8..16].copy_from_slice(&start.to_ne_bytes());
            lock[16..24].copy_from_slice(&length.to_ne_bytes());
            done(call!(k, FCNTL, slots.get(*slot), F_OFD_SETLK, &lock))
        }
        _ => String::new(),
    }
}
