//! Files of a process that can be written: `comm`, `oom_score_adj`, id maps, `timerslack_ns`.

use core::sync::atomic::Ordering;

use chitin_abi::fs::DT_REG;
use chitin_abi::process::{CAP_SYS_NICE, CAP_SYS_RESOURCE};
use chitin_abi::{Errno, Result};
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::pseudo::{Node, TableDir, TableEntry, Write};

use super::Object;
use crate::namespace::user::IdKind;
use crate::proc::reader;

/// Longest `comm`.
const COMM_LEN: usize = 15;
/// Range of `oom_score_adj`.
const OOM_RANGE: core::ops::RangeInclusive<i32> = -1000..=1000;
/// `OOM_DISABLE` of the old scale.
const OOM_ADJ_MIN: i32 = -17;
const OOM_ADJ_MAX: i32 = 15;

fn put(out: &mut Vec<u8>, text: &str) -> Result<()> {
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// `comm`.
pub fn comm(object: &Object) -> Node {
    let target = object.clone();
    super::text(object, 0o644, |object, _, out| {
        match object.task() {
            Ok(task) => out.extend_from_slice(&task.name.lock()),
            Err(_) => out.extend_from_slice(&object.with_entry(|entry| entry.name.clone())?),
        }
        out.push(b'\n');
        Ok(())
    })
    .on_write(move |write| {
        let task = target.task()?;
        if reader(write.env).is_some_and(|reader| reader.tgid() != task.tgid()) {
            return Err(Errno::EINVAL);
        }
        let end = write
            .bytes
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(write.bytes.len())
            .min(COMM_LEN);
        *task.name.lock() = write.bytes.get(..end).unwrap_or_default().to_vec();
        Ok(write.bytes.len())
    })
}

/// Whether the writer may make a process less likely to be killed.
fn privileged(env: &VfsEnv) -> bool {
    reader(env).is_none_or(|task| task.cred().has(CAP_SYS_RESOURCE))
}

fn set_oom(object: &Object, write: &Write<'_>, value: i32) -> Result<usize> {
    let group = object.group()?;
    if value < group.oom_score_adj.load(Ordering::Relaxed) && !privileged(write.env) {
        return Err(Errno::EACCES);
    }
    group.oom_score_adj.store(value, Ordering::Relaxed);
    Ok(write.bytes.len())
}

/// `oom_score_adj`.
pub fn oom_score_adj(object: &Object) -> Node {
    let target = object.clone();
    super::text(object, 0o644, |object, _, out| {
        put(out, &format!("{}\n", object.group()?.oom_score_adj.load(Ordering::Relaxed)))
    })
    .on_write(move |write| {
        let value: i32 = write.number()?;
        if !OOM_RANGE.contains(&value) {
            return Err(Errno::EINVAL);
        }
        set_oom(&target, write, value)
    })
}

/// `oom_adj`: the same on the scale of -17 to 15.
pub fn oom_adj(object: &Object) -> Node {
    let target = object.clone();
    super::text(object, 0o644, |object, _, out| {
        let score = object.group()?.oom_score_adj.load(Ordering::Relaxed);
        let value = if score == 1000 { OOM_ADJ_MAX } else { score * -OOM_ADJ_MIN / 1000 };
        put(out, &format!("{value}\n"))
    })
    .on_write(move |write| {
        let value: i32 = write.number()?;
        if !(OOM_ADJ_MIN..=OOM_ADJ_MAX).contains(&value) {
            return Err(Errno::EINVAL);
        }
        let score = if value == OOM_ADJ_MAX { 1000 } else { value * 1000 / -OOM_ADJ_MIN };
        set_oom(&target, write, score)
    })
}

fn id_map(
    object: &Object,
    kind: IdKind,
    generate: fn(&Object, &VfsEnv, &mut Vec<u8>) -> Result<()>,
) -> Node {
    let target = object.clone();
    super::text(object, 0o644, generate).on_write(move |write| {
        if write.offset != 0 {
            return Err(Errno::EINVAL);
        }
        let writer = reader(write.env).ok_or(Errno::EPERM)?.cred();
        let task = target.task()?;
        task.cred().user_ns.write_map(kind, &writer, write.bytes)?;
        // Ids look different from inside now.
        task.kernel.tree.lock().tasks().for_each(|task| task.refresh_answers());
        Ok(write.bytes.len())
    })
}

fn show_map(object: &Object, env: &VfsEnv, out: &mut Vec<u8>, kind: IdKind) -> Result<()> {
    let ns = &object.task()?.cred().user_ns;
    let text = match reader(env) {
        Some(reader) => ns.map_text(kind, &reader.cred().user_ns),
        None => ns.map_text(kind, ns),
    };
    put(out, &text)
}

/// `uid_map`.
pub fn uid_map(object: &Object) -> Node {
    id_map(object, IdKind::User, |object, env, out| show_map(object, env, out, IdKind::User))
}

/// `gid_map`.
pub fn gid_map(object: &Object) -> Node {
    id_map(object, IdKind::Group, |object, env, out| show_map(object, env, out, IdKind::Group))
}

/// `setgroups`.
pub fn setgroups(object: &Object) -> Node {
    let target = object.clone();
    super::text(object, 0o644, |object, _, out| {
        let denied = object.task()?.cred().user_ns.setgroups_denied();
        put(out, if denied { "deny\n" } else { "allow\n" })
    })
    .on_write(move |write| {
        target.task()?.cred().user_ns.write_setgroups(write.trimmed())?;
        Ok(write.bytes.len())
    })
}

/// `loginuid`: nobody has logged in, and nothing audits.
pub fn loginuid(object: &Object) -> Node {
    super::constant(object, 0o644, "4294967295").on_write(|_| Err(Errno::EPERM))
}

/// `timerslack_ns`.
pub fn timerslack(object: &Object) -> Node {
    fn check(object: &Object, env: &VfsEnv) -> Result<()> {
        let task = object.task()?;
        let allowed = reader(env)
            .is_none_or(|reader| reader.tgid() == task.tgid() || reader.cred().has(CAP_SYS_NICE));
        if allowed { Ok(()) } else { Err(Errno::EPERM) }
    }
    let target = object.clone();
    super::text(object, 0o666, |object, env, out| {
        check(object, env)?;
        put(out, &format!("{}\n", object.task()?.sched.lock().timer_slack.0))
    })
    .on_write(move |write| {
        let slack: u64 = write.number()?;
        check(&target, write.env)?;
        let task = target.task()?;
        let mut sched = task.sched.lock();
        sched.timer_slack.0 = if slack == 0 { sched.timer_slack.1 } else { slack };
        Ok(write.bytes.len())
    })
}

const ATTRIBUTES: &[TableEntry<Object>] = &[
    TableEntry { name: "current", kind: DT_REG, make: attribute },
    TableEntry { name: "exec", kind: DT_REG, make: attribute },
    TableEntry { name: "fscreate", kind: DT_REG, make: attribute },
    TableEntry { name: "keycreate", kind: DT_REG, make: attribute },
    TableEntry { name: "prev", kind: DT_REG, make: attribute },
    TableEntry { name: "sockcreate", kind: DT_REG, make: attribute },
];

/// An attribute of security modules, of which there is none.
fn attribute(_object: &Object) -> Node {
    Node::text(0o666, |_| Err(Errno::EINVAL)).on_write(|_| Err(Errno::EINVAL))
}

/// `attr`.
pub fn attr(object: &Object) -> Node {
    Node::dir(0o555, TableDir::new(object.clone(), ATTRIBUTES))
}
