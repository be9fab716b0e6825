//! The texts of /proc/sysvipc.

use core::fmt::Write;

use super::IpcNamespace;
use super::perm::Caller;

impl IpcNamespace {
    /// /proc/sysvipc/shm.
    pub fn shm_text(&self, caller: &Caller<'_>) -> String {
        let mut text = String::from(
            "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      \
             atime      dtime      ctime                   rss                  swap\n",
        );
        for (id, key, segment) in self.shm.all() {
            let stat = segment.stat(caller, key);
            let perm = stat.shm_perm;
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{:10} {:10}  {:4o} {:21} {:5} {:5}  {:5} {:5} {:5} {:5} {:5} {:10} {:10} {:10} {:21} {:21}",
                key,
                id,
                perm.mode,
                stat.shm_segsz,
                stat.shm_cpid,
                stat.shm_lpid,
                stat.shm_nattch,
                perm.uid,
                perm.gid,
                perm.cuid,
                perm.cgid,
                stat.shm_atime,
                stat.shm_dtime,
                stat.shm_ctime,
                0,
                0
            );
        }
        text
    }

    /// /proc/sysvipc/sem.
    pub fn sem_text(&self, caller: &Caller<'_>) -> String {
        let mut text = String::from(
            "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n",
        );
        for (id, key, set) in self.sem.all() {
            let stat = set.stat(caller, key);
            let perm = stat.sem_perm;
            let _ = writeln!(
                text,
                "{:10} {:10}  {:4o} {:10} {:5} {:5} {:5} {:5} {:10} {:10}",
                key,
                id,
                perm.mode,
                stat.sem_nsems,
                perm.uid,
                perm.gid,
                perm.cuid,
                perm.cgid,
                stat.sem_otime,
                stat.sem_ctime
            );
        }
        text
    }

    /// /proc/sysvipc/msg.
    pub fn msg_text(&self, caller: &Caller<'_>) -> String {
        let mut text = String::from(
            "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      \
             stime      rtime      ctime\n",
        );
        for (id, key, queue) in self.msg.all() {
            let stat = queue.stat(caller, key);
            let perm = stat.msg_perm;
            let _ = writeln!(
                text,
                "{:10} {:10}  {:4o}  {:10} {:10} {:5} {:5} {:5} {:5} {:5} {:5} {:10} {:10} {:10}",
                key,
                id,
                perm.mode,
                stat.msg_cbytes,
                stat.msg_qnum,
                stat.msg_lspid,
                stat.msg_lrpid,
                perm.uid,
                perm.gid,
                perm.cuid,
                perm.cgid,
                stat.msg_stime,
                stat.msg_rtime,
                stat.msg_ctime
            );
        }
        text
    }
}
