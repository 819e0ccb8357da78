//! [`Device`]: the place where tensors lie and launches run.

mod extensions;
mod observer;
mod pending_read;
mod profile;
mod work;

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

use extensions::Extensions;
pub(crate) use observer::{Observer, observe};
pub use pending_read::PendingRead;

use crate::buffer::{ALIGNMENT, Buffer, Memory, MemoryReport, MemorySource, Pool, named_holder};
use crate::gpu::{self, Gpu, GpuRead};
use crate::info::{Counters, DeviceInfo, DeviceKind};
use crate::{Error, Result};

/// A CPU or a GPU, chosen at run time. A cheap clone; two devices are equal where they are the same opened device.
///
/// All work on a device runs in order. On a GPU it is collected and handed over in batches, and only reading back waits
/// for it.
///
/// ```
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_tensor::Result<()> {
/// let device = Device::cpu();
/// let x = Tensor::from_slice(&device, &[1.0, 2.0, 3.0], &[3])?;
/// assert_eq!(x.square()?.to_vec::<f32>()?, [1.0, 4.0, 9.0]);
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
    submissions: AtomicU64,
    host_syncs: AtomicU64,
    extensions: Extensions,
}

/// A read-back under way.
#[derive(Debug)]
pub(crate) enum Reading {
    Done(Vec<u32>),
    Gpu(GpuRead),
}

enum Executor {
    Cpu,
    Gpu(Box<Gpu>),
}

impl Device {
    /// The CPU backend. Every call gives the same device. It works on as many threads as the process may use; the
    /// environment variable `THALWEG_THREADS` sets another number. The bits do not depend on it.
    #[must_use]
    pub fn cpu() -> Self {
        static CPU: OnceLock<Device> = OnceLock::new();
        CPU.get_or_init(|| Self::with_executor(Executor::Cpu)).clone()
    }

    /// Opens a GPU: the first hardware adapter, or a software adapter where there is none.
    ///
    /// Each call opens a device of its own; clone it to share it.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] where there is no adapter at all, [`Error::Adapter`] where it cannot be opened.
    pub fn gpu() -> Result<Self> {
        Self::gpu_at(0)
    }

    /// Opens the GPU with this index in [`Device::list_gpus`].
    ///
    /// # Errors
    /// [`Error::NoAdapter`] where the index is none, [`Error::Adapter`] where it cannot be opened.
    pub fn gpu_at(index: usize) -> Result<Self> {
        Ok(Self::with_executor(Executor::Gpu(Box::new(Gpu::open(index)?))))
    }

    /// Opens the first GPU whose name contains `name`, whatever the case of letters.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] where no name contains it, [`Error::Adapter`] where it cannot be opened.
    pub fn gpu_named(name: &str) -> Result<Self> {
        let gpus = Self::list_gpus();
        let wanted = name.to_lowercase();
        match gpus.iter().position(|gpu| gpu.name.to_lowercase().contains(&wanted)) {
            Some(index) => Self::gpu_at(index),
            None => Err(Error::NoAdapter {
                wanted: name.to_string(),
                found: gpus.into_iter().map(|gpu| gpu.name).collect(),
            }),
        }
    }

    /// The device to use unless told otherwise: a hardware adapter where there is one, else the CPU, which is faster
    /// than an adapter in software.
    #[must_use]
    pub fn best() -> Self {
        let hardware = Self::list_gpus().first().is_some_and(|gpu| gpu.kind == DeviceKind::Hardware);
        if !hardware {
            return Self::cpu();
        }
        Self::gpu().unwrap_or_else(|error| {
            tracing::warn!(%error, "the adapter cannot be opened, using the CPU");
            Self::cpu()
        })
    }

    /// Opens a device by a word: `auto` ([`Device::best`]), `cpu`, `gpu`, an index or part of a name, in
    /// capitals or not.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] where nothing matches, [`Error::Adapter`] where it cannot be opened.
    pub fn open(choice: &str) -> Result<Self> {
        match choice.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::best()),
            "cpu" => Ok(Self::cpu()),
            "gpu" => Self::gpu(),
            _ => match choice.parse() {
                // A number may also be the name of a model.
                Ok(index) if index < Self::list_gpus().len() => Self::gpu_at(index),
                _ => Self::gpu_named(choice),
            },
        }
    }

    /// The adapters there are, hardware first. An index into this list opens one.
    #[must_use]
    pub fn list_gpus() -> Vec<DeviceInfo> {
        gpu::list()
    }

    /// Shares a device that the host program has opened already. Errors that no scope catches stay the host's; it must
    /// have been opened with the adapter's own limits, or at least with those that the kernels need (eight storage
    /// buffers, 256 invocations). Kernels that use subgroups run where it was opened with that feature.
    #[must_use]
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        Self::with_executor(Executor::Gpu(Box::new(Gpu::from_wgpu(device, queue))))
    }

    /// A device that computes nothing: wgpu's `noop` adapter, behind which there is no driver. Memory, checks and commands
    /// are those of a GPU, so that it shows what the host's part of the work costs; kernels are compiled by nobody and
    /// leave memory as it was. It is no adapter of [`Device::list_gpus`].
    ///
    /// # Errors
    /// [`Error::Adapter`] where it cannot be opened.
    pub fn noop() -> Result<Self> {
        Ok(Self::with_executor(Executor::Gpu(Box::new(Gpu::open_noop()?))))
    }

    fn with_executor(executor: Executor) -> Self {
        Self {
            inner: Arc::new(Inner {
                executor,
                pool: Arc::default(),
                launches: AtomicU64::new(0),
                submissions: AtomicU64::new(0),
                host_syncs: AtomicU64::new(0),
                extensions: Extensions::default(),
            }),
        }
    }

    /// Whether this is the CPU backend.
    #[must_use]
    pub fn is_cpu(&self) -> bool {
        matches!(self.inner.executor, Executor::Cpu)
    }

    /// Whether a driver imitates this device in software.
    pub(crate) fn is_software(&self) -> bool {
        matches!(&self.inner.executor, Executor::Gpu(gpu) if gpu.info().kind == DeviceKind::Software)
    }

    /// The most workgroups along one dimension of a launch; a grid of more is folded.
    pub(crate) fn max_workgroups_per_dimension(&self) -> usize {
        match &self.inner.executor {
            Executor::Gpu(gpu) => gpu.info().max_workgroups_per_dimension as usize,
            Executor::Cpu => usize::MAX,
        }
    }

    /// Returns the value of a type that a layer above keeps on this device. `make` makes it on the first use.
    pub(crate) fn extension<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> &T {
        self.inner.extensions.get_or_init(make)
    }

    /// What is known of the device.
    #[must_use]
    pub fn info(&self) -> DeviceInfo {
        match &self.inner.executor {
            Executor::Gpu(gpu) => gpu.info().clone(),
            Executor::Cpu => DeviceInfo {
                name: "cpu".to_string(),
                kind: DeviceKind::Cpu,
                backend: "cpu".to_string(),
                driver: match crate::parallel::thread_count() {
                    1 => "1 thread".to_string(),
                    threads => format!("{threads} threads"),
                },
                max_binding_bytes: 4 * u64::from(u32::MAX),
                max_workgroups_per_dimension: u32::MAX,
                max_storage_buffers: u32::MAX,
                subgroup_size: (0, 0),
                features: Vec::new(),
                cooperative_matrix_side: None,
            },
        }
    }

    /// What the device has done since it was opened. On the CPU, which all share, it counts the work of all threads.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            launches: self.inner.launches.load(Ordering::Relaxed),
            submissions: self.inner.submissions.load(Ordering::Relaxed),
            host_syncs: self.inner.host_syncs.load(Ordering::Relaxed),
        }
    }

    /// The memory of tensors: who holds it, what is kept for the next ones, and all that was taken from the device. On
    /// the CPU, which all share, it counts the tensors of all threads.
    #[must_use]
    pub fn memory(&self) -> MemoryReport {
        self.inner.pool.report()
    }

    /// Frees the memory that no tensor uses.
    pub fn release_memory(&self) {
        self.inner.pool.release();
    }

    /// Hands collected work to the driver without waiting for it.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] and [`Error::Kernel`] of work that failed earlier.
    pub fn flush(&self) -> Result<()> {
        match &self.inner.executor {
            Executor::Cpu => Ok(()),
            Executor::Gpu(gpu) => {
                let submitted = gpu.flush()?;
                self.inner.submissions.fetch_add(submitted, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Hands collected work over and waits until it is done.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] and [`Error::Kernel`] of work that failed.
    pub fn synchronize(&self) -> Result<()> {
        observer::check("synchronize")?;
        self.flush()?;
        self.inner.host_syncs.fetch_add(1, Ordering::Relaxed);
        match &self.inner.executor {
            Executor::Cpu => Ok(()),
            Executor::Gpu(gpu) => gpu.wait(),
        }
    }

    /// Whether a buffer came from this device.
    pub(crate) fn owns(&self, buffer: &Buffer) -> bool {
        buffer.is_of(&self.inner.pool)
    }

    pub(crate) fn allocate(&self, words: usize) -> Result<Arc<Buffer>> {
        let holder = named_holder().or_else(|| observer::holder(self)).unwrap_or("tensors");
        self.inner.pool.allocate(self, words, holder)
    }

    /// The number that the next buffer gets.
    pub(crate) fn next_buffer(&self) -> u64 {
        self.inner.pool.next_id()
    }
}

impl MemorySource for Device {
    fn take(&self, words: usize) -> Result<Memory> {
        match &self.inner.executor {
            Executor::Gpu(gpu) => Ok(Memory::Gpu(gpu.allocate(words)?)),
            Executor::Cpu => {
                let mut memory = Vec::new();
                memory.try_reserve_exact(words).map_err(|_| Error::OutOfMemory { bytes: 4 * words as u64 })?;
                memory.resize(words, 0);
                Ok(Memory::Cpu(RwLock::new(memory)))
            }
        }
    }

    fn most_words(&self) -> usize {
        let bytes = match &self.inner.executor {
            Executor::Cpu => return usize::MAX / ALIGNMENT * ALIGNMENT,
            Executor::Gpu(gpu) => gpu.max_buffer_bytes(),
        };
        usize::try_from(bytes / 4).unwrap_or(usize::MAX) / ALIGNMENT * ALIGNMENT
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
