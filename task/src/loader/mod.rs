//! The program loader: `execve(2)`'s second half.
//!
//! [`resolve`] follows `#!` lines, reads ELF headers and opens the interpreter: what fails there leaves the
//! caller as it was. [`load`] makes a new address space, maps the program into it and writes its stack; the
//! caller then exchanges its own for it.
//!
//! Costs of a load: one address space, one batch of host operations (two for files that cannot be mapped), a
//! copy into the guest per cleared page tail and one for the stack.
//!
//! References: `execve(2)`, `elf(5)`, `getauxval(3)`.

mod args;
pub mod elf;
mod resolve;
pub mod script;
mod segments;
mod stack;

use core::sync::atomic::AtomicU64;
use std::sync::Arc;

use chitin_abi::addr::page_ceil;
use chitin_abi::mm::{MapFlags, ProtFlags};
use chitin_abi::{Errno, GuestAddr, PAGE_SIZE, Regs, Result};
use chitin_mm::HostOp;
use chitin_mm::platform::{AddressSpace, Capabilities, Domain, Platform, host_failure};
use chitin_mm::space::{Space, SpaceConfig, SpaceLimits};
use chitin_vfs::file::OpenFile;

pub use self::args::{ArgBudget, read_strings};
pub use self::resolve::{ElfFile, Opener, Program, resolve};
use self::segments::Builder;
use self::stack::{Contents, Facts};
use crate::memory::{Image, Mm};

/// The initial stack is mapped to this size; it grows on from there by faults.
const STACK_MAPPED: u64 = 8 << 20;
/// It has at least so much room besides what is written on it.
const STACK_SLACK: u64 = 128 << 10;
/// The heap begins at most so many bytes behind the program.
const BRK_RANDOM: u64 = 32 << 20;

/// Who the program will run as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Real user, as the program's user namespace shows it.
    pub uid: u32,
    /// Effective user.
    pub euid: u32,
    /// Real group.
    pub gid: u32,
    /// Effective group.
    pub egid: u32,
    /// Whether it gains privileges (`AT_SECURE`).
    pub secure: bool,
}

/// What a load needs besides the program.
pub struct LoadContext<'a> {
    /// Makes address spaces.
    pub platform: &'a Arc<dyn Platform>,
    /// Who the program will run as.
    pub identity: Identity,
    /// What it is held to.
    pub limits: SpaceLimits,
    /// Whose remains it may use.
    pub domain: Option<Domain>,
    /// For `AT_RANDOM`.
    pub random: [u8; 16],
    /// What addresses are randomised by; 0 for none (`ADDR_NO_RANDOMIZE`).
    pub seed: u64,
    /// Where paths of mapped files are seen from.
    pub root: &'a chitin_vfs::path::Path,
    /// Numbers of shared anonymous objects; one counter for the whole kernel.
    pub object_ids: &'a Arc<AtomicU64>,
}

/// A program in memory, ready to run.
pub struct Loaded {
    /// Its address space; nobody is attached to it yet.
    pub mm: Arc<Mm>,
    /// What its first thread starts with.
    pub regs: Regs,
    /// The file that runs (the interpreter of a script, not the script).
    pub executable: Arc<OpenFile>,
}

/// The platform's side of an address space that is used again, and what empties it.
pub type Renewed = (Arc<dyn AddressSpace>, Vec<HostOp>);

/// Loads a program into a new address space, or into one that is used again.
///
/// # Errors
/// ENOMEM and the like; nothing of it remains then.
pub async fn load(
    program: &Program,
    context: &LoadContext<'_>,
    renewed: Option<Renewed>,
) -> Result<Loaded> {
    let capabilities = context.platform.capabilities();
    let mut builder = Builder::new(new_space(context, &capabilities), context);
    let facts = map_program(program, &mut builder)?;
    let contents = Contents {
        args: &program.args,
        env: &program.env,
        filename: &program.filename,
        random: context.random,
        facts: facts.stack,
        identity: &context.identity,
        platform: &capabilities,
        gap: builder.space.random_below(8192),
    };
    let top = map_stack(program, context, &contents, &mut builder)?;
    let stack = stack::build(top, &contents)?;
    builder.space.set_stack_start(stack.pointer);

    let host = match renewed {
        Some((host, emptying)) => {
            builder.ops.splice(..0, emptying);
            host
        }
        None => {
            let made = match &context.domain {
                Some(domain) => context.platform.address_space_for(domain),
                None => context.platform.new_address_space(),
            };
            made.await.map_err(host_failure)?
        }
    };
    let built = write(program, &mut builder, &host, stack.pointer, &stack.bytes).await;
    if let Err(errno) = built {
        host.kill();
        return Err(errno);
    }
    let image = Image {
        exe: program.elf.file.path().cloned(),
        exe_file: Some(Arc::clone(&program.elf.file)),
        held: None,
        args: stack.args,
        env: stack.env,
        auxv: stack.auxv,
        code: facts.code,
        data: facts.data,
        stack: stack.pointer,
    };
    Ok(Loaded {
        mm: Mm::new(builder.space, host, image),
        regs: initial_regs(facts.start, stack.pointer),
        executable: Arc::clone(&program.elf.file),
    })
}

fn new_space(context: &LoadContext<'_>, capabilities: &Capabilities) -> Space {
    let mut space = Space::new(SpaceConfig {
        min_address: capabilities.min_address,
        max_address: capabilities.max_address,
        vdso: capabilities.vdso,
        stack_limit: context.limits.stack,
        seed: context.seed,
        object_ids: Arc::clone(context.object_ids),
    });
    space.set_limits(context.limits);
    space
}

/// Where everything is.
struct ProgramFacts {
    stack: Facts,
    /// Where the first thread starts.
    start: u64,
    code: (u64, u64),
    data: (u64, u64),
}

fn map_program(program: &Program, builder: &mut Builder) -> Result<ProgramFacts> {
    let elf = &program.elf;
    let (low, high) = elf.layout.range;
    let len = high.saturating_sub(low);
    let bias = if !elf.header.relocatable {
        0
    } else if program.interpreter.is_some() {
        let base = builder.space.choose_program_base(elf.layout.align);
        let base = if builder.space.is_free(base, len) {
            base
        } else {
            builder.space.choose_place(len, elf.layout.align)?
        };
        base.wrapping_sub(low)
    } else {
        // A program that links itself is, like a library, put where mappings go.
        builder.space.choose_place(len, elf.layout.align)?.wrapping_sub(low)
    };
    builder.map_elf_at(elf, 0, bias)?;
    let (code, data) = segments::code_and_data(&elf.layout, bias);
    builder.space.set_data_range(data.0, data.1);
    set_brk(program, builder, high.wrapping_add(bias))?;

    let entry = elf.header.entry.wrapping_add(bias);
    let (start, interpreter_base) = match &program.interpreter {
        None => (entry, 0),
        Some(interpreter) => map_interpreter(interpreter, builder)?,
    };
    let table_address = match elf.layout.table_address {
        0 => 0,
        address => address.wrapping_add(bias),
    };
    let table_count = u64::from(elf.header.table_count);
    Ok(ProgramFacts {
        stack: Facts { table_address, table_count, entry, interpreter_base },
        start,
        code,
        data,
    })
}

/// Returns the entry point and the base.
fn map_interpreter(interpreter: &ElfFile, builder: &mut Builder) -> Result<(u64, u64)> {
    let (low, high) = interpreter.layout.range;
    let bias = if interpreter.header.relocatable {
        let len = high.saturating_sub(low);
        builder.space.choose_place(len, interpreter.layout.align)?.wrapping_sub(low)
    } else {
        0
    };
    builder.map_elf_at(interpreter, 1, bias)?;
    Ok((interpreter.header.entry.wrapping_add(bias), bias))
}

/// The heap begins behind the program, some random pages further on.
fn set_brk(program: &Program, builder: &mut Builder, end: u64) -> Result<()> {
    let alone = program.elf.header.relocatable && program.interpreter.is_none();
    let base = if alone { builder.space.choose_program_base(PAGE_SIZE) } else { end };
    let random = builder.space.random_below(BRK_RANDOM / PAGE_SIZE).saturating_mul(PAGE_SIZE);
    let start = page_ceil(base).and_then(|base| base.checked_add(random)).ok_or(Errno::ENOMEM)?;
    builder.space.set_brk_start(start);
    Ok(())
}

/// Maps the stack and returns its end.
fn map_stack(
    program: &Program,
    context: &LoadContext<'_>,
    contents: &Contents<'_>,
    builder: &mut Builder,
) -> Result<u64> {
    let needed = stack::size(contents).saturating_add(STACK_SLACK);
    let len = page_ceil(context.limits.stack.min(STACK_MAPPED).max(needed)).ok_or(Errno::E2BIG)?;
    let top = builder.space.choose_stack(len)?;
    let mut prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // Without PT_GNU_STACK, 64-bit programs get a stack that is not executable.
    prot.set(ProtFlags::PROT_EXEC, program.elf.layout.exec_stack == Some(true));
    let flags = MapFlags::MAP_GROWSDOWN | MapFlags::MAP_NORESERVE;
    builder.map_anonymous(top.saturating_sub(len), len, prot, flags)?;
    Ok(top)
}

/// Carries the plan out and writes everything.
async fn write(
    program: &Program,
    builder: &mut Builder,
    host: &Arc<dyn AddressSpace>,
    pointer: u64,
    stack: &[u8],
) -> Result<()> {
    host.apply(core::mem::take(&mut builder.ops)).await.map_err(host_failure)?;
    let mut files = vec![&*program.elf.file];
    files.extend(program.interpreter.iter().map(|interpreter| &*interpreter.file));
    segments::fill(&builder.fill, &files, host.memory())?;
    host.memory().write(GuestAddr(pointer), stack)?;
    let protections = builder.take_protections()?;
    if !protections.is_empty() {
        host.apply(protections).await.map_err(host_failure)?;
    }
    Ok(())
}

/// Segment selectors of 64-bit user code, and a flags register with interrupts on.
fn initial_regs(start: u64, pointer: u64) -> Regs {
    Regs { rip: start, rsp: pointer, cs: 0x33, ss: 0x2b, eflags: 0x202, ..Regs::default() }
}
