//! [`Recording`]: captured work that can be replayed without the host's cost of preparing it.

mod chain;
mod difference;
mod fuse;
mod plan;
mod program;
mod text;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use crate::device::{Observer, Prepared, observe};
use crate::kernel::{Kernel, Work};
use crate::memory::Buffer;
use crate::{Device, Error, Result};

/// The recording in progress on this thread.
struct Recorder {
    device: Device,
    /// Buffers with smaller numbers existed before.
    first_buffer: u64,
    work: Vec<Work>,
    hooks: Vec<Hook>,
    guards: Vec<Guard>,
}

/// Options of [`Device::record_with`]. The bits of a replay do not depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordOptions {
    /// Whether each chain of element-wise operations becomes one launch of a generated kernel. Default true.
    pub fuse: bool,
    /// Whether temporaries whose uses do not overlap in time share memory. Default true.
    pub plan: bool,
}

impl Default for RecordOptions {
    fn default() -> Self {
        Self { fuse: true, plan: true }
    }
}

/// A function that runs on the host after each replay.
type Hook = Box<dyn Fn() + Send + Sync>;

/// A check that runs on the host before each replay.
type Guard = Box<dyn Fn() -> Result<()> + Send + Sync>;

thread_local! {
    static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// The work of a closure on one device, in order, with all buffers that it uses, returned by [`Device::record`].
///
/// [`replay`](Self::replay) does the same work on the same memory again. It saves all work on the host, from shape
/// checks and allocation to parameters and bind groups. Anything that changes from replay to replay must be in device
/// memory. Either the work itself advances it, like an optimizer's clock, a batch cursor or dropout state, or the
/// host writes it between replays. Such state must exist before the recording is made, for example because the step
/// has run once without recording. State created inside the closure keeps the values of one replay in the next.
///
/// ```
/// use thalweg_runtime::Device;
/// # fn main() -> thalweg_runtime::Result<()> {
/// let device = Device::cpu();
/// let (x, y) = (device.upload(&[1u32, 2])?, device.upload(&[0u32; 2])?);
/// let (recording, ()) = device.record(|| device.copy(x.buffer(), 0, y.buffer(), 0, 8))?;
/// device.write(x.buffer(), 0, &[3u32, 4])?;
/// recording.replay(1)?;
/// assert_eq!(device.download::<u32>(&y)?, [3, 4]);
/// # Ok(())
/// # }
/// ```
pub struct Recording {
    device: Device,
    work: Vec<Work>,
    prepared: Prepared,
    hooks: Vec<Hook>,
    guards: Vec<Guard>,
    first_buffer: u64,
    memory_bytes: u64,
}

impl Device {
    /// Runs a closure and records its work on this device. The work is also done once.
    ///
    /// Only this thread's work is recorded, and this thread cannot use another device meanwhile. The memory allocated
    /// by the closure belongs to the recording. Values that only later work of the closure uses share memory.
    ///
    /// # Errors
    /// Returns the closure's own error. Returns [`Error::Recording`] if the closure reads back or waits, works on
    /// another device, writes from the host to a tensor that existed before, creates state that outlives a step (a
    /// clock, a log, dropout's), or records or replays within a recording; [`Error::Kernel`] if a device rejects a
    /// generated kernel.
    pub fn record<T, E: From<Error>>(&self, body: impl FnOnce() -> Result<T, E>) -> Result<(Recording, T), E> {
        self.record_with(RecordOptions::default(), body)
    }

    /// Records like [`record`](Self::record), with options.
    ///
    /// # Errors
    /// See [`record`](Self::record).
    pub fn record_with<T, E: From<Error>>(
        &self,
        options: RecordOptions,
        body: impl FnOnce() -> Result<T, E>,
    ) -> Result<(Recording, T), E> {
        struct Stop;
        impl Drop for Stop {
            fn drop(&mut self) {
                RECORDER.take();
            }
        }
        if RECORDER.with_borrow(Option::is_some) {
            return Err(Error::Recording { op: "record", rule: "recordings do not nest" }.into());
        }
        let _span = tracing::debug_span!("record").entered();
        let (work, hooks, guards) = (Vec::new(), Vec::new(), Vec::new());
        let recorder = Recorder { device: self.clone(), first_buffer: self.next_buffer(), work, hooks, guards };
        RECORDER.set(Some(recorder));
        let stop = (Stop, observe(&ThreadRecorder));
        let value = body()?;
        let Some(Recorder { first_buffer, mut work, hooks, guards, .. }) = RECORDER.take() else {
            unreachable!("nothing else takes the recorder while this thread records")
        };
        drop(stop);
        if options.fuse {
            work = fuse::join_chains(work, first_buffer);
        }
        if options.plan {
            plan::share_memory(&mut work, first_buffer);
        }
        let memory_bytes = held_bytes(&work, first_buffer);
        let prepared = self.prepare(&work)?;
        Ok((Recording { device: self.clone(), work, prepared, hooks, guards, first_buffer, memory_bytes }, value))
    }
}

impl Recording {
    /// Replays the recording `times` times, after all previously submitted work. On a GPU many replays share one
    /// submission, and the call does not wait for them.
    ///
    /// Several threads may replay at once: each replay is atomic with respect to the work of other threads on the
    /// same memory.
    ///
    /// # Errors
    /// [`Error::Stale`] if a [guard](guard) finds that the recording is out of date; [`Error::Recording`] while this
    /// thread records; the device's error if it fails.
    pub fn replay(&self, times: usize) -> Result<()> {
        check("replay")?;
        self.guards.iter().try_for_each(|guard| guard())?;
        let _span = tracing::debug_span!("replay", times).entered();
        let launches = (self.launches() * times) as u64;
        self.device.replay(&self.work, launches, &self.prepared, times)?;
        if times > 0 {
            self.hooks.iter().for_each(|hook| hook());
        }
        Ok(())
    }

    /// Returns the number of launches of one replay.
    #[must_use]
    pub fn launches(&self) -> usize {
        count_launches(&self.work)
    }

    /// Returns the kernels generated for it, each once; their texts are those of their shaders.
    pub fn generated(&self) -> impl Iterator<Item = &'static Kernel> + use<> {
        fuse::generated(&self.work).into_iter()
    }

    /// Returns the bytes of memory that were allocated for the recording, excluding tensors that existed before.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Compares the work of two recordings, as they were made. Returns `None` if both do the same, else a description
    /// of the first difference, with its position in the list of work.
    ///
    /// Two steps of a program are the same work if all state that changes from step to step is on the device. State
    /// on the host, such as a number passed to a kernel as a parameter, is fixed in a recording. So a program can
    /// record two steps and compare them to find such state. The comparison covers kernels, constants, parameters,
    /// grids and memory that existed before; memory created inside is compared by size. Kernels with the same twin
    /// are equal, since an operation may have several.
    ///
    /// ```
    /// use thalweg_runtime::Device;
    /// # fn main() -> thalweg_runtime::Result<()> {
    /// let device = Device::cpu();
    /// let (x, y) = (device.upload(&[1u32, 2])?, device.upload(&[0u32; 2])?);
    /// let record = |place| device.record(|| device.copy(x.buffer(), 0, y.buffer(), place, 4));
    /// let (first, second) = (record(0)?.0, record(4)?.0);
    /// assert_eq!(first.difference(&first), None);
    /// assert!(first.difference(&second).is_some());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        difference::between(&self.work, &other.work, self.first_buffer.min(other.first_buffer))
    }

    /// Returns the device that it runs on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (launches, rest) = (self.launches(), self.work.len() - self.launches());
        let (bytes, device) = (self.memory_bytes, &self.device);
        write!(f, "Recording({launches} launches, {rest} copies and clears, {bytes} bytes on {device})")
    }
}

/// Registers a function that runs on the host after each replay of the recording in progress on this thread, if any.
/// It is for host state about device memory, such as whether a gradient has been written.
pub fn on_replay(hook: impl Fn() + Send + Sync + 'static) {
    RECORDER.with_borrow_mut(|recorder| {
        if let Some(recorder) = recorder {
            recorder.hooks.push(Box::new(hook));
        }
    });
}

/// Registers a check that runs on the host before each replay of the recording in progress on this thread, if any. It
/// checks that the state used by the work has not moved. If it has, the check returns [`Error::Stale`]; the replay
/// then returns this error and does nothing.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// use thalweg_runtime::{Device, Error, guard};
/// # fn main() -> thalweg_runtime::Result<()> {
/// let device = Device::cpu();
/// let (x, y) = (device.upload(&[1u32, 2])?, device.upload(&[0u32; 2])?);
/// let moved = Arc::new(AtomicBool::new(false));
/// let (recording, ()) = device.record(|| {
///     let moved = moved.clone();
///     guard(move || match moved.load(Ordering::Relaxed) {
///         true => Err(Error::Stale { problem: "the table has moved; record again".to_string() }),
///         false => Ok(()),
///     });
///     device.copy(x.buffer(), 0, y.buffer(), 0, 8)
/// })?;
/// recording.replay(1)?;
/// moved.store(true, Ordering::Relaxed);
/// assert!(matches!(recording.replay(1), Err(Error::Stale { .. })));
/// # Ok(())
/// # }
/// ```
pub fn guard(check: impl Fn() -> Result<()> + Send + Sync + 'static) {
    RECORDER.with_borrow_mut(|recorder| {
        if let Some(recorder) = recorder {
            recorder.guards.push(Box::new(check));
        }
    });
}

fn count_launches(work: &[Work]) -> usize {
    work.iter().filter(|work| matches!(work, Work::Launch(_))).count()
}

/// Returns the bytes of all buffers created from `first_buffer` on, each counted once.
fn held_bytes(work: &[Work], first_buffer: u64) -> u64 {
    let mut bytes = HashMap::new();
    for work in work {
        work.each_buffer(|buffer, _| {
            if buffer.id() >= first_buffer {
                bytes.insert(buffer.id(), buffer.bytes() as u64);
            }
        });
    }
    bytes.values().sum()
}

/// Returns whether this thread is recording on a device.
#[must_use]
pub fn is_recording(device: &Device) -> bool {
    RECORDER.with_borrow(|recorder| recorder.as_ref().is_some_and(|recorder| recorder.device == *device))
}

/// The recorder of the current thread, as an observer.
struct ThreadRecorder;

impl Observer for ThreadRecorder {
    fn note(&self, work: Work) {
        RECORDER.with_borrow_mut(|recorder| {
            if let Some(recorder) = recorder {
                recorder.work.push(work);
            }
        });
    }

    fn holder(&self, device: &Device) -> Option<&'static str> {
        is_recording(device).then_some("recordings")
    }

    fn check_device(&self, device: &Device, op: &'static str) -> Result<()> {
        let is_other =
            |recorder: &Option<Recorder>| recorder.as_ref().is_some_and(|recorder| recorder.device != *device);
        match RECORDER.with_borrow(is_other) {
            true => {
                Err(Error::Recording { op, rule: "a replay would not do this work on another device; do it before" })
            }
            false => Ok(()),
        }
    }

    fn check(&self, op: &'static str) -> Result<()> {
        check(op)
    }

    fn check_write(&self, buffer: &Buffer) -> Result<()> {
        check_write(buffer)
    }
}

/// Rejects operations that a recording cannot contain.
fn check(op: &'static str) -> Result<()> {
    refuse(op, "a recording cannot wait for the device, nor hold a replay")
}

/// Rejects the creation of state that outlives a step while this thread records: every replay would reset it.
///
/// # Errors
/// [`Error::Recording`] while this thread records.
pub fn check_state(op: &'static str) -> Result<()> {
    refuse(op, "every replay would set this state back; make it before, as by doing the step once without recording it")
}

fn refuse(op: &'static str, rule: &'static str) -> Result<()> {
    if RECORDER.with_borrow(Option::is_some) { Err(Error::Recording { op, rule }) } else { Ok(()) }
}

/// Rejects writes from the host that a replay would have to repeat: to memory that existed before, or that recorded
/// work has used. A write to new memory is a constant of the recording.
fn check_write(buffer: &Buffer) -> Result<()> {
    let refused = RECORDER.with_borrow(|recorder| {
        recorder.as_ref().is_some_and(|recorder| {
            let before = buffer.id() < recorder.first_buffer || recorder.work.iter().any(|work| work.touches(buffer));
            recorder.device.owns(buffer) && before
        })
    });
    if refused {
        return Err(Error::Recording { op: "write", rule: "a recording cannot hold writes from the host" });
    }
    Ok(())
}
