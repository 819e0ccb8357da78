//! [`Recording`]: work that was done once, to be done again without the cost of finding out what it is.

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

/// What is being recorded on this thread.
struct Recorder {
    device: Device,
    /// Buffers with smaller numbers were there before.
    first_buffer: u64,
    work: Vec<Work>,
    hooks: Vec<Hook>,
    guards: Vec<Guard>,
}

/// How [`Device::record_with`] makes a recording. The bits of a replay do not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordOptions {
    /// Whether chains of element-wise operations become one launch each, of a kernel that is generated for them.
    /// Default true.
    pub fuse: bool,
    /// Whether temporaries whose uses do not overlap in time share memory. Default true.
    pub plan: bool,
}

impl Default for RecordOptions {
    fn default() -> Self {
        Self { fuse: true, plan: true }
    }
}

/// What is to be done on the host after each replay.
type Hook = Box<dyn Fn() + Send + Sync>;

/// What is to be asked on the host before each replay.
type Guard = Box<dyn Fn() -> Result<()> + Send + Sync>;

thread_local! {
    static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// The work of a closure on one device, in order, with every buffer that it touches: [`Device::record`] makes it.
///
/// [`replay`](Self::replay) does the same work on the same memory again: what is saved is everything on the host, from
/// shape checks and memory to parameters and bind groups. Whatever is to differ from time to time must lie on the device
/// and be advanced by the work itself, as the clock of an optimizer, the cursor of a batch and the state of dropout do;
/// or be written from the host between replays. Such state must be there before, which it is
/// where the step has been done once without recording it: what is made inside of the closure keeps, from replay to
/// replay, whatever the work leaves in it.
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
    /// Runs a closure and records what it does on this device. The work is done this once as well.
    ///
    /// Only this thread's work is recorded, and this thread works on no other device meanwhile. The memory that the closure takes stays with the recording; values that
    /// nothing but later work of the closure needs take turns in it.
    ///
    /// # Errors
    /// Returns the closure's own error. Returns [`Error::Recording`] if the closure reads back or waits, works on another
    /// device, writes from the host to a tensor that was there before, makes state that outlives a step (a clock, a log,
    /// dropout's), or records or replays within a recording; [`Error::Kernel`] if a device refuses a generated kernel.
    pub fn record<T, E: From<Error>>(&self, body: impl FnOnce() -> Result<T, E>) -> Result<(Recording, T), E> {
        self.record_with(RecordOptions::default(), body)
    }

    /// As [`record`](Self::record), with a say in how the recording is made.
    ///
    /// # Errors
    /// As [`record`](Self::record).
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
    /// Replays the recording `times` times, after all work that was handed to the device before. On a GPU many times go
    /// into one submission, and nothing is waited for.
    ///
    /// Several threads may replay at once: each of the `times` is done as a whole, and no work of another thread on the
    /// same memory falls into it.
    ///
    /// # Errors
    /// [`Error::Stale`] if a [guard](guard) finds that the recording is out of date; [`Error::Recording`] while this thread
    /// records; the device's error if it fails.
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

    /// Returns the kernels that were generated for it, each once; their texts are those of their shaders.
    pub fn generated(&self) -> impl Iterator<Item = &'static Kernel> + use<> {
        fuse::generated(&self.work).into_iter()
    }

    /// Returns the memory in bytes that was taken while it was made and that it needs: what it holds beside the tensors
    /// that were there before.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Compares the work of two recordings, as they were made: `None` if both do the same, else the first difference in
    /// words, with its place in the list of work.
    ///
    /// Two steps of a program are the same work if all that changes from step to step lies on the device. What lies on
    /// the host, such as a number that goes into a kernel as a parameter, is fixed in a recording. So a program that
    /// records two steps and compares them finds out what would be frozen. Kernels, constants, parameters, grids and the
    /// memory that was there before are compared; memory that was made inside counts by its size. Kernels with one twin
    /// count as the same, since an operation may have several.
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

    /// Returns the device it runs on.
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

/// Has something done on the host after each replay of what this thread is recording, if it is: for state that the host
/// keeps about memory of the device, such as whether a gradient has been written.
pub fn on_replay(hook: impl Fn() + Send + Sync + 'static) {
    RECORDER.with_borrow_mut(|recorder| {
        if let Some(recorder) = recorder {
            recorder.hooks.push(Box::new(hook));
        }
    });
}

/// Has something asked on the host before each replay of what this thread is recording, if it is: whether the state that
/// the work needs is still where it was. A guard that finds it elsewhere returns [`Error::Stale`], which the replay then
/// returns, having done nothing.
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

/// The bytes of all buffers made from `first_buffer` on, each counted once.
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

/// Returns whether this thread records on a device.
#[must_use]
pub fn is_recording(device: &Device) -> bool {
    RECORDER.with_borrow(|recorder| recorder.as_ref().is_some_and(|recorder| recorder.device == *device))
}

/// The recorder of the thread that works, as devices see it.
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

/// Refuses what a recording cannot hold.
fn check(op: &'static str) -> Result<()> {
    refuse(op, "a recording cannot wait for the device, nor hold a replay")
}

/// Refuses to make state that is to outlive a step while this thread records: every replay would set it back.
///
/// # Errors
/// [`Error::Recording`] while this thread records.
pub fn check_state(op: &'static str) -> Result<()> {
    refuse(op, "every replay would set this state back; make it before, as by doing the step once without recording it")
}

fn refuse(op: &'static str, rule: &'static str) -> Result<()> {
    if RECORDER.with_borrow(Option::is_some) { Err(Error::Recording { op, rule }) } else { Ok(()) }
}

/// Refuses writes from the host that a replay would have to do again: to memory that was there before, or that recorded
/// work has used. What is written to fresh memory is a constant of the recording.
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
