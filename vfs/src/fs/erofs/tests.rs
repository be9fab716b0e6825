use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::{Errno, Result};
use tempfile::TempDir;

use super::Erofs;
use crate::env::VfsEnv;
use crate::inode::Inode;
use crate::io::VecSink;

fn env() -> VfsEnv {
    VfsEnv::default()
}

/// A directory with what file systems get wrong: sizes around block boundaries, text, noise, holes, many names.
fn source() -> TempDir {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    for size in [0, 1, 100, 4095, 4096, 4097, 8192, 70_000, 300_001] {
        let text: Vec<u8> = (0..size).map(|index: usize| (index / 97 % 23) as u8 + b'a').collect();
        fs::write(at(&format!("text{size}")), &text).unwrap();
        let mut state = size as u64 + 1;
        let noise = core::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        });
        let noise: Vec<u8> = noise.take(size).collect();
        fs::write(at(&format!("noise{size}")), &noise).unwrap();
        let mixed: Vec<u8> =
            text.chunks(5000).zip(noise.chunks(5000)).flat_map(|(a, b)| [a, b].concat()).collect();
        fs::write(at(&format!("mixed{size}")), mixed).unwrap();
    }
    let sparse = fs::File::create(at("sparse")).unwrap();
    sparse.set_len(200_000).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"data", 150_000).unwrap();
    fs::create_dir_all(at("many/deep/er")).unwrap();
    for number in 0..700 {
        fs::write(at(&format!("many/file number {number}")), number.to_string()).unwrap();
    }
    symlink("../text1", at("many/link")).unwrap();
    fs::hard_link(at("text100"), at("second name")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let _ =
        rustix::fs::setxattr(at("text1"), c"user.name", b"value", rustix::fs::XattrFlags::empty());
    dir
}

/// Notes that the test of this thread did not run.
fn skip(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("erofs");
    eprintln!("SKIPPED {test}: {reason}");
    if let Some(path) = std::env::var_os("CHITIN_SKIP_FILE") {
        let file = fs::OpenOptions::new().append(true).create(true).open(path);
        let line = format!("{test}: {reason}\n");
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.expect("the list of skips can be written");
    }
}

/// Makes an image; `None` where the program is missing.
fn image(of: &Path, options: &[&str]) -> Option<(TempDir, PathBuf)> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("image");
    let output = Command::new("mkfs.erofs").args(options).arg(&path).arg(of).output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            skip(&format!("no mkfs.erofs (package erofs-utils): {error}"));
            return None;
        }
    };
    assert!(output.status.success(), "{options:?}: {output:?}");
    Some((dir, path))
}

fn mount(path: &Path) -> Arc<dyn Inode> {
    let fd: OwnedFd = fs::File::open(path).unwrap().into();
    Erofs::new(Arc::new(fd), b"image").unwrap().1
}

fn read_all(inode: &Arc<dyn Inode>, step: usize) -> Vec<u8> {
    let file = Arc::clone(inode).open(OpenFlags::empty(), &env()).unwrap();
    let mut all = Vec::new();
    loop {
        let mut sink = VecSink::new(step);
        if file.read_at(&mut sink, all.len() as u64).unwrap() == 0 {
            return all;
        }
        all.append(&mut sink.bytes);
    }
}

fn list(inode: &Arc<dyn Inode>) -> Vec<(String, u64)> {
    let file = Arc::clone(inode).open(OpenFlags::empty(), &env()).unwrap();
    let (mut names, mut position, mut taken) = (Vec::new(), 0, true);
    // In small portions, so that positions are tested.
    while taken {
        let mut portion = 0;
        taken = false;
        file.read_dir(position, &mut |entry| {
            portion += 1;
            if portion > 37 {
                taken = true;
                return false;
            }
            position = entry.next;
            names.push((String::from_utf8_lossy(entry.name).into_owned(), entry.ino));
            true
        })
        .unwrap();
    }
    names.retain(|(name, _)| name != "." && name != "..");
    names.sort();
    names
}

/// Compares a tree with the directory that it was made of.
fn compare(inode: &Arc<dyn Inode>, with: &Path) -> usize {
    let (attr, host) = (inode.attr().unwrap(), fs::symlink_metadata(with).unwrap());
    assert_eq!((attr.mode, attr.uid, attr.gid), (host.mode(), host.uid(), host.gid()), "{with:?}");
    assert_eq!(attr.mtime.tv_sec, host.mtime(), "{with:?}");
    if attr.is_regular() {
        let expected = fs::read(with).unwrap();
        assert_eq!((attr.size, attr.nlink), (host.size(), host.nlink()), "{with:?}");
        assert!(read_all(inode, 1 << 20) == expected, "{with:?} differs");
        assert!(read_all(inode, 3001) == expected, "{with:?} differs in small steps");
        let file = Arc::clone(inode).open(OpenFlags::empty(), &env()).unwrap();
        if !expected.is_empty() {
            let (fd, offset) = file.map().unwrap().host_file(0, 4096, false).unwrap();
            let mut mapped = vec![0; expected.len()];
            super::Bytes::read_at(&*fd, &mut mapped, offset).unwrap();
            assert!(mapped == expected, "{with:?} differs when mapped");
        }
    } else if attr.is_symlink() {
        let text = fs::read_link(with).unwrap();
        assert_eq!(inode.read_link(&env()).unwrap(), text.as_os_str().as_encoded_bytes());
    } else if attr.is_dir() {
        let mut expected: Vec<String> = fs::read_dir(with)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        expected.sort();
        let found = list(inode);
        assert_eq!(found.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), expected);
        let count: usize = found
            .iter()
            .map(|(name, ino)| {
                let child = inode.lookup(name.as_bytes()).unwrap();
                assert_eq!(child.attr().unwrap().ino, *ino);
                compare(&child, &with.join(name))
            })
            .sum();
        assert_eq!(inode.lookup(b"not there").err(), Some(Errno::ENOENT));
        return count + 1;
    }
    1
}

/// Images made with each of these lists of options hold what the directory does.
fn round_trip(lists: &[&[&str]]) {
    let dir = source();
    for options in lists {
        let Some((_keep, path)) = image(dir.path(), options) else { return };
        let root = mount(&path);
        assert!(compare(&root, dir.path()) > 700);
        if fs::metadata(dir.path()).is_ok()
            && let Ok(value) = root.lookup(b"text1").unwrap().get_xattr(b"user.name")
        {
            assert_eq!(value, b"value");
        }
    }
}

#[test]
fn flat_images() {
    round_trip(&[&[]]);
}

#[test]
fn extended_inodes_without_attributes() {
    round_trip(&[&["-Eforce-inode-extended", "-x-1"]]);
}

#[test]
fn chunked_images() {
    round_trip(&[&["--chunksize=8192"], &["--chunksize=4096", "-Eforce-chunk-indexes"]]);
}

#[test]
fn compressed_images() {
    round_trip(&[&["-zlz4"], &["-zlz4hc,12"]]);
}

#[test]
fn compressed_images_with_full_indexes() {
    round_trip(&[&["-zlz4", "-Elegacy-compress"]]);
}

#[test]
fn compressed_images_with_big_clusters() {
    round_trip(&[&["-zlz4", "-C65536"], &["-zlz4hc", "-C1048576"]]);
}

/// What is not read here is refused, not misread.
#[test]
fn other_features_are_refused() {
    let dir = source();
    let Some((_keep, path)) = image(dir.path(), &["-zlz4", "-Eztailpacking"]) else { return };
    let fd: OwnedFd = fs::File::open(path).unwrap().into();
    let result: Result<_> = Erofs::new(Arc::new(fd), b"image").map(drop);
    assert_eq!(result, Err(Errno::EOPNOTSUPP));
    let noise = Erofs::new(Arc::new(vec![7; 5000]), b"image").map(drop);
    assert_eq!(noise, Err(Errno::EINVAL));
}

#[test]
fn nothing_can_be_changed() {
    let dir = source();
    let Some((_keep, path)) = image(dir.path(), &[]) else { return };
    let root = mount(&path);
    let file = root.lookup(b"text1").unwrap();
    assert_eq!(file.clone().open(OpenFlags::O_RDWR, &env()).err(), Some(Errno::EROFS));
    assert_eq!(root.lookup(&[b'x'; 300]).err(), Some(Errno::ENOENT));
    assert!(root.super_block().is_read_only());
}

/// Images with bytes changed: nothing panics, loops or takes more than its bound.
#[test]
fn damaged_images() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::write(dir.path().join("d/f"), "text ".repeat(5000)).unwrap();
    fs::write(dir.path().join("g"), "x").unwrap();
    symlink("g", dir.path().join("l")).unwrap();
    for options in
        [&["-zlz4", "-C65536"][..], &["--chunksize=4096"], &["-zlz4", "-Elegacy-compress"]]
    {
        let Some((_keep, path)) = image(dir.path(), options) else { return };
        let good = fs::read(path).unwrap();
        super::fuzz::run(&good);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..3000 {
            let mut bad = good.clone();
            for _ in 0..4 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let at = 1024 + (state as usize >> 8) % (bad.len().min(3 * 4096) - 1024);
                bad[at] = state as u8;
            }
            super::fuzz::run(&bad);
        }
    }
}

/// An image in a file of file systems that are on top of each other is refused, as on Linux, before it is read.
#[test]
fn images_are_stacked_twice_and_no_further() {
    struct Deep(u32);
    impl super::Bytes for Deep {
        fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> Result<usize> {
            Ok(0)
        }

        fn depth(&self) -> u32 {
            self.0
        }
    }
    let mount = |depth| Erofs::new(Arc::new(Deep(depth)), b"image").err();
    assert_eq!(mount(3), Some(Errno::ENOTBLK));
    assert_ne!(mount(2), Some(Errno::ENOTBLK));
}
