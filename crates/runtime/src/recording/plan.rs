//! Memory of a recording: temporaries whose uses do not overlap in time share buffers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::kernel::Work;
use crate::memory::Buffer;

/// The lifetime of a buffer, as indices into the list of work.
#[derive(Debug)]
struct Life<'a> {
    buffer: &'a Arc<Buffer>,
    first: usize,
    last: usize,
    /// Whether the first work that uses it only writes it.
    written_first: bool,
    /// The number of its references in the list.
    references: usize,
}

/// A value that is live only within one replay: its contents before the first use and after the last are not needed.
#[derive(Debug)]
pub(super) struct Temporary {
    pub(super) buffer: Arc<Buffer>,
    pub(super) first: usize,
    pub(super) last: usize,
}

/// Returns the temporaries of a list of work: buffers created from `first_buffer` on that are referenced only by the
/// list, are not written by the host, and are written before they are read.
///
/// [`Access::Write`] may read as well; but the contents of unwritten memory would be arbitrary.
pub(super) fn temporaries(work: &[Work], first_buffer: u64) -> Vec<Temporary> {
    let mut lives: HashMap<u64, Life<'_>> = HashMap::new();
    for (place, work) in work.iter().enumerate() {
        work.each_buffer(|buffer, access| {
            let life = lives.entry(buffer.id()).or_insert(Life {
                buffer,
                first: place,
                last: place,
                written_first: true,
                references: 0,
            });
            life.last = place;
            life.references += 1;
            life.written_first &= life.first != place || access.writes();
        });
    }
    let is_temporary = |life: &Life<'_>| {
        life.buffer.id() >= first_buffer
            && life.written_first
            && !life.buffer.written_by_host()
            && Arc::strong_count(life.buffer) == life.references
    };
    // Sorted, so that the plan is deterministic.
    let mut found: Vec<Life<'_>> = lives.into_values().filter(is_temporary).collect();
    found.sort_unstable_by_key(|life| life.buffer.id());
    found
        .into_iter()
        .map(|Life { buffer, first, last, .. }| Temporary { buffer: buffer.clone(), first, last })
        .collect()
}

/// A buffer shared by temporaries.
struct Slot {
    buffer: Arc<Buffer>,
    taken: Vec<(usize, usize)>,
}

impl Slot {
    /// A launch reads or writes a buffer, never both, so a lifetime ends before the work where the next one begins.
    fn is_free(&self, first: usize, last: usize) -> bool {
        self.taken.iter().all(|&(taken_first, taken_last)| last < taken_first || taken_last < first)
    }
}

/// Assigns the same memory to temporaries whose uses do not overlap. Unused memory returns to the pool.
///
/// The largest ones are placed first. Each uses the smallest buffer that is large enough and free during its
/// lifetime, or else keeps its own.
pub(super) fn share_memory(work: &mut [Work], first_buffer: u64) {
    let mut temporaries = temporaries(work, first_buffer);
    temporaries.sort_by_key(|temporary| (std::cmp::Reverse(temporary.buffer.bytes()), temporary.first));
    let mut slots: Vec<Slot> = Vec::new();
    let mut moved: HashMap<u64, Arc<Buffer>> = HashMap::new();
    for Temporary { buffer, first, last } in temporaries {
        // Slots are in order of size, so the last one is the smallest.
        match slots.iter_mut().rev().find(|slot| slot.is_free(first, last)) {
            Some(slot) => {
                slot.taken.push((first, last));
                moved.insert(buffer.id(), slot.buffer.clone());
            }
            None => slots.push(Slot { buffer, taken: vec![(first, last)] }),
        }
    }
    for work in work {
        work.each_buffer_mut(|buffer| {
            if let Some(shared) = moved.get(&buffer.id()) {
                *buffer = shared.clone();
            }
        });
    }
}
