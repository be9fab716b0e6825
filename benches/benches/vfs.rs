//! Walks by depth, directories by size, reads by length, all on tmpfs.

use std::hint::black_box;

use chitin_abi::fs::OpenFlags;
use chitin_abi::time::Timespec;
use chitin_vfs::cred::Cred;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::tmpfs::{Tmpfs, TmpfsOptions};
use chitin_vfs::io::{SliceSink, SliceSource};
use chitin_vfs::mount::{MountFlags, NewMount};
use chitin_vfs::namespace::MountNamespace;
use chitin_vfs::walk::{ResolveFlags, Walk};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Runs a body on an empty tmpfs.
fn on_tmpfs(body: impl FnOnce(&Walk<'_>, &VfsEnv)) {
    let Ok((super_block, root)) = Tmpfs::new(TmpfsOptions::default()) else { return };
    let source = b"tmpfs".to_vec();
    let namespace =
        MountNamespace::new(NewMount { super_block, root, flags: MountFlags::default(), source });
    let (cred, env) = (Cred::root(), VfsEnv::default());
    let (root, base) = (namespace.root(), namespace.root());
    let (now, resolve) = (Timespec::default(), ResolveFlags::empty());
    body(&Walk { root, base, cred: &cred, umask: 0o022, now, resolve, env: &env }, &env);
}

fn walks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("walk");
    for depth in [1, 4, 16] {
        on_tmpfs(|walk, _| {
            let mut path = Vec::new();
            for _ in 0..depth {
                path.extend_from_slice(b"/dir");
                assert!(walk.mkdir(&path, 0o755).is_ok());
            }
            group.bench_function(BenchmarkId::new("components", depth), |bencher| {
                bencher.iter(|| black_box(walk.lookup(&path, true).is_ok()));
            });
        });
    }
    group.finish();
}

fn directories(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("directory");
    for entries in [10, 1_000, 100_000] {
        on_tmpfs(|walk, _| {
            let flags = OpenFlags::O_CREAT | OpenFlags::O_WRONLY;
            for number in 0..entries {
                assert!(walk.open(format!("/file{number}").as_bytes(), flags, 0o600).is_ok());
            }
            group.bench_function(BenchmarkId::new("create and unlink", entries), |bencher| {
                bencher.iter(|| {
                    let made = walk.open(b"/new", flags, 0o600).is_ok();
                    black_box(made && walk.unlink(b"/new").is_ok())
                });
            });
        });
    }
    group.finish();
}

fn reads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    for length in [100_usize, 4096, 1 << 20] {
        on_tmpfs(|walk, env| {
            let flags = OpenFlags::O_CREAT | OpenFlags::O_RDWR;
            let Ok(opened) = walk.open(b"/file", flags, 0o600) else { return };
            let data = vec![7; length];
            assert_eq!(opened.file.write(&mut SliceSource::new(&data), Some(0), env), Ok(length));
            let mut buffer = vec![0; length];
            group.throughput(Throughput::Bytes(length as u64));
            group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
                bencher.iter(|| {
                    black_box(opened.file.read(&mut SliceSink::new(&mut buffer), Some(0), env))
                });
            });
        });
    }
    group.finish();
}

criterion_group!(benches, walks, directories, reads);
criterion_main!(benches);
