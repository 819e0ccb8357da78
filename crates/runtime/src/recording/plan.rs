//! Memory of a recording: temporaries whose uses do not overlap in time take turns in the same buffers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::kernel::Work;
use crate::memory::Buffer;

/// When a buffer is used, in places of the list of work.
#[derive(Debug)]
struct Life<'a> {
    buffer: &'a Arc<Buffer>,
    first: usize,
    last: usize,
    /// Whether the first work that uses it writes it and does no more.
    written_first: bool,
    /// How many times it stands in the list.
    references: usize,
}

/// A value that lives within one replay alone: what it holds before its first use and after its last matters to nobody.
#[derive(Debug)]
pub(super) struct Temporary {
    pub(super) buffer: Arc<Buffer>,
    pub(super) first: usize,
    pub(super) last: usize,
}

/// The temporaries of a list of work: buffers made from `first_buffer` on, which nothing but the list holds, which the
/// host has not written to, and which are written before they are read.
///
/// [`Access::Write`] may read as well; but what a kernel found in memory that nothing has written would be chance.
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
    // Sorted, so that the plan is the same every time.
    let mut found: Vec<Life<'_>> = lives.into_values().filter(is_temporary).collect();
    found.sort_unstable_by_key(|life| life.buffer.id());
    found
        .into_iter()
        .map(|Life { buffer, first, last, .. }| Temporary { buffer: buffer.clone(), first, last })
        .collect()
}

/// A buffer in which temporaries take turns.
struct Slot {
    buffer: Arc<Buffer>,
    taken: Vec<(usize, usize)>,
}

impl Slot {
    /// A launch reads or writes a buffer, never both, so a turn ends before the work with which the next one begins.
    fn is_free(&self, first: usize, last: usize) -> bool {
        self.taken.iter().all(|&(taken_first, taken_last)| last < taken_first || taken_last < first)
    }
}

/// Gives temporaries whose uses do not overlap the same memory. What is left over goes back to the pool.
///
/// The largest ones choose first: each takes the smallest buffer that is large enough and free while it lives, or, where
/// there is none, keeps its own.
pub(super) fn share_memory(work: &mut [Work], first_buffer: u64) {
    let mut temporaries = temporaries(work, first_buffer);
    temporaries.sort_by_key(|temporary| (std::cmp::Reverse(temporary.buffer.bytes()), temporary.first));
    let mut slots: Vec<Slot> = Vec::new();
    let mut moved: HashMap<u64, Arc<Buffer>> = HashMap::new();
    for Temporary { buffer, first, last } in temporaries {
        // Slots stand in order of size, so the last one is the smallest.
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
