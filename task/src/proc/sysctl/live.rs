//! Settings that something obeys, or that belong to a namespace.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::collections::HashSet;
use std::sync::Arc;

use chitin_abi::process::{CAP_CHECKPOINT_RESTORE, CAP_SYS_ADMIN};
use chitin_abi::{Errno, Result};
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::pseudo::Write;

use crate::kernel::Kernel;
use crate::namespace::UtsNamespace;
use crate::proc::reader;
use crate::task::Task;

fn uts(env: &VfsEnv) -> Result<Arc<UtsNamespace>> {
    Ok(Arc::clone(&reader(env).ok_or(Errno::ESRCH)?.namespaces().uts))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn hostname(_kernel: &Kernel, env: &VfsEnv) -> Result<String> {
    Ok(text(&uts(env)?.hostname()))
}

pub fn domainname(_kernel: &Kernel, env: &VfsEnv) -> Result<String> {
    Ok(text(&uts(env)?.domainname()))
}

/// The caller's host names, if it may change them.
fn own_uts(env: &VfsEnv) -> Result<Arc<UtsNamespace>> {
    let uts = uts(env)?;
    let allowed = reader(env).is_some_and(|task| task.cred().capable(&uts.user_ns, CAP_SYS_ADMIN));
    if allowed { Ok(uts) } else { Err(Errno::EPERM) }
}

pub fn set_hostname(_kernel: &Kernel, write: &Write<'_>) -> Result<()> {
    own_uts(write.env)?.set_hostname(write.trimmed())
}

pub fn set_domainname(_kernel: &Kernel, write: &Write<'_>) -> Result<()> {
    own_uts(write.env)?.set_domainname(write.trimmed())
}

pub fn last_pid(_kernel: &Kernel, env: &VfsEnv) -> Result<String> {
    Ok(reader(env).ok_or(Errno::ESRCH)?.pid_ns().last().to_string())
}

pub fn set_last_pid(_kernel: &Kernel, write: &Write<'_>) -> Result<()> {
    let task: &Task = reader(write.env).ok_or(Errno::ESRCH)?;
    let ns = task.pid_ns();
    let cred = task.cred();
    let allowed =
        [CAP_CHECKPOINT_RESTORE, CAP_SYS_ADMIN].iter().any(|cap| cred.capable(&ns.user_ns, *cap));
    if !allowed {
        return Err(Errno::EPERM);
    }
    ns.set_last(write.number()?);
    Ok(())
}

/// A random UUID of version 4 of these bytes.
fn format_uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

pub fn uuid(kernel: &Kernel, _env: &VfsEnv) -> Result<String> {
    let mut bytes = [0; 16];
    kernel.random.fill(&mut bytes);
    Ok(format_uuid(bytes))
}

pub fn boot_id(kernel: &Kernel, env: &VfsEnv) -> Result<String> {
    const KEY: &str = "kernel/random/boot_id";
    let known = kernel.sysctls.get(KEY, "");
    if known.is_empty() {
        let fresh = uuid(kernel, env)?;
        kernel.sysctls.set(KEY, fresh.as_bytes());
        return Ok(fresh);
    }
    Ok(text(&known))
}

pub fn open_files(kernel: &Kernel, _env: &VfsEnv) -> Result<String> {
    let tables: Vec<_> = kernel.tree.lock().tasks().map(|task| task.files()).collect();
    let mut seen = HashSet::new();
    let open: usize =
        tables.iter().filter(|table| seen.insert(table.id())).map(|table| table.len()).sum();
    Ok(format!("{open}\t0\t9223372036854775807"))
}

fn set_number(write: &Write<'_>, slot: &AtomicU32, most: u32) -> Result<()> {
    let number: u32 = write.number()?;
    if number > most {
        return Err(Errno::EINVAL);
    }
    slot.store(number, Ordering::Relaxed);
    Ok(())
}

fn set_switch(write: &Write<'_>, slot: &AtomicBool) -> Result<()> {
    let number: u32 = write.number()?;
    if number > 1 {
        return Err(Errno::EINVAL);
    }
    slot.store(number == 1, Ordering::Relaxed);
    Ok(())
}

macro_rules! numbers {
    ($($show:ident $set:ident $field:ident $most:expr;)*) => {
        $(
            pub fn $show(kernel: &Kernel, _env: &VfsEnv) -> Result<String> {
                Ok(kernel.vfs.sysctls.$field.load(Ordering::Relaxed).to_string())
            }

            pub fn $set(kernel: &Kernel, write: &Write<'_>) -> Result<()> {
                set_number(write, &kernel.vfs.sysctls.$field, $most)
            }
        )*
    };
}

pub fn fanotify_groups(kernel: &Kernel, _env: &VfsEnv) -> Result<String> {
    Ok(kernel.users.fanotify_groups.limit.load(Ordering::Relaxed).to_string())
}

pub fn set_fanotify_groups(kernel: &Kernel, write: &Write<'_>) -> Result<()> {
    set_number(write, &kernel.users.fanotify_groups.limit, i32::MAX.cast_unsigned())
}

macro_rules! switches {
    ($($show:ident $set:ident $field:ident;)*) => {
        $(
            pub fn $show(kernel: &Kernel, _env: &VfsEnv) -> Result<String> {
                Ok(u8::from(kernel.vfs.sysctls.$field.load(Ordering::Relaxed)).to_string())
            }

            pub fn $set(kernel: &Kernel, write: &Write<'_>) -> Result<()> {
                set_switch(write, &kernel.vfs.sysctls.$field)
            }
        )*
    };
}

numbers! {
    protected_fifos set_protected_fifos protected_fifos 2;
    protected_regular set_protected_regular protected_regular 2;
    mount_max set_mount_max mount_max 1_000_000;
    lease_break_time set_lease_break_time lease_break_time 0x7fff_ffff;
    inotify_events set_inotify_events inotify_max_queued_events 1_000_000;
    inotify_instances set_inotify_instances inotify_max_user_instances 1_000_000;
    inotify_watches set_inotify_watches inotify_max_user_watches 10_000_000;
}

switches! {
    leases_enable set_leases_enable leases_enable;
    protected_symlinks set_protected_symlinks protected_symlinks;
    protected_hardlinks set_protected_hardlinks protected_hardlinks;
}

#[cfg(test)]
mod tests {
    #[test]
    fn uuids_are_of_version_4() {
        let text = super::format_uuid([0xff; 16]);
        assert_eq!(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
