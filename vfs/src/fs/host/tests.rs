use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use chitin_abi::fs::{
    DT_DIR, DT_LNK, DT_REG, OpenFlags, RENAME_EXCHANGE, RENAME_NOREPLACE, S_IFDIR, S_IFIFO,
    S_IFREG, SEEK_DATA, SEEK_END, SEEK_HOLE,
};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use tempfile::TempDir;

use super::{CachePolicy, HostFs, HostOptions};
use crate::acl::AclKind;
use crate::acl::tests::list;
use crate::attr::{NewFile, SetAttr};
use crate::cred::Cred;
use crate::env::VfsEnv;
use crate::file::{File, WriteAt};
use crate::inode::Inode;
use crate::io::{SliceSource, VecSink};

const NOW: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

fn root_of(path: &Path, options: HostOptions) -> Arc<dyn Inode> {
    let dir: OwnedFd = fs::File::open(path).unwrap().into();
    HostFs::new(dir, options).unwrap().1
}

fn tree() -> (TempDir, Arc<dyn Inode>) {
    let dir = TempDir::new().unwrap();
    let root = root_of(dir.path(), HostOptions::default());
    (dir, root)
}

fn walk(root: &Arc<dyn Inode>, path: &str) -> Result<Arc<dyn Inode>> {
    path.split('/').try_fold(Arc::clone(root), |dir, name| dir.lookup(name.as_bytes()))
}

fn open(inode: &Arc<dyn Inode>, flags: OpenFlags) -> Result<Arc<dyn File>> {
    Arc::clone(inode).open(flags, &VfsEnv::default())
}

fn new(mode: u32) -> NewFile {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    NewFile { mode, uid, gid, rdev: 0 }
}

fn read(file: &Arc<dyn File>, offset: u64, most: usize) -> Vec<u8> {
    let mut sink = VecSink::new(most);
    let count = file.read_at(&mut sink, offset).unwrap();
    assert_eq!(count, sink.bytes.len());
    sink.bytes
}

fn names(dir: &Arc<dyn Inode>) -> Vec<(String, u8, u64)> {
    let file = open(dir, OpenFlags::empty()).unwrap();
    let mut found = Vec::new();
    file.read_dir(0, &mut |entry| {
        found.push((String::from_utf8_lossy(entry.name).into_owned(), entry.kind, entry.ino));
        true
    })
    .unwrap();
    found.sort();
    found
}

#[test]
fn reads_what_the_host_has() {
    let (dir, root) = tree();
    let data: Vec<u8> = (0..200_000u32).map(|byte| byte as u8).collect();
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::write(dir.path().join("d/f"), &data).unwrap();
    symlink("d/f", dir.path().join("l")).unwrap();
    let inode = walk(&root, "d/f").unwrap();
    let attr = inode.attr().unwrap();
    let host = fs::metadata(dir.path().join("d/f")).unwrap();
    assert_eq!((attr.size, attr.ino, attr.mode, attr.nlink), (200_000, host.ino(), host.mode(), 1));
    assert_ne!(attr.dev, host.dev());
    let file = open(&inode, OpenFlags::empty()).unwrap();
    assert_eq!(read(&file, 0, 1 << 20), data);
    assert_eq!(read(&file, 65_530, 10), data[65_530..65_540]);
    assert_eq!(read(&file, 200_000, 10), b"");
    assert_eq!(walk(&root, "l").unwrap().read_link(&VfsEnv::default()).unwrap(), b"d/f");
    assert_eq!(walk(&root, "nothing").err(), Some(Errno::ENOENT));
    assert_eq!(inode.lookup(b"x").err(), Some(Errno::ENOTDIR));
    assert!(Arc::ptr_eq(&inode, &walk(&root, "d/f").unwrap()));
    assert_eq!(file.seek(0, -1, SEEK_END), Ok(199_999));
    assert_eq!(file.seek(0, 5, SEEK_DATA), Ok(5));
    assert_eq!(file.seek(0, 5, SEEK_HOLE), Ok(200_000));
    assert_eq!(file.seek(0, 200_001, SEEK_DATA), Err(Errno::ENXIO));
    let (fd, offset) = file.map().unwrap().host_file(4096, 4096, false).unwrap();
    assert_eq!(offset, 4096);
    assert!(rustix::fs::fstat(&*fd).is_ok());
    assert_eq!(file.map().unwrap().host_file(0, 4096, true).err(), Some(Errno::EACCES));
    assert_eq!(file.map().unwrap().path(), b"/d/f");
}

#[test]
fn lists_without_asking_each_entry() {
    let (dir, root) = tree();
    for index in 0..500 {
        fs::write(dir.path().join(format!("file-with-a-longer-name-{index}")), "").unwrap();
    }
    fs::create_dir(dir.path().join("d")).unwrap();
    symlink("x", dir.path().join("l")).unwrap();
    let all = names(&root);
    assert_eq!(all.len(), 504);
    let find = |name: &str| all.iter().find(|entry| entry.0 == name).unwrap();
    assert_eq!(
        (find("d").1, find("l").1, find("file-with-a-longer-name-7").1),
        (DT_DIR, DT_LNK, DT_REG)
    );
    assert_eq!(find(".").2, root.attr().unwrap().ino);
    assert_eq!(find("..").2, root.attr().unwrap().ino);
    assert_eq!(find("d").2, walk(&root, "d").unwrap().attr().unwrap().ino);
    // In small steps, each going on where the one before left off.
    let file = open(&root, OpenFlags::empty()).unwrap();
    let (mut seen, mut position) = (Vec::new(), 0);
    loop {
        let before = seen.len();
        file.read_dir(position, &mut |entry| {
            if seen.len() == before + 7 {
                return false;
            }
            seen.push(entry.name.to_vec());
            position = entry.next;
            true
        })
        .unwrap();
        if seen.len() == before {
            break;
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 504);
}

#[test]
fn changes_reach_the_host() {
    let (dir, root) = tree();
    let file = root.create(b"f", &new(S_IFREG | 0o640)).unwrap();
    let open_file = open(&file, OpenFlags::O_RDWR).unwrap();
    assert_eq!(open_file.write_at(&mut SliceSource::new(b"hello"), WriteAt::Offset(0)), Ok((5, 5)));
    assert_eq!(open_file.write_at(&mut SliceSource::new(b" you"), WriteAt::End), Ok((4, 9)));
    assert_eq!(fs::read(dir.path().join("f")).unwrap(), b"hello you");
    assert_eq!(file.attr().unwrap().size, 9);
    assert_eq!(root.create(b"f", &new(S_IFREG | 0o640)).err(), Some(Errno::EEXIST));
    let change = SetAttr {
        mode: Some(0o755),
        size: Some(4),
        mtime: Some(Timespec { tv_sec: 77, tv_nsec: 5 }),
        ..SetAttr::default()
    };
    file.set_attr(&change, NOW).unwrap();
    let host = fs::metadata(dir.path().join("f")).unwrap();
    assert_eq!(
        (host.len(), host.mode() & 0o7777, host.mtime(), host.mtime_nsec()),
        (4, 0o755, 77, 5)
    );
    let made = root.mkdir(b"d", &new(S_IFDIR | 0o711)).unwrap();
    assert_eq!(made.attr().unwrap().mode, S_IFDIR | 0o711);
    root.symlink(b"l", b"../../etc/passwd", &new(0o777)).unwrap();
    assert_eq!(fs::read_link(dir.path().join("l")).unwrap(), Path::new("../../etc/passwd"));
    made.link(b"again", &file).unwrap();
    assert_eq!(file.attr().unwrap().nlink, 2);
    let fifo = root.create(b"p", &new(S_IFIFO | 0o600)).unwrap();
    assert_eq!(fifo.attr().unwrap().file_type(), S_IFIFO);
    assert_eq!(open(&fifo, OpenFlags::empty()).err(), Some(Errno::ENXIO));
    assert_eq!(root.rmdir(b"d").err(), Some(Errno::ENOTEMPTY));
    root.rename(b"l", &made, b"m", RENAME_NOREPLACE).unwrap();
    assert_eq!(root.rename(b"f", &made, b"m", RENAME_NOREPLACE).err(), Some(Errno::EEXIST));
    root.rename(b"f", &made, b"m", RENAME_EXCHANGE).unwrap();
    assert!(fs::symlink_metadata(dir.path().join("f")).unwrap().is_symlink());
    assert_eq!(
        read(&open(&walk(&root, "d/m").unwrap(), OpenFlags::empty()).unwrap(), 0, 9),
        b"hell"
    );
    open_file.allocate(0, 0, 100).unwrap();
    assert_eq!(file.attr().unwrap().size, 100);
    open_file.sync(true).unwrap();
}

#[test]
fn an_unlinked_file_goes_on() {
    let (dir, root) = tree();
    fs::write(dir.path().join("f"), "data").unwrap();
    fs::write(dir.path().join("g"), "other").unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    let (file, other, made) =
        (walk(&root, "f").unwrap(), walk(&root, "g").unwrap(), walk(&root, "d").unwrap());
    let other_open = open(&other, OpenFlags::O_RDWR).unwrap();
    root.unlink(b"f").unwrap();
    root.rmdir(b"d").unwrap();
    assert_eq!((file.attr().unwrap().nlink, file.attr().unwrap().size), (0, 4));
    assert_eq!(read(&open(&file, OpenFlags::empty()).unwrap(), 0, 9), b"data");
    assert_eq!(made.attr().unwrap().nlink, 0);
    assert_eq!(made.lookup(b"x").err(), Some(Errno::ENOENT));
    let listing = open(&made, OpenFlags::empty()).unwrap();
    assert_eq!(listing.read_dir(u64::MAX >> 1, &mut |_| panic!("an entry")), Ok(()));
    assert_eq!(made.create(b"x", &new(S_IFREG)).err(), Some(Errno::ENOENT));
    let fresh = root.create(b"f", &new(S_IFREG | 0o600)).unwrap();
    root.rename(b"f", &root, b"g", 0).unwrap();
    assert_eq!(other.attr().unwrap().nlink, 0);
    other_open.write_at(&mut SliceSource::new(b"O"), WriteAt::Offset(0)).unwrap();
    other.set_attr(&SetAttr { size: Some(3), ..SetAttr::default() }, NOW).unwrap();
    assert_eq!(read(&other_open, 0, 9), b"Oth");
    assert_eq!(fresh.attr().unwrap().size, 0);
}

#[test]
fn a_file_without_a_name_can_get_one() {
    let (dir, root) = tree();
    let inode = match root.tmpfile(&new(S_IFREG | 0o600)) {
        Err(Errno::EOPNOTSUPP) => return,
        result => result.unwrap(),
    };
    let file = open(&inode, OpenFlags::O_RDWR).unwrap();
    file.write_at(&mut SliceSource::new(b"x"), WriteAt::Offset(0)).unwrap();
    assert_eq!(inode.attr().unwrap().nlink, 0);
    match root.link(b"named", &inode) {
        Err(Errno::ENOENT) => {}
        result => {
            result.unwrap();
            assert_eq!(fs::read(dir.path().join("named")).unwrap(), b"x");
        }
    }
}

#[test]
fn a_read_only_tree_refuses_changes() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("f"), "x").unwrap();
    let root = root_of(dir.path(), HostOptions { read_only: true, ..HostOptions::default() });
    let file = root.lookup(b"f").unwrap();
    assert_eq!(root.create(b"g", &new(S_IFREG)).err(), Some(Errno::EROFS));
    assert_eq!(root.unlink(b"f").err(), Some(Errno::EROFS));
    assert_eq!(
        file.set_attr(&SetAttr { mode: Some(0), ..SetAttr::default() }, NOW).err(),
        Some(Errno::EROFS)
    );
    assert_eq!(open(&file, OpenFlags::O_WRONLY).err(), Some(Errno::EROFS));
    assert!(open(&file, OpenFlags::empty()).is_ok());
}

#[test]
fn links_are_never_followed() {
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let (dir, root) = tree();
    symlink(outside.path(), dir.path().join("out")).unwrap();
    symlink(outside.path().join("secret"), dir.path().join("leak")).unwrap();
    let out = root.lookup(b"out").unwrap();
    assert_eq!(out.lookup(b"secret").err(), Some(Errno::ENOTDIR));
    let leak = root.lookup(b"leak").unwrap();
    assert_eq!(open(&leak, OpenFlags::empty()).err(), Some(Errno::ELOOP));
    leak.set_attr(&SetAttr { mode: Some(0o777), ..SetAttr::default() }, NOW).unwrap_err();
    assert_eq!(
        fs::metadata(outside.path().join("secret")).unwrap().permissions().mode() & 0o111,
        0
    );
    let own = rustix::process::geteuid().as_raw();
    leak.set_attr(&SetAttr { uid: Some(own), mtime: Some(NOW), ..SetAttr::default() }, NOW)
        .unwrap();
    assert_ne!(fs::metadata(outside.path().join("secret")).unwrap().mtime(), 1);
}

/// Somebody on the host swaps a directory and a file for links that lead out, between the walk and the use.
#[test]
fn what_was_swapped_behind_our_back_is_refused() {
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("f"), "secret").unwrap();
    for cache in [CachePolicy::Exclusive, CachePolicy::Shared] {
        let dir = TempDir::new().unwrap();
        let root =
            root_of(dir.path(), HostOptions { cache, fd_cache: 1, ..HostOptions::default() });
        for name in ["d", "e"] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("f"), "mine").unwrap();
        }
        let held = walk(&root, "d").unwrap();
        let file = walk(&root, "d/f").unwrap();
        // Pushes the descriptor of `d` out of the cache.
        walk(&root, "e/f").unwrap();
        fs::rename(dir.path().join("d"), dir.path().join("moved")).unwrap();
        symlink(outside.path(), dir.path().join("d")).unwrap();
        let refused = |error: Option<Errno>| {
            assert!(
                matches!(error, Some(Errno::ELOOP | Errno::ENOTDIR | Errno::ESTALE)),
                "{error:?}"
            );
        };
        refused(held.lookup(b"f").err());
        refused(open(&file, OpenFlags::empty()).err());
        // A directory of the same name that is another one.
        fs::remove_file(dir.path().join("d")).unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/f"), "other").unwrap();
        refused(held.lookup(b"f").err());
        refused(open(&file, OpenFlags::O_RDWR).err());
    }
}

#[test]
fn a_shared_tree_is_asked_every_time() {
    let dir = TempDir::new().unwrap();
    let root =
        root_of(dir.path(), HostOptions { cache: CachePolicy::Shared, ..HostOptions::default() });
    fs::write(dir.path().join("f"), "1").unwrap();
    let file = root.lookup(b"f").unwrap();
    fs::write(dir.path().join("f"), "123").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1));
    assert_eq!(file.attr().unwrap().size, 3);
    assert!(!root.caches_entries());
}

#[test]
fn few_descriptors_serve_deep_trees() {
    let dir = TempDir::new().unwrap();
    let root = root_of(dir.path(), HostOptions { fd_cache: 2, ..HostOptions::default() });
    let name = "n".repeat(200);
    let mut deepest = Arc::clone(&root);
    for _ in 0..100 {
        deepest = deepest.mkdir(name.as_bytes(), &new(S_IFDIR | 0o755)).unwrap();
    }
    deepest.create(b"f", &new(S_IFREG | 0o644)).unwrap();
    let other = root.mkdir(b"other", &new(S_IFDIR | 0o755)).unwrap();
    for index in 0..4 {
        other.create(format!("{index}").as_bytes(), &new(S_IFREG | 0o644)).unwrap();
    }
    assert_eq!(deepest.lookup(b"f").unwrap().attr().unwrap().size, 0);
}

#[test]
fn attributes_of_users() {
    let (_dir, root) = tree();
    let file = root.create(b"f", &new(S_IFREG | 0o600)).unwrap();
    match file.set_xattr(b"user.key", b"value", 0) {
        Err(Errno::EOPNOTSUPP) => return,
        result => result.unwrap(),
    }
    assert_eq!(file.get_xattr(b"user.key").unwrap(), b"value");
    assert_eq!(file.list_xattr().unwrap(), [b"user.key"]);
    file.remove_xattr(b"user.key").unwrap();
    assert_eq!(file.get_xattr(b"user.key").err(), Some(Errno::ENODATA));
    assert_eq!(file.set_xattr(b"security.selinux", b"x", 0).err(), Some(Errno::EOPNOTSUPP));
}

/// Access-control lists of the host's files decide, those that name nobody known here included.
#[test]
fn access_lists_count() {
    use chitin_abi::fs::{R_OK, X_OK};
    let (dir, root) = tree();
    fs::write(dir.path().join("f"), "text").unwrap();
    const NO: u32 = u32::MAX;
    // User 4242 may read, the owning group may not, though the mode's group bits (the mask) say so.
    let value = list(&[(1, 7, NO), (2, 4, 4242), (4, 0, NO), (0x10, 4, NO), (0x20, 0, NO)]);
    let name = AclKind::Access.name();
    let flags = rustix::fs::XattrFlags::empty();
    if rustix::fs::setxattr(dir.path().join("f"), name, &value, flags).is_err() {
        return; // The file system of the tests has none.
    }
    let inode = root.lookup(b"f").unwrap();
    let info = inode.access_info().unwrap();
    let check = |uid, gid, mask| {
        let cred = Cred { uid, gid, ..Cred::default() };
        crate::permission::check(inode.as_ref(), mask, &cred, &VfsEnv::default())
    };
    assert_eq!(info.mode & 0o777, 0o740);
    assert_eq!((check(4242, 9, R_OK), check(4242, 9, X_OK)), (Ok(()), Err(Errno::EACCES)));
    assert_eq!(check(4243, info.gid, R_OK), Err(Errno::EACCES));
    inode.remove_xattr(name).unwrap();
    assert_eq!(check(4242, 9, R_OK), Err(Errno::EACCES), "the list is forgotten");
}
