//! Keys and keyrings: `add_key(2)`, `request_key(2)`, `keyctl(2)`.

use chitin_abi::{Errno as E, Result};

use super::super::support::{MS, as_user, now, ok, text, until};
use crate::call;
use crate::suite::{Arg, Calls, Kernel, Processes, Threads, fails, fails_with_one_of, tests};

const THREAD: i32 = -1;
const PROCESS: i32 = -2;
const SESSION: i32 = -3;
const USER: i32 = -4;

fn add(
    k: &dyn Kernel,
    kind: &std::ffi::CStr,
    name: &std::ffi::CStr,
    payload: &[u8],
    ring: i32,
) -> Result<i32> {
    call!(k, ADD_KEY, kind, name, payload, payload.len(), ring).map(|id| id as i32)
}

fn user(k: &dyn Kernel, name: &std::ffi::CStr) -> i32 {
    add(k, c"user", name, b"secret", PROCESS).unwrap()
}

fn ring(k: &dyn Kernel, name: &std::ffi::CStr) -> i32 {
    call!(k, ADD_KEY, c"keyring", name, Arg::Null, 0, PROCESS).unwrap() as i32
}

fn ctl(k: &dyn Kernel, operation: u32, a: i32, b: i32) -> Result<u64> {
    call!(k, KEYCTL, operation, a, b, 0, 0)
}

fn request(k: &dyn Kernel, name: &std::ffi::CStr) -> Result<i32> {
    call!(k, REQUEST_KEY, c"user", name, Arg::Null, 0).map(|id| id as i32)
}

fn read(k: &dyn Kernel, id: i32) -> Result<Vec<u8>> {
    let mut bytes = [0_u8; 64];
    let count = call!(k, KEYCTL, 11, id, &mut bytes, 64)?;
    Ok(bytes[..count as usize].to_vec())
}

fn describe(k: &dyn Kernel, id: i32) -> String {
    let mut bytes = [0_u8; 200];
    let count = call!(k, KEYCTL, 6, id, &mut bytes, 200).unwrap();
    String::from_utf8_lossy(&bytes[..count as usize - 1]).into_owned()
}

tests! { "keys", "keyrings(7)";
    [add_key, keyctl] payload_can_be_read(k) needs Native { let id = user(k, c"a"); assert_eq!(read(k, id), Ok(b"secret".to_vec())); }
    [add_key] same_description_is_updated(k) needs Native { let id = user(k, c"a"); assert_eq!(add(k, c"user", c"a", b"new", PROCESS), Ok(id)); assert_eq!(read(k, id), Ok(b"new".to_vec())); }
    [add_key] other_keyring_gets_another_key(k) needs Native { let id = user(k, c"a"); assert_ne!(add(k, c"user", c"a", b"x", THREAD), Ok(id)); }
    [add_key] unknown_type(k) needs Native { fails(add(k, c"nosuchtype", c"a", b"x", PROCESS), E::ENODEV); fails(add(k, c"", c"a", b"x", PROCESS), E::EINVAL); fails(add(k, c".x", c"a", b"x", PROCESS), E::EPERM); fails(add(k, c"12345678901234567890123456789012", c"a", b"x", PROCESS), E::EINVAL); }
    [add_key] sizes_of_payloads(k) needs Native { fails(add(k, c"user", c"a", b"", PROCESS), E::EINVAL); ok(add(k, c"user", c"a", &[1; 32767], PROCESS)); fails(add(k, c"user", c"a", &[1; 32768], PROCESS), E::EINVAL); fails(call!(k, ADD_KEY, c"user", c"a", Arg::Null, 1 << 20, PROCESS), E::EINVAL); fails(add(k, c"keyring", c"r", b"x", PROCESS), E::EINVAL); }
    [add_key] pointers(k) needs Native { fails(call!(k, ADD_KEY, Arg::Bad, c"a", b"x", 1, PROCESS), E::EFAULT); fails(call!(k, ADD_KEY, c"user", Arg::Bad, b"x", 1, PROCESS), E::EFAULT); fails(call!(k, ADD_KEY, c"user", c"a", Arg::Bad, 1, PROCESS), E::EFAULT); }
    [add_key] unknown_keyrings(k) needs Native { fails(add(k, c"user", c"a", b"x", 0), E::EINVAL); fails(add(k, c"user", c"a", b"x", -99), E::EINVAL); fails(add(k, c"user", c"a", b"x", 0x7fff_fff0), E::ENOKEY); let key = user(k, c"k"); fails(add(k, c"user", c"a", b"x", key), E::ENOTDIR); }
    [add_key] keyrings_of_the_kernel_cannot_be_named(k) needs Native { fails(call!(k, ADD_KEY, c"keyring", c".hidden", Arg::Null, 0, PROCESS), E::EPERM); }
    [add_key] logon_keys_need_a_prefix_and_cannot_be_read(k) needs Native { fails(add(k, c"logon", c"plain", b"x", PROCESS), E::EINVAL); let id = add(k, c"logon", c"svc:me", b"x", PROCESS).unwrap(); fails(read(k, id), E::EOPNOTSUPP); }
    [add_key] quota_of_a_user(k) needs Root, Native { as_user(k, || { let mut made = 0; while call!(k, ADD_KEY, c"keyring", std::ffi::CString::new(format!("r{made}")).unwrap().as_c_str(), Arg::Null, 0, PROCESS).is_ok() { made += 1; assert!(made < 2000); } fails(add(k, c"keyring", c"more", b"", PROCESS), E::EDQUOT); }); }
    [request_key] own_keys_are_found(k) needs Native { let id = user(k, c"a"); assert_eq!(request(k, c"a"), Ok(id)); }
    [request_key] nested_keys_are_found(k) needs Native { let inner = ring(k, c"inner"); let id = add(k, c"user", c"deep", b"x", inner).unwrap(); assert_eq!(request(k, c"deep"), Ok(id)); }
    [request_key] missing_key(k) needs Native { fails(request(k, c"nowhere"), E::ENOKEY); fails(call!(k, REQUEST_KEY, c"user", Arg::Bad, Arg::Null, 0), E::EFAULT); fails(call!(k, REQUEST_KEY, c".x", c"a", Arg::Null, 0), E::EPERM); }
    [request_key] found_key_is_linked(k) needs Native { let id = user(k, c"a"); let target = ring(k, c"t"); assert_eq!(call!(k, REQUEST_KEY, c"user", c"a", Arg::Null, target), Ok(id as u64)); assert_eq!(read(k, target), Ok(id.to_ne_bytes().to_vec())); }
    [request_key, keyctl] dead_keys_are_missing(k) needs Native { let id = user(k, c"a"); ok(ctl(k, 3, id, 0)); fails(request(k, c"a"), E::ENOKEY); let id = user(k, c"b"); ok(ctl(k, 15, id, 1)); k.sleep_ms(1100); fails(request(k, c"b"), E::ENOKEY); }
    [keyctl] unknown_operation(k) needs Native { fails(ctl(k, 999, 0, 0), E::EOPNOTSUPP); }
    [keyctl] keyring_ids(k) needs Native { fails(ctl(k, 0, THREAD, 0), E::ENOKEY); let id = ctl(k, 0, THREAD, 1).unwrap(); assert_eq!(ctl(k, 0, THREAD, 0), Ok(id)); assert_eq!(ctl(k, 0, id as i32, 0), Ok(id)); fails(ctl(k, 0, -6, 0), E::EINVAL); fails(ctl(k, 0, 0, 0), E::EINVAL); assert!(ctl(k, 0, USER, 0).is_ok()); }
    [keyctl] descriptions_of_own_keyrings(k) needs Native { ok(ctl(k, 0, THREAD, 1)); ok(ctl(k, 0, PROCESS, 1)); assert!(describe(k, THREAD).starts_with("keyring;0;0;3f010000;_tid")); assert!(describe(k, PROCESS).starts_with("keyring;0;0;3f010000;_pid")); assert!(describe(k, USER).ends_with(";_uid.0")); }
    [keyctl] description_of_a_key(k) needs Native { let id = user(k, c"name"); assert_eq!(describe(k, id), "user;0;0;3f010000;name"); let mut small = [7_u8; 4]; assert_eq!(call!(k, KEYCTL, 6, id, &mut small, 4), Ok(23)); assert_eq!(small, [7; 4]); assert_eq!(call!(k, KEYCTL, 6, id, Arg::Null, 0), Ok(23)); }
    [keyctl] join_makes_an_anonymous_session(k) needs Native { k.apart(|| { let id = call!(k, KEYCTL, 1, Arg::Null).unwrap(); assert_eq!(ctl(k, 0, SESSION, 0), Ok(id)); assert!(describe(k, SESSION).ends_with(";_ses")); assert_ne!(call!(k, KEYCTL, 1, Arg::Null), Ok(id)); }); }
    [keyctl] join_by_name_is_shared(k) needs Native { let id = call!(k, KEYCTL, 1, c"shared-session").unwrap(); k.apart(|| { ok(call!(k, KEYCTL, 1, Arg::Null)); ok(call!(k, KEYCTL, 1, c"another-name")); }); assert_eq!(ctl(k, 0, SESSION, 0), Ok(id)); fails(call!(k, KEYCTL, 1, c".x"), E::EPERM); fails(call!(k, KEYCTL, 1, Arg::Bad), E::EFAULT); }
    [keyctl, fork] session_is_inherited_and_the_process_keyring_not(k) needs Native { let id = call!(k, KEYCTL, 1, Arg::Null).unwrap(); ok(ctl(k, 0, PROCESS, 1)); k.apart(|| { assert_eq!(ctl(k, 0, SESSION, 0), Ok(id)); fails(ctl(k, 0, PROCESS, 0), E::ENOKEY); }); }
    [keyctl] threads_have_keyrings_of_their_own(k) needs Native { let id = ctl(k, 0, THREAD, 1).unwrap(); k.on_thread(|| assert!(ctl(k, 0, THREAD, 0).is_ok_and(|own| own != id))); }
    [keyctl] update_replaces_the_payload(k) needs Native { let id = user(k, c"a"); ok(call!(k, KEYCTL, 2, id, b"other", 5)); assert_eq!(read(k, id), Ok(b"other".to_vec())); fails(call!(k, KEYCTL, 2, id, b"x", 0), E::EINVAL); fails(call!(k, KEYCTL, 2, id, Arg::Bad, 1), E::EFAULT); fails(call!(k, KEYCTL, 2, PROCESS, b"x", 1), E::EOPNOTSUPP); fails(call!(k, KEYCTL, 2, id, Arg::Null, 5000), E::EINVAL); }
    [keyctl] revoked_key_is_useless(k) needs Native { let id = user(k, c"a"); ok(ctl(k, 3, id, 0)); fails(read(k, id), E::EKEYREVOKED); fails(ctl(k, 3, id, 0), E::EKEYREVOKED); fails(ctl(k, 3, 0x7fff_fff0, 0), E::ENOKEY); }
    [keyctl] invalidated_key_is_gone(k) needs Native { let id = user(k, c"a"); ok(ctl(k, 21, id, 0)); fails_with_one_of(read(k, id), &[E::ENOKEY, E::EACCES]); }
    [keyctl] timeout_expires(k) needs Native { let id = user(k, c"a"); let start = now(k, 1); ok(ctl(k, 15, id, 1)); assert!(read(k, id).is_ok() || now(k, 1) - start >= 1000 * MS); k.sleep_ms(1100); fails(read(k, id), E::EKEYEXPIRED); }
    [keyctl] timeout_can_be_taken_back(k) needs Native { let id = user(k, c"a"); ok(ctl(k, 15, id, 2)); ok(ctl(k, 15, id, 0)); k.sleep_ms(2100); ok(read(k, id)); }
    [keyctl] links_and_unlinks(k) needs Native { let (id, target) = (user(k, c"a"), ring(k, c"t")); ok(ctl(k, 8, id, target)); assert_eq!(read(k, target), Ok(id.to_ne_bytes().to_vec())); ok(ctl(k, 9, id, target)); assert_eq!(read(k, target), Ok(vec![])); fails(ctl(k, 9, id, target), E::ENOENT); fails(ctl(k, 8, target, id), E::ENOTDIR); }
    [keyctl] rings_of_rings_have_no_loops(k) needs Native { let (outer, inner) = (ring(k, c"o"), ring(k, c"i")); ok(ctl(k, 8, inner, outer)); fails(ctl(k, 8, outer, inner), E::EDEADLK); fails(ctl(k, 8, outer, outer), E::EDEADLK); }
    [keyctl] unlinked_key_is_gone(k) needs Native { let id = user(k, c"a"); ok(ctl(k, 9, id, PROCESS)); until(k, || matches!(read(k, id), Err(E::ENOKEY | E::EACCES))); }
    [keyctl] clear_empties(k) needs Native { let target = ring(k, c"t"); ok(add(k, c"user", c"x", b"x", target)); ok(ctl(k, 7, target, 0)); assert_eq!(read(k, target), Ok(vec![])); let key = user(k, c"k"); fails(ctl(k, 7, key, 0), E::ENOTDIR); }
    [keyctl] search_below_a_keyring(k) needs Native { let target = ring(k, c"t"); let id = add(k, c"user", c"x", b"x", target).unwrap(); assert_eq!(call!(k, KEYCTL, 10, target, c"user", c"x", 0), Ok(id as u64)); fails(call!(k, KEYCTL, 10, target, c"user", c"y", 0), E::ENOKEY); let key = user(k, c"k"); fails(call!(k, KEYCTL, 10, key, c"user", c"x", 0), E::ENOTDIR); }
    [keyctl] rights_can_be_taken(k) needs Native { let id = user(k, c"a"); ok(ctl(k, 5, id, 0x3f00_0000 & !0x0a00_0000)); fails(read(k, id), E::EACCES); fails(ctl(k, 5, id, 0x7f00_0000), E::EINVAL); let id = user(k, c"b"); ok(ctl(k, 5, id, 0x1f00_0000)); fails(ctl(k, 5, id, 0x3f00_0000), E::EACCES); }
    [keyctl] rights_of_strangers(k) needs Root, Native { let id = user(k, c"a"); as_user(k, || { fails(read(k, id), E::EACCES); fails(ctl(k, 3, id, 0), E::EACCES); fails(call!(k, KEYCTL, 6, id, Arg::Null, 0), E::EACCES); }); ok(ctl(k, 5, id, 0x3f01_0003)); as_user(k, || assert_eq!(read(k, id), Ok(b"secret".to_vec()))); }
    [keyctl] owner_can_be_changed_by_root(k) needs Root, Native { let id = user(k, c"a"); ok(call!(k, KEYCTL, 4, id, 1000, 1000)); assert_eq!(describe_quietly(k, id), Ok(())); as_user(k, || ok(call!(k, KEYCTL, 6, id, Arg::Null, 0))); }
    [keyctl] default_keyring_of_requests(k) needs Native { assert_eq!(ctl(k, 14, -1, 0), Ok(0)); assert_eq!(ctl(k, 14, 1, 0), Ok(0)); assert_eq!(ctl(k, 14, -1, 0), Ok(1)); fails(ctl(k, 14, 6, 0), E::EINVAL); fails(ctl(k, 14, 99, 0), E::EINVAL); ok(ctl(k, 0, THREAD, 0)); }
    [keyctl] key_can_be_moved(k) needs Native { let (from, to) = (ring(k, c"f"), ring(k, c"t")); let id = add(k, c"user", c"x", b"x", from).unwrap(); ok(call!(k, KEYCTL, 30, id, from, to, 0)); assert_eq!((read(k, from), read(k, to)), (Ok(vec![]), Ok(id.to_ne_bytes().to_vec()))); fails(call!(k, KEYCTL, 30, id, from, to, 0), E::ENOENT); fails(call!(k, KEYCTL, 30, id, to, from, 2), E::EINVAL); ok(add(k, c"user", c"x", b"y", from)); fails(call!(k, KEYCTL, 30, id, to, from, 1), E::EEXIST); }
    [keyctl] restricted_keyring_takes_nothing(k) needs Native { let target = ring(k, c"t"); ok(call!(k, KEYCTL, 29, target, Arg::Null, Arg::Null)); fails(add(k, c"user", c"x", b"x", target), E::EPERM); }
    [keyctl] making_keys_needs_authority(k) needs Native { let id = user(k, c"a"); fails(call!(k, KEYCTL, 12, id, b"x", 1, 0), E::EPERM); fails(call!(k, KEYCTL, 13, id, 1, 0), E::EPERM); assert_eq!(ctl(k, 16, 0, 0), Ok(0)); }
    [keyctl] security_label_is_empty(k) needs Native { let id = user(k, c"a"); let mut label = [9_u8; 4]; assert_eq!((call!(k, KEYCTL, 17, id, &mut label, 4), label[0]), (Ok(1), 0)); }
    [keyctl] shown_in_proc(k) needs Native { let id = user(k, c"shown-here"); assert!(text(k, "/proc/keys").contains(&format!("{id:08x} I--Q---")), "{}", text(k, "/proc/keys")); assert!(text(k, "/proc/key-users").lines().any(|line| line.trim_start().starts_with("0:"))); }
}

fn describe_quietly(k: &dyn Kernel, id: i32) -> Result<()> {
    call!(k, KEYCTL, 6, id, Arg::Null, 0).map(|_| ())
}
