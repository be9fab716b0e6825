//! Notification by file handles: `fanotify(7)` with `FAN_REPORT_FID` and the like.

use chitin_abi::Errno;
use chitin_abi::fs::{
    FAN_ATTRIB, FAN_CREATE, FAN_DELETE, FAN_DELETE_SELF, FAN_EVENT_ON_CHILD, FAN_MARK_ADD,
    FAN_MARK_FILESYSTEM, FAN_MODIFY, FAN_MOVE_SELF, FAN_MOVED_FROM, FAN_MOVED_TO, FAN_NONBLOCK,
    FAN_ONDIR, FAN_OPEN, FAN_RENAME, FAN_REPORT_DFID_NAME, FAN_REPORT_DIR_FID, FAN_REPORT_FID,
    FAN_REPORT_PIDFD,
};

use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::{in_own_mounts, int, long};

/// A record behind an event: kind, file handle with its head, name.
#[derive(Debug, PartialEq)]
struct Record(u8, Vec<u8>, String);

fn group(k: &dyn Kernel, flags: u32, mask: u64) -> Fd {
    let fd = call!(k, FANOTIFY_INIT, FAN_NONBLOCK | flags, 0).unwrap() as Fd;
    call!(k, FANOTIFY_MARK, fd, FAN_MARK_ADD, mask, -100, c".").unwrap();
    fd
}

fn events(k: &dyn Kernel, group: Fd) -> Vec<(u64, Vec<Record>)> {
    let Ok(bytes) = k.read_some(group, 8192) else { return Vec::new() };
    let (mut events, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let (start, end) = (at, at + int(&bytes, at) as usize);
        let mut records = Vec::new();
        at += 24;
        while at < end {
            let length = usize::from(u16::from_ne_bytes([bytes[at + 2], bytes[at + 3]]));
            let size = int(&bytes, at + 12) as usize;
            let name: Vec<u8> = bytes[at + 20 + size..at + length]
                .iter()
                .copied()
                .take_while(|byte| *byte != 0)
                .collect();
            let name = String::from_utf8(name).unwrap();
            records.push(Record(bytes[at], bytes[at + 12..at + 20 + size].to_vec(), name));
            at += length;
        }
        assert_eq!(int(&bytes, start + 16), -1, "no descriptor");
        events.push((long(&bytes, start + 8), records));
    }
    events
}

/// The handle that a path has.
fn handle(k: &dyn Kernel, path: &str) -> Vec<u8> {
    let (path, mut bytes) = (format!("{path}\0"), [0_u8; 136]);
    bytes[0] = 128;
    call!(k, NAME_TO_HANDLE_AT, -100, path.as_bytes(), &mut bytes, &mut [0_u8; 8], 0).unwrap();
    bytes[..8 + int(&bytes, 0) as usize].to_vec()
}

tests! { "fanhandle", "fanotify(7)";
    [read] handle_of_the_file(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        let fd = group(k, FAN_REPORT_FID, FAN_OPEN | FAN_EVENT_ON_CHILD);
        k.open("f", 0, 0).unwrap();
        assert_eq!(events(k, fd), [(FAN_OPEN, vec![Record(1, handle(k, "f"), String::new())])]);
    }
    [read] changed_entries_tell_their_directory(k) needs Root {
        let fd = group(k, FAN_REPORT_FID, FAN_CREATE | FAN_DELETE);
        k.close(k.file("f", b"")).unwrap();
        assert_eq!(events(k, fd), [(FAN_CREATE, vec![Record(1, handle(k, "."), String::new())])]);
        k.unlink("f").unwrap();
        assert_eq!(events(k, fd)[0].0, FAN_DELETE);
    }
    [read] names(k) needs Root {
        let fd = group(k, FAN_REPORT_DFID_NAME, FAN_CREATE | FAN_DELETE | FAN_ONDIR);
        k.close(k.file("f", b"")).unwrap();
        k.mkdir("d", 0o755).unwrap();
        k.rmdir("d").unwrap();
        let dir = handle(k, ".");
        let record = |name: &str| vec![Record(2, dir.clone(), name.to_owned())];
        assert_eq!(events(k, fd), [(FAN_CREATE, record("f")), (FAN_CREATE | FAN_DELETE | FAN_ONDIR, record("d"))]);
    }
    [read] events_of_children_have_names(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        let fd = group(k, FAN_REPORT_DFID_NAME, FAN_OPEN | FAN_EVENT_ON_CHILD);
        k.open("f", 0, 0).unwrap();
        assert_eq!(events(k, fd), [(FAN_OPEN, vec![Record(2, handle(k, "."), "f".to_owned())])]);
    }
    [read] directory_itself_is_a_dot(k) needs Root {
        let fd = group(k, FAN_REPORT_DFID_NAME, FAN_OPEN | FAN_ONDIR);
        k.open(".", 0, 0).unwrap();
        assert_eq!(events(k, fd), [(FAN_OPEN | FAN_ONDIR, vec![Record(2, handle(k, "."), ".".to_owned())])]);
    }
    [read] directory_and_file_together(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        let fd = group(k, FAN_REPORT_DFID_NAME | FAN_REPORT_FID, FAN_OPEN | FAN_EVENT_ON_CHILD);
        k.open("f", 0, 0).unwrap();
        assert_eq!(events(k, fd), [(FAN_OPEN, vec![Record(2, handle(k, "."), "f".to_owned()), Record(1, handle(k, "f"), String::new())])]);
    }
    [read] directory_without_names(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        let fd = group(k, FAN_REPORT_DIR_FID, FAN_OPEN | FAN_EVENT_ON_CHILD);
        k.open("f", 0, 0).unwrap();
        assert_eq!(events(k, fd), [(FAN_OPEN, vec![Record(1, handle(k, "."), String::new())])]);
    }
    [read] moves(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        let fd = group(k, FAN_REPORT_DFID_NAME, FAN_MOVED_FROM | FAN_MOVED_TO);
        k.rename2("f", "g", 0).unwrap();
        let dir = handle(k, ".");
        assert_eq!(events(k, fd), [
            (FAN_MOVED_FROM, vec![Record(2, dir.clone(), "f".to_owned())]),
            (FAN_MOVED_TO, vec![Record(2, dir, "g".to_owned())]),
        ]);
    }
    [read] renames_tell_both_names(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        let fd = group(k, FAN_REPORT_DFID_NAME, FAN_RENAME);
        k.rename2("f", "g", 0).unwrap();
        let dir = handle(k, ".");
        assert_eq!(events(k, fd), [(FAN_RENAME, vec![Record(10, dir.clone(), "f".to_owned()), Record(12, dir, "g".to_owned())])]);
    }
    [read] attributes_and_the_file_itself(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        let fd = call!(k, FANOTIFY_INIT, FAN_NONBLOCK | FAN_REPORT_FID, 0).unwrap() as Fd;
        call!(k, FANOTIFY_MARK, fd, FAN_MARK_ADD, FAN_ATTRIB | FAN_MOVE_SELF | FAN_DELETE_SELF, -100, c"f").unwrap();
        let file = handle(k, "f");
        call!(k, CHMOD, c"f", 0o600).unwrap();
        assert_eq!(events(k, fd), [(FAN_ATTRIB, vec![Record(1, file.clone(), String::new())])]);
        k.rename2("f", "g", 0).unwrap();
        assert_eq!(events(k, fd), [(FAN_MOVE_SELF, vec![Record(1, file, String::new())])]);
        k.unlink("g").unwrap();
        let found = events(k, fd);
        assert_eq!(found.iter().fold(0, |all, event| all | event.0), FAN_ATTRIB | FAN_DELETE_SELF, "{found:?}");
    }
    [fanotify_mark] whole_file_systems(k) needs Root {
        k.mkdir("m", 0o755).unwrap();
        in_own_mounts(k, || {
            call!(k, MOUNT, c"none", c"m", c"tmpfs", 0, Arg::Null).unwrap();
            let fd = call!(k, FANOTIFY_INIT, FAN_NONBLOCK | FAN_REPORT_DFID_NAME, 0).unwrap() as Fd;
            call!(k, FANOTIFY_MARK, fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_CREATE | FAN_ONDIR, -100, c"m").unwrap();
            k.mkdir("m/d", 0o755).unwrap();
            k.close(k.file("m/d/f", b"")).unwrap();
            let names: Vec<_> = events(k, fd).into_iter().map(|(mask, records)| (mask, records[0].2.clone())).collect();
            assert_eq!(names, [(FAN_CREATE | FAN_ONDIR, "d".to_owned()), (FAN_CREATE, "f".to_owned())]);
        });
    }
    [open_by_handle_at] handles_open_the_file(k) needs Root {
        k.close(k.file("f", b"found")).unwrap();
        let fd = group(k, FAN_REPORT_FID, FAN_OPEN | FAN_EVENT_ON_CHILD);
        k.open("f", 0, 0).unwrap();
        let found = events(k, fd).remove(0).1.remove(0).1;
        let opened = call!(k, OPEN_BY_HANDLE_AT, -100, found.as_slice(), 0).unwrap() as Fd;
        assert_eq!(k.read_some(opened, 9).unwrap(), b"found");
    }
    [fanotify_mark] events_that_need_more_of_the_group(k) needs Root {
        let fd = group(k, FAN_REPORT_FID, FAN_OPEN);
        fails(call!(k, FANOTIFY_MARK, fd, FAN_MARK_ADD, FAN_RENAME, -100, c"."), Errno::EINVAL);
        fails(call!(k, FANOTIFY_MARK, fd, FAN_MARK_ADD | 0x10, FAN_CREATE, -100, c"."), Errno::EINVAL);
    }
    [fanotify_init] descriptors_of_processes(k) needs Root {
        k.close(k.file("f", b"")).unwrap();
        let fd = call!(k, FANOTIFY_INIT, FAN_NONBLOCK | FAN_REPORT_PIDFD, 0).unwrap() as Fd;
        call!(k, FANOTIFY_MARK, fd, FAN_MARK_ADD, FAN_OPEN, -100, c"f").unwrap();
        k.open("f", 0, 0).unwrap();
        let bytes = k.read_some(fd, 100).unwrap();
        assert_eq!((bytes.len(), bytes[24], bytes[26]), (32, 4, 8));
        call!(k, PIDFD_SEND_SIGNAL, int(&bytes, 28), 0, Arg::Null, 0).unwrap();
    }
    [read] modifications_by_path(k) needs Root {
        k.close(k.file("f", b"abc")).unwrap();
        let fd = group(k, FAN_REPORT_DFID_NAME, FAN_MODIFY | FAN_EVENT_ON_CHILD);
        call!(k, TRUNCATE, c"f", 1).unwrap();
        assert_eq!(events(k, fd), [(FAN_MODIFY, vec![Record(2, handle(k, "."), "f".to_owned())])]);
    }
}
