use chitin_abi::poll::{EPOLLRDNORM, EPOLLWRNORM};
use chitin_abi::time::Timespec;

use super::*;
use crate::eventfd::new_eventfd;
use crate::file::{File, WriteAt};
use crate::io::{SliceSink, SliceSource};
use crate::pipe::new_pipe;

fn event(events: u32, data: u64) -> EpollEvent {
    EpollEvent::new(events, data)
}

fn counter(initial: u32) -> Arc<OpenFile> {
    new_eventfd(initial, false, OpenFlags::empty(), &Cred::root())
}

fn add_one(file: &OpenFile) {
    file.file().write_at(&mut SliceSource::new(&1_u64.to_ne_bytes()), WriteAt::End).unwrap();
}

fn drain(file: &OpenFile) {
    file.file().read_at(&mut SliceSink::new(&mut [0; 8]), 0).unwrap();
}

fn seen(epoll: &Epoll, max: usize) -> Vec<(u32, u64)> {
    epoll.collect(max).iter().map(|event| (event.events, event.data())).collect()
}

#[test]
fn level_reports_until_drained_and_edge_once() {
    let epoll = Epoll::new();
    let (level, edge) = (counter(0), counter(0));
    epoll.add(3, &level, event(EPOLLIN, 3)).unwrap();
    epoll.add(4, &edge, event(EPOLLIN | EPOLLET, 4)).unwrap();
    assert_eq!(seen(&epoll, 8), []);
    add_one(&level);
    add_one(&edge);
    assert_eq!(seen(&epoll, 8), [(EPOLLIN, 3), (EPOLLIN, 4)]);
    assert_eq!(seen(&epoll, 8), [(EPOLLIN, 3)]);
    add_one(&edge);
    drain(&level);
    assert_eq!(seen(&epoll, 8), [(EPOLLIN, 4)]);
    assert_eq!(seen(&epoll, 8), []);
}

#[test]
fn a_one_shot_is_rearmed_by_modify() {
    let epoll = Epoll::new();
    let file = counter(1);
    epoll.add(3, &file, event(EPOLLIN | EPOLLONESHOT, 1)).unwrap();
    assert_eq!(seen(&epoll, 8), [(EPOLLIN, 1)]);
    add_one(&file);
    assert_eq!(seen(&epoll, 8), []);
    epoll.modify(3, &file, event(EPOLLIN | EPOLLONESHOT, 2)).unwrap();
    assert_eq!(seen(&epoll, 8), [(EPOLLIN, 2)]);
}

#[test]
fn more_ready_than_fit_take_turns() {
    let epoll = Epoll::new();
    let files: Vec<_> = (0..3).map(|_| counter(1)).collect();
    for (index, file) in (0_u64..).zip(&files) {
        epoll.add(3, file, event(EPOLLIN, index)).unwrap();
    }
    let order: Vec<u64> = (0..4).flat_map(|_| seen(&epoll, 2)).map(|(_, data)| data).collect();
    assert_eq!(order, [0, 1, 2, 0, 1, 2, 0, 1]);
}

#[test]
fn closing_the_file_removes_it() {
    let epoll = Epoll::new();
    let file = counter(1);
    let dup = Arc::clone(&file);
    epoll.add(3, &file, event(EPOLLIN, 3)).unwrap();
    epoll.add(4, &dup, event(EPOLLIN, 4)).unwrap();
    drop(file);
    assert_eq!(seen(&epoll, 8).len(), 2);
    drop(dup);
    assert_eq!(seen(&epoll, 8), []);
    assert!(epoll.items.lock().is_empty());
}

#[test]
fn errors_are_those_of_linux() {
    let epoll = Epoll::new();
    let file = counter(0);
    assert_eq!(epoll.modify(3, &file, event(EPOLLIN, 0)), Err(Errno::ENOENT));
    assert_eq!(epoll.remove(3, &file), Err(Errno::ENOENT));
    epoll.add(3, &file, event(EPOLLIN, 0)).unwrap();
    assert_eq!(epoll.add(3, &file, event(EPOLLIN, 0)), Err(Errno::EEXIST));
    epoll.add(4, &file, event(EPOLLIN | EPOLLEXCLUSIVE, 0)).unwrap();
    assert_eq!(epoll.modify(4, &file, event(EPOLLIN, 0)), Err(Errno::EINVAL));
    assert_eq!(epoll.add(5, &file, event(EPOLLEXCLUSIVE | EPOLLONESHOT, 0)), Err(Errno::EINVAL));
    epoll.remove(3, &file).unwrap();
    assert_eq!(epoll.remove(3, &file), Err(Errno::ENOENT));
}

#[test]
fn nested_sets_report_and_cycles_are_refused() {
    let sets: Vec<_> = (0..3).map(|_| new_epoll(&Cred::root())).collect();
    let of = |index: usize| Epoll::of(&sets[index]).unwrap();
    assert_eq!(of(0).add(0, &sets[0], event(EPOLLIN, 0)), Err(Errno::EINVAL));
    of(0).add(1, &sets[1], event(EPOLLIN, 1)).unwrap();
    of(1).add(2, &sets[2], event(EPOLLIN, 2)).unwrap();
    assert_eq!(of(2).add(0, &sets[0], event(EPOLLIN, 0)), Err(Errno::ELOOP));
    let file = counter(0);
    of(2).add(3, &file, event(EPOLLIN, 3)).unwrap();
    assert!(of(0).poll().is_empty());
    add_one(&file);
    assert_eq!(seen(of(0), 8), [(EPOLLIN, 1)]);
    drain(&file);
    assert_eq!(seen(of(0), 8), []);
}

#[test]
fn chains_end_after_four_edges() {
    let sets: Vec<_> = (0..7).map(|_| new_epoll(&Cred::root())).collect();
    let of = |index: usize| Epoll::of(&sets[index]).unwrap();
    for (index, inner) in sets.iter().take(4).enumerate() {
        of(index + 1).add(9, inner, event(EPOLLIN, 0)).unwrap();
    }
    assert_eq!(of(5).add(9, &sets[4], event(EPOLLIN, 0)), Err(Errno::ELOOP));
    assert_eq!(of(0).add(9, &counter(0), event(EPOLLIN, 0)), Ok(()));
}

#[test]
fn a_pipe_hangs_up() {
    let epoll = Epoll::new();
    let (reader, writer) = new_pipe(OpenFlags::empty(), &Cred::root(), Timespec::default());
    epoll.add(3, &reader, event(0, 3)).unwrap();
    epoll.add(4, &writer, event(EPOLLOUT | EPOLLWRNORM | EPOLLRDNORM | EPOLLET, 4)).unwrap();
    assert_eq!(seen(&epoll, 8), [(EPOLLOUT | EPOLLWRNORM, 4)]);
    drop(writer);
    assert_eq!(seen(&epoll, 8), [(EPOLLHUP, 3)]);
}

#[test]
fn what_cannot_be_delivered_stays() {
    let epoll = Epoll::new();
    let files: Vec<_> = (0..2).map(|_| counter(1)).collect();
    epoll.add(3, &files[0], event(EPOLLIN | EPOLLET, 0)).unwrap();
    epoll.add(3, &files[1], event(EPOLLIN | EPOLLONESHOT, 1)).unwrap();
    assert_eq!(epoll.take(8, |_| Err(Errno::EFAULT)), Err(Errno::EFAULT));
    assert_eq!(seen(&epoll, 8), [(EPOLLIN, 0), (EPOLLIN, 1)]);
    assert_eq!(seen(&epoll, 8), []);
}
