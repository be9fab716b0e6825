//! `/sys/devices/system/cpu`.

use chitin_abi::Result;
use chitin_abi::fs::DT_DIR;
use chitin_vfs::fs::pseudo::{Dir, DirSink, DynamicDir, Listed, Node};
use raw_cpuid::{CacheType, CpuId};

use super::{dir, line, lines};
use crate::proc::format::{bit_list, bit_mask};

const VULNERABILITIES: [&str; 14] = [
    "gather_data_sampling",
    "itlb_multihit",
    "l1tf",
    "mds",
    "meltdown",
    "mmio_stale_data",
    "reg_file_data_sampling",
    "retbleed",
    "spec_rstack_overflow",
    "spec_store_bypass",
    "spectre_v1",
    "spectre_v2",
    "srbds",
    "tsx_async_abort",
];

/// The set of this processor alone, and of all.
fn sets(cpu: usize, count: usize) -> (Vec<bool>, Vec<bool>) {
    ((0..count).map(|other| other == cpu).collect(), vec![true; count])
}

fn topology(cpu: usize, count: usize) -> Dir {
    let (own, all) = sets(cpu, count);
    let (own_mask, own_list) = (bit_mask(&own), bit_list(&own));
    let (all_mask, all_list) = (bit_mask(&all), bit_list(&all));
    lines(&[
        ("cluster_id", "65535"),
        ("core_cpus", &own_mask),
        ("core_cpus_list", &own_list),
        ("core_id", &cpu.to_string()),
        ("core_siblings", &all_mask),
        ("core_siblings_list", &all_list),
        ("die_cpus", &all_mask),
        ("die_cpus_list", &all_list),
        ("die_id", "0"),
        ("package_cpus", &all_mask),
        ("package_cpus_list", &all_list),
        ("physical_package_id", "0"),
        ("thread_siblings", &own_mask),
        ("thread_siblings_list", &own_list),
    ])
}

/// The caches of a processor, asked when somebody looks.
struct Caches {
    cpu: usize,
    count: usize,
}

/// A cache's files.
struct Cache {
    level: u8,
    kind: &'static str,
    size: usize,
    line: usize,
    ways: usize,
    sets: usize,
}

fn caches() -> Vec<Cache> {
    let Some(parameters) = CpuId::new().get_cache_parameters() else { return Vec::new() };
    let known = parameters.filter_map(|cache| {
        let kind = match cache.cache_type() {
            CacheType::Data => "Data",
            CacheType::Instruction => "Instruction",
            CacheType::Unified => "Unified",
            _ => return None,
        };
        let (line, ways, sets) = (cache.coherency_line_size(), cache.associativity(), cache.sets());
        let size = line
            .saturating_mul(ways)
            .saturating_mul(sets)
            .saturating_mul(cache.physical_line_partitions());
        Some(Cache { level: cache.level(), kind, size, line, ways, sets })
    });
    known.take(8).collect()
}

impl Caches {
    fn node(&self, index: usize, cache: &Cache) -> Node {
        let (own, all) = sets(self.cpu, self.count);
        let shared = if cache.level > 2 { all } else { own };
        dir(lines(&[
            ("coherency_line_size", &cache.line.to_string()),
            ("id", &if cache.level > 2 { 0 } else { self.cpu }.to_string()),
            ("level", &cache.level.to_string()),
            ("number_of_sets", &cache.sets.to_string()),
            ("physical_line_partition", "1"),
            ("shared_cpu_list", &bit_list(&shared)),
            ("shared_cpu_map", &bit_mask(&shared)),
            ("size", &format!("{}K", cache.size / 1024)),
            ("type", cache.kind),
            ("ways_of_associativity", &cache.ways.to_string()),
        ]))
        .numbered(1 << 20 | (self.cpu as u64) << 8 | index as u64)
    }
}

impl DynamicDir for Caches {
    fn lookup(&self, name: &[u8]) -> Result<Option<Node>> {
        let name = core::str::from_utf8(name).ok().and_then(|name| name.strip_prefix("index"));
        let Some(index) = name.and_then(|index| index.parse::<usize>().ok()) else {
            return Ok(None);
        };
        Ok(caches().get(index).map(|cache| self.node(index, cache)))
    }

    fn list(&self, cursor: u64, emit: &mut DirSink<'_>) -> Result<()> {
        for index in 0..caches().len() {
            let next = index as u64 + 1;
            let name = format!("index{index}");
            let listed = Listed { name: name.as_bytes(), kind: DT_DIR, ino: None, next };
            if next > cursor && !emit(listed) {
                break;
            }
        }
        Ok(())
    }
}

fn processor(cpu: usize, count: usize) -> Dir {
    let entries = Dir::new()
        .with("cache", Node::dir(0o755, Caches { cpu, count }))
        .with("topology", dir(topology(cpu, count)));
    if cpu == 0 { entries } else { entries.with("online", line("1")) }
}

/// The directory.
pub fn directory(count: usize) -> Dir {
    let all = bit_list(&vec![true; count]);
    let mut entries = lines(&[
        ("isolated", ""),
        ("kernel_max", "8191"),
        ("nohz_full", "(null)"),
        ("offline", ""),
        ("online", &all),
        ("possible", &all),
        ("present", &all),
    ]);
    for cpu in 0..count {
        entries.insert(format!("cpu{cpu}").as_bytes(), dir(processor(cpu, count)));
    }
    let vulnerabilities =
        VULNERABILITIES.iter().map(|name| (*name, "Not affected")).collect::<Vec<_>>();
    entries
        .with("smt", dir(lines(&[("active", "0"), ("control", "notsupported")])))
        .with("vulnerabilities", dir(lines(&vulnerabilities)))
}
