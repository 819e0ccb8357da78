//! The executor of the CPU: it locks the buffers of a launch and calls the twin. It takes no memory from the heap.

use std::sync::{PoisonError, RwLockReadGuard, RwLockWriteGuard};

use crate::buffer::Buffer;
use crate::kernel::{Access, Call, Launch, MOST_BINDINGS, Slice};
use crate::parallel::for_each_chunk;

enum Guard<'a> {
    Read(RwLockReadGuard<'a, Vec<u32>>),
    Write(RwLockWriteGuard<'a, Vec<u32>>),
}

impl<'a> Guard<'a> {
    /// Locks a buffer. A panic inside of a twin would poison a lock; the words behind it are still words, so it is passed
    /// over.
    fn new(buffer: &'a Buffer, access: Access) -> Self {
        match access {
            Access::Read => Self::Read(buffer.cpu().read().unwrap_or_else(PoisonError::into_inner)),
            Access::Write => Self::Write(buffer.cpu().write().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

/// Runs a launch that [`Launch::check`] has passed.
pub(crate) fn run(launch: &Launch) {
    let (access, views) = (launch.kernel.access, &launch.views[..]);
    let count = views.len();
    // By buffers, and within a buffer by places. Each buffer is locked once, in the order of the ids: two threads with
    // the same buffers cannot block each other.
    let mut order: [usize; MOST_BINDINGS] = std::array::from_fn(|i| i);
    let order = &mut order[..count];
    order.sort_unstable_by_key(|&i| (views[i].buffer.id(), views[i].offset, views[i].length));
    let mut guards: [Option<Guard<'_>>; MOST_BINDINGS] = [const { None }; MOST_BINDINGS];
    let mut slices = [const { Slice::Read(&[]) }; MOST_BINDINGS];
    let groups = order.chunk_by(|&i, &j| views[i].buffer.id() == views[j].buffer.id());
    for (guard, group) in guards.iter_mut().zip(groups) {
        match guard.insert(Guard::new(&views[group[0]].buffer, access[group[0]])) {
            Guard::Read(words) => {
                for &i in group {
                    slices[i] = Slice::Read(&words[views[i].offset..][..views[i].length]);
                }
            }
            Guard::Write(words) => {
                // Several disjoint ranges, from the last to the first.
                let mut rest: &mut [u32] = words;
                for &i in group.iter().rev() {
                    let (before, from) = rest.split_at_mut(views[i].offset);
                    slices[i] = Slice::Write(&mut from[..views[i].length]);
                    rest = before;
                }
            }
        }
    }
    (launch.kernel.twin)(Call { params: &launch.params, constants: &launch.constants, slices, count });
}

/// Copies words between two buffers.
pub(crate) fn copy(source: &Buffer, source_offset: usize, target: &Buffer, target_offset: usize, length: usize) {
    let (read, write);
    if source.id() < target.id() {
        read = source.cpu().read().unwrap_or_else(PoisonError::into_inner);
        write = target.cpu().write().unwrap_or_else(PoisonError::into_inner);
    } else {
        write = target.cpu().write().unwrap_or_else(PoisonError::into_inner);
        read = source.cpu().read().unwrap_or_else(PoisonError::into_inner);
    }
    let (source, mut target) = (&read[source_offset..][..length], write);
    for_each_chunk(
        &mut target[target_offset..][..length],
        #[inline(always)]
        |start, target| {
            target.copy_from_slice(&source[start..][..target.len()]);
        },
    );
}

/// Sets words to zero.
pub(crate) fn clear(buffer: &Buffer, offset: usize, length: usize) {
    let mut words = buffer.cpu().write().unwrap_or_else(PoisonError::into_inner);
    for_each_chunk(
        &mut words[offset..][..length],
        #[inline(always)]
        |_, words| words.fill(0),
    );
}
