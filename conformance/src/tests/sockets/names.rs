//! Names of sockets: `bind(2)`, `getsockname(2)`, `getpeername(2)`.

use chitin_abi::net::{SOCK_DGRAM, SOCK_STREAM};
use chitin_abi::{Errno, Result};

use super::super::support::until;
use super::{accept, bind, connect, listener, pair, socket, unique};
use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::{as_user, int, text};

fn own(k: &dyn Kernel, fd: Fd) -> Result<Vec<u8>> {
    let (mut address, mut length) = ([0_u8; 120], 120_u32.to_ne_bytes());
    call!(k, GETSOCKNAME, fd, &mut address, &mut length)?;
    Ok(address[..int(&length, 0) as usize].to_vec())
}

fn peer(k: &dyn Kernel, fd: Fd) -> Result<Vec<u8>> {
    let (mut address, mut length) = ([0_u8; 120], 120_u32.to_ne_bytes());
    call!(k, GETPEERNAME, fd, &mut address, &mut length)?;
    Ok(address[..int(&length, 0) as usize].to_vec())
}

tests! { "unixname", "unix(7)";
    [bind] makes_a_socket_file(k) {
        call!(k, UMASK, 0o027).unwrap();
        bind(k, socket(k, SOCK_STREAM), "s").unwrap();
        assert_eq!(k.stat("s").unwrap().st_mode, 0o140750);
        fails(k.open("s", 0, 0), Errno::ENXIO);
    }
    [bind] errors(k) {
        let fd = socket(k, SOCK_STREAM);
        k.file("f", b"");
        fails(bind(k, fd, "f"), Errno::EADDRINUSE);
        fails(bind(k, fd, "none/s"), Errno::ENOENT);
        fails(bind(k, fd, "f/s"), Errno::ENOTDIR);
        bind(k, fd, "s").unwrap();
        fails(bind(k, fd, "t"), Errno::EINVAL);
        fails(bind(k, socket(k, SOCK_STREAM), "s"), Errno::EADDRINUSE);
        fails(call!(k, BIND, socket(k, SOCK_STREAM), b"\x02\0abc\0", 6), Errno::EINVAL);
        fails(call!(k, BIND, socket(k, SOCK_STREAM), b"\x01", 1), Errno::EINVAL);
        fails(call!(k, BIND, socket(k, SOCK_STREAM), &[1_u8; 200], 111), Errno::EINVAL);
        fails(bind(k, 0, "s"), Errno::ENOTSOCK);
    }
    [bind] directory_permission(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        as_user(k, 1000, || fails(bind(k, socket(k, SOCK_STREAM), "d/s"), Errno::EACCES));
    }
    [bind] longest_path(k) {
        let path = "x".repeat(107);
        bind(k, socket(k, SOCK_STREAM), &path).unwrap();
        let full = [b"\x01\0".as_slice(), "y".repeat(108).as_bytes()].concat();
        call!(k, BIND, socket(k, SOCK_STREAM), full.as_slice(), 110).unwrap();
        k.stat(&"y".repeat(108)).unwrap();
    }
    [getsockname] names_of_sockets(k) {
        let fd = socket(k, SOCK_STREAM);
        assert_eq!(own(k, fd).unwrap(), [1, 0]);
        bind(k, fd, "s").unwrap();
        assert_eq!(own(k, fd).unwrap(), b"\x01\0s\0");
        let fd = socket(k, SOCK_STREAM);
        let name = unique(k, "@abstract");
        bind(k, fd, &name).unwrap();
        assert_eq!(own(k, fd).unwrap(), [b"\x01\0\0", &name.as_bytes()[1..]].concat());
    }
    [bind] automatic_names(k) {
        let fd = socket(k, SOCK_DGRAM);
        call!(k, BIND, fd, &[1_u8, 0], 2).unwrap();
        let name = own(k, fd).unwrap();
        assert!(name.len() == 8 && name[2] == 0 && name[3..].iter().all(u8::is_ascii_hexdigit), "{name:?}");
    }
    [bind] abstract_names_are_bytes(k) {
        for name in [b"\x01\0\0a\0b".as_slice(), b"\x01\0\0", b"\x01\0\0a\0b\0"] {
            // Another run of the suite may have it for a moment.
            let fd = socket(k, SOCK_STREAM);
            until(k, || call!(k, BIND, fd, name, name.len()).is_ok());
            fails(call!(k, BIND, socket(k, SOCK_STREAM), name, name.len()), Errno::EADDRINUSE);
        }
    }
    [bind, close] abstract_names_end_with_their_socket(k) {
        let (fd, name) = (socket(k, SOCK_STREAM), unique(k, "@once"));
        bind(k, fd, &name).unwrap();
        k.close(fd).unwrap();
        bind(k, socket(k, SOCK_STREAM), &name).unwrap();
    }
    [bind] kinds_have_names_of_their_own(k) {
        let name = unique(k, "@same");
        bind(k, socket(k, SOCK_STREAM), &name).unwrap();
        bind(k, socket(k, SOCK_DGRAM), &name).unwrap();
    }
    [getpeername] names_of_peers(k) {
        let l = listener(k, SOCK_STREAM, "s", 5);
        let fd = socket(k, SOCK_STREAM);
        fails(peer(k, fd), Errno::ENOTCONN);
        bind(k, fd, "c").unwrap();
        connect(k, fd, "s").unwrap();
        let accepted = accept(k, l).unwrap();
        assert_eq!((peer(k, fd).unwrap(), peer(k, accepted).unwrap()), (b"\x01\0s\0".to_vec(), b"\x01\0c\0".to_vec()));
        assert_eq!(own(k, accepted).unwrap(), b"\x01\0s\0");
        let (a, _b) = pair(k, SOCK_STREAM);
        assert_eq!(peer(k, a).unwrap(), [1, 0]);
    }
    [getsockname, getpeername] short_room_and_faults(k) {
        let fd = socket(k, SOCK_STREAM);
        bind(k, fd, "name").unwrap();
        let (mut address, mut length) = ([9_u8; 4], 3_u32.to_ne_bytes());
        call!(k, GETSOCKNAME, fd, &mut address, &mut length).unwrap();
        assert_eq!((address, int(&length, 0)), ([1, 0, b'n', 9], 7));
        fails(call!(k, GETSOCKNAME, fd, &mut address, &mut (-1_i32).to_ne_bytes()), Errno::EINVAL);
        fails(call!(k, GETSOCKNAME, fd, &mut address, Arg::Bad), Errno::EFAULT);
        fails(call!(k, GETSOCKNAME, fd, Arg::Bad, &mut 10_u32.to_ne_bytes()), Errno::EFAULT);
        fails(call!(k, GETSOCKNAME, 0, &mut address, &mut length), Errno::ENOTSOCK);
    }
    [connect] through_a_link(k) {
        listener(k, SOCK_STREAM, "s", 5);
        k.symlink("s", "l").unwrap();
        connect(k, socket(k, SOCK_STREAM), "l").unwrap();
    }
    [connect] renamed_and_removed_names(k) {
        listener(k, SOCK_STREAM, "s", 5);
        k.rename2("s", "t", 0).unwrap();
        fails(connect(k, socket(k, SOCK_STREAM), "s"), Errno::ENOENT);
        connect(k, socket(k, SOCK_STREAM), "t").unwrap();
        k.unlink("t").unwrap();
        fails(connect(k, socket(k, SOCK_STREAM), "t"), Errno::ENOENT);
    }
    [connect] write_permission(k) needs Root {
        listener(k, SOCK_STREAM, "s", 5);
        call!(k, CHMOD, c"s", 0o755).unwrap();
        as_user(k, 1000, || fails(connect(k, socket(k, SOCK_STREAM), "s"), Errno::EACCES));
    }
    [socket] proc_lists_sockets(k) {
        let name = unique(k, "@listed");
        let fd = listener(k, SOCK_STREAM, &name, 5);
        let ino = k.fstat(fd).unwrap().st_ino;
        assert_eq!(k.readlink(&format!("/proc/self/fd/{fd}")).unwrap(), format!("socket:[{ino}]").as_bytes());
        let table = text(k, "/proc/net/unix");
        let line = table.lines().find(|line| line.ends_with(&name)).unwrap();
        assert!(line.contains(&format!(" {ino} ")) && line.contains(" 00010000 0001 01 "), "{line}");
    }
}
