//! [`Observer`]: observes the work of a thread. A device reports its work to it through this trait alone.

use std::cell::Cell;

use super::Device;
use crate::Result;
use crate::kernel::Work;
use crate::memory::Buffer;

/// Observes the work of one thread on all devices, such as a recording.
pub(crate) trait Observer: Sync {
    /// Notes work that a device has done or submitted. It has passed [`check_device`](Self::check_device).
    fn note(&self, work: Work);

    /// Returns the holder under which newly allocated memory of a device is counted, if the observer defines one.
    fn holder(&self, device: &Device) -> Option<&'static str>;

    /// Rejects work on a device that is not observed.
    fn check_device(&self, device: &Device, op: &'static str) -> Result<()>;

    /// Rejects operations that cannot be observed, such as a wait for the device.
    fn check(&self, op: &'static str) -> Result<()>;

    /// Rejects writes from the host that cannot be observed.
    fn check_write(&self, buffer: &Buffer) -> Result<()>;
}

thread_local! {
    static OBSERVER: Cell<Option<&'static dyn Observer>> = const { Cell::new(None) };
}

/// Removes an observer when it is dropped.
pub(crate) struct Observing(Option<&'static dyn Observer>);

impl Drop for Observing {
    fn drop(&mut self) {
        OBSERVER.set(self.0);
    }
}

/// Sets the observer of this thread's work, for as long as the result lives.
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
