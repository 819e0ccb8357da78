//! The executor of the CPU: it locks the buffers of a launch and calls the twin.

use std::sync::{PoisonError, RwLockReadGuard, RwLockWriteGuard};

use crate::kernel::{Access, Call, Launch, Slice};

enum Guard<'a> {
    Read(RwLockReadGuard<'a, Vec<u32>>),
    Write(RwLockWriteGuard<'a, Vec<u32>>),
}

/// Runs a launch that [`Launch::check_aliasing`] has passed. A panic inside of a twin would poison a lock; the words behind it are still words, so it is passed over.
pub(crate) fn run(launch: &Launch) {
    let access = launch.kernel.access;
    // Each buffer is locked once, in the order of the ids: two threads with the same buffers cannot block each other.
    let mut order: Vec<usize> = (0..launch.views.len()).collect();
    order.sort_by_key(|&i| launch.views[i].buffer.id());
    let mut guards: Vec<Guard<'_>> = Vec::with_capacity(order.len());
    let mut guard_of = vec![0; order.len()];
    let mut previous: Option<usize> = None;
    for i in order {
        let buffer = &launch.views[i].buffer;
        let same = previous.is_some_and(|p| launch.views[p].buffer.id() == buffer.id());
        if !same {
            guards.push(match access[i] {
                Access::Read => Guard::Read(buffer.cpu().read().unwrap_or_else(PoisonError::into_inner)),
                Access::Write => Guard::Write(buffer.cpu().write().unwrap_or_else(PoisonError::into_inner)),
            });
        }
        guard_of[i] = guards.len() - 1;
        previous = Some(i);
    }

    let mut slices: Vec<Option<Slice<'_>>> = (0..launch.views.len()).map(|_| None).collect();
    for (g, guard) in guards.iter_mut().enumerate() {
        let range = |i: usize| launch.views[i].offset..launch.views[i].offset + launch.views[i].length;
        match guard {
            Guard::Read(words) => {
                let words: &[u32] = words;
                for i in (0..slices.len()).filter(|&i| guard_of[i] == g) {
                    slices[i] = Some(Slice::Read(&words[range(i)]));
                }
            }
            Guard::Write(words) => {
                // Several disjoint ranges, from the last to the first.
                let mut bound: Vec<usize> = (0..slices.len()).filter(|&i| guard_of[i] == g).collect();
                bound.sort_by_key(|&i| range(i).start);
                let mut rest: &mut [u32] = words;
                for i in bound.into_iter().rev() {
                    let (before, from) = rest.split_at_mut(range(i).start);
                    slices[i] = Some(Slice::Write(&mut from[..range(i).len()]));
                    rest = before;
                }
            }
        }
    }
    (launch.kernel.twin)(Call {
        params: &launch.params,
        constants: &launch.constants,
        slices: slices.into_iter().flatten().collect(),
    });
}
