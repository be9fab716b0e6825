//! POSIX access-control lists: `acl(5)`.

use chitin_abi::{Errno, Result};

use crate::call;
use crate::suite::{Calls, Files, Kernel, fails, tests};
use crate::tests::shared::as_user;

const USER_OBJ: u16 = 1;
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
const NOBODY: u32 = u32::MAX;

type Entry = (u16, u16, u32);

fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(rights.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

fn set(k: &dyn Kernel, path: &str, kind: &str, entries: &[Entry]) -> Result<u64> {
    set_raw(k, path, kind, &encode(entries))
}

fn set_raw(k: &dyn Kernel, path: &str, kind: &str, value: &[u8]) -> Result<u64> {
    let (path, name) = (format!("{path}\0"), format!("system.posix_acl_{kind}\0"));
    call!(k, SETXATTR, path.as_bytes(), name.as_bytes(), value, value.len(), 0)
}

fn get(k: &dyn Kernel, path: &str, kind: &str) -> Result<Vec<Entry>> {
    let (path, name) = (format!("{path}\0"), format!("system.posix_acl_{kind}\0"));
    let mut value = vec![0; 4096];
    let count =
        call!(k, GETXATTR, path.as_bytes(), name.as_bytes(), value.as_mut_slice(), 4096)? as usize;
    assert_eq!(&value[..4], [2, 0, 0, 0]);
    let short = |at: usize| u16::from_le_bytes([value[at], value[at + 1]]);
    let word =
        |at: usize| u32::from_le_bytes([value[at], value[at + 1], value[at + 2], value[at + 3]]);
    Ok((4..count).step_by(8).map(|at| (short(at), short(at + 2), word(at + 4))).collect())
}

/// A list that gives one user these rights, with this mask, and nobody else any.
fn for_user(id: u32, rights: u16, mask: u16) -> [Entry; 5] {
    [
        (USER_OBJ, 6, NOBODY),
        (USER, rights, id),
        (GROUP_OBJ, 0, NOBODY),
        (MASK, mask, NOBODY),
        (OTHER, 0, NOBODY),
    ]
}

fn mode(k: &dyn Kernel, path: &str) -> u32 {
    k.stat(path).unwrap().st_mode & 0o777
}

tests! { "acl", "acl(5)";
    [setxattr] minimal_list_is_the_mode(k) {
        k.file("f", b"");
        set(k, "f", "access", &[(USER_OBJ, 7, NOBODY), (GROUP_OBJ, 5, NOBODY), (OTHER, 1, NOBODY)]).unwrap();
        assert_eq!(mode(k, "f"), 0o751);
        fails(get(k, "f", "access"), Errno::ENODATA);
    }
    [setxattr, getxattr] extended_list_is_kept(k) {
        k.file("f", b"");
        set(k, "f", "access", &for_user(1000, 4, 6)).unwrap();
        assert_eq!(get(k, "f", "access").unwrap(), for_user(1000, 4, 6));
    }
    [setxattr] group_bits_show_the_mask(k) {
        k.file("f", b"");
        set(k, "f", "access", &for_user(1000, 4, 6)).unwrap();
        assert_eq!(mode(k, "f"), 0o660);
    }
    [openat] named_user_is_let_in(k) needs Root {
        k.file("f", b"secret");
        set(k, "f", "access", &for_user(1000, 4, 7)).unwrap();
        as_user(k, 1000, || {
            k.open("f", 0, 0).unwrap();
            fails(k.open("f", 1, 0), Errno::EACCES);
        });
        as_user(k, 1001, || fails(k.open("f", 0, 0), Errno::EACCES));
    }
    [openat] mask_limits_named_users(k) needs Root {
        k.file("f", b"");
        set(k, "f", "access", &for_user(1000, 6, 4)).unwrap();
        as_user(k, 1000, || {
            k.open("f", 0, 0).unwrap();
            fails(k.open("f", 2, 0), Errno::EACCES);
        });
    }
    [openat] named_group_is_let_in(k) needs Root {
        k.file("f", b"");
        set(k, "f", "access", &[(USER_OBJ, 6, NOBODY), (GROUP_OBJ, 0, NOBODY), (GROUP, 4, 1000), (MASK, 4, NOBODY), (OTHER, 0, NOBODY)]).unwrap();
        as_user(k, 1000, || { k.open("f", 0, 0).unwrap(); });
        as_user(k, 1001, || fails(k.open("f", 0, 0), Errno::EACCES));
    }
    [openat] matching_group_without_rights_shuts_out(k) needs Root {
        k.file("f", b"");
        set(k, "f", "access", &[(USER_OBJ, 6, NOBODY), (GROUP_OBJ, 4, NOBODY), (GROUP, 0, 1000), (MASK, 4, NOBODY), (OTHER, 4, NOBODY)]).unwrap();
        as_user(k, 1000, || fails(k.open("f", 0, 0), Errno::EACCES));
        as_user(k, 1001, || { k.open("f", 0, 0).unwrap(); });
    }
    [openat] owner_is_not_masked(k) needs Root {
        k.file("f", b"");
        call!(k, CHOWN, c"f", 1000, 1000).unwrap();
        set(k, "f", "access", &for_user(1001, 7, 0)).unwrap();
        as_user(k, 1000, || { k.open("f", 2, 0).unwrap(); });
        as_user(k, 1001, || fails(k.open("f", 0, 0), Errno::EACCES));
    }
    [access] answers_by_the_list(k) needs Root {
        k.file("f", b"");
        set(k, "f", "access", &for_user(1000, 5, 7)).unwrap();
        as_user(k, 1000, || {
            call!(k, ACCESS, c"f", 5).unwrap();
            fails(call!(k, ACCESS, c"f", 2), Errno::EACCES);
        });
    }
    [chmod] changes_owner_mask_and_others(k) {
        k.file("f", b"");
        set(k, "f", "access", &for_user(1000, 7, 7)).unwrap();
        call!(k, CHMOD, c"f", 0o741).unwrap();
        assert_eq!(get(k, "f", "access").unwrap(), [(USER_OBJ, 7, NOBODY), (USER, 7, 1000), (GROUP_OBJ, 0, NOBODY), (MASK, 4, NOBODY), (OTHER, 1, NOBODY)]);
    }
    [removexattr] removal_leaves_the_mode(k) {
        k.file("f", b"");
        set(k, "f", "access", &for_user(1000, 7, 5)).unwrap();
        call!(k, REMOVEXATTR, c"f", c"system.posix_acl_access").unwrap();
        fails(get(k, "f", "access"), Errno::ENODATA);
        assert_eq!(mode(k, "f"), 0o650);
    }
    [setxattr] empty_value_removes(k) {
        k.file("f", b"");
        set(k, "f", "access", &for_user(1000, 7, 5)).unwrap();
        set_raw(k, "f", "access", &encode(&[])).unwrap();
        fails(get(k, "f", "access"), Errno::ENODATA);
    }
    [setxattr] malformed_lists(k) {
        k.file("f", b"");
        fails(set_raw(k, "f", "access", b"\x02\0"), Errno::EINVAL);
        fails(set_raw(k, "f", "access", b"\x01\0\0\0\x01\0\x07\0\xff\xff\xff\xff"), Errno::EOPNOTSUPP);
        fails(set_raw(k, "f", "access", b"\x02\0\0\0\x01\0\x07\0\xff"), Errno::EINVAL);
        fails(set(k, "f", "access", &[(USER_OBJ, 7, NOBODY)]), Errno::EINVAL);
        fails(set(k, "f", "access", &[(USER_OBJ, 7, NOBODY), (USER, 7, 1000), (GROUP_OBJ, 0, NOBODY), (OTHER, 0, NOBODY)]), Errno::EINVAL);
        fails(set(k, "f", "access", &[(USER_OBJ, 8, NOBODY), (GROUP_OBJ, 0, NOBODY), (OTHER, 0, NOBODY)]), Errno::EINVAL);
        fails(set(k, "f", "access", &[(GROUP_OBJ, 7, NOBODY), (USER_OBJ, 0, NOBODY), (OTHER, 0, NOBODY)]), Errno::EINVAL);
        fails(set(k, "f", "access", &[(USER_OBJ, 7, NOBODY), (0x40, 0, NOBODY), (OTHER, 0, NOBODY)]), Errno::EINVAL);
    }
    [setxattr] only_the_owner(k) needs Root {
        k.file("f", b"");
        call!(k, CHMOD, c"f", 0o666).unwrap();
        as_user(k, 1000, || fails(set(k, "f", "access", &for_user(1000, 7, 7)), Errno::EPERM));
    }
    [setxattr] default_lists_are_for_directories(k) {
        k.file("f", b"");
        k.mkdir("d", 0o755).unwrap();
        fails(set(k, "f", "default", &for_user(1000, 7, 7)), Errno::EACCES);
        set(k, "d", "default", &for_user(1000, 7, 7)).unwrap();
        assert_eq!(get(k, "d", "default").unwrap(), for_user(1000, 7, 7));
        assert_eq!(mode(k, "d"), 0o755);
    }
    [openat, mkdir] default_list_is_inherited_by_files(k) {
        k.mkdir("d", 0o755).unwrap();
        set(k, "d", "default", &for_user(1000, 7, 7)).unwrap();
        call!(k, UMASK, 0o077).unwrap();
        k.file("d/f", b"");
        assert_eq!(get(k, "d/f", "access").unwrap(), [(USER_OBJ, 6, NOBODY), (USER, 7, 1000), (GROUP_OBJ, 0, NOBODY), (MASK, 4, NOBODY), (OTHER, 0, NOBODY)]);
        assert_eq!(mode(k, "d/f"), 0o640);
    }
    [mkdir] default_list_is_handed_on_to_directories(k) {
        k.mkdir("d", 0o755).unwrap();
        set(k, "d", "default", &for_user(1000, 5, 7)).unwrap();
        k.mkdir("d/e", 0o770).unwrap();
        assert_eq!(get(k, "d/e", "default").unwrap(), for_user(1000, 5, 7));
        assert_eq!(get(k, "d/e", "access").unwrap()[1], (USER, 5, 1000));
    }
    [umask, mkdir] minimal_default_list_replaces_the_umask(k) {
        k.mkdir("d", 0o755).unwrap();
        set(k, "d", "default", &[(USER_OBJ, 7, NOBODY), (GROUP_OBJ, 5, NOBODY), (OTHER, 4, NOBODY)]).unwrap();
        call!(k, UMASK, 0o077).unwrap();
        k.mkdir("d/e", 0o777).unwrap();
        assert_eq!(mode(k, "d/e"), 0o754);
        fails(get(k, "d/e", "access"), Errno::ENODATA);
    }
    [listxattr] lists_are_listed(k) {
        k.mkdir("d", 0o755).unwrap();
        set(k, "d", "default", &for_user(1000, 7, 7)).unwrap();
        set(k, "d", "access", &for_user(1000, 7, 7)).unwrap();
        let mut names = [0_u8; 200];
        let count = call!(k, LISTXATTR, c"d", &mut names, 200).unwrap() as usize;
        let mut found: Vec<_> = names[..count].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
        found.sort();
        assert_eq!(found, [b"system.posix_acl_access".as_slice(), b"system.posix_acl_default"]);
    }
    [setxattr] links_have_none(k) {
        k.symlink("none", "l").unwrap();
        fails(call!(k, LSETXATTR, c"l", c"system.posix_acl_access", encode(&for_user(1, 7, 7)).as_slice(), 44, 0), Errno::EOPNOTSUPP);
    }
    [getxattr] short_buffers(k) {
        k.file("f", b"");
        set(k, "f", "access", &for_user(1000, 7, 7)).unwrap();
        assert_eq!(call!(k, GETXATTR, c"f", c"system.posix_acl_access", crate::suite::Arg::Null, 0), Ok(44));
        fails(call!(k, GETXATTR, c"f", c"system.posix_acl_access", &mut [0_u8; 40], 40), Errno::ERANGE);
    }
    [setxattr] other_system_attributes(k) {
        k.file("f", b"");
        fails(call!(k, SETXATTR, c"f", c"system.other", b"x", 1, 0), Errno::EOPNOTSUPP);
        fails(call!(k, GETXATTR, c"f", c"system.other", crate::suite::Arg::Null, 0), Errno::EOPNOTSUPP);
    }
}
