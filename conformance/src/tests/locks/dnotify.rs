//! Signals of what happens in a directory: `fcntl(F_NOTIFY)`.

use chitin_abi::Errno;
use chitin_abi::fs::{
    DN_ACCESS, DN_ATTRIB, DN_CREATE, DN_DELETE, DN_MODIFY, DN_MULTISHOT, DN_RENAME, F_NOTIFY,
    F_SETSIG, O_DIRECTORY,
};
use chitin_abi::signal::{SIGIO, SIGUSR1};

use crate::call;
use crate::suite::{Calls, Fd, Files, Kernel, fails, tests};

/// The test's directory, whose events are told.
fn watch(k: &dyn Kernel, events: u32) -> Fd {
    k.catch(SIGIO, 0).unwrap();
    let fd = k.open(".", O_DIRECTORY, 0).unwrap();
    k.fcntl(fd, F_NOTIFY, u64::from(events)).unwrap();
    fd
}

fn count(k: &dyn Kernel, signal: u32) -> u32 {
    k.sleep_ms(10);
    k.caught(signal).0
}

tests! { "dnotify", "fcntl(2)";
    [fcntl] creation(k) {
        watch(k, DN_CREATE);
        k.file("f", b"");
        assert_eq!(count(k, SIGIO), 1);
    }
    [fcntl] once_unless_asked_for_more(k) {
        watch(k, DN_CREATE);
        k.file("f", b"");
        count(k, SIGIO);
        k.file("g", b"");
        assert_eq!(count(k, SIGIO), 1);
    }
    [fcntl] many_times(k) {
        watch(k, DN_CREATE | DN_MULTISHOT);
        k.file("f", b"");
        count(k, SIGIO);
        k.file("g", b"");
        assert_eq!(count(k, SIGIO), 2);
    }
    [fcntl] each_kind_of_event(k) {
        let fd = k.file("f", b"x");
        for (events, change) in [(DN_ACCESS, 0), (DN_MODIFY, 1), (DN_ATTRIB, 2), (DN_RENAME, 3), (DN_DELETE, 4)] {
            let before = k.caught(SIGIO).0;
            let directory = watch(k, events);
            match change {
                0 => { k.pread(fd, &mut [0], 0).unwrap(); }
                1 => { k.pwrite(fd, b"y", 0).unwrap(); }
                2 => { call!(k, CHMOD, c"f", 0o600).unwrap(); }
                3 => k.rename2("f", "g", 0).unwrap(),
                _ => k.unlink("g").unwrap(),
            }
            assert_eq!(count(k, SIGIO), before + 1, "{change}");
            k.close(directory).unwrap();
        }
    }
    [fcntl] other_events_are_not_told(k) {
        watch(k, DN_DELETE);
        k.file("f", b"");
        assert_eq!(count(k, SIGIO), 0);
    }
    [fcntl] signal_of_choice_says_the_descriptor(k) {
        k.catch(SIGUSR1, 0).unwrap();
        let fd = k.open(".", O_DIRECTORY, 0).unwrap();
        k.fcntl(fd, F_SETSIG, SIGUSR1.into()).unwrap();
        k.fcntl(fd, F_NOTIFY, u64::from(DN_CREATE)).unwrap();
        k.file("f", b"");
        assert_eq!((count(k, SIGUSR1), k.caught(SIGUSR1).2 as i32), (1, fd));
    }
    [fcntl] nothing_asked_for_ends_it(k) {
        let fd = watch(k, DN_CREATE | DN_MULTISHOT);
        k.fcntl(fd, F_NOTIFY, 0).unwrap();
        k.file("f", b"");
        assert_eq!(count(k, SIGIO), 0);
    }
    [fcntl] closing_ends_it(k) {
        let fd = watch(k, DN_CREATE | DN_MULTISHOT);
        k.close(fd).unwrap();
        k.file("f", b"");
        assert_eq!(count(k, SIGIO), 0);
    }
    [fcntl] directories_only(k) { fails(k.fcntl(k.file("f", b""), F_NOTIFY, u64::from(DN_CREATE)), Errno::ENOTDIR); }
}
