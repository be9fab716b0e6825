//! Lines of /proc/pid/mountinfo, /proc/pid/mounts and /proc/pid/mountstats.

use super::MountInfo;
use crate::mount::MountFlags;
use crate::path::Path;

/// Appends a string with blanks and backslashes as octal escapes.
fn escape(line: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\\' | b'#') {
            line.extend_from_slice(format!("\\{byte:03o}").as_bytes());
        } else {
            line.push(*byte);
        }
    }
}

fn flags(info: &MountInfo, with_super_block: bool) -> String {
    let flags = info.mount.mount().flags();
    let read_only = flags.contains(MountFlags::READ_ONLY)
        || (with_super_block && info.mount.mount().super_block().is_read_only());
    let mut text = String::from(if read_only { "ro" } else { "rw" });
    let names = [
        (MountFlags::NO_SUID, ",nosuid"),
        (MountFlags::NO_DEV, ",nodev"),
        (MountFlags::NO_EXEC, ",noexec"),
        (MountFlags::NO_ATIME, ",noatime"),
        (MountFlags::NO_DIR_ATIME, ",nodiratime"),
        (MountFlags::REL_ATIME, ",relatime"),
        (MountFlags::NO_SYM_FOLLOW, ",nosymfollow"),
    ];
    for (flag, name) in names {
        if flags.contains(flag) {
            text.push_str(name);
        }
    }
    text
}

/// A line of /proc/pid/mountinfo as seen from `root`.
pub fn mountinfo_line(info: &MountInfo, root: &Path) -> Vec<u8> {
    let mount = info.mount.mount();
    let super_block = mount.super_block();
    let dev = super_block.dev;
    let mut line = format!(
        "{} {} {}:{} ",
        mount.id(),
        info.parent_id,
        chitin_abi::fs::major(dev),
        chitin_abi::fs::minor(dev)
    )
    .into_bytes();
    escape(&mut line, &mount.shown_root());
    line.push(b' ');
    escape(&mut line, &info.mount.text(root).bytes);
    line.extend_from_slice(format!(" {}", flags(info, false)).as_bytes());
    if info.peer_group != 0 {
        line.extend_from_slice(format!(" shared:{}", info.peer_group).as_bytes());
    }
    if info.master != 0 {
        line.extend_from_slice(format!(" master:{}", info.master).as_bytes());
    }
    if info.propagate_from != 0 {
        line.extend_from_slice(format!(" propagate_from:{}", info.propagate_from).as_bytes());
    }
    if info.unbindable {
        line.extend_from_slice(b" unbindable");
    }
    line.extend_from_slice(b" - ");
    escape(&mut line, super_block.fs().name().as_bytes());
    line.push(b' ');
    escape(&mut line, mount.source());
    let state = if super_block.is_read_only() { "ro" } else { "rw" };
    line.extend_from_slice(format!(" {state}{}\n", super_block.fs().options()).as_bytes());
    line
}

/// A line of /proc/pid/mounts as seen from `root`.
pub fn mount_line(info: &MountInfo, root: &Path) -> Vec<u8> {
    let mount = info.mount.mount();
    let mut line = Vec::new();
    escape(&mut line, mount.source());
    line.push(b' ');
    escape(&mut line, &info.mount.text(root).bytes);
    line.push(b' ');
    escape(&mut line, mount.super_block().fs().name().as_bytes());
    let options = mount.super_block().fs().options();
    line.extend_from_slice(format!(" {}{options} 0 0\n", flags(info, true)).as_bytes());
    line
}

/// A line of /proc/pid/mountstats as seen from `root`.
pub fn mountstats_line(info: &MountInfo, root: &Path) -> Vec<u8> {
    let mount = info.mount.mount();
    let mut line = b"device ".to_vec();
    escape(&mut line, mount.source());
    line.extend_from_slice(b" mounted on ");
    escape(&mut line, &info.mount.text(root).bytes);
    line.extend_from_slice(b" with fstype ");
    escape(&mut line, mount.super_block().fs().name().as_bytes());
    line.push(b'\n');
    line
}
