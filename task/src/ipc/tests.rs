use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use chitin_abi::Errno;
use chitin_abi::ipc::{
    IPC_CREAT, IPC_EXCL, IPC_NOWAIT, IPC_PRIVATE, MSG_COPY, MSG_EXCEPT, MSG_NOERROR, SEM_UNDO,
    SHM_DEST, Sembuf,
};
use chitin_mm::MappedFile;

use super::budget::Budget;
use super::ids::{IdTable, Object};
use super::msg::{Message, Wanted};
use super::perm::{Caller, READ, WRITE};
use super::sem::Attempt;
use super::{msg, sem, shm};
use crate::cred::{CapSet, Credentials};
use crate::namespace::UserNamespace;

fn user(uid: u32) -> Credentials {
    let mut cred = Credentials::root(UserNamespace::initial());
    cred.euid = uid;
    cred.egid = uid;
    cred.effective = CapSet::EMPTY;
    cred
}

fn op(sem_num: u16, sem_op: i16, flags: u32) -> Sembuf {
    Sembuf { sem_num, sem_op, sem_flg: flags as i16 }
}

#[test]
fn keys_and_permissions() {
    let (owner, other) = (user(1), user(2));
    let (owner, other) = (Caller::for_test(&owner), Caller::for_test(&other));
    let table = IdTable::new(3);
    let budget = Arc::new(Budget::default());
    let get = |key, flags, who: &Caller<'_>| msg::get(&table, &budget, key, flags, who);
    assert_eq!(get(5, 0, &owner), Err(Errno::ENOENT));
    let id = get(5, IPC_CREAT | 0o640, &owner).expect("made");
    assert_eq!(get(5, 0o600, &owner), Ok(id));
    assert_eq!(get(5, IPC_CREAT | IPC_EXCL, &owner), Err(Errno::EEXIST));
    assert_eq!(get(5, 0o400, &other), Err(Errno::EACCES));
    assert_eq!(get(5, 0, &other), Ok(id));
    assert_ne!(get(IPC_PRIVATE, 0, &owner).expect("made"), id);
    assert!(get(IPC_PRIVATE, 0, &owner).is_ok());
    assert_eq!(get(IPC_PRIVATE, 0, &owner), Err(Errno::ENOSPC));
    let queue = table.find(id).expect("known");
    assert_eq!(owner.check(&queue.permission(), WRITE), Ok(()));
    assert_eq!(other.check(&queue.permission(), READ), Err(Errno::EACCES));
    assert_eq!(other.check_owner(&queue.permission()), Err(Errno::EPERM));
    assert!(table.remove(id).is_ok());
    assert_eq!(table.find(id).err(), Some(Errno::EINVAL));
    let next = get(5, IPC_CREAT, &owner).expect("made");
    assert_ne!(next, id, "identifiers are not reused at once");
    assert_eq!(table.find(id).err(), Some(Errno::EIDRM));
}

#[test]
fn semaphores_are_all_or_nothing() {
    let cred = user(1);
    let who = Caller::for_test(&cred);
    let table = IdTable::new(9);
    let total = Arc::new(AtomicUsize::new(0));
    assert_eq!(sem::get(&table, &total, 1, 0, IPC_CREAT, &who), Err(Errno::EINVAL));
    let id = sem::get(&table, &total, 1, 3, IPC_CREAT | 0o600, &who).expect("made");
    assert_eq!(sem::get(&table, &total, 1, 4, 0, &who), Err(Errno::EINVAL));
    let set = table.find(id).expect("known");
    assert_eq!(set.check(&[op(3, 1, 0)], &who), Err(Errno::EFBIG));
    assert_eq!(set.attempt(&[op(0, 2, 0), op(1, -1, 0)], &who), Ok(Attempt::Blocked(1, false)));
    assert_eq!(set.value(0), Ok(0));
    assert_eq!(set.attempt(&[op(0, 2, SEM_UNDO), op(1, 1, 0)], &who), Ok(Attempt::Done));
    assert_eq!(set.values(), [2, 1, 0]);
    assert_eq!(set.attempt(&[op(0, 0, 0)], &who), Ok(Attempt::Blocked(0, true)));
    assert_eq!(set.attempt(&[op(0, -3, IPC_NOWAIT)], &who), Err(Errno::EAGAIN));
    assert_eq!(set.attempt(&[op(0, i16::MAX, 0)], &who), Err(Errno::ERANGE));
    // Operations see what those before them did.
    assert_eq!(set.attempt(&[op(2, 1, 0), op(2, -1, 0), op(2, 0, 0)], &who), Ok(Attempt::Done));
    {
        let _sleeper = set.sleep(0, true);
        assert_eq!((set.sleepers(0, true), set.sleepers(0, false)), (Ok(1), Ok(0)));
    }
    assert_eq!(set.sleepers(0, true), Ok(0));
    sem::undo_all(&table, who.tgid);
    assert_eq!(set.values(), [0, 1, 0]);
    set.removed();
    assert_eq!(set.attempt(&[op(0, 1, 0)], &who), Err(Errno::EIDRM));
}

#[test]
fn messages_by_type() {
    let cred = user(1);
    let who = Caller::for_test(&cred);
    let table = IdTable::new(9);
    let id = msg::get(&table, &Arc::default(), 1, IPC_CREAT | 0o600, &who).expect("made");
    let queue = table.find(id).expect("known");
    for (kind, text) in [(3, "three"), (1, "one"), (2, "two"), (1, "uno")] {
        let message = Message { kind, text: text.as_bytes().to_vec() };
        assert_eq!(queue.send(&message, &who), Ok(()));
    }
    let take = |size, kind, flags| {
        let message = queue.receive(&Wanted { size, kind, flags }, &who)?;
        Ok::<_, Errno>(String::from_utf8(message.text).expect("text"))
    };
    assert_eq!(take(9, 2, MSG_COPY).as_deref(), Ok("two"));
    assert_eq!(take(2, 0, 0), Err(Errno::E2BIG));
    assert_eq!(take(9, -2, 0).as_deref(), Ok("one"));
    assert_eq!(take(2, 3, MSG_NOERROR).as_deref(), Ok("th"));
    assert_eq!(take(9, 2, MSG_EXCEPT).as_deref(), Ok("uno"));
    assert_eq!(take(9, 5, 0), Err(Errno::ENOMSG));
    assert_eq!(take(9, i64::MIN, 0).as_deref(), Ok("two"));
    let big = Message { kind: 1, text: vec![0; 8192] };
    assert_eq!((queue.send(&big, &who), queue.send(&big, &who)), (Ok(()), Ok(())));
    assert_eq!(queue.send(&Message { kind: 1, text: vec![0] }, &who), Err(Errno::EAGAIN));
}

#[test]
fn removed_segments_live_while_they_are_attached() {
    let cred = user(1);
    let who = Caller::for_test(&cred);
    let table = Arc::new(IdTable::new(9));
    assert_eq!(shm::get(&table, 7, 0, IPC_CREAT, &who, 1), Err(Errno::EINVAL));
    let id = shm::get(&table, 7, 5000, IPC_CREAT | 0o600, &who, 1).expect("made");
    assert_eq!(shm::get(&table, 7, 5001, 0, &who, 2), Err(Errno::EINVAL));
    assert_eq!(shm::get(&table, 7, 0, 0, &who, 2), Ok(id));
    let segment = table.find(id).expect("known");
    assert_eq!(segment.mapped_size(), 8192);
    segment.mapped(true);
    segment.remove();
    assert_eq!(table.find(id).map(|segment| segment.permission().mode & SHM_DEST), Ok(SHM_DEST));
    assert_eq!(shm::get(&table, 7, 0, 0, &who, 3), Err(Errno::ENOENT), "its key is free");
    segment.unmapped(true);
    assert!(table.find(id).is_err());
}
