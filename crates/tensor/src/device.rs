//! [`Device`]: the place where tensors lie and launches run.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use crate::buffer::{ALIGNMENT, Buffer, Memory, MemoryReport, Pool};
use crate::gpu::{self, Gpu, GpuRead, GpuRecording};
use crate::kernel::Launch;
use crate::product::Products;
use crate::profile::{self, TimeSource, Times};
use crate::recording::{self, Work};
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

/// What a device has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Launches of kernels.
    pub launches: u64,
    /// Submissions of collected launches to the driver; none on the CPU.
    pub submissions: u64,
    /// Times the host has waited for the device: read-backs and explicit waits.
    pub host_syncs: u64,
}

impl std::ops::Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            launches: self.launches + other.launches,
            submissions: self.submissions + other.submissions,
            host_syncs: self.host_syncs + other.host_syncs,
        }
    }
}

impl std::ops::Sub for Counters {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            launches: self.launches - other.launches,
            submissions: self.submissions - other.submissions,
            host_syncs: self.host_syncs - other.host_syncs,
        }
    }
}

/// What kind of device it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// The CPU backend of this crate.
    Cpu,
    /// A GPU in hardware.
    Hardware,
    /// A GPU that a driver imitates in software, such as lavapipe or WARP.
    Software,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cpu => "cpu",
            Self::Hardware => "hardware",
            Self::Software => "software",
        })
    }
}

/// What is known of a device.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// The adapter's name, or `cpu`.
    pub name: String,
    /// CPU, hardware or software.
    pub kind: DeviceKind,
    /// The interface: `vulkan`, `metal`, `dx12`, or `cpu`.
    pub backend: String,
    /// The driver's name and version; for the CPU the number of threads.
    pub driver: String,
    /// The largest buffer that a kernel can bind, in bytes.
    pub max_binding_bytes: u64,
    /// The most workgroups along one dimension of a launch.
    pub max_workgroups_per_dimension: u32,
    /// The most storage buffers in one launch.
    pub max_storage_buffers: u32,
    /// Lanes of a subgroup, smallest and largest; 0 where there are none.
    pub subgroup_size: (u32, u32),
    /// Optional features that the adapter has, of those thalweg can use.
    pub features: Vec<&'static str>,
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

    /// What the choice of product kernels depends on; none on the CPU, which has one.
    pub(crate) fn products(&self) -> Option<&Products> {
        match &self.inner.executor {
            Executor::Gpu(gpu) => Some(gpu.products()),
            Executor::Cpu => None,
        }
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
        recording::check("synchronize")?;
        self.flush()?;
        self.inner.host_syncs.fetch_add(1, Ordering::Relaxed);
        match &self.inner.executor {
            Executor::Cpu => Ok(()),
            Executor::Gpu(gpu) => gpu.wait(),
        }
    }

    /// Runs a launch: at once on the CPU, with the next batch on a GPU.
    pub(crate) fn run(&self, launch: &Launch) -> Result<()> {
        launch.check(self)?;
        if launch.workgroups == 0 {
            return Ok(());
        }
        recording::note(self, || Work::Launch(launch.clone()));
        self.inner.launches.fetch_add(1, Ordering::Relaxed);
        match &self.inner.executor {
            Executor::Cpu => {
                profile::time_twin(launch, || crate::cpu::run(launch));
                Ok(())
            }
            Executor::Gpu(gpu) => {
                let submitted = gpu.run(launch)?;
                self.inner.submissions.fetch_add(submitted, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Whether a buffer came from this device.
    pub(crate) fn owns(&self, buffer: &Buffer) -> bool {
        buffer.is_of(&self.inner.pool)
    }

    /// The largest buffer in words, a multiple of the alignment.
    pub(crate) fn max_buffer_words(&self) -> usize {
        let bytes = match &self.inner.executor {
            Executor::Cpu => return usize::MAX / ALIGNMENT * ALIGNMENT,
            Executor::Gpu(gpu) => gpu.max_buffer_bytes(),
        };
        usize::try_from(bytes / 4).unwrap_or(usize::MAX) / ALIGNMENT * ALIGNMENT
    }

    pub(crate) fn allocate(&self, words: usize) -> Result<Arc<Buffer>> {
        self.inner.pool.allocate(self, words)
    }

    pub(crate) fn allocate_memory(&self, words: usize) -> Result<Memory> {
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

    /// Makes what a GPU needs to replay; the CPU needs nothing.
    pub(crate) fn prepare(&self, work: &[Work]) -> Result<Option<GpuRecording>> {
        match &self.inner.executor {
            Executor::Cpu => Ok(None),
            Executor::Gpu(gpu) => Ok(Some(gpu.prepare(work)?)),
        }
    }

    /// Does recorded work again.
    pub(crate) fn replay(&self, work: &[Work], prepared: Option<&GpuRecording>, times: usize) -> Result<()> {
        let launches = recording::count_launches(work) * times;
        self.inner.launches.fetch_add(launches as u64, Ordering::Relaxed);
        if let (Executor::Gpu(gpu), Some(prepared)) = (&self.inner.executor, prepared) {
            let submitted = gpu.replay(prepared, times)?;
            self.inner.submissions.fetch_add(submitted, Ordering::Relaxed);
            return Ok(());
        }
        for _ in 0..times {
            for work in work {
                match work {
                    Work::Launch(launch) => profile::time_twin(launch, || crate::cpu::run(launch)),
                    Work::Copy { source, source_offset, target, target_offset, length } => {
                        self.copy(source, *source_offset, target, *target_offset, *length)?;
                    }
                    Work::Clear { buffer, offset, length } => self.clear(buffer, *offset, *length)?,
                }
            }
        }
        Ok(())
    }

    /// Takes the time of every launch from here on. Nothing may be collected.
    pub(crate) fn start_timing(&self, began: Instant) -> Result<TimeSource> {
        match &self.inner.executor {
            Executor::Cpu => profile::start_twins(began).map(|()| TimeSource::Twins),
            Executor::Gpu(gpu) => gpu.start_timing(began),
        }
    }

    /// Ends it, with what it came to. The work must be done.
    pub(crate) fn finish_timing(&self) -> Result<Times> {
        match &self.inner.executor {
            Executor::Cpu => Ok(profile::take_twins()),
            Executor::Gpu(gpu) => gpu.finish_timing(),
        }
    }

    /// Ends it, whatever it came to.
    pub(crate) fn stop_timing(&self) {
        match &self.inner.executor {
            Executor::Cpu => drop(profile::take_twins()),
            Executor::Gpu(gpu) => gpu.stop_timing(),
        }
    }

    /// The number that the next buffer gets.
    pub(crate) fn next_buffer(&self) -> u64 {
        self.inner.pool.next_id()
    }

    pub(crate) fn write(&self, buffer: &Buffer, offset: usize, words: &[u32]) -> Result<()> {
        recording::check_write(buffer)?;
        if words.is_empty() {
            return Ok(());
        }
        buffer.note_host_write();
        match &self.inner.executor {
            Executor::Gpu(gpu) => {
                let submitted = gpu.write(buffer.gpu(), offset, words)?;
                self.inner.submissions.fetch_add(submitted, Ordering::Relaxed);
            }
            Executor::Cpu => {
                let mut memory = buffer.cpu().write().unwrap_or_else(PoisonError::into_inner);
                memory[offset..offset + words.len()].copy_from_slice(words);
            }
        }
        Ok(())
    }

    pub(crate) fn read(&self, buffer: &Buffer, offset: usize, length: usize) -> Result<Vec<u32>> {
        let read = self.start_read(buffer, offset, length)?;
        if length > 0 {
            self.inner.host_syncs.fetch_add(1, Ordering::Relaxed);
        }
        Ok(self.finish_read(read, true)?.unwrap_or_else(|_| unreachable!("a read that waits has its words")))
    }

    /// Has words read back behind all work so far, without waiting; the CPU does it at once.
    pub(crate) fn start_read(&self, buffer: &Buffer, offset: usize, length: usize) -> Result<Reading> {
        recording::check("read-back")?;
        match &self.inner.executor {
            _ if length == 0 => Ok(Reading::Done(Vec::new())),
            Executor::Gpu(gpu) => {
                let (read, submitted) = gpu.start_read(buffer.gpu(), offset, length)?;
                self.inner.submissions.fetch_add(submitted, Ordering::Relaxed);
                Ok(Reading::Gpu(read))
            }
            Executor::Cpu => {
                let memory = buffer.cpu().read().unwrap_or_else(PoisonError::into_inner);
                Ok(Reading::Done(memory[offset..offset + length].to_vec()))
            }
        }
    }

    /// The words of a read, or the read itself where they are not there yet.
    pub(crate) fn finish_read(&self, read: Reading, wait: bool) -> Result<Result<Vec<u32>, Reading>> {
        Ok(match (&self.inner.executor, read) {
            (_, Reading::Done(words)) => Ok(words),
            (Executor::Gpu(gpu), Reading::Gpu(read)) => gpu.finish_read(&read, wait)?.ok_or(Reading::Gpu(read)),
            (Executor::Cpu, Reading::Gpu(_)) => unreachable!("a read of a GPU is asked of the CPU"),
        })
    }

    /// Copies words between two buffers; not a kernel, since copies of the driver's own are several times faster.
    pub(crate) fn copy(
        &self,
        source: &Arc<Buffer>,
        source_offset: usize,
        target: &Arc<Buffer>,
        target_offset: usize,
        length: usize,
    ) -> Result<()> {
        if length == 0 {
            return Ok(());
        }
        if source.id() == target.id() {
            return Err(Error::Aliasing { op: "copy" });
        }
        recording::note(self, || {
            let (source, target) = (source.clone(), target.clone());
            Work::Copy { source, source_offset, target, target_offset, length }
        });
        match &self.inner.executor {
            Executor::Gpu(gpu) => {
                let submitted = gpu.copy(source.gpu(), source_offset, target.gpu(), target_offset, length)?;
                self.inner.submissions.fetch_add(submitted, Ordering::Relaxed);
                Ok(())
            }
            Executor::Cpu => {
                crate::cpu::copy(source, source_offset, target, target_offset, length);
                Ok(())
            }
        }
    }

    /// Sets words to zero; not a kernel either.
    pub(crate) fn clear(&self, buffer: &Arc<Buffer>, offset: usize, length: usize) -> Result<()> {
        if length == 0 {
            return Ok(());
        }
        recording::note(self, || Work::Clear { buffer: buffer.clone(), offset, length });
        match &self.inner.executor {
            Executor::Gpu(gpu) => {
                let submitted = gpu.clear(buffer.gpu(), offset, length)?;
                self.inner.submissions.fetch_add(submitted, Ordering::Relaxed);
                Ok(())
            }
            Executor::Cpu => {
                crate::cpu::clear(buffer, offset, length);
                Ok(())
            }
        }
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
