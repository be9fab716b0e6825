//! One watched file of an epoll set.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use chitin_abi::poll::{
    EPOLLERR, EPOLLET, EPOLLEXCLUSIVE, EPOLLHUP, EPOLLONESHOT, EPOLLWAKEUP, EpollEvent, PollEvents,
};
use parking_lot::Mutex;

use super::{Epoll, Key, interest};
use crate::file::OpenFile;
use crate::wait::{Observer, Registration, WaitQueue};

/// The bits that say how to watch; they stay when `EPOLLONESHOT` has fired.
const MODE_BITS: u32 = EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE | EPOLLWAKEUP;

pub(super) struct Item {
    key: Key,
    file: Weak<OpenFile>,
    /// `EPOLL…` bits; no interest at all when it was a one-shot that has fired.
    events: AtomicU32,
    data: AtomicU64,
    /// On the ready list.
    listed: AtomicBool,
    /// Removed from the set: events of it mean nothing any more.
    retired: AtomicBool,
    epoll: Weak<Epoll>,
    registration: Mutex<Option<Registration>>,
    this: Weak<Item>,
}

impl Item {
    pub(super) fn new(
        key: Key,
        file: &Arc<OpenFile>,
        event: EpollEvent,
        epoll: &Weak<Epoll>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            key,
            file: Arc::downgrade(file),
            events: AtomicU32::new(event.events | EPOLLERR | EPOLLHUP),
            data: AtomicU64::new(event.data()),
            listed: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            epoll: epoll.clone(),
            registration: Mutex::new(None),
            this: this.clone(),
        })
    }

    /// Begins to hear of events.
    pub(super) fn observe(self: &Arc<Self>, queue: &Arc<WaitQueue>) {
        let observer: Arc<dyn Observer> = Arc::clone(self) as Arc<dyn Observer>;
        let registration = if self.is_exclusive() {
            queue.register_exclusive(interest(self.events()), &observer)
        } else {
            // All of them: what is watched for may change.
            queue.register(PollEvents::all(), &observer)
        };
        *self.registration.lock() = Some(registration);
    }

    pub(super) fn key(&self) -> Key {
        self.key
    }

    pub(super) fn file(&self) -> Option<Arc<OpenFile>> {
        self.file.upgrade()
    }

    pub(super) fn is_dead(&self) -> bool {
        self.file.strong_count() == 0
    }

    pub(super) fn events(&self) -> u32 {
        self.events.load(Ordering::SeqCst)
    }

    pub(super) fn data(&self) -> u64 {
        self.data.load(Ordering::SeqCst)
    }

    pub(super) fn is_exclusive(&self) -> bool {
        self.events() & EPOLLEXCLUSIVE != 0
    }

    /// Whether it stays on the ready list while it is ready.
    pub(super) fn is_level(&self) -> bool {
        self.events() & (EPOLLET | EPOLLONESHOT) == 0
    }

    pub(super) fn set(&self, event: EpollEvent) {
        self.data.store(event.data(), Ordering::SeqCst);
        self.events.store(event.events | EPOLLERR | EPOLLHUP, Ordering::SeqCst);
    }

    /// Marks it as listed; false if it was.
    pub(super) fn enter_list(&self) -> bool {
        !self.retired.load(Ordering::SeqCst) && !self.listed.swap(true, Ordering::SeqCst)
    }

    pub(super) fn taken_from_list(&self) {
        self.listed.store(false, Ordering::SeqCst);
    }

    /// No more events.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        let registration = self.registration.lock().take();
        drop(registration);
    }

    /// Puts it on the ready list if its file is ready already.
    pub(super) fn check(self: &Arc<Self>, file: &OpenFile) {
        if self.would_report(file)
            && let Some(epoll) = self.epoll.upgrade()
        {
            epoll.event(self);
        }
    }

    fn wanted(&self) -> PollEvents {
        let events = self.events();
        if events & !MODE_BITS == 0 { PollEvents::empty() } else { interest(events) }
    }

    pub(super) fn would_report(&self, file: &OpenFile) -> bool {
        file.file().poll().intersects(self.wanted())
    }

    /// The event to report, if there is one.
    pub(super) fn event(&self, file: &OpenFile) -> Option<EpollEvent> {
        let happened = file.file().poll() & self.wanted();
        if happened.is_empty() || self.retired.load(Ordering::SeqCst) {
            return None;
        }
        Some(EpollEvent::new(happened.bits().into(), self.data()))
    }

    /// The event has been reported: a one-shot is disarmed.
    pub(super) fn delivered(&self) {
        if self.events() & EPOLLONESHOT != 0 {
            self.events.fetch_and(MODE_BITS, Ordering::SeqCst);
        }
    }
}

impl Observer for Item {
    fn notify(&self, events: PollEvents) {
        if !events.intersects(self.wanted()) {
            return;
        }
        if let (Some(epoll), Some(item)) = (self.epoll.upgrade(), self.this.upgrade()) {
            epoll.event(&item);
        }
    }
}
