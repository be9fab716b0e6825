//! System V IPC: `shmget(2)`, `semget(2)`, `msgget(2)` and what goes with them.

use chitin_abi::ipc::{
    GETNCNT, GETPID, GETVAL, GETZCNT, IPC_CREAT, IPC_EXCL, IPC_NOWAIT, IPC_PRIVATE, IPC_RMID,
    IPC_STAT, MSG_EXCEPT, MSG_NOERROR, MsqidDs, SEM_UNDO, SETVAL, SHM_DEST, SHM_RDONLY, Sembuf,
    SemidDs, ShmidDs,
};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use zerocopy::{FromZeros, IntoBytes};

use super::support::asleep;
use crate::call;
use crate::suite::{Arg, Kernel, Processes, fails, tests};

fn shm(k: &dyn Kernel, size: usize) -> i32 {
    call!(k, SHMGET, IPC_PRIVATE, size, IPC_CREAT | 0o600).unwrap() as i32
}

fn shm_stat(k: &dyn Kernel, id: i32) -> Result<ShmidDs> {
    let mut stat = ShmidDs::new_zeroed();
    call!(k, SHMCTL, id, IPC_STAT, stat.as_mut_bytes())?;
    Ok(stat)
}

fn sem(k: &dyn Kernel, count: i32) -> i32 {
    call!(k, SEMGET, IPC_PRIVATE, count, 0o600).unwrap() as i32
}

fn op(sem_num: u16, sem_op: i16, flags: u32) -> Sembuf {
    Sembuf { sem_num, sem_op, sem_flg: flags as i16 }
}

fn semop(k: &dyn Kernel, id: i32, operations: &[Sembuf]) -> Result<u64> {
    call!(k, SEMOP, id, operations.as_bytes(), operations.len())
}

fn semctl(k: &dyn Kernel, id: i32, number: i32, command: u32) -> Result<u64> {
    call!(k, SEMCTL, id, number, command, Arg::Null)
}

fn msg(k: &dyn Kernel) -> i32 {
    call!(k, MSGGET, IPC_PRIVATE, 0o600).unwrap() as i32
}

fn send(k: &dyn Kernel, id: i32, kind: i64, text: &[u8], flags: u32) -> Result<u64> {
    let message = [&kind.to_ne_bytes(), text].concat();
    call!(k, MSGSND, id, message.as_slice(), text.len(), flags)
}

fn receive(k: &dyn Kernel, id: i32, size: usize, kind: i64, flags: u32) -> Result<(i64, Vec<u8>)> {
    let mut buffer = vec![0; 8 + size];
    let count = call!(k, MSGRCV, id, buffer.as_mut_slice(), size, kind, flags)? as usize;
    let text = buffer[8..8 + count].to_vec();
    Ok((i64::from_ne_bytes(*buffer.first_chunk().unwrap()), text))
}

tests! { "sysvipc", "sysvipc(7)";
    [shmget] sizes_and_keys(k) {
        fails(call!(k, SHMGET, IPC_PRIVATE, 0, IPC_CREAT), Errno::EINVAL);
        fails(call!(k, SHMGET, 0x1234_5678, 10, 0), Errno::ENOENT);
        let id = call!(k, SHMGET, 0x1234_5678, 10, IPC_CREAT | 0o600).unwrap();
        fails(call!(k, SHMGET, 0x1234_5678, 10, IPC_CREAT | IPC_EXCL), Errno::EEXIST);
        fails(call!(k, SHMGET, 0x1234_5678, 11, 0), Errno::EINVAL);
        assert_eq!(call!(k, SHMGET, 0x1234_5678, 0, 0), Ok(id));
        call!(k, SHMCTL, id, IPC_RMID, Arg::Null).unwrap();
        fails(call!(k, SHMCTL, id, IPC_RMID, Arg::Null), Errno::EINVAL);
    }
    [shmat, shmdt, shmctl] segments_live_while_attached(k) {
        let id = shm(k, 5000);
        let first = call!(k, SHMAT, id, Arg::Null, 0).unwrap();
        let second = call!(k, SHMAT, id, Arg::Null, SHM_RDONLY).unwrap();
        let stat = shm_stat(k, id).unwrap();
        assert_eq!((stat.shm_segsz, stat.shm_nattch, stat.shm_perm.mode), (5000, 2, 0o600));
        let child = k.child(|| i32::from(shm_stat(k, id).map(|stat| stat.shm_nattch) != Ok(4)));
        assert_eq!(k.status(child), 0);
        assert_eq!(shm_stat(k, id).unwrap().shm_nattch, 2, "the child's are gone");
        call!(k, SHMCTL, id, IPC_RMID, Arg::Null).unwrap();
        let stat = shm_stat(k, id).unwrap();
        assert_eq!((stat.shm_perm.mode, stat.shm_perm.key), (0o600 | SHM_DEST, 0));
        call!(k, SHMDT, first).unwrap();
        fails(call!(k, SHMDT, first), Errno::EINVAL);
        fails(call!(k, SHMDT, second + 1), Errno::EINVAL);
        call!(k, SHMDT, second).unwrap();
        fails(shm_stat(k, id), Errno::EINVAL);
        fails(call!(k, SHMAT, id, Arg::Null, 0), Errno::EINVAL);
    }
    [semget, semctl] sets_and_numbers(k) {
        fails(call!(k, SEMGET, IPC_PRIVATE, 0, 0o600), Errno::EINVAL);
        fails(call!(k, SEMGET, IPC_PRIVATE, -1, 0o600), Errno::EINVAL);
        fails(call!(k, SEMGET, IPC_PRIVATE, 40_000, 0o600), Errno::EINVAL);
        let id = sem(k, 2);
        let mut stat = SemidDs::new_zeroed();
        call!(k, SEMCTL, id, 0, IPC_STAT, stat.as_mut_bytes()).unwrap();
        assert_eq!((stat.sem_nsems, stat.sem_otime), (2, 0));
        fails(call!(k, SEMCTL, id, 0, SETVAL, 40_000), Errno::ERANGE);
        fails(call!(k, SEMCTL, id, 2, SETVAL, 1), Errno::EINVAL);
        fails(semctl(k, id, 2, GETVAL), Errno::EINVAL);
        fails(semctl(k, id, 0, 99), Errno::EINVAL);
        assert_eq!(call!(k, SEMCTL, id, 1, SETVAL, 7), Ok(0));
        assert_eq!(semctl(k, id, 1, GETVAL), Ok(7));
        assert_eq!(semctl(k, id, 1, GETPID), Ok(call!(k, GETPID).unwrap()));
        assert_eq!(semctl(k, id, 0, IPC_RMID), Ok(0));
        fails(semctl(k, id, 0, GETVAL), Errno::EINVAL);
    }
    [semop] all_or_nothing(k) {
        let id = sem(k, 2);
        fails(semop(k, id, &[op(0, 1, 0), op(1, -1, IPC_NOWAIT)]), Errno::EAGAIN);
        assert_eq!(semctl(k, id, 0, GETVAL), Ok(0));
        assert_eq!(semop(k, id, &[op(0, 2, 0), op(1, 1, 0), op(0, -1, 0)]), Ok(0));
        assert_eq!((semctl(k, id, 0, GETVAL), semctl(k, id, 1, GETVAL)), (Ok(1), Ok(1)));
        fails(semop(k, id, &[op(2, 1, 0)]), Errno::EFBIG);
        fails(semop(k, id, &[op(0, i16::MAX, 0)]), Errno::ERANGE);
        fails(semop(k, id, &[]), Errno::EINVAL);
        fails(semop(k, id, &[op(0, 1, 0); 501]), Errno::E2BIG);
        semctl(k, id, 0, IPC_RMID).unwrap();
    }
    [semop, semctl] sleepers_are_counted_and_woken(k) {
        let id = sem(k, 1);
        let child = k.child(|| i32::from(semop(k, id, &[op(0, -2, 0)]) != Ok(0)));
        asleep(k, child);
        assert_eq!((semctl(k, id, 0, GETNCNT), semctl(k, id, 0, GETZCNT)), (Ok(1), Ok(0)));
        assert_eq!(semop(k, id, &[op(0, 3, 0)]), Ok(0));
        assert_eq!(k.status(child), 0);
        assert_eq!(semctl(k, id, 0, GETVAL), Ok(1));
        let child = k.child(|| i32::from(semop(k, id, &[op(0, 0, 0)]) != Err(Errno::EIDRM)));
        asleep(k, child);
        semctl(k, id, 0, IPC_RMID).unwrap();
        assert_eq!(k.status(child), 0);
    }
    [semop] a_dead_process_is_undone(k) {
        let id = sem(k, 1);
        let child = k.child(|| i32::from(semop(k, id, &[op(0, 5, SEM_UNDO)]) != Ok(0) || semop(k, id, &[op(0, -1, SEM_UNDO)]) != Ok(0)));
        assert_eq!(k.status(child), 0);
        assert_eq!(semctl(k, id, 0, GETVAL), Ok(0));
        semctl(k, id, 0, IPC_RMID).unwrap();
    }
    [semtimedop] waiting_has_an_end(k) {
        let id = sem(k, 1);
        let operation = [op(0, -1, 0)];
        let time = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        fails(call!(k, SEMTIMEDOP, id, operation.as_bytes(), 1, time.as_bytes()), Errno::EAGAIN);
        let time = Timespec { tv_sec: 0, tv_nsec: -1 };
        fails(call!(k, SEMTIMEDOP, id, operation.as_bytes(), 1, time.as_bytes()), Errno::EINVAL);
        semctl(k, id, 0, IPC_RMID).unwrap();
    }
    [msgsnd, msgrcv] messages_by_type(k) {
        let id = msg(k);
        for (kind, text) in [(3, "three"), (1, "one"), (2, "two"), (1, "uno")] {
            assert_eq!(send(k, id, kind, text.as_bytes(), 0), Ok(0));
        }
        fails(receive(k, id, 2, 0, 0), Errno::E2BIG);
        assert_eq!(receive(k, id, 9, -2, 0), Ok((1, b"one".to_vec())));
        assert_eq!(receive(k, id, 2, 3, MSG_NOERROR), Ok((3, b"th".to_vec())));
        assert_eq!(receive(k, id, 9, 2, MSG_EXCEPT), Ok((1, b"uno".to_vec())));
        fails(receive(k, id, 9, 5, IPC_NOWAIT), Errno::ENOMSG);
        let mut stat = MsqidDs::new_zeroed();
        call!(k, MSGCTL, id, IPC_STAT, stat.as_mut_bytes()).unwrap();
        assert_eq!((stat.msg_qnum, stat.msg_cbytes), (1, 3));
        call!(k, MSGCTL, id, IPC_RMID, Arg::Null).unwrap();
        fails(send(k, id, 1, b"x", 0), Errno::EINVAL);
    }
    [msgsnd, msgrcv] bad_messages(k) {
        let id = msg(k);
        fails(send(k, id, 0, b"x", 0), Errno::EINVAL);
        fails(send(k, id, 1, &[0; 8193], 0), Errno::EINVAL);
        fails(call!(k, MSGSND, id, Arg::Bad, 1, 0), Errno::EFAULT);
        fails(call!(k, MSGRCV, id, Arg::Null, -1_i64, 0, 0), Errno::EINVAL);
        assert_eq!((send(k, id, 1, &[0; 8192], 0), send(k, id, 1, &[0; 8192], 0)), (Ok(0), Ok(0)));
        fails(send(k, id, 1, b"x", IPC_NOWAIT), Errno::EAGAIN);
        call!(k, MSGCTL, id, IPC_RMID, Arg::Null).unwrap();
    }
    [msgrcv] receivers_are_woken(k) {
        let id = msg(k);
        let child = k.child(|| i32::from(receive(k, id, 9, 7, 0) != Ok((7, b"hi".to_vec()))));
        asleep(k, child);
        assert_eq!(send(k, id, 7, b"hi", 0), Ok(0));
        assert_eq!(k.status(child), 0);
        let child = k.child(|| i32::from(receive(k, id, 9, 7, 0) != Err(Errno::EIDRM)));
        asleep(k, child);
        call!(k, MSGCTL, id, IPC_RMID, Arg::Null).unwrap();
        assert_eq!(k.status(child), 0);
    }
}
