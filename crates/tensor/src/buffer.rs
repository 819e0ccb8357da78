//! Memory of a device, and the pool that it comes from and goes back to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use crate::device::Device;
use crate::{Error, Result};

/// Buffers are counted in words of four bytes, and slices of them start at multiples of 64 words: 256 bytes, the
/// portable alignment of a binding.
pub(crate) const ALIGNMENT: usize = 64;

/// The memory itself.
#[derive(Debug)]
pub(crate) enum Memory {
    Cpu(RwLock<Vec<u32>>),
    Gpu(crate::gpu::GpuBuffer),
}

/// A piece of a device's memory; it returns to the pool when the last tensor lets go of it.
#[derive(Debug)]
pub(crate) struct Buffer {
    /// `None` only while it is being dropped.
    memory: Option<Memory>,
    words: usize,
    id: u64,
    pool: Weak<Pool>,
    written_by_host: AtomicBool,
}

impl Buffer {
    pub(crate) fn memory(&self) -> &Memory {
        self.memory.as_ref().unwrap_or_else(|| unreachable!("a buffer has its memory until it is dropped"))
    }

    /// The size in words, at least what was asked for.
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// A number of its own, by which the CPU executor orders its locks.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whether it came from this pool.
    pub(crate) fn is_of(&self, pool: &Arc<Pool>) -> bool {
        std::ptr::eq(self.pool.as_ptr(), Arc::as_ptr(pool))
    }

    /// Notes that it holds something which no recorded work has put there.
    pub(crate) fn note_host_write(&self) {
        self.written_by_host.store(true, Ordering::Relaxed);
    }

    /// Whether the host has ever written to it.
    pub(crate) fn written_by_host(&self) -> bool {
        self.written_by_host.load(Ordering::Relaxed)
    }

    /// The words of a CPU buffer.
    pub(crate) fn cpu(&self) -> &RwLock<Vec<u32>> {
        match self.memory() {
            Memory::Cpu(words) => words,
            Memory::Gpu(_) => unreachable!("a launch on the CPU got a buffer of a GPU"),
        }
    }

    /// The buffer of a GPU.
    pub(crate) fn gpu(&self) -> &crate::gpu::GpuBuffer {
        match self.memory() {
            Memory::Gpu(buffer) => buffer,
            Memory::Cpu(_) => unreachable!("a launch on a GPU got a buffer of the CPU"),
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let (Some(memory), Some(pool)) = (self.memory.take(), self.pool.upgrade()) {
            pool.give_back(self.words, memory);
        }
    }
}

/// Free memory by size classes, which keep one bit behind the leading one: 64, 128, 192, 256, 384, … words. At most a third
/// of a buffer is waste, and nearly every request of a training step finds what the step before has left.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    free: Mutex<HashMap<usize, Vec<Memory>>>,
    next_id: AtomicU64,
    held_words: AtomicUsize,
}

impl Pool {
    /// A buffer of at least `words` words with whatever it held last.
    pub(crate) fn allocate(self: &Arc<Self>, device: &Device, words: usize) -> Result<Arc<Buffer>> {
        let words = limited_size_class(words, device.max_buffer_words());
        let recycled = self.free.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&words).and_then(Vec::pop);
        let memory = match recycled {
            Some(memory) => memory,
            None => {
                self.held_words.fetch_add(words, Ordering::Relaxed);
                match device.allocate_memory(words) {
                    Ok(memory) => memory,
                    Err(Error::OutOfMemory { .. }) => {
                        // What lies idle may be what is missing.
                        self.release();
                        // So may what work under way holds; what has failed there shows again at the next call.
                        let _ = device.synchronize();
                        self.release();
                        device.allocate_memory(words).inspect_err(|_| {
                            self.held_words.fetch_sub(words, Ordering::Relaxed);
                        })?
                    }
                    Err(error) => {
                        self.held_words.fetch_sub(words, Ordering::Relaxed);
                        return Err(error);
                    }
                }
            }
        };
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Buffer {
            memory: Some(memory),
            words,
            id,
            pool: Arc::downgrade(self),
            written_by_host: AtomicBool::new(false),
        }))
    }

    /// The number that the next buffer gets.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.load(Ordering::Relaxed)
    }

    fn give_back(&self, words: usize, memory: Memory) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).entry(words).or_default().push(memory);
    }

    /// Frees what no tensor uses.
    pub(crate) fn release(&self) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let words: usize = free.iter().map(|(words, list)| words * list.len()).sum();
        free.clear();
        self.held_words.fetch_sub(words, Ordering::Relaxed);
    }

    /// All memory taken from the device, in use or idle, in bytes.
    pub(crate) fn held_bytes(&self) -> u64 {
        4 * self.held_words.load(Ordering::Relaxed) as u64
    }
}

/// The size class, unless it passes the limit of the device and the request itself does not.
fn limited_size_class(words: usize, limit: usize) -> usize {
    let class = size_class(words);
    if class > limit && words <= limit { limit } else { class }
}

/// The smallest size class that holds `words`: always a multiple of [`ALIGNMENT`].
fn size_class(words: usize) -> usize {
    let words = words.max(ALIGNMENT);
    let power = words.next_power_of_two();
    let three_quarters = power / 4 * 3;
    // 96 words are no multiple of the alignment, so the first class between powers is 192.
    if words <= three_quarters && three_quarters.is_multiple_of(ALIGNMENT) { three_quarters } else { power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_waste_at_most_a_third_and_stay_aligned() {
        for words in 1..5000 {
            let class = size_class(words);
            assert!(class >= words && class.is_multiple_of(ALIGNMENT), "{words} -> {class}");
            assert!(words <= 2 * ALIGNMENT || 3 * words >= 2 * (class - 1), "{words} -> {class}");
        }
        assert_eq!(
            (limited_size_class(900, 960), limited_size_class(970, 960), limited_size_class(65, 960)),
            (960, 1024, 128)
        );
        assert_eq!((size_class(65), size_class(129), size_class(193)), (128, 192, 256));
    }
}
