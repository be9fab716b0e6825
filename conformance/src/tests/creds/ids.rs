//! Users, groups and capabilities: `credentials(7)`, `capabilities(7)`.

use chitin_abi::{Errno as E, Result};

use super::super::support::{as_user, end, fd, i32_at, ok, sleeper, status_of, text, words};
use crate::call;
use crate::suite::{Arg, Calls, Files, Kernel, Processes, fails, faults, out, tests};

fn uids(k: &dyn Kernel) -> [i32; 3] {
    let (mut real, mut effective, mut saved) = ([0; 4], [0; 4], [0; 4]);
    ok(call!(k, GETRESUID, &mut real, &mut effective, &mut saved));
    [real, effective, saved].map(i32::from_ne_bytes)
}

fn gids(k: &dyn Kernel) -> [i32; 3] {
    let (mut real, mut effective, mut saved) = ([0; 4], [0; 4], [0; 4]);
    ok(call!(k, GETRESGID, &mut real, &mut effective, &mut saved));
    [real, effective, saved].map(i32::from_ne_bytes)
}

/// With these real, effective and saved user ids, in a child.
fn with(k: &dyn Kernel, ids: [i32; 3], body: impl Fn()) {
    k.apart(|| {
        ok(call!(k, SETRESUID, ids[0], ids[1], ids[2]));
        body();
    });
}

fn caps(k: &dyn Kernel, set: &str) -> u64 {
    u64::from_str_radix(&status_of(k, "self", set), 16).unwrap()
}

/// Sets effective, permitted and inheritable capabilities.
fn capset(k: &dyn Kernel, effective: u64, permitted: u64, inheritable: u64) -> Result<u64> {
    let header = [0x2008_0522_u32, 0].map(u32::to_ne_bytes).concat();
    let half = |value: u64, high: bool| if high { (value >> 32) as u32 } else { value as u32 };
    let data: Vec<u8> = [false, true]
        .iter()
        .flat_map(|high| {
            [effective, permitted, inheritable]
                .map(|set| half(set, *high))
                .into_iter()
                .flat_map(u32::to_ne_bytes)
                .collect::<Vec<_>>()
        })
        .collect();
    call!(k, CAPSET, header.as_slice(), data.as_slice())
}

fn ambient(k: &dyn Kernel, what: u32, capability: u32) -> Result<u64> {
    call!(k, PRCTL, 47, what, capability, 0, 0)
}

const KEEP: u32 = 8;
const NET_RAW: u32 = 13;

tests! { "ids", "credentials(7)";
    [setuid] root_changes_all_three(k) needs Root, Native { k.apart(|| { ok(call!(k, SETUID, 1000)); assert_eq!(uids(k), [1000; 3]); }); }
    [setuid] user_may_take_real_or_saved(k) needs Root, Native { with(k, [1, 2, 3], || { ok(call!(k, SETUID, 3)); assert_eq!(uids(k), [1, 3, 3]); ok(call!(k, SETUID, 1)); assert_eq!(uids(k), [1, 1, 3]); fails(call!(k, SETUID, 2), E::EPERM); }); }
    [setuid] id_that_is_none(k) needs Native { for call in [call!(k, SETUID, -1), call!(k, SETGID, -1)] { fails(call, E::EINVAL); } }
    [setresuid] each_may_stay(k) needs Root, Native { k.apart(|| { ok(call!(k, SETRESUID, -1, 5, -1)); assert_eq!(uids(k), [0, 5, 0]); ok(call!(k, SETRESUID, -1, -1, -1)); assert_eq!(uids(k), [0, 5, 0]); }); }
    [setresuid] user_may_permute(k) needs Root, Native { with(k, [1, 2, 3], || { ok(call!(k, SETRESUID, 3, 1, 2)); assert_eq!(uids(k), [3, 1, 2]); fails(call!(k, SETRESUID, 4, -1, -1), E::EPERM); fails(call!(k, SETRESUID, -1, 4, -1), E::EPERM); fails(call!(k, SETRESUID, -1, -1, 4), E::EPERM); }); }
    [setreuid] saved_follows_the_effective_id(k) needs Root, Native { k.apart(|| { ok(call!(k, SETREUID, 5, -1)); assert_eq!(uids(k), [5, 0, 0]); ok(call!(k, SETREUID, -1, 6)); assert_eq!(uids(k), [5, 6, 6]); }); }
    [setreuid] saved_stays_when_it_equals_the_old_real_id(k) needs Root, Native { with(k, [1, 2, 3], || { ok(call!(k, SETREUID, -1, 1)); assert_eq!(uids(k), [1, 1, 3]); }); }
    [setreuid] user_rules(k) needs Root, Native { with(k, [1, 2, 3], || { fails(call!(k, SETREUID, 3, -1), E::EPERM); ok(call!(k, SETREUID, 2, -1)); assert_eq!(uids(k), [2, 2, 2]); }); }
    [setfsuid] follows_the_effective_id(k) needs Root, Native { k.apart(|| { ok(call!(k, SETRESUID, -1, 7, -1)); assert_eq!(call!(k, SETFSUID, -1), Ok(7)); assert_eq!(status_of(k, "self", "Uid"), "0\t7\t0\t7"); }); }
    [setfsuid] user_may_only_take_what_it_has(k) needs Root, Native { with(k, [1, 2, 3], || { assert_eq!(call!(k, SETFSUID, 9), Ok(2)); assert_eq!(call!(k, SETFSUID, 3), Ok(2)); assert_eq!(call!(k, SETFSUID, -1), Ok(3)); }); }
    [setfsuid, openat] decides_on_files(k) needs Root, Native { ok(call!(k, CHMOD, c".", 0o777)); k.apart(|| { ok(call!(k, SETFSUID, 1000)); ok(k.close(k.file("f", b""))); assert_eq!(k.stat("f").unwrap().st_uid, 1000); }); }
    [setgid] root_changes_all_group_ids(k) needs Root, Native { k.apart(|| { ok(call!(k, SETGID, 1000)); assert_eq!(gids(k), [1000; 3]); }); }
    [setresgid, setregid] group_rules(k) needs Root, Native { k.apart(|| { ok(call!(k, SETRESGID, 1, 2, 3)); assert_eq!(gids(k), [1, 2, 3]); ok(call!(k, SETREGID, -1, 9)); assert_eq!(gids(k), [1, 9, 9]); ok(call!(k, SETRESUID, 5, 5, 5)); fails(call!(k, SETRESGID, 4, -1, -1), E::EPERM); fails(call!(k, SETGID, 4), E::EPERM); ok(call!(k, SETREGID, 9, 1)); assert_eq!(gids(k), [9, 1, 1]); }); }
    [setfsgid] group_for_files(k) needs Root, Native { k.apart(|| { assert_eq!(call!(k, SETFSGID, 77), Ok(0)); assert_eq!(call!(k, SETFSGID, -1), Ok(77)); }); }
    [getresuid] pointers(k) needs Native { faults!(k, GETRESUID, out(4), out(4), out(4)); faults!(k, GETRESGID, out(4), out(4), out(4)); }
    [getuid, geteuid, getgid, getegid] single_ids(k) needs Root, Native { with(k, [3, 4, 5], || assert_eq!((call!(k, GETUID), call!(k, GETEUID), call!(k, GETGID), call!(k, GETEGID)), (Ok(3), Ok(4), Ok(0), Ok(0)))); }
    [setgroups] list_is_kept_in_order_of_size(k) needs Root, Native { k.apart(|| { ok(call!(k, SETGROUPS, 3, [9_u32, 5, 7].map(u32::to_ne_bytes).concat().as_slice())); let mut list = [0; 12]; assert_eq!(call!(k, GETGROUPS, 3, &mut list), Ok(3)); assert_eq!([0, 4, 8].map(|at| i32_at(&list, at)), [5, 7, 9]); assert_eq!(status_of(k, "self", "Groups"), "5 7 9"); }); }
    [setgroups] limits_of_the_list(k) needs Root, Native { fails(call!(k, SETGROUPS, 65_537, Arg::Null), E::EINVAL); fails(call!(k, SETGROUPS, -1, Arg::Null), E::EINVAL); fails(call!(k, SETGROUPS, 1, Arg::Bad), E::EFAULT); fails(call!(k, GETGROUPS, -1, Arg::Null), E::EINVAL); k.apart(|| { ok(call!(k, SETGROUPS, 2, &[1_u8, 0, 0, 0, 2, 0, 0, 0])); fails(call!(k, GETGROUPS, 1, &mut [0_u8; 4]), E::EINVAL); fails(call!(k, GETGROUPS, 2, Arg::Bad), E::EFAULT); }); }
    [setgroups] needs_privilege(k) needs Root, Native { with(k, [5, 5, 5], || fails(call!(k, SETGROUPS, 0, Arg::Null), E::EPERM)); }
    [setgroups, access] groups_give_access(k) needs Root, Native { ok(k.close(k.file("f", b"x"))); ok(call!(k, CHOWN, c"f", 0, 4242)); ok(call!(k, CHMOD, c"f", 0o040)); ok(call!(k, CHMOD, c".", 0o755)); k.apart(|| { ok(call!(k, SETGROUPS, 1, &4242_u32.to_ne_bytes())); ok(call!(k, SETRESUID, 5, 5, 5)); ok(k.open("f", 0, 0)); }); as_user(k, || fails(k.open("f", 0, 0), E::EACCES)); }
    [setresuid, capget] leaving_root_drops_capabilities(k) needs Root, Native { k.apart(|| { ok(call!(k, SETRESUID, -1, 1000, -1)); assert_eq!(caps(k, "CapEff"), 0); assert_ne!(caps(k, "CapPrm"), 0); ok(call!(k, SETRESUID, -1, 0, -1)); assert_ne!(caps(k, "CapEff"), 0); ok(call!(k, SETRESUID, 1000, 1000, 1000)); assert_eq!(caps(k, "CapPrm"), 0); }); }
    [prctl] keepcaps_keeps_the_permitted_ones(k) needs Root, Native { k.apart(|| { ok(call!(k, PRCTL, KEEP, 1, 0, 0, 0)); assert_eq!(call!(k, PRCTL, 7, 0, 0, 0, 0), Ok(1)); ok(call!(k, SETRESUID, 1000, 1000, 1000)); assert_eq!(caps(k, "CapEff"), 0); assert_ne!(caps(k, "CapPrm"), 0); }); fails(call!(k, PRCTL, KEEP, 2, 0, 0, 0), E::EINVAL); }
    [capset] effective_must_be_permitted(k) needs Root, Native { k.apart(|| { let all = caps(k, "CapPrm"); ok(capset(k, 0, all & !(1 << NET_RAW), 0)); fails(capset(k, 1 << NET_RAW, all & !(1 << NET_RAW), 0), E::EPERM); fails(capset(k, 0, all, 0), E::EPERM); }); }
    [capset] inheritable_is_bounded(k) needs Root, Native { k.apart(|| { ok(capset(k, 0, 1 << NET_RAW, 1 << NET_RAW)); assert_eq!(caps(k, "CapInh"), 1 << NET_RAW); fails(capset(k, 0, 1 << NET_RAW, 1 << NET_RAW | 1), E::EPERM); }); }
    [capset] of_others_is_not_possible(k) needs Root, Native { let child = sleeper(k); let header = [0x2008_0522_u32, child.pid.cast_unsigned()].map(u32::to_ne_bytes).concat(); fails(call!(k, CAPSET, header.as_slice(), &[0_u8; 24]), E::EPERM); let mut data = [0_u8; 24]; let mut own = header.clone(); ok(call!(k, CAPGET, own.as_mut_slice(), &mut data)); assert_ne!(data, [0; 24]); end(k, child); fails(call!(k, CAPGET, own.as_mut_slice(), &mut data), E::ESRCH); }
    [capget] pointers_and_versions(k) needs Native { fails(call!(k, CAPGET, Arg::Bad, &mut [0_u8; 24]), E::EFAULT); let mut header = [0x2008_0522_u32, 0].map(u32::to_ne_bytes).concat(); fails(call!(k, CAPGET, header.as_mut_slice(), Arg::Bad), E::EFAULT); fails(call!(k, CAPSET, header.as_slice(), Arg::Bad), E::EFAULT); let mut first = [0x1998_0330_u32, 0].map(u32::to_ne_bytes).concat(); ok(call!(k, CAPGET, first.as_mut_slice(), &mut [0_u8; 12])); let mut negative = [0x2008_0522_u32, u32::MAX].map(u32::to_ne_bytes).concat(); fails(call!(k, CAPGET, negative.as_mut_slice(), &mut [0_u8; 24]), E::EINVAL); }
    [prctl] bounding_set(k) needs Root, Native { k.apart(|| { assert_eq!(call!(k, PRCTL, 23, NET_RAW, 0, 0, 0), Ok(1)); ok(call!(k, PRCTL, 24, NET_RAW, 0, 0, 0)); assert_eq!(call!(k, PRCTL, 23, NET_RAW, 0, 0, 0), Ok(0)); assert_eq!(caps(k, "CapBnd") >> NET_RAW & 1, 0); }); fails(call!(k, PRCTL, 23, 99, 0, 0, 0), E::EINVAL); as_user(k, || fails(call!(k, PRCTL, 24, NET_RAW, 0, 0, 0), E::EPERM)); }
    [prctl] ambient_needs_permitted_and_inheritable(k) needs Root, Native { k.apart(|| { fails(ambient(k, 2, NET_RAW), E::EPERM); let all = caps(k, "CapPrm"); ok(capset(k, all, all, 1 << NET_RAW)); ok(ambient(k, 2, NET_RAW)); assert_eq!((ambient(k, 1, NET_RAW), caps(k, "CapAmb")), (Ok(1), 1 << NET_RAW)); ok(ambient(k, 3, NET_RAW)); assert_eq!(ambient(k, 1, NET_RAW), Ok(0)); }); }
    [prctl] ambient_follows_the_other_sets(k) needs Root, Native { k.apart(|| { let all = caps(k, "CapPrm"); ok(capset(k, all, all, 1 << NET_RAW)); ok(ambient(k, 2, NET_RAW)); ok(capset(k, all, all, 0)); assert_eq!(caps(k, "CapAmb"), 0); }); fails(ambient(k, 9, 0), E::EINVAL); fails(ambient(k, 2, 99), E::EINVAL); ok(ambient(k, 4, 0)); }
    [prctl, execve] ambient_survives_exec_of_a_user(k) needs Root, Native { k.apart(|| { let all = caps(k, "CapPrm"); ok(call!(k, PRCTL, KEEP, 1, 0, 0, 0)); ok(call!(k, SETRESUID, 1000, 1000, 1000)); ok(capset(k, all, all, 1 << NET_RAW)); ok(ambient(k, 2, NET_RAW)); let child = k.child(|| { let _ = call!(k, EXECVE, c"/bin/grep", words([c"g".as_ptr() as u64, c"-q".as_ptr() as u64, c"CapEff:.0000000000002000".as_ptr() as u64, c"/proc/self/status".as_ptr() as u64, 0]).as_slice(), Arg::Null); 9 }); assert_eq!(k.status(child), 0); }); }
    [prctl] securebits(k) needs Root, Native { k.apart(|| { assert_eq!(call!(k, PRCTL, 27, 0, 0, 0, 0), Ok(0)); ok(call!(k, PRCTL, 28, 0x4, 0, 0, 0)); ok(call!(k, SETRESUID, -1, 1000, -1)); assert_ne!(caps(k, "CapEff"), 0); assert_eq!(call!(k, PRCTL, 27, 0, 0, 0, 0), Ok(4)); }); }
    [prctl] locked_securebits_stay(k) needs Root, Native { k.apart(|| { ok(call!(k, PRCTL, 28, 0x3, 0, 0, 0)); fails(call!(k, PRCTL, 28, 0x2, 0, 0, 0), E::EPERM); fails(call!(k, PRCTL, 28, 0x1, 0, 0, 0), E::EPERM); fails(call!(k, PRCTL, 28, 0x1000_0003, 0, 0, 0), E::EPERM); }); as_user(k, || fails(call!(k, PRCTL, 28, 1, 0, 0, 0), E::EPERM)); }
    [prctl, execve] no_root_gives_root_nothing(k) needs Root, Native { k.apart(|| { ok(call!(k, PRCTL, 28, 0x1, 0, 0, 0)); let child = k.child(|| { let _ = call!(k, EXECVE, c"/bin/grep", words([c"g".as_ptr() as u64, c"-q".as_ptr() as u64, c"CapEff:.0000000000000000".as_ptr() as u64, c"/proc/self/status".as_ptr() as u64, 0]).as_slice(), Arg::Null); 9 }); assert_eq!(k.status(child), 0); }); }
    [unshare] user_namespace_gives_all_capabilities(k) needs Root, Native { as_user(k, || { ok(call!(k, UNSHARE, 0x1000_0000)); assert_ne!(caps(k, "CapEff"), 0); assert_eq!(call!(k, GETUID), Ok(65534)); }); }
    [unshare] user_namespace_maps_ids(k) needs Root, Native { as_user(k, || { ok(call!(k, PRCTL, 4, 1, 0, 0, 0)); ok(call!(k, UNSHARE, 0x1000_0000)); let put = |name: &str, content: &str| { let file = k.open(name, 1, 0)?; let done = k.write(file, content.as_bytes()); ok(k.close(file)); done }; ok(put("/proc/self/setgroups", "deny")); ok(put("/proc/self/uid_map", "0 1000 1")); ok(put("/proc/self/gid_map", "5 1000 1")); assert_eq!((call!(k, GETUID), call!(k, GETGID)), (Ok(0), Ok(5))); assert_eq!(text(k, "/proc/self/uid_map"), "         0       1000          1\n"); fails(put("/proc/self/uid_map", "0 1000 1"), E::EPERM); fails(call!(k, SETGROUPS, 0, Arg::Null), E::EPERM); }); }
    [unshare] user_namespace_cannot_map_others(k) needs Root, Native { as_user(k, || { ok(call!(k, PRCTL, 4, 1, 0, 0, 0)); ok(call!(k, UNSHARE, 0x1000_0000)); let file = k.open("/proc/self/uid_map", 1, 0).unwrap(); fails(k.write(file, b"0 0 1"), E::EPERM); fails(k.write(file, b"junk"), E::EINVAL); }); }
    [unshare] user_namespaces_own_what_they_make(k) needs Root, Native { as_user(k, || { ok(call!(k, UNSHARE, 0x1000_0000 | 0x0400_0000)); ok(call!(k, SETHOSTNAME, c"inside", 6)); fails(call!(k, SETGROUPS, 0, Arg::Null), E::EPERM); }); }
    [unshare] unknown_flags(k) needs Native { for flags in [1_u64, 0x8000, 1 << 40] { fails(call!(k, UNSHARE, flags), E::EINVAL); } }
    [unshare] each_namespace_is_new(k) needs Root, Native { for (flag, name) in [(0x0400_0000, "uts"), (0x0800_0000, "ipc"), (0x0002_0000, "mnt"), (0x4000_0000, "net"), (0x0200_0000, "cgroup")] { k.apart(|| { let link = format!("/proc/self/ns/{name}"); let before = k.readlink(&link).unwrap(); ok(call!(k, UNSHARE, flag)); assert_ne!(k.readlink(&link).unwrap(), before, "{name}"); }); } }
    [unshare] pid_namespace_is_for_children(k) needs Root, Native { k.apart(|| { let (own, before) = (k.getpid(), k.readlink("/proc/self/ns/pid").unwrap()); ok(call!(k, UNSHARE, 0x2000_0000)); assert_eq!((k.getpid(), k.readlink("/proc/self/ns/pid").unwrap()), (own, before)); k.apart(|| assert_eq!(k.getpid(), 1)); fails(k.fork(&mut || 0), E::ENOMEM); }); }
    [setns] joins_by_file(k) needs Root, Native { let own = k.open("/proc/self/ns/uts", 0, 0).unwrap(); k.apart(|| { ok(call!(k, UNSHARE, 0x0400_0000)); ok(call!(k, SETHOSTNAME, c"elsewhere", 9)); ok(call!(k, SETNS, own, 0x0400_0000)); assert_ne!(text(k, "/proc/sys/kernel/hostname"), "elsewhere\n"); fails(call!(k, SETNS, own, 0x0800_0000), E::EINVAL); fails(call!(k, SETNS, 0, 0), E::EINVAL); fails(call!(k, SETNS, 999, 0), E::EBADF); }); }
    [setns] needs_privilege_of_the_namespace(k) needs Root, Native { let own = k.open("/proc/self/ns/uts", 0, 0).unwrap(); as_user(k, || fails(call!(k, SETNS, own, 0), E::EPERM)); }
    [ioctl] namespaces_tell_their_kind(k) needs Root, Native { let uts = k.open("/proc/self/ns/uts", 0, 0).unwrap(); assert_eq!(call!(k, IOCTL, uts, 0xb703_u32, 0), Ok(0x0400_0000)); let user = fd(call!(k, IOCTL, uts, 0xb701_u32, 0)); assert_eq!(call!(k, IOCTL, user, 0xb703_u32, 0), Ok(0x1000_0000)); }
}
