//! Pipe sizes and hints: `fcntl(F_SETPIPE_SZ)`, `F_SET_RW_HINT`.

use chitin_abi::Errno;
use chitin_abi::fs::{F_GET_RW_HINT, F_GETPIPE_SZ, F_SET_RW_HINT, F_SETPIPE_SZ};

use crate::call;
use crate::suite::{Arg, Calls, Files, fails, tests};
use crate::tests::shared::{apart, as_user, become_user, text};

tests! { "hints", "fcntl(2)";
    [fcntl] sizes_are_powers_of_two(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        for (wanted, given) in [(0, 4096), (1, 4096), (4096, 4096), (5000, 8192), (70_000, 131_072), (1 << 20, 1 << 20)] {
            assert_eq!(k.fcntl(writer, F_SETPIPE_SZ, wanted), Ok(given), "{wanted}");
            assert_eq!(k.fcntl(reader, F_GETPIPE_SZ, 0), Ok(given));
        }
    }
    [fcntl] largest_size(k) {
        let (reader, _writer) = k.pipe2(0).unwrap();
        for size in [1 << 31, u64::from(u32::MAX)] {
            let errno = k.fcntl(reader, F_SETPIPE_SZ, size).unwrap_err();
            assert!([Errno::EINVAL, Errno::EPERM, Errno::ENOMEM].contains(&errno), "{errno:?}");
        }
    }
    [fcntl] sizes_beyond_the_limit_need_a_capability(k) needs Root {
        let most: u64 = text(k, "/proc/sys/fs/pipe-max-size").trim().parse().unwrap();
        as_user(k, 1000, || {
            let (reader, _writer) = k.pipe2(0).unwrap();
            fails(k.fcntl(reader, F_SETPIPE_SZ, most + 1), Errno::EPERM);
            k.fcntl(reader, F_SETPIPE_SZ, most).unwrap();
        });
    }
    [fcntl] full_pipes_cannot_shrink_below_their_content(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        k.write(writer, &[0; 20_000]).unwrap();
        fails(k.fcntl(writer, F_SETPIPE_SZ, 16384), Errno::EBUSY);
        assert_eq!(k.fcntl(writer, F_SETPIPE_SZ, 32768), Ok(32768));
        assert_eq!(k.read_some(reader, 30_000).unwrap().len(), 20_000);
    }
    [fcntl] larger_pipe_takes_more(k) {
        let (_reader, writer) = k.pipe2(0o4000).unwrap();
        k.write(writer, &[0; 65536]).unwrap();
        k.fcntl(writer, F_SETPIPE_SZ, 131_072).unwrap();
        assert_eq!(k.write(writer, &[0; 100_000]), Ok(65536));
    }
    [fcntl] other_files_have_no_size(k) {
        let fd = k.file("f", b"");
        fails(k.fcntl(fd, F_GETPIPE_SZ, 0), Errno::EBADF);
        fails(k.fcntl(fd, F_SETPIPE_SZ, 4096), Errno::EBADF);
    }
    [fcntl] fifos_have_one(k) {
        call!(k, MKNOD, c"p", 0o10600, 0).unwrap();
        assert_eq!(k.fcntl(k.open("p", 2, 0).unwrap(), F_GETPIPE_SZ, 0), Ok(65536));
    }
    [fcntl] write_hints_are_kept(k) {
        let fd = k.file("f", b"");
        let mut hint = [9_u8; 8];
        call!(k, FCNTL, fd, F_GET_RW_HINT, &mut hint).unwrap();
        assert_eq!(u64::from_ne_bytes(hint), 0);
        for value in 0..=5_u64 {
            match call!(k, FCNTL, fd, F_SET_RW_HINT, &value.to_ne_bytes()) {
                Ok(_) => {
                    call!(k, FCNTL, fd, F_GET_RW_HINT, &mut hint).unwrap();
                    assert_eq!(u64::from_ne_bytes(hint), value);
                }
                Err(errno) => assert_eq!(errno, Errno::EINVAL),
            }
        }
    }
    [fcntl] hints_are_of_the_inode(k) {
        let fd = k.file("f", b"");
        call!(k, FCNTL, fd, F_SET_RW_HINT, &3_u64.to_ne_bytes()).unwrap();
        let mut hint = [0_u8; 8];
        call!(k, FCNTL, k.open("f", 0, 0).unwrap(), F_GET_RW_HINT, &mut hint).unwrap();
        assert_eq!(u64::from_ne_bytes(hint), 3);
    }
    [fcntl] errors_of_hints(k) needs Root {
        let fd = k.file("f", b"");
        fails(call!(k, FCNTL, fd, F_SET_RW_HINT, &6_u64.to_ne_bytes()), Errno::EINVAL);
        fails(call!(k, FCNTL, fd, F_SET_RW_HINT, Arg::Bad), Errno::EFAULT);
        fails(call!(k, FCNTL, fd, F_GET_RW_HINT, Arg::Edge(4)), Errno::EFAULT);
        apart(k, || { become_user(k, 1000); fails(call!(k, FCNTL, fd, F_SET_RW_HINT, &1_u64.to_ne_bytes()), Errno::EPERM); });
    }
}
