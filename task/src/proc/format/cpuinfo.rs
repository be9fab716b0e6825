//! `/proc/cpuinfo`, from what the processor says of itself.
//!
//! Guest programs execute CPUID themselves, so the text must agree with it: it is made of the same answers.

use core::fmt::Write;

use raw_cpuid::{CpuId, cpuid};

/// A register of an answer.
#[derive(Clone, Copy)]
enum Register {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

/// Names of the bits of one register of one leaf, lowest first; empty for bits that the kernel does not show.
type Word = (u32, u32, Register, &'static [(u32, &'static str)]);

macro_rules! bits {
    ($($bit:literal $name:literal)*) => { &[$(($bit, $name)),*] };
}

/// In the order of the kernel's words, which is the order in which it lists them.
const WORDS: &[Word] = &[
    (
        1,
        0,
        Register::Edx,
        bits!(0 "fpu" 1 "vme" 2 "de" 3 "pse" 4 "tsc" 5 "msr" 6 "pae" 7 "mce" 8 "cx8" 9 "apic" 11 "sep"
        12 "mtrr" 13 "pge" 14 "mca" 15 "cmov" 16 "pat" 17 "pse36" 18 "pn" 19 "clflush" 21 "dts" 22 "acpi" 23 "mmx"
        24 "fxsr" 25 "sse" 26 "sse2" 27 "ss" 28 "ht" 29 "tm" 30 "ia64" 31 "pbe"),
    ),
    (
        0x8000_0001,
        0,
        Register::Edx,
        bits!(11 "syscall" 19 "mp" 20 "nx" 22 "mmxext" 25 "fxsr_opt" 26 "pdpe1gb"
        27 "rdtscp" 29 "lm" 30 "3dnowext" 31 "3dnow"),
    ),
    (
        1,
        0,
        Register::Ecx,
        bits!(0 "pni" 1 "pclmulqdq" 2 "dtes64" 3 "monitor" 4 "ds_cpl" 5 "vmx" 6 "smx" 7 "est" 8 "tm2"
        9 "ssse3" 10 "cid" 11 "sdbg" 12 "fma" 13 "cx16" 14 "xtpr" 15 "pdcm" 17 "pcid" 18 "dca" 19 "sse4_1" 20 "sse4_2"
        21 "x2apic" 22 "movbe" 23 "popcnt" 24 "tsc_deadline_timer" 25 "aes" 26 "xsave" 28 "avx" 29 "f16c" 30 "rdrand"
        31 "hypervisor"),
    ),
    (
        0x8000_0001,
        0,
        Register::Ecx,
        bits!(0 "lahf_lm" 1 "cmp_legacy" 2 "svm" 3 "extapic" 4 "cr8_legacy" 5 "abm" 6 "sse4a"
        7 "misalignsse" 8 "3dnowprefetch" 9 "osvw" 10 "ibs" 11 "xop" 12 "skinit" 13 "wdt" 15 "lwp" 16 "fma4" 17 "tce"
        19 "nodeid_msr" 21 "tbm" 22 "topoext" 23 "perfctr_core" 24 "perfctr_nb" 26 "bpext" 27 "ptsc" 28 "perfctr_llc"
        29 "mwaitx"),
    ),
    (
        7,
        0,
        Register::Ebx,
        bits!(0 "fsgsbase" 1 "tsc_adjust" 2 "sgx" 3 "bmi1" 4 "hle" 5 "avx2" 7 "smep" 8 "bmi2" 9 "erms"
        10 "invpcid" 11 "rtm" 12 "cqm" 14 "mpx" 15 "rdt_a" 16 "avx512f" 17 "avx512dq" 18 "rdseed" 19 "adx" 20 "smap"
        21 "avx512ifma" 23 "clflushopt" 24 "clwb" 25 "intel_pt" 26 "avx512pf" 27 "avx512er" 28 "avx512cd" 29 "sha_ni"
        30 "avx512bw" 31 "avx512vl"),
    ),
    (13, 1, Register::Eax, bits!(0 "xsaveopt" 1 "xsavec" 2 "xgetbv1" 3 "xsaves")),
    (
        7,
        1,
        Register::Eax,
        bits!(4 "avx_vnni" 5 "avx512_bf16" 10 "fzrm" 11 "fsrs" 12 "fsrc" 23 "avx_ifma"),
    ),
    (
        0x8000_0008,
        0,
        Register::Ebx,
        bits!(0 "clzero" 1 "irperf" 2 "xsaveerptr" 4 "rdpru" 9 "wbnoinvd"),
    ),
    (
        7,
        0,
        Register::Ecx,
        bits!(1 "avx512vbmi" 2 "umip" 3 "pku" 4 "ospke" 5 "waitpkg" 6 "avx512_vbmi2" 8 "gfni" 9 "vaes"
        10 "vpclmulqdq" 11 "avx512_vnni" 12 "avx512_bitalg" 13 "tme" 14 "avx512_vpopcntdq" 16 "la57" 22 "rdpid"
        24 "bus_lock_detect" 25 "cldemote" 27 "movdiri" 28 "movdir64b" 29 "enqcmd"),
    ),
    (
        7,
        0,
        Register::Edx,
        bits!(2 "avx512_4vnniw" 3 "avx512_4fmaps" 4 "fsrm" 8 "avx512_vp2intersect" 10 "md_clear"
        14 "serialize" 16 "tsxldtrk" 18 "pconfig" 19 "arch_lbr" 22 "amx_bf16" 23 "avx512_fp16" 24 "amx_tile"
        25 "amx_int8" 28 "flush_l1d" 29 "arch_capabilities"),
    ),
];

fn highest(base: u32) -> u32 {
    cpuid!(base).eax
}

/// The names of the features, in the kernel's order.
fn flags() -> Vec<&'static str> {
    let (basic, extended) = (highest(0), highest(0x8000_0000));
    let mut names = Vec::new();
    for (leaf, subleaf, register, bits) in WORDS {
        if *leaf > if *leaf < 0x8000_0000 { basic } else { extended } {
            continue;
        }
        let answer = cpuid!(*leaf, *subleaf);
        let value = match register {
            Register::Eax => answer.eax,
            Register::Ebx => answer.ebx,
            Register::Ecx => answer.ecx,
            Register::Edx => answer.edx,
        };
        names.extend(bits.iter().filter(|(bit, _)| value & (1 << bit) != 0).map(|(_, name)| *name));
    }
    names
}

/// Facts about the processors that do not differ between them.
pub struct Processor {
    vendor: String,
    family: u32,
    model: u32,
    stepping: u32,
    name: String,
    megahertz: f64,
    cache_kib: usize,
    level: u32,
    flags: Vec<&'static str>,
    line_size: u32,
    address_bits: (u8, u8),
}

impl Processor {
    /// Asks the processor. A few dozen CPUIDs: in a virtual machine each takes tens of microseconds.
    pub fn detect() -> Self {
        let id = CpuId::new();
        let features = id.get_feature_info();
        let caches = id.get_cache_parameters();
        let cache_kib = caches
            .and_then(|caches| {
                caches
                    .map(|cache| {
                        cache.associativity()
                            * cache.physical_line_partitions()
                            * cache.coherency_line_size()
                            * cache.sets()
                    })
                    .max()
            })
            .unwrap_or_default()
            / 1024;
        let megahertz = id
            .get_processor_frequency_info()
            .map(|info| info.processor_base_frequency())
            .unwrap_or_default();
        let tsc = id.get_tsc_info().and_then(|info| info.tsc_frequency()).unwrap_or_default();
        let sizes = id.get_processor_capacity_feature_info();
        Self {
            vendor: id.get_vendor_info().map_or_else(String::new, |info| info.as_str().to_owned()),
            family: features.as_ref().map_or(6, |info| u32::from(info.family_id())),
            model: features.as_ref().map_or(0, |info| u32::from(info.model_id())),
            stepping: features.as_ref().map_or(0, |info| u32::from(info.stepping_id())),
            name: id
                .get_processor_brand_string()
                .map_or_else(String::new, |brand| brand.as_str().trim().to_owned()),
            megahertz: match (tsc, megahertz) {
                (0, 0) => 2000.0,
                (0, base) => f64::from(base),
                (tsc, _) => tsc as f64 / 1e6,
            },
            cache_kib,
            level: highest(0),
            flags: flags(),
            line_size: features
                .as_ref()
                .map_or(64, |info| u32::from(info.cflush_cache_line_size()) * 8),
            address_bits: sizes.map_or((48, 48), |info| {
                (info.physical_address_bits(), info.linear_address_bits())
            }),
        }
    }

    /// `/proc/cpuinfo` of this many processors.
    pub fn cpuinfo(&self, count: usize) -> String {
        let mut text = String::with_capacity(count.saturating_mul(1500));
        for number in 0..count {
            self.entry(&mut text, number, count);
        }
        text
    }

    fn entry(&self, text: &mut String, number: usize, count: usize) {
        let _ = write!(
            text,
            "processor\t: {number}\nvendor_id\t: {}\ncpu family\t: {}\nmodel\t\t: {}\nmodel name\t: {}\nstepping\t: {}\n\
             microcode\t: 0x1\ncpu MHz\t\t: {:.3}\ncache size\t: {} KB\nphysical id\t: 0\nsiblings\t: {count}\n\
             core id\t\t: {number}\ncpu cores\t: {count}\napicid\t\t: {number}\ninitial apicid\t: {number}\nfpu\t\t: yes\n\
             fpu_exception\t: yes\ncpuid level\t: {}\nwp\t\t: yes\nflags\t\t: {}\nbugs\t\t:\nbogomips\t: {:.2}\n\
             clflush size\t: {}\ncache_alignment\t: {}\naddress sizes\t: {} bits physical, {} bits virtual\n\
             power management:\n\n",
            self.vendor,
            self.family,
            self.model,
            self.name,
            self.stepping,
            self.megahertz,
            self.cache_kib,
            self.level,
            self.flags.join(" "),
            self.megahertz * 2.0,
            self.line_size,
            self.line_size,
            self.address_bits.0,
            self.address_bits.1,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_entry_per_processor() {
        let text = Processor::detect().cpuinfo(3);
        assert_eq!(text.matches("processor\t: ").count(), 3);
        assert_eq!(text.split("\n\n").filter(|entry| !entry.is_empty()).count(), 3);
        assert!(text.lines().any(|line| line.starts_with("flags\t\t: fpu ")));
    }

    #[test]
    fn flags_are_among_those_that_the_host_lists() {
        let Ok(host) = std::fs::read_to_string("/proc/cpuinfo") else { return };
        let Some(line) = host.lines().find(|line| line.starts_with("flags")) else { return };
        let known: Vec<&str> = line.split_whitespace().collect();
        // Some are there for the processor and hidden by the kernel; most must agree.
        let (ours, agreed) =
            (flags(), flags().into_iter().filter(|name| known.contains(name)).count());
        assert!(agreed * 10 >= ours.len() * 9, "{ours:?} against {known:?}");
    }
}
