//! [`Device`]: owns memory and runs launches.

mod choice;
mod extensions;
mod faults;
mod observer;
mod pending_read;
mod profile;
mod work;

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;

use extensions::Extensions;
pub use faults::note_fault;
pub(crate) use observer::{Observer, observe};
pub use pending_read::PendingRead;
pub(crate) use work::Prepared;

use crate::gpu::{self, Gpu, GpuRead};
use crate::info::{Counters, DeviceFeatures, DeviceInfo, DeviceKind, InFlight};
use crate::memory::{ALIGNMENT, Buffer, Memory, MemoryReport, MemorySource, Pool, named_holder};
use crate::{Error, Result};

/// A CPU or a GPU, chosen at run time. Clones are cheap. Two devices are equal if they are the same opened device.
///
/// All work on a device runs in order. On a GPU it is collected and submitted in batches, and only reading back waits
/// for it.
///
/// ```
/// use thalweg_runtime::Device;
/// # fn main() -> thalweg_runtime::Result<()> {
/// let device = Device::best();
/// let x = device.upload(&[1.0f32, 2.0, 3.0])?;
/// assert_eq!(device.download::<f32>(&x)?, [1.0, 2.0, 3.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Device {
    inner: Arc<Inner>,
}

struct Inner {
    executor: Executor,
    pool: Arc<Pool>,
    launches: AtomicU64,
    host_syncs: AtomicU64,
    counts_workgroups: AtomicBool,
    extensions: Extensions,
    faults: faults::Faults,
}

/// The most bytes of a buffer: kernels use 32-bit byte offsets.
const MOST_BYTES: u64 = 1 << 32;

/// A read-back of whole words in progress.
#[derive(Debug)]
pub(crate) enum Reading {
    Done(Vec<u32>),
    Gpu(GpuRead),
    /// A kernel found an index out of range.
    Refused(Error),
}

enum Executor {
    Cpu,
    Gpu(Box<Gpu>),
}

impl Device {
    /// Returns the CPU backend. Every call returns the same device. It uses as many threads as the process may use;
    /// the environment variable `THALWEG_THREADS` sets another number. The bits do not depend on it.
    #[must_use]
    pub fn cpu() -> Self {
        static CPU: OnceLock<Device> = OnceLock::new();
        CPU.get_or_init(|| Self::with_executor(Executor::Cpu)).clone()
    }

    /// Returns the first GPU: a hardware adapter, or a software adapter if there is no other.
    ///
    /// A GPU is opened once and shared while it is in use: every call returns the same device, whose tensors can be
    /// used together. [`open_new`](Self::open_new) opens another device on the same adapter.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] if there is no adapter at all, [`Error::Adapter`] if it cannot be opened.
    pub fn gpu() -> Result<Self> {
        choice::find("gpu")?.open()
    }

    /// Returns the GPU with this index in [`Device::list_gpus`], shared as in [`gpu`](Self::gpu).
    ///
    /// # Errors
    /// [`Error::NoAdapter`] if there is no such index, [`Error::Adapter`] if it cannot be opened.
    pub fn gpu_at(index: usize) -> Result<Self> {
        choice::find_at(index)?.open()
    }

    /// Returns the first GPU whose name contains `name`, ignoring case; shared as in [`gpu`](Self::gpu).
    ///
    /// # Errors
    /// [`Error::NoAdapter`] if no name contains it or `name` is empty, [`Error::Adapter`] if it cannot be opened.
    pub fn gpu_named(name: &str) -> Result<Self> {
        choice::find_named(name)?.open()
    }

    /// Returns the default device: a hardware adapter if there is one, else the CPU, which is faster than a software
    /// adapter.
    #[must_use]
    pub fn best() -> Self {
        let opened = choice::find("auto").and_then(|choice| choice.open());
        opened.unwrap_or_else(|error| {
            tracing::warn!(%error, "the adapter cannot be opened, using the CPU");
            Self::cpu()
        })
    }

    /// Returns a device by a word: `auto` ([`Device::best`]), `cpu`, `gpu`, an index or part of a name. Case is
    /// ignored. GPUs are shared as in [`gpu`](Self::gpu).
    ///
    /// # Errors
    /// [`Error::NoAdapter`] if nothing matches, [`Error::Adapter`] if it cannot be opened.
    pub fn open(choice: &str) -> Result<Self> {
        if choice.eq_ignore_ascii_case("auto") { Ok(Self::best()) } else { choice::find(choice)?.open() }
    }

    /// Opens a device by a word like [`open`](Self::open), but a new one that is not shared. Its counters and memory
    /// include only the caller's work, and its tensors cannot be used with those of other devices. This is also true
    /// for `cpu`.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] if nothing matches, [`Error::Adapter`] if it cannot be opened.
    ///
    /// ```
    /// use thalweg_runtime::Device;
    /// # fn main() -> thalweg_runtime::Result<()> {
    /// let device = Device::open_new("auto")?;
    /// assert_ne!(device, Device::open_new("auto")?);
    /// assert_eq!(Device::open("auto")?, Device::open("auto")?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn open_new(choice: &str) -> Result<Self> {
        choice::find(choice)?.open_new()
    }

    /// Returns a device by a word like [`open`](Self::open), without blocking. In a browser this is the only way to
    /// open a GPU.
    ///
    /// # Errors
    /// See [`open`](Self::open). Here `auto` also returns an error if there is a hardware adapter that cannot be
    /// opened.
    ///
    /// ```
    /// use thalweg_runtime::Device;
    /// # fn main() -> thalweg_runtime::Result<()> {
    /// let device = pollster::block_on(Device::open_async("auto"))?;
    /// assert_eq!(device, Device::best());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open_async(choice: &str) -> Result<Self> {
        choice::find_async(choice).await?.open_async().await
    }

    /// Returns the first GPU like [`gpu`](Self::gpu), without blocking.
    ///
    /// # Errors
    /// See [`gpu`](Self::gpu).
    pub async fn gpu_async() -> Result<Self> {
        Self::open_async("gpu").await
    }

    /// Returns the available adapters, hardware first. An index into this list opens one.
    #[must_use]
    pub fn list_gpus() -> Vec<DeviceInfo> {
        gpu::find().into_iter().map(|found| found.info).collect()
    }

    /// Wraps a device that the host program has already opened. Errors that no scope catches are reported to the
    /// host. The device must have been opened with the adapter's own limits, or at least with those that the kernels
    /// need (eight storage buffers, 256 invocations). Kernels that use subgroups run if that feature is enabled.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if there is no room for the buffer of parameters.
    #[cfg(feature = "wgpu")]
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Result<Self> {
        Ok(Self::with_executor(Executor::Gpu(Box::new(Gpu::from_wgpu(device, queue)?))))
    }

    /// Opens a device that computes nothing: wgpu's `noop` adapter, which has no driver. Memory, checks and commands
    /// are those of a GPU, so it shows the host's cost. Kernels are not compiled and do not change memory.
    /// [`Device::list_gpus`] does not list it.
    ///
    /// # Errors
    /// [`Error::Adapter`] if it cannot be opened.
    pub fn noop() -> Result<Self> {
        Ok(Self::with_executor(Executor::Gpu(Box::new(Gpu::open_noop()?))))
    }

    fn with_executor(executor: Executor) -> Self {
        Self {
            inner: Arc::new(Inner {
                executor,
                pool: Arc::default(),
                launches: AtomicU64::new(0),
                host_syncs: AtomicU64::new(0),
                counts_workgroups: AtomicBool::new(
                    std::env::var_os("THALWEG_COUNT_WORKGROUPS").is_none_or(|value| value != "off"),
                ),
                extensions: Extensions::default(),
                faults: faults::Faults::default(),
            }),
        }
    }

    /// Returns whether this is the CPU backend.
    #[must_use]
    pub fn is_cpu(&self) -> bool {
        matches!(self.inner.executor, Executor::Cpu)
    }

    /// Returns whether kernels count their workgroups, so that the last one to finish advances the state that changes
    /// from step to step: clocks, positions in data sets, dropout calls.
    #[must_use]
    pub fn counts_workgroups(&self) -> bool {
        self.inner.counts_workgroups.load(Ordering::Relaxed)
    }

    /// Sets whether kernels count their workgroups. The default is true, or false if the environment has
    /// `THALWEG_COUNT_WORKGROUPS=off` when the device is opened.
    ///
    /// Without counting, a small launch after the kernel does the same, with the same bits. WGSL does not guarantee
    /// the order of memory accesses that counting needs, though every tested driver provides it. Switch counting off
    /// to rule it out as a cause. Existing recordings do not change.
    pub fn set_workgroup_counting(&self, counts: bool) {
        self.inner.counts_workgroups.store(counts, Ordering::Relaxed);
    }

    /// Returns whether this device is emulated in software by a driver.
    #[must_use]
    pub fn is_software(&self) -> bool {
        matches!(&self.inner.executor, Executor::Gpu(gpu) if gpu.info().kind == DeviceKind::Software)
    }

    /// Returns the most workgroups along one dimension of a launch; a larger grid is folded.
    #[must_use]
    pub fn max_workgroups_per_dimension(&self) -> usize {
        match &self.inner.executor {
            Executor::Gpu(gpu) => gpu.info().max_workgroups_per_dimension as usize,
            Executor::Cpu => usize::MAX,
        }
    }

    /// Returns the value of a type that a layer above stores on this device. `make` creates it on first use.
    pub fn extension<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> &T {
        self.inner.extensions.get_or_init(make)
    }

    /// Returns the properties of the device.
    #[must_use]
    pub fn info(&self) -> DeviceInfo {
        match &self.inner.executor {
            Executor::Gpu(gpu) => gpu.info().clone(),
            Executor::Cpu => DeviceInfo {
                name: "cpu".to_string(),
                kind: DeviceKind::Cpu,
                backend: "cpu".to_string(),
                driver: match crate::threads::thread_count() {
                    1 => "1 thread".to_string(),
                    threads => format!("{threads} threads"),
                },
                max_binding_bytes: 4 * u64::from(u32::MAX),
                max_workgroups_per_dimension: u32::MAX,
                max_storage_buffers: u32::MAX,
                subgroup_size: (0, 0),
                features: DeviceFeatures::default(),
                cooperative_matrix_side: None,
            },
        }
    }

    /// Returns what the device has done since it was opened. The CPU is shared, so it counts the work of all threads.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let (submissions, throttled) = match &self.inner.executor {
            Executor::Gpu(gpu) => gpu.submissions(),
            Executor::Cpu => (0, 0),
        };
        Counters {
            launches: self.inner.launches.load(Ordering::Relaxed),
            submissions,
            host_syncs: self.inner.host_syncs.load(Ordering::Relaxed),
            throttled,
        }
    }

    /// Returns the number of submissions that the device has not finished, and its bound.
    ///
    /// The host never runs further ahead than this bound. A call that would submit more waits until the oldest
    /// submission is done (backpressure). A submission holds some 64 launches or 1,024 replayed ones, and fewer if
    /// they would take more than about a tenth of a second.
    ///
    /// ```
    /// use thalweg_runtime::Device;
    /// # fn main() -> thalweg_runtime::Result<()> {
    /// let device = Device::noop()?;
    /// let x = device.allocate(100)?;
    /// for _ in 0..1000 {
    ///     device.clear(&x, 0, 100)?;
    /// }
    /// let in_flight = device.in_flight();
    /// assert!(in_flight.most <= in_flight.limit);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn in_flight(&self) -> InFlight {
        match &self.inner.executor {
            Executor::Gpu(gpu) => {
                let (submissions, most) = gpu.in_flight();
                InFlight { submissions, most, limit: gpu::MOST_IN_FLIGHT }
            }
            Executor::Cpu => InFlight::default(),
        }
    }

    /// Sets the longest time to wait for a submission before a call returns [`Error::Timeout`], so that a device that
    /// hangs does not hang the program. The default is five minutes. The work stays submitted, so a later call may
    /// wait again.
    pub fn set_wait_timeout(&self, timeout: Duration) {
        if let Executor::Gpu(gpu) = &self.inner.executor {
            gpu.set_patience(timeout);
        }
    }

    /// Frees all memory on a GPU, even if it is still in use, after the work in progress. Every later use of the
    /// device, its tensors and its recordings returns [`Error::DeviceLost`]; [`gpu`](Self::gpu) opens the adapter
    /// again. Does nothing on the CPU.
    pub fn close(&self) {
        if let Executor::Gpu(gpu) = &self.inner.executor {
            gpu.close();
        }
    }

    /// Returns the memory of tensors: the bytes of each holder, the idle bytes of the pool, and the total. The CPU is
    /// shared, so it counts the tensors of all threads.
    #[must_use]
    pub fn memory(&self) -> MemoryReport {
        self.inner.pool.report()
    }

    /// Frees the memory that no tensor uses.
    pub fn release_memory(&self) {
        self.inner.pool.release();
    }

    /// Submits the collected work to the driver without waiting for it.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Driver`] if earlier work has failed; [`Error::Timeout`] if too many submissions
    /// are in flight and the oldest is not finished in time.
    pub fn flush(&self) -> Result<()> {
        match &self.inner.executor {
            Executor::Cpu => Ok(()),
            Executor::Gpu(gpu) => gpu.flush(),
        }
    }

    /// Submits the collected work and waits until it is done.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Driver`] if work has failed; [`Error::Timeout`] if the device does not finish a
    /// submission in [time](Self::set_wait_timeout).
    pub fn synchronize(&self) -> Result<()> {
        observer::check("synchronize")?;
        self.flush()?;
        self.inner.host_syncs.fetch_add(1, Ordering::Relaxed);
        match &self.inner.executor {
            Executor::Cpu => Ok(()),
            Executor::Gpu(gpu) => gpu.wait(),
        }
    }

    /// Submits the collected work and completes when it is done. The asynchronous form of
    /// [`synchronize`](Self::synchronize): the task is woken, and no thread is blocked.
    ///
    /// # Errors
    /// See [`synchronize`](Self::synchronize).
    ///
    /// ```
    /// use thalweg_runtime::Device;
    /// # fn main() -> thalweg_runtime::Result<()> {
    /// let device = Device::best();
    /// device.allocate(1000)?;
    /// pollster::block_on(device.synchronize_async())?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg_attr(not(feature = "wgpu"), allow(unused_variables, reason = "without wgpu no GPU has a signal"))]
    pub async fn synchronize_async(&self) -> Result<()> {
        observer::check("synchronize_async")?;
        self.flush()?;
        match &self.inner.executor {
            Executor::Cpu => Ok(()),
            Executor::Gpu(gpu) => {
                let finished = gpu.finished();
                poll_fn(|context| gpu.poll_finished(&finished, context)).await
            }
        }
    }

    /// Returns whether a buffer belongs to this device.
    pub(crate) fn owns(&self, buffer: &Buffer) -> bool {
        buffer.is_of(&self.inner.pool)
    }

    /// Allocates at least `bytes` bytes. The memory is not cleared.
    ///
    /// # Errors
    /// If the device has no room, or cannot bind a buffer of that size.
    pub fn allocate(&self, bytes: usize) -> Result<Arc<Buffer>> {
        if bytes as u64 > MOST_BYTES {
            let (asked, allowed) = (bytes as u64, MOST_BYTES);
            return Err(Error::Limit { op: "allocate", limit: "bytes of a buffer", asked, allowed });
        }
        let holder = named_holder().or_else(|| observer::holder(self)).unwrap_or("tensors");
        self.inner.pool.allocate(self, bytes, holder)
    }

    /// Returns the number of the next buffer.
    pub(crate) fn next_buffer(&self) -> u64 {
        self.inner.pool.next_id()
    }
}

impl MemorySource for Device {
    fn take(&self, bytes: usize) -> Result<Memory> {
        match &self.inner.executor {
            Executor::Gpu(gpu) => Ok(Memory::Gpu(gpu.allocate(bytes)?)),
            Executor::Cpu => {
                let mut memory = Vec::new();
                let words = bytes.div_ceil(4);
                memory.try_reserve_exact(words).map_err(|_| Error::OutOfMemory { bytes: bytes as u64 })?;
                memory.resize(words, 0);
                Ok(Memory::Cpu(RwLock::new(memory)))
            }
        }
    }

    fn most_bytes(&self) -> usize {
        let bytes = match &self.inner.executor {
            Executor::Cpu => MOST_BYTES,
            Executor::Gpu(gpu) => gpu.max_buffer_bytes().min(MOST_BYTES),
        };
        usize::try_from(bytes).unwrap_or(usize::MAX) / ALIGNMENT * ALIGNMENT
    }

    fn wait(&self) -> Result<()> {
        self.synchronize()
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Eq for Device {}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({self})")
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner.executor {
            Executor::Cpu => f.write_str("cpu"),
            Executor::Gpu(gpu) => f.write_str(&gpu.info().name),
        }
    }
}
