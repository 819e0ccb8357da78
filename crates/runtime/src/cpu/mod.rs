//! The CPU executor: locks the buffers of a launch and calls the twin. It allocates no heap memory.

use std::cell::Cell;
use std::sync::{Arc, PoisonError, RwLockReadGuard, RwLockWriteGuard};

use crate::kernel::{Access, Call, Launch, MOST_BINDINGS, Slice, Work};
use crate::memory::Buffer;
use crate::profile;
use crate::threads::for_each_chunk;

enum Guard<'a> {
    Read(RwLockReadGuard<'a, Vec<u32>>),
    Write(RwLockWriteGuard<'a, Vec<u32>>),
}

impl<'a> Guard<'a> {
    /// Locks a buffer. A panic in a twin poisons the lock; every word is still a valid word, so the poison is
    /// ignored.
    fn new(buffer: &'a Buffer, access: Access) -> Self {
        match access.writes() {
            false => Self::Read(buffer.cpu().read().unwrap_or_else(PoisonError::into_inner)),
            true => Self::Write(buffer.cpu().write().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    fn words(&self) -> &[u32] {
        match self {
            Self::Read(words) => words,
            Self::Write(words) => words,
        }
    }

    fn words_mut(&mut self) -> &mut [u32] {
        match self {
            Self::Read(_) => unreachable!("a buffer that is written is locked for writing"),
            Self::Write(words) => words,
        }
    }
}

/// Runs a launch that [`Launch::check`] has passed.
pub(crate) fn run(launch: &Launch) {
    let mut guards: [Option<Guard<'_>>; MOST_BINDINGS] = [const { None }; MOST_BINDINGS];
    let mut free = guards.iter_mut();
    // Each buffer is locked once, in the order of the ids: two threads with the same buffers cannot block each other.
    call_twin(launch, |_, buffer, access| {
        let place = free.next().unwrap_or_else(|| unreachable!("there are at most {MOST_BINDINGS} buffers"));
        place.insert(Guard::new(buffer, access))
    });
}

/// Calls the twin of a launch. `lock` returns the guard of each buffer, in the order of the ids; its first argument
/// is the number of one of the buffer's bindings.
fn call_twin<'a, 'b, 'g: 'a>(launch: &'b Launch, mut lock: impl FnMut(usize, &'b Buffer, Access) -> &'a mut Guard<'g>) {
    let (access, views) = (launch.kernel.access, &launch.views[..]);
    let count = views.len();
    // Sorts by buffer, and within a buffer by offset.
    let mut order: [usize; MOST_BINDINGS] = std::array::from_fn(|i| i);
    let order = &mut order[..count];
    order.sort_unstable_by_key(|&i| (views[i].buffer.id(), views[i].byte_offset(), views[i].byte_length()));
    let mut slices = [const { Slice::Read(&[]) }; MOST_BINDINGS];
    for group in order.chunk_by(|&i, &j| views[i].buffer.id() == views[j].buffer.id()) {
        let guard = lock(group[0], &views[group[0]].buffer, access[group[0]]);
        match access[group[0]].writes() {
            false => {
                let bytes: &[u8] = bytemuck::cast_slice(guard.words());
                for &i in group {
                    slices[i] = Slice::Read(&bytes[views[i].byte_offset()..][..views[i].byte_length()]);
                }
            }
            true => {
                // Several disjoint ranges, from the last to the first.
                let mut rest: &mut [u8] = bytemuck::cast_slice_mut(guard.words_mut());
                for &i in group.iter().rev() {
                    let (before, from) = rest.split_at_mut(views[i].byte_offset());
                    slices[i] = Slice::Write(&mut from[..views[i].byte_length()]);
                    rest = before;
                }
            }
        }
    }
    (launch.kernel.twin)(Call {
        params: &launch.params,
        constants: &launch.constants,
        slices,
        count,
        extra: launch.extra,
        application: launch.application.as_ref(),
    });
}

/// The buffers of a recording, all locked during a replay.
#[derive(Debug)]
pub(crate) struct CpuRecording {
    /// Each buffer once, in the order of the ids, and whether any of the work writes to it.
    buffers: Vec<(Arc<Buffer>, Access)>,
    /// For each piece of work, the indices of its buffers in that list.
    places: Vec<[usize; MOST_BINDINGS]>,
}

impl CpuRecording {
    pub(crate) fn new(work: &[Work]) -> Self {
        let mut buffers: Vec<(Arc<Buffer>, Access)> = Vec::new();
        for work in work {
            work.each_buffer(|buffer, access| buffers.push((buffer.clone(), access)));
        }
        // Writes come first, so that deduplication keeps them.
        buffers.sort_by_key(|(buffer, access)| (buffer.id(), !access.writes()));
        buffers.dedup_by_key(|(buffer, _)| buffer.id());
        let places = |work: &Work| {
            let (mut places, mut count) = ([0; MOST_BINDINGS], 0);
            work.each_buffer(|buffer, _| {
                places[count] = buffers.partition_point(|(other, _)| other.id() < buffer.id());
                count += 1;
            });
            places
        };
        let places = work.iter().map(places).collect();
        Self { buffers, places }
    }

    /// Runs the work of this recording once. No other thread reads or changes its memory meanwhile.
    pub(crate) fn replay(&self, work: &[Work]) {
        thread_local! {
            /// Storage for guards, so that a replay allocates nothing.
            static ROOM: Cell<Vec<Guard<'static>>> = const { Cell::new(Vec::new()) };
        }
        let mut guards: Vec<Guard<'_>> = ROOM.take();
        guards.extend(self.buffers.iter().map(|(buffer, access)| Guard::new(buffer, *access)));
        for (work, places) in work.iter().zip(&self.places) {
            match work {
                Work::Launch(launch) => profile::time_twin(launch, || run_locked(launch, places, &mut guards)),
                Work::Copy { source_offset, target_offset, bytes, .. } => {
                    let [source, target] = guards
                        .get_disjoint_mut([places[0], places[1]])
                        .unwrap_or_else(|_| unreachable!("a copy is between two buffers"));
                    copy_words(
                        &source.words()[*source_offset / 4..][..*bytes / 4],
                        &mut target.words_mut()[*target_offset / 4..][..*bytes / 4],
                    );
                }
                Work::Clear { offset, bytes, .. } => {
                    clear_words(&mut guards[places[0]].words_mut()[*offset / 4..][..*bytes / 4]);
                }
            }
        }
        guards.clear();
        // Collects in place: reuses the empty vector for guards of another lifetime.
        ROOM.set(guards.into_iter().map(|_| unreachable!("the guards are gone")).collect());
    }
}

/// Runs a launch whose buffers are already locked; the guards are in the order of the ids.
fn run_locked(launch: &Launch, places: &[usize; MOST_BINDINGS], guards: &mut [Guard<'_>]) {
    let (mut rest, mut gone) = (guards, 0);
    call_twin(launch, |binding, _, _| {
        let (_, from) = std::mem::take(&mut rest).split_at_mut(places[binding] - gone);
        let (guard, after) = from.split_first_mut().unwrap_or_else(|| unreachable!("all buffers are locked"));
        (rest, gone) = (after, places[binding] + 1);
        guard
    });
}

/// Copies bytes between two buffers. Offsets and length are multiples of four.
pub(crate) fn copy(source: &Buffer, source_offset: usize, target: &Buffer, target_offset: usize, bytes: usize) {
    let (read, mut write);
    if source.id() < target.id() {
        read = Guard::new(source, Access::Read);
        write = Guard::new(target, Access::Write);
    } else {
        write = Guard::new(target, Access::Write);
        read = Guard::new(source, Access::Read);
    }
    copy_words(
        &read.words()[source_offset / 4..][..bytes / 4],
        &mut write.words_mut()[target_offset / 4..][..bytes / 4],
    );
}

fn copy_words(source: &[u32], target: &mut [u32]) {
    for_each_chunk(
        target,
        #[inline(always)]
        |start, target| {
            target.copy_from_slice(&source[start..][..target.len()]);
        },
    );
}

/// Sets bytes to zero. Offset and length are multiples of four.
pub(crate) fn clear(buffer: &Buffer, offset: usize, bytes: usize) {
    clear_words(&mut Guard::new(buffer, Access::Write).words_mut()[offset / 4..][..bytes / 4]);
}

fn clear_words(words: &mut [u32]) {
    for_each_chunk(
        words,
        #[inline(always)]
        |_, words| words.fill(0),
    );
}

#[cfg(test)]
mod tests {
    use crate::Device;
    use crate::kernel::{Access, Kernel, Launch};

    #[test]
    fn a_kernel_with_too_many_bindings_is_refused() {
        static MANY: Kernel = Kernel {
            shader: &thalweg_shaders::COPY_ROOF,
            uniform: 0,
            access: &[Access::Read; 9],
            variants: &[&[]],
            twin: |_| (),
        };
        let x = Device::cpu().upload(&[0f32; 4]).unwrap();
        let launch = (0..9).fold(Launch::new(&MANY, ()), |launch, _| launch.bind(&x));
        let error = launch.run(&Device::cpu()).unwrap_err().to_string();
        assert!(error.contains("more than 8"), "{error}");
    }
}
