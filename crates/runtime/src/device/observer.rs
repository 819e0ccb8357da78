//! [`Observer`]: who watches the work of a thread. A device tells it of the work, and knows nothing else of it.

use std::cell::Cell;

use super::Device;
use crate::Result;
use crate::kernel::Work;
use crate::memory::Buffer;

/// Watches the work of one thread on all devices, such as a recording does.
pub(crate) trait Observer: Sync {
    /// Takes note of work that a device has done or taken. It has passed [`check_device`](Self::check_device).
    fn note(&self, work: Work);

    /// Returns the name by which memory of a device is counted that is taken now, if the observer has one for it.
    fn holder(&self, device: &Device) -> Option<&'static str>;

    /// Refuses work on a device that is not watched.
    fn check_device(&self, device: &Device, op: &'static str) -> Result<()>;

    /// Refuses what cannot be watched, such as a wait for the device.
    fn check(&self, op: &'static str) -> Result<()>;

    /// Refuses writes from the host that cannot be watched.
    fn check_write(&self, buffer: &Buffer) -> Result<()>;
}

thread_local! {
    static OBSERVER: Cell<Option<&'static dyn Observer>> = const { Cell::new(None) };
}

/// Ends the watch of an observer when it is dropped.
pub(crate) struct Observing(Option<&'static dyn Observer>);

impl Drop for Observing {
    fn drop(&mut self) {
        OBSERVER.set(self.0);
    }
}

/// Lets an observer watch the work of this thread for as long as the result lives.
pub(crate) fn observe(observer: &'static dyn Observer) -> Observing {
    Observing(OBSERVER.replace(Some(observer)))
}

pub(super) fn note(work: impl FnOnce() -> Work) {
    if let Some(observer) = OBSERVER.get() {
        observer.note(work());
    }
}

pub(super) fn check_device(device: &Device, op: &'static str) -> Result<()> {
    OBSERVER.get().map_or(Ok(()), |observer| observer.check_device(device, op))
}

pub(super) fn holder(device: &Device) -> Option<&'static str> {
    OBSERVER.get().and_then(|observer| observer.holder(device))
}

pub(super) fn check(op: &'static str) -> Result<()> {
    OBSERVER.get().map_or(Ok(()), |observer| observer.check(op))
}

pub(super) fn check_write(buffer: &Buffer) -> Result<()> {
    OBSERVER.get().map_or(Ok(()), |observer| observer.check_write(buffer))
}
