//! An address space's calls at 10, 1,000 and 30,000 mappings: costs must grow as the logarithm.

use std::hint::black_box;

use chitin_abi::mm::{MapFlags, ProtFlags};
use chitin_mm::space::{MapRequest, MapSource, Space, SpaceConfig};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

const PAGE: u64 = 4096;

fn request(addr: u64, pages: u64, writable: bool, fixed: bool) -> MapRequest {
    let mut flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_ANONYMOUS;
    flags.set(MapFlags::MAP_FIXED, fixed);
    let mut prot = ProtFlags::PROT_READ;
    prot.set(ProtFlags::PROT_WRITE, writable);
    MapRequest { addr, len: pages * PAGE, prot, flags, source: MapSource::Anonymous }
}

/// A space of so many mappings, whose rights alternate so that none are merged.
fn space(mappings: u64) -> Space {
    let mut space = Space::new(SpaceConfig {
        min_address: 0x1_0000,
        max_address: 0x7fff_0000_0000,
        vdso: None,
        stack_limit: 8 << 20,
        seed: 0,
        object_ids: Default::default(),
    });
    for number in 0..mappings {
        let (result, _plan) =
            space.map(request(0x1000_0000 + number * PAGE, 1, number % 2 == 0, true));
        assert!(result.is_ok(), "mapping {number}: {result:?}");
    }
    space
}

fn plans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mm");
    for mappings in [10, 1_000, 30_000] {
        let mut space = space(mappings);
        group.bench_function(BenchmarkId::new("map and unmap", mappings), |bencher| {
            bencher.iter(|| {
                let (address, _plan) = space.map(request(0, 16, true, false));
                let address = address.unwrap_or_default();
                let (result, _plan) = space.unmap(address, 16 * PAGE);
                black_box(result.is_ok());
            });
        });
        group.bench_function(BenchmarkId::new("lookup", mappings), |bencher| {
            bencher.iter(|| black_box(space.lookup(black_box(0x1000_0000 + mappings / 2 * PAGE))));
        });
    }
    group.finish();
}

criterion_group!(benches, plans);
criterion_main!(benches);
