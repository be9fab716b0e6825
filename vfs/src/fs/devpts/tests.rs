use std::sync::Arc;

use chitin_abi::Errno;
use chitin_abi::fs::{OpenFlags, S_IFCHR, makedev};
use chitin_abi::time::Timespec;

use super::DevPts;
use crate::attr::SetAttr;
use crate::env::VfsEnv;
use crate::inode::Inode;
use crate::tty::{MasterFile, NoProcesses};

fn mount(options: &[u8]) -> Arc<dyn Inode> {
    DevPts::mount(options, Arc::new(NoProcesses), Timespec::default()).unwrap().1
}

fn names(root: &Arc<dyn Inode>) -> Vec<String> {
    let dir = Arc::clone(root).open(OpenFlags::empty(), &VfsEnv::default()).unwrap();
    let mut names = Vec::new();
    dir.read_dir(0, &mut |entry| {
        names.push(String::from_utf8_lossy(entry.name).into_owned());
        true
    })
    .unwrap();
    names
}

#[test]
fn pairs_come_and_go() {
    let env = VfsEnv::default();
    let root = mount(b"gid=5,mode=620,ptmxmode=666,newinstance");
    let ptmx = root.lookup(b"ptmx").unwrap();
    assert_eq!(ptmx.attr().unwrap().mode, S_IFCHR | 0o666);
    let first = Arc::clone(&ptmx).open(OpenFlags::O_RDWR, &env).unwrap();
    let second = Arc::clone(&ptmx).open(OpenFlags::O_RDWR, &env).unwrap();
    assert_eq!(names(&root), [".", "..", "ptmx", "0", "1"]);
    let slave = root.lookup(b"1").unwrap();
    let attr = slave.attr().unwrap();
    assert_eq!((attr.mode, attr.gid, attr.rdev), (S_IFCHR | 0o620, 5, makedev(136, 1)));
    slave
        .set_attr(&SetAttr { uid: Some(1000), ..SetAttr::default() }, Timespec::default())
        .unwrap();
    assert_eq!(root.lookup(b"1").unwrap().attr().unwrap().uid, 1000);
    assert_eq!(Arc::clone(&slave).open(OpenFlags::O_RDWR, &env).err(), Some(Errno::EIO));
    second.as_any().downcast_ref::<MasterFile>().unwrap().pty().set_locked(false);
    let open = Arc::clone(&slave).open(OpenFlags::O_RDWR, &env).unwrap();
    drop(second);
    assert_eq!(root.lookup(b"1").err(), Some(Errno::ENOENT));
    assert_eq!(slave.open(OpenFlags::O_RDWR, &env).err(), Some(Errno::EIO));
    // The number is taken while a slave is open.
    let third = Arc::clone(&ptmx).open(OpenFlags::O_RDWR, &env).unwrap();
    assert_eq!(names(&root), [".", "..", "ptmx", "0", "2"]);
    drop((open, third));
    let _fourth = ptmx.open(OpenFlags::O_RDWR, &env).unwrap();
    assert_eq!(names(&root), [".", "..", "ptmx", "0", "1"]);
    drop(first);
}

#[test]
fn options() {
    assert_eq!(
        DevPts::mount(b"nonsense", Arc::new(NoProcesses), Timespec::default()).err(),
        Some(Errno::EINVAL)
    );
    let (super_block, root) =
        DevPts::mount(b"gid=5,mode=620,max=1", Arc::new(NoProcesses), Timespec::default()).unwrap();
    assert_eq!(super_block.fs().options(), ",gid=5,mode=620,ptmxmode=000,max=1");
    let ptmx = root.lookup(b"ptmx").unwrap();
    let _one = Arc::clone(&ptmx).open(OpenFlags::O_RDWR, &VfsEnv::default()).unwrap();
    assert_eq!(ptmx.open(OpenFlags::O_RDWR, &VfsEnv::default()).err(), Some(Errno::ENOSPC));
    super_block.fs().remount(b"ptmxmode=0666").unwrap();
    assert_eq!(root.lookup(b"ptmx").unwrap().attr().unwrap().mode & 0o777, 0o666);
    assert_eq!(root.lookup(b"007").err(), Some(Errno::ENOENT));
    assert_eq!(root.lookup(b"+0").err(), Some(Errno::ENOENT));
}
