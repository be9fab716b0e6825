//! `/proc/sysvipc`: headings; the objects are listed by whoever keeps them.

use chitin_abi::Result;
use chitin_vfs::env::VfsEnv;

use super::View;

const MESSAGES: &str = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n";
const SEMAPHORES: &str =
    "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n";
const SEGMENTS: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n";

fn put(out: &mut Vec<u8>, text: &str) -> Result<()> {
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// `msg`.
pub fn messages(_view: &View, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    put(out, MESSAGES)
}

/// `sem`.
pub fn semaphores(_view: &View, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    put(out, SEMAPHORES)
}

/// `shm`.
pub fn segments(_view: &View, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    put(out, SEGMENTS)
}
