//! Memory of a process: `maps`, `smaps`, `statm`, `cmdline`, `environ`, `auxv`, `pagemap`.
//!
//! The host counts resident pages per address space, not per mapping: `smaps` shares them out by size. Nothing here
//! holds a lock while it reads the guest.

use std::io::Write;
use std::sync::Arc;

use chitin_abi::fs::DT_LNK;
use chitin_abi::mm::ProtFlags;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_mm::space::{VmaFlags, VmaInfo};
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::pseudo::{DirSink, DynamicDir, Listed, Node};
use chitin_vfs::io::Sink;

use super::Object;
use crate::memory::Mm;
use crate::proc::access;
use crate::proc::format::smaps::{self, Resident};
use crate::proc::format::stat::statm as statm_text;
use crate::proc::format::status::StatusMemory;
use crate::process::ThreadGroup;

/// Most bytes of arguments or environment shown.
const MOST_ARGUMENTS: u64 = 2 << 20;

fn mm(object: &Object) -> Result<Option<Arc<Mm>>> {
    Ok(object.task().ok().and_then(|task| task.mm()))
}

/// Reads a range of the guest as far as it is mapped.
fn read_range(mm: &Mm, start: u64, end: u64) -> Vec<u8> {
    let length = end.saturating_sub(start).min(MOST_ARGUMENTS);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    let done = mm.memory().read_partial(GuestAddr(start), &mut bytes).unwrap_or_default();
    bytes.truncate(done);
    bytes
}

/// `cmdline`: the arguments where `execve` put them; a program that writes a title over them, even past their
/// end into the environment, is shown by its title.
pub fn cmdline(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let Some(mm) = mm(object)? else { return Ok(()) };
    let (args, env) = {
        let image = mm.image.read();
        (image.args, image.env)
    };
    if args.1 <= args.0 {
        return Ok(());
    }
    let mut bytes = read_range(&mm, args.0, args.1);
    let overwritten =
        bytes.last().is_some_and(|last| *last != 0) && bytes.len() as u64 == args.1 - args.0;
    if overwritten {
        bytes.extend(read_range(&mm, env.0.max(args.1), env.1));
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        bytes.truncate(end);
    }
    out.append(&mut bytes);
    Ok(())
}

/// `environ`.
pub fn environ(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let Some(mm) = mm(object)? else { return Ok(()) };
    let env = mm.image.read().env;
    out.append(&mut read_range(&mm, env.0, env.1));
    Ok(())
}

/// `auxv`.
pub fn auxv(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    if let Some(mm) = mm(object)? {
        out.extend_from_slice(&mm.image.read().auxv);
    }
    Ok(())
}

/// All mappings.
fn mappings(object: &Object) -> Result<Vec<VmaInfo>> {
    Ok(mm(object)?.map_or_else(Vec::new, |mm| mm.space.lock().maps().collect()))
}

/// `maps`.
pub fn maps(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    for vma in mappings(object)? {
        vma.write_maps_line(out);
    }
    Ok(())
}

/// `numa_maps`: one node.
pub fn numa_maps(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    for vma in mappings(object)? {
        // Writing to a vector does not fail.
        let _ = write!(out, "{:08x} default", vma.start);
        let name = vma.name();
        match (&vma.file, name.as_slice()) {
            (Some(_), _) => {
                out.extend_from_slice(b" file=");
                out.extend_from_slice(&name);
            }
            (None, b"[heap]") => out.extend_from_slice(b" heap"),
            (None, b"[stack]") => out.extend_from_slice(b" stack"),
            _ => {}
        }
        out.push(b'\n');
    }
    Ok(())
}

fn vm_flags(vma: &VmaInfo) -> String {
    let rights = |prot: ProtFlags, names: [&'static str; 3]| {
        let all = [ProtFlags::PROT_READ, ProtFlags::PROT_WRITE, ProtFlags::PROT_EXEC];
        all.into_iter()
            .zip(names)
            .filter(move |(right, _)| prot.contains(*right))
            .map(|(_, name)| name)
    };
    let mut names: Vec<&str> = rights(vma.prot, ["rd", "wr", "ex"]).collect();
    if vma.shared() {
        names.push("sh");
    }
    names.extend(rights(vma.max_prot, ["mr", "mw", "me"]));
    let flags = [
        (VmaFlags::GROWS_DOWN, "gd"),
        (VmaFlags::LOCKED, "lo"),
        (VmaFlags::SEQUENTIAL_READ, "sr"),
        (VmaFlags::RANDOM_READ, "rr"),
        (VmaFlags::DONT_FORK, "dc"),
        (VmaFlags::NO_RESERVE, "nr"),
        (VmaFlags::WIPE_ON_FORK, "wf"),
        (VmaFlags::DONT_DUMP, "dd"),
        (VmaFlags::HUGE_PAGE, "hg"),
        (VmaFlags::NO_HUGE_PAGE, "nh"),
        (VmaFlags::MERGEABLE, "mg"),
        (VmaFlags::SEALED, "sl"),
    ];
    names.extend(flags.iter().filter(|(flag, _)| vma.flags.contains(*flag)).map(|(_, name)| *name));
    names.iter().map(|name| format!("{name} ")).collect()
}

/// Shares out what is resident of an address space among its mappings by their size.
fn share(vma: &VmaInfo, totals: (u64, u64), sizes: (u64, u64)) -> Resident {
    let of = |part: u64, resident: u64, all: u64| {
        let bytes = u128::from(part) * u128::from(resident.min(all)) / u128::from(all.max(1));
        u64::try_from(bytes).unwrap_or_default() & !4095
    };
    let file = vma.file.is_some() || vma.shared();
    let anonymous = totals.0.saturating_sub(totals.1);
    let rss =
        if file { of(vma.len(), totals.1, sizes.1) } else { of(vma.len(), anonymous, sizes.0) };
    Resident {
        rss,
        anonymous: if file { 0 } else { rss },
        shared: if file { rss } else { 0 },
        locked: if vma.flags.contains(VmaFlags::LOCKED) { rss } else { 0 },
    }
}

/// Mappings with what is resident of each.
fn resident(object: &Object) -> Result<Vec<(VmaInfo, Resident)>> {
    let Some(mm) = mm(object)? else { return Ok(Vec::new()) };
    let totals = mm.host().resident();
    let all: Vec<VmaInfo> = mm.space.lock().maps().collect();
    let mut sizes = (0_u64, 0_u64);
    for vma in &all {
        let side = if vma.file.is_some() || vma.shared() { &mut sizes.1 } else { &mut sizes.0 };
        *side = side.saturating_add(vma.len());
    }
    Ok(all.into_iter().map(|vma| (vma.clone(), share(&vma, totals, sizes))).collect())
}

/// `smaps`.
pub fn smaps(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    for (vma, resident) in resident(object)? {
        vma.write_maps_line(out);
        out.extend_from_slice(smaps::entry(vma.len(), &resident, &vm_flags(&vma)).as_bytes());
    }
    Ok(())
}

/// `smaps_rollup`.
pub fn smaps_rollup(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let all = resident(object)?;
    let (Some(first), Some(last)) = (all.first(), all.last()) else { return Ok(()) };
    let sum = all.iter().fold(Resident::default(), |sum, (_, resident)| sum.plus(*resident));
    out.extend_from_slice(smaps::rollup(first.0.start, last.0.end, &sum).as_bytes());
    Ok(())
}

/// `statm`.
pub fn statm(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let text = match mm(object)? {
        Some(mm) => {
            let usage = mm.space.lock().usage();
            let (rss, file) = mm.host().resident();
            let code = mm.image.read().code;
            let text = code.1.saturating_sub(code.0).next_multiple_of(4096);
            statm_text(usage.total, rss, file, text, usage.data.saturating_add(usage.stack))
        }
        None => statm_text(0, 0, 0, 0, 0),
    };
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// The memory lines of `status`.
pub fn status_lines(mm: &Mm, group: &ThreadGroup) -> StatusMemory {
    let usage = mm.space.lock().usage();
    let (resident, resident_file) = mm.host().resident();
    let code = mm.image.read().code;
    let exe = code.1.saturating_sub(code.0).next_multiple_of(4096).min(usage.exec);
    let peak = group.max_rss.0.load(core::sync::atomic::Ordering::Relaxed).saturating_mul(1024);
    StatusMemory {
        peak: usage.peak,
        size: usage.total,
        locked: usage.locked,
        high_water: peak.max(resident),
        resident,
        resident_file,
        data: usage.data,
        stack: usage.stack,
        exe,
        lib: usage.exec.saturating_sub(exe),
    }
}

/// `clear_refs`: the host's referenced bits are its own; a valid command does nothing.
pub fn clear_refs(object: &Object) -> Node {
    let owner = object.clone();
    Node::sink(0o200)
        .on_write(|write| {
            let command: u32 = write.number()?;
            if (1..=5).contains(&command) { Ok(write.bytes.len()) } else { Err(Errno::EINVAL) }
        })
        .owned_by_now(move || owner.file_owner())
}

/// Copies guest memory from an address on into a sink.
///
/// # Errors
/// EIO where nothing can be read.
pub fn copy_out(mm: &Mm, mut addr: u64, to: &mut dyn Sink) -> Result<usize> {
    let mut buffer = vec![0; to.remaining().min(64 << 10)];
    let mut done = 0_usize;
    while to.remaining() > 0 {
        let wanted = to.remaining().min(buffer.len());
        let piece = buffer.get_mut(..wanted).unwrap_or_default();
        let count = match mm.memory().read_partial(GuestAddr(addr), piece) {
            Ok(count) if count > 0 => count,
            _ if done > 0 => break,
            _ => return Err(Errno::EIO),
        };
        let stored = to.put(piece.get(..count).unwrap_or_default())?;
        done = done.saturating_add(stored);
        addr = addr.wrapping_add(stored as u64);
        if stored < wanted {
            break;
        }
    }
    Ok(done)
}

/// Bit 63 of an entry of `pagemap`: the page is present.
const PRESENT: u64 = 1 << 63;
/// Bit 61: it is of a file or shared.
const OF_FILE: u64 = 1 << 61;

/// `pagemap`: whether pages are mapped, without page frame numbers.
pub fn pagemap(object: &Object) -> Node {
    let (reading, opening, owner) = (object.clone(), object.clone(), object.clone());
    Node::reader(0o400, move |offset, to| {
        if offset % 8 != 0 || to.remaining() % 8 != 0 {
            return Err(Errno::EINVAL);
        }
        let Some(mm) = mm(&reading)? else { return Ok(0) };
        let top = mm.space.lock().bounds().1;
        let mut addr = (offset / 8).saturating_mul(4096);
        let mut done = 0_usize;
        while to.remaining() >= 8 && addr < top && done < 1 << 20 {
            let vma = mm.space.lock().lookup(addr);
            let entry = vma.map_or(0, |vma| {
                PRESENT | if vma.file.is_some() || vma.shared() { OF_FILE } else { 0 }
            });
            done = done.saturating_add(to.put(&entry.to_ne_bytes())?);
            addr = addr.saturating_add(4096);
        }
        Ok(done)
    })
    .on_open(move |_, env| access::check(env, &*opening.task()?))
    .owned_by_now(move || owner.file_owner())
}

struct MapFiles {
    object: Object,
}

fn range_name(vma: &VmaInfo) -> String {
    format!("{:x}-{:x}", vma.start, vma.end)
}

impl DynamicDir for MapFiles {
    fn lookup(&self, name: &[u8]) -> Result<Option<Node>> {
        let found = mappings(&self.object)?
            .into_iter()
            .find(|vma| vma.file.is_some() && range_name(vma).as_bytes() == name);
        Ok(found.map(|vma| Node::symlink(move |_| Ok(vma.name()))))
    }

    fn list(&self, cursor: u64, emit: &mut DirSink<'_>) -> Result<()> {
        for vma in mappings(&self.object)?.into_iter().filter(|vma| vma.file.is_some()) {
            let next = vma.end / 4096;
            if next <= cursor {
                continue;
            }
            let name = range_name(&vma);
            if !emit(Listed { name: name.as_bytes(), kind: DT_LNK, ino: None, next }) {
                break;
            }
        }
        Ok(())
    }
}

/// `map_files`.
pub fn map_files(object: &Object) -> Node {
    let (owner, target) = (object.clone(), object.clone());
    Node::dir(0o500, MapFiles { object: object.clone() })
        .owned_by_now(move || owner.file_owner())
        .check_access(move |_, _, env| {
            let task = target.task().ok()?;
            (!access::may_open(env, &task)).then_some(Err(Errno::EACCES))
        })
}
