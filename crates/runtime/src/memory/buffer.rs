//! Memory of a device, and the pool that allocates and reuses it.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use crate::dtype::BINDING_ALIGNMENT;
use crate::{DType, Error, Result};

/// The portable alignment of a binding in bytes: bound slices of a buffer start at multiples of it, and the sizes of
/// buffers are multiples of it.
pub const ALIGNMENT: usize = BINDING_ALIGNMENT;

/// The memory itself.
#[derive(Debug)]
pub(crate) enum Memory {
    Cpu(RwLock<Vec<u32>>),
    Gpu(GpuBuffer),
}

/// A buffer of a GPU, with the number of the batch of commands that used it last.
#[derive(Debug)]
#[cfg(feature = "wgpu")]
pub(crate) struct GpuBuffer {
    pub(crate) buffer: wgpu::Buffer,
    pub(crate) last_batch: AtomicU64,
}

/// A buffer of a GPU in a build without wgpu, which has none.
#[derive(Debug)]
#[cfg(not(feature = "wgpu"))]
pub(crate) enum GpuBuffer {}

/// A piece of a device's memory; it returns to the pool when the last tensor frees it.
#[derive(Debug)]
pub struct Buffer {
    /// `None` only while it is being dropped.
    memory: Option<Memory>,
    bytes: usize,
    id: u64,
    holder: &'static str,
    pool: Weak<Pool>,
    written_by_host: AtomicBool,
}

thread_local! {
    static HOLDER: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Runs a closure and counts the memory that it allocates on this thread under a name in
/// [`Device::memory`](crate::Device::memory). Unnamed memory is counted as `recordings` if it is allocated while a
/// recording is made, else as `tensors`. The innermost name applies.
///
/// ```
/// use thalweg_runtime::Device;
/// use thalweg_runtime::memory::hold_as;
/// # fn main() -> thalweg_runtime::Result<()> {
/// let device = Device::cpu();
/// let table = hold_as("a table of mine", || device.allocate(4000))?;
/// let memory = device.memory();
/// assert_eq!(memory.held_by("a table of mine"), 4096);
/// # Ok(())
/// # }
/// ```
pub fn hold_as<T>(holder: &'static str, body: impl FnOnce() -> T) -> T {
    struct Restore(Option<&'static str>);
    impl Drop for Restore {
        fn drop(&mut self) {
            HOLDER.set(self.0);
        }
    }
    let _restore = Restore(HOLDER.replace(Some(holder)));
    body()
}

/// Returns the name set by [`hold_as`] on this thread.
pub(crate) fn named_holder() -> Option<&'static str> {
    HOLDER.get()
}

/// The source of a pool's memory.
pub(crate) trait MemorySource {
    /// Allocates new memory of so many bytes, a multiple of four.
    fn take(&self, bytes: usize) -> Result<Memory>;

    /// Returns the size of the largest buffer in bytes, a multiple of [`ALIGNMENT`].
    fn most_bytes(&self) -> usize;

    /// Waits for the work in progress, which may hold memory.
    fn wait(&self) -> Result<()>;
}

/// The holders of a device's memory: see [`Device::memory`](crate::Device::memory). All numbers are in bytes, rounded
/// up to the sizes of allocations.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryReport {
    /// Memory in use, by name, the largest first.
    pub held: Vec<Held>,
    /// Memory kept for the next tensors.
    pub idle: u64,
    /// All memory allocated from the device for tensors, in use or idle.
    pub total: u64,
}

/// A holder of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// The name: `parameters`, `gradients`, `optimizer state`, `data`, `recordings`, `tensors`, or one set by
    /// [`hold_as`].
    pub holder: &'static str,
    /// The number of bytes.
    pub bytes: u64,
    /// The number of buffers.
    pub buffers: usize,
}

impl MemoryReport {
    /// Returns the bytes of one holder; 0 if it holds nothing.
    #[must_use]
    pub fn held_by(&self, holder: &str) -> u64 {
        self.held.iter().find(|held| held.holder == holder).map_or(0, |held| held.bytes)
    }
}

impl fmt::Display for MemoryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for held in &self.held {
            write!(f, "{} {} bytes, ", held.holder, held.bytes)?;
        }
        write!(f, "idle {} bytes", self.idle)
    }
}

impl Buffer {
    pub(crate) fn memory(&self) -> &Memory {
        self.memory.as_ref().unwrap_or_else(|| unreachable!("a buffer has its memory until it is dropped"))
    }

    /// Returns the size in bytes, at least the requested one.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns a unique number, by which the CPU executor orders its locks.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Returns whether it belongs to this pool.
    pub(crate) fn is_of(&self, pool: &Arc<Pool>) -> bool {
        std::ptr::eq(self.pool.as_ptr(), Arc::as_ptr(pool))
    }

    /// Notes that it contains data that no recorded work has written.
    pub(crate) fn note_host_write(&self) {
        self.written_by_host.store(true, Ordering::Relaxed);
    }

    /// Returns whether the host has ever written to it.
    pub(crate) fn written_by_host(&self) -> bool {
        self.written_by_host.load(Ordering::Relaxed)
    }

    /// Returns the memory of a CPU buffer, in words so that four-byte elements are aligned.
    pub(crate) fn cpu(&self) -> &RwLock<Vec<u32>> {
        match self.memory() {
            Memory::Cpu(words) => words,
            Memory::Gpu(_) => unreachable!("a launch on the CPU got a buffer of a GPU"),
        }
    }

    /// Returns the buffer of a GPU.
    pub(crate) fn gpu(&self) -> &GpuBuffer {
        match self.memory() {
            Memory::Gpu(buffer) => buffer,
            Memory::Cpu(_) => unreachable!("a launch on a GPU got a buffer of the CPU"),
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let (Some(memory), Some(pool)) = (self.memory.take(), self.pool.upgrade()) {
            pool.give_back(self.bytes, self.holder, memory);
        }
    }
}

/// A range of a buffer: elements of one type.
#[derive(Debug, Clone)]
pub struct View {
    pub(crate) buffer: Arc<Buffer>,
    pub(crate) dtype: DType,
    /// In elements, like all following fields.
    pub(crate) offset: usize,
    pub(crate) length: usize,
    /// The number of elements that the kernel uses.
    pub(crate) used: usize,
    /// Whether it can be bound directly.
    pub(crate) bindable: bool,
}

/// A value in device memory that a launch can bind, such as a tensor.
pub trait ToView {
    /// Returns the range of memory that contains the value.
    fn to_view(&self) -> View;
}

impl ToView for View {
    fn to_view(&self) -> View {
        self.clone()
    }
}

impl<T: ToView + ?Sized> ToView for &T {
    fn to_view(&self) -> View {
        (**self).to_view()
    }
}

impl View {
    /// Creates the range of `length` elements from element `offset` on. A kernel can bind it if it starts at a
    /// multiple of [`ALIGNMENT`] bytes.
    #[must_use]
    pub fn new(buffer: Arc<Buffer>, dtype: DType, offset: usize, length: usize) -> Self {
        Self { buffer, dtype, offset, length, used: length, bindable: offset.is_multiple_of(dtype.alignment()) }
    }

    /// Creates a range whose elements have gaps or another order. No kernel can bind it directly.
    #[must_use]
    pub fn with_gaps(buffer: Arc<Buffer>, dtype: DType, offset: usize, length: usize) -> Self {
        Self { buffer, dtype, offset, length, used: length, bindable: false }
    }

    /// Returns a view of the whole buffer, of which a kernel uses as many elements as the range has.
    #[must_use]
    pub fn whole(self) -> Self {
        let length = self.buffer.bytes() / self.dtype.size();
        Self { offset: 0, length, used: self.length.min(length), bindable: true, ..self }
    }

    /// Returns the type of the elements.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Returns the same bytes as elements of another type. Their number must be integral.
    pub(crate) fn as_type(&self, dtype: DType) -> Self {
        let (offset, length) = (self.byte_offset() / dtype.size(), self.byte_length() / dtype.size());
        Self { dtype, offset, length, used: length, ..self.clone() }
    }

    /// Returns the offset of its first byte in the buffer.
    pub(crate) fn byte_offset(&self) -> usize {
        self.offset * self.dtype.size()
    }

    /// Returns the number of bytes of its elements.
    pub(crate) fn byte_length(&self) -> usize {
        self.length * self.dtype.size()
    }

    /// Returns the buffer.
    #[must_use]
    pub fn buffer(&self) -> &Arc<Buffer> {
        &self.buffer
    }

    pub(crate) fn is_bindable(&self) -> bool {
        self.bindable
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.buffer.id() == other.buffer.id()
            && (self.dtype, self.offset, self.length) == (other.dtype, other.offset, other.length)
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.buffer.id() == other.buffer.id()
            && self.byte_offset() < other.byte_offset() + other.byte_length()
            && other.byte_offset() < self.byte_offset() + self.byte_length()
    }
}

/// Free memory by size classes, which have at most two significant bits: 256, 512, 768, 1024, 1536, … bytes. At most
/// a third of a buffer is wasted, and nearly every request of a training step is served from memory that the previous
/// step freed.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    free: Mutex<HashMap<usize, Vec<Memory>>>,
    /// Bytes and buffers in use, by holder.
    held: Mutex<BTreeMap<&'static str, (usize, usize)>>,
    next_id: AtomicU64,
    taken_bytes: AtomicUsize,
}

impl Pool {
    /// Returns a buffer of at least `bytes` bytes, which is not cleared.
    pub(crate) fn allocate(
        self: &Arc<Self>,
        source: &impl MemorySource,
        bytes: usize,
        holder: &'static str,
    ) -> Result<Arc<Buffer>> {
        let bytes = limited_size_class(bytes, source.most_bytes());
        let recycled = self.free.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&bytes).and_then(Vec::pop);
        let memory = match recycled {
            Some(memory) => memory,
            None => {
                self.taken_bytes.fetch_add(bytes, Ordering::Relaxed);
                match self.with_room(source, || source.take(bytes)) {
                    Ok(memory) => memory,
                    Err(error) => {
                        self.taken_bytes.fetch_sub(bytes, Ordering::Relaxed);
                        return Err(error);
                    }
                }
            }
        };
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (held_bytes, buffers) = held.entry(holder).or_default();
        *held_bytes += bytes;
        *buffers += 1;
        Ok(Arc::new(Buffer {
            memory: Some(memory),
            bytes,
            id,
            holder,
            pool: Arc::downgrade(self),
            written_by_host: AtomicBool::new(false),
        }))
    }

    /// Allocates from the device. If there is no memory, frees all idle memory and tries once more.
    pub(crate) fn with_room<T>(&self, source: &impl MemorySource, take: impl Fn() -> Result<T>) -> Result<T> {
        match take() {
            Err(Error::OutOfMemory { .. }) => {
                self.release();
                // Work in progress holds memory too; the next call returns its error.
                let _ = source.wait();
                self.release();
                take()
            }
            taken => taken,
        }
    }

    /// Returns the number of the next buffer.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.load(Ordering::Relaxed)
    }

    fn give_back(&self, bytes: usize, holder: &'static str, memory: Memory) {
        if let Some((held, buffers)) = self.held.lock().unwrap_or_else(PoisonError::into_inner).get_mut(holder) {
            *held -= bytes;
            *buffers -= 1;
        }
        self.free.lock().unwrap_or_else(PoisonError::into_inner).entry(bytes).or_default().push(memory);
    }

    /// Frees the memory that no tensor uses.
    pub(crate) fn release(&self) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: usize = free.iter().map(|(bytes, list)| bytes * list.len()).sum();
        free.clear();
        self.taken_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn report(&self) -> MemoryReport {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held: Vec<_> = held
            .iter()
            .filter(|(_, (_, buffers))| *buffers > 0)
            .map(|(&holder, &(bytes, buffers))| Held { holder, bytes: bytes as u64, buffers })
            .collect();
        held.sort_by_key(|held| std::cmp::Reverse(held.bytes));
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = free.iter().map(|(bytes, list)| bytes * list.len()).sum::<usize>() as u64;
        let total = self.taken_bytes.load(Ordering::Relaxed) as u64;
        MemoryReport { held, idle, total }
    }
}

/// Returns the size class, or the limit of the device if the class exceeds it. A request that exceeds the limit is
/// returned unchanged, so that the device's error contains the requested size.
fn limited_size_class(bytes: usize, limit: usize) -> usize {
    let class = size_class(bytes);
    if class > limit { bytes.max(limit) } else { class }
}

/// Returns the smallest size class of at least so many bytes, always a multiple of [`ALIGNMENT`].
fn size_class(bytes: usize) -> usize {
    let bytes = bytes.max(ALIGNMENT);
    let power = bytes.next_power_of_two();
    let three_quarters = power / 4 * 3;
    // 384 bytes are not a multiple of the alignment, so the first class between powers of two is 768.
    if bytes <= three_quarters && three_quarters.is_multiple_of(ALIGNMENT) { three_quarters } else { power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_waste_at_most_a_third_and_stay_aligned() {
        for bytes in 1..20_000 {
            let class = size_class(bytes);
            assert!(class >= bytes && class.is_multiple_of(ALIGNMENT), "{bytes} -> {class}");
            assert!(bytes <= 2 * ALIGNMENT || 3 * bytes >= 2 * (class - 1), "{bytes} -> {class}");
        }
        assert_eq!(
            (limited_size_class(3600, 3840), limited_size_class(3880, 3840), limited_size_class(260, 3840)),
            (3840, 3880, 512)
        );
        assert_eq!((size_class(257), size_class(513), size_class(769)), (512, 768, 1024));
    }
}
