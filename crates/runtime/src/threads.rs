//! Parallel loops in pieces of a fixed size, so that the bits do not depend on the number of threads.
//!
//! The calling thread works too, together with helper threads that live as long as the process. A helper runs only
//! pieces of the current loop, so a caller may hold locks. Starting a loop allocates nothing, unlike a task queue.
//! While one thread uses the helpers, loops of other threads run without them.

#![allow(unsafe_code, reason = "lends a loop's body to helpers, and pieces of a slice to whoever runs them")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, RwLock, TryLockError};
use std::time::Duration;

use crate::time::Instant;

/// The number of elements in a piece of an element-wise loop, large enough that the overhead is small.
pub const CHUNK: usize = 16 * 1024;

/// How long a helper polls for the next loop before it sleeps. Loops of one training step follow faster than this.
const PATIENCE: Duration = Duration::from_micros(60);

/// The number of runs of pieces per thread in a long loop, so that all threads end at about the same time.
const RUNS: usize = 4;

/// A loop's body, borrowed for the duration of [`Team::run`].
type Body = &'static (dyn Fn(usize) + Sync);

/// The current loop: its body and its number of pieces. Helpers hold a read lock while they work on it.
#[derive(Clone, Copy)]
struct Loop {
    body: Body,
    pieces: usize,
    /// The number of consecutive pieces that a thread takes at a time: memory is faster when read in order.
    run: usize,
}

#[derive(Default)]
struct Shared {
    current: RwLock<Option<Loop>>,
    /// The number of the latest loop.
    number: AtomicUsize,
    /// The next free piece.
    next: AtomicUsize,
    /// Whether a helper's piece has panicked.
    panicked: AtomicBool,
    sleeping: AtomicUsize,
    door: Mutex<()>,
    bell: Condvar,
}

/// A team of threads that share loops.
struct Team {
    threads: usize,
    taken: AtomicBool,
    shared: Arc<Shared>,
}

impl Team {
    /// Creates a team of so many threads, including the caller. If the system refuses threads, the team is smaller.
    fn new(threads: usize) -> Self {
        let shared: Arc<Shared> = Arc::default();
        let start = |i: &usize| {
            let shared = shared.clone();
            std::thread::Builder::new().name(format!("thalweg-{i}")).spawn(move || shared.help()).is_ok()
        };
        let helpers = (1..threads).take_while(start).count();
        Self { threads: 1 + helpers, taken: AtomicBool::new(false), shared }
    }

    /// Calls `body` with every number below `pieces`, once each, and returns when all are done.
    fn run(&self, pieces: usize, body: &(dyn Fn(usize) + Sync)) {
        // Within a loop, or while another thread uses the helpers, the caller runs alone.
        if pieces < 2 || self.threads == 1 || self.taken.swap(true, Ordering::Acquire) {
            (0..pieces).for_each(body);
            return;
        }
        let run = (pieces / (RUNS * self.threads)).max(1);
        // SAFETY: `finish` removes the body from every helper before this function returns or unwinds.
        let body: Body = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Body>(body) };
        let shared = &*self.shared;
        {
            // A helper that is late for the previous loop may start on this one as soon as it is visible.
            let mut current = shared.current.write().unwrap_or_else(PoisonError::into_inner);
            shared.next.store(0, Ordering::Relaxed);
            shared.panicked.store(false, Ordering::Relaxed);
            *current = Some(Loop { body, pieces, run });
        }
        shared.number.fetch_add(1, Ordering::SeqCst);
        if shared.sleeping.load(Ordering::SeqCst) > 0 {
            drop(shared.door.lock().unwrap_or_else(PoisonError::into_inner));
            shared.bell.notify_all();
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| shared.work(Loop { body, pieces, run })));
        shared.finish();
        let helpers_panicked = shared.panicked.load(Ordering::Relaxed);
        self.taken.store(false, Ordering::Release);
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
        assert!(!helpers_panicked, "a piece of a loop panicked on another thread");
    }
}

impl Shared {
    /// Takes pieces until none is left.
    fn work(&self, current: Loop) {
        loop {
            let first = self.next.fetch_add(current.run, Ordering::Relaxed);
            if first >= current.pieces {
                return;
            }
            (first..current.pieces.min(first + current.run)).for_each(current.body);
        }
    }

    /// Removes the loop, once no helper works on it any more.
    fn finish(&self) {
        // Stops new pieces, in case one of them has panicked.
        self.next.store(usize::MAX / 2, Ordering::Relaxed);
        let start = Instant::now();
        loop {
            match self.current.try_write() {
                Ok(mut current) => {
                    *current = None;
                    return;
                }
                Err(TryLockError::Poisoned(poisoned)) => {
                    *poisoned.into_inner() = None;
                    return;
                }
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => std::hint::spin_loop(),
                Err(TryLockError::WouldBlock) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = None;
                    return;
                }
            }
        }
    }

    /// The main loop of a helper.
    fn help(&self) {
        let mut seen = 0;
        loop {
            seen = self.wait_for_more_than(seen);
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(current) = *current
                && catch_unwind(AssertUnwindSafe(|| self.work(current))).is_err()
            {
                self.panicked.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Waits for a loop with a number other than the last one, polling at first.
    fn wait_for_more_than(&self, seen: usize) -> usize {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            for _ in 0..32 {
                let number = self.number.load(Ordering::Acquire);
                if number != seen {
                    return number;
                }
                std::hint::spin_loop();
            }
        }
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        let mut number = self.number.load(Ordering::SeqCst);
        while number == seen {
            door = self.bell.wait(door).unwrap_or_else(PoisonError::into_inner);
            number = self.number.load(Ordering::SeqCst);
        }
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
        number
    }
}

fn team() -> &'static Team {
    static TEAM: OnceLock<Team> = OnceLock::new();
    TEAM.get_or_init(|| {
        let wanted = std::env::var("THALWEG_THREADS").ok();
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        Team::new(wanted.map_or(all, |wanted| {
            wanted.trim().parse().ok().filter(|threads| (1..=512).contains(threads)).unwrap_or_else(|| {
                tracing::warn!(%wanted, "THALWEG_THREADS is no number of threads; using all {all}");
                all
            })
        }))
    })
}

thread_local! {
    /// The team of [`with_threads`].
    static OWN_TEAM: std::cell::Cell<Option<&'static Team>> = const { std::cell::Cell::new(None) };
}

/// Calls `body` with every number below `pieces`, on all available threads.
pub fn for_each_piece(pieces: usize, body: impl Fn(usize) + Sync) {
    if pieces < 2 {
        (0..pieces).for_each(body);
    } else {
        OWN_TEAM.get().unwrap_or_else(team).run(pieces, &body);
    }
}

/// Returns the most threads that share a loop.
pub fn thread_count() -> usize {
    team().threads
}

/// Slices that are cut into pieces at the same indices.
pub struct Pieces<'a, T> {
    start: *mut T,
    length: usize,
    slice: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: it represents the slice and passes each piece to one thread, as `split_at_mut` would.
unsafe impl<T: Send> Sync for Pieces<'_, T> {}

impl<'a, T> Pieces<'a, T> {
    /// Borrows a slice for several threads.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), length: slice.len(), slice: std::marker::PhantomData }
    }

    /// Returns a pointer to an element.
    pub fn pointer(&self, index: usize) -> *mut T {
        self.start.wrapping_add(index)
    }

    /// Returns `length` elements from `start` on, or fewer at the end.
    ///
    /// # Safety
    /// Results of overlapping ranges must not be alive at the same time.
    #[allow(clippy::mut_from_ref, reason = "the caller sees to it that ranges do not overlap")]
    pub unsafe fn at(&self, start: usize, length: usize) -> &'a mut [T] {
        let start = start.min(self.length);
        // SAFETY: the range is within the slice, and the caller guarantees exclusive access.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), length.min(self.length - start)) }
    }
}

/// Calls `body` with the index of the first element of each chunk of `y`, and the chunk.
pub fn for_each_chunk<T: Send>(y: &mut [T], body: impl Fn(usize, &mut [T]) + Sync) {
    for_each_chunk_of(CHUNK, y, body);
}

/// Calls `body` like [`for_each_chunk`], with chunks of `size` elements.
pub fn for_each_chunk_of<T: Send>(size: usize, y: &mut [T], body: impl Fn(usize, &mut [T]) + Sync) {
    let count = y.len().div_ceil(size);
    let pieces = Pieces::new(y);
    for_each_piece(count, |i| {
        // SAFETY: every number occurs once, and pieces of different numbers do not overlap.
        let chunk = unsafe { pieces.at(i * size, size) };
        vectorized(
            #[inline(always)]
            || body(i * size, chunk),
        );
    });
}

/// Calls `body` with the number of each row of `y`, and the row; several rows make a piece.
pub fn for_each_row<T: Send>(y: &mut [T], row_length: usize, body: impl Fn(usize, &mut [T]) + Sync) {
    if row_length == 0 {
        return;
    }
    let rows = (CHUNK / row_length).max(1);
    for_each_chunk_of(
        rows * row_length,
        y,
        #[inline(always)]
        |start, chunk| {
            let first = start / row_length;
            chunk.chunks_mut(row_length).enumerate().for_each(|(i, values)| body(first + i, values));
        },
    );
}

/// Calls `body` with the chunks of several slices of one length.
pub fn for_each_chunks<T: Send, const N: usize>(slices: [&mut [T]; N], body: impl Fn(usize, [&mut [T]; N]) + Sync) {
    let length = slices.iter().map(|slice| slice.len()).min().unwrap_or(0);
    let slices = slices.map(Pieces::new);
    for_each_piece(length.div_ceil(CHUNK), |i| {
        let start = i * CHUNK;
        // SAFETY: as in `for_each_chunk_of`.
        let chunks = slices.each_ref().map(|slice| unsafe { slice.at(start, CHUNK.min(length - start)) });
        vectorized(
            #[inline(always)]
            || body(start, chunks),
        );
    });
}

/// Calls `body` like [`for_each_chunks`], with a slice and further ones.
pub fn for_each_chunks_beside<const N: usize>(
    first: &mut [f32],
    others: [&mut [f32]; N],
    body: impl Fn(usize, &mut [f32], [&mut [f32]; N]) + Sync,
) {
    let length = others.iter().map(|slice| slice.len()).fold(first.len(), usize::min);
    let (first, others) = (Pieces::new(first), others.map(Pieces::new));
    for_each_piece(length.div_ceil(CHUNK), |i| {
        let start = i * CHUNK;
        let count = CHUNK.min(length - start);
        // SAFETY: as in `for_each_chunk_of`.
        let chunk = unsafe { first.at(start, count) };
        // SAFETY: as in `for_each_chunk_of`.
        let chunks = others.each_ref().map(|slice| unsafe { slice.at(start, count) });
        vectorized(
            #[inline(always)]
            || body(start, chunk, chunks),
        );
    });
}

/// The number of ranges that a thread takes at a time.
const RANGES: usize = 8;

/// Calls `body` with ranges of several slices, each with its own result. A range is a start and a length, both in
/// units of `elements`. Ranges are in order and do not overlap.
pub fn for_each_range<R: Send, const N: usize>(
    ranges: &[[u32; 2]],
    elements: usize,
    results: &mut [R],
    slices: [&mut [f32]; N],
    body: impl Fn([u32; 2], &mut R, [&mut [f32]; N]) + Sync,
) {
    let follow = ranges.windows(2).all(|pair| u64::from(pair[0][0]) + u64::from(pair[0][1]) <= u64::from(pair[1][0]));
    assert!(follow, "ranges of a loop overlap");
    let slices = slices.map(Pieces::new);
    for_each_chunk_of(
        RANGES,
        results,
        #[inline(always)]
        |first, results| {
            for (range, result) in ranges[first..].iter().zip(results) {
                let [start, length] = range.map(|count| elements * count as usize);
                // SAFETY: every range occurs once, and they do not overlap.
                let slices = slices.each_ref().map(|slice| unsafe { slice.at(start, length) });
                body(*range, result, slices);
            }
        },
    );
}

/// Calls `body` with the number of each block of `first`, the block, and the corresponding words of the other slices.
/// A block has `length` elements, or fewer at the end; `words` are the words per block.
pub fn for_each_block<const N: usize>(
    length: usize,
    words: [usize; N],
    first: &mut [f32],
    others: [&mut [u32]; N],
    body: impl Fn(usize, &mut [f32], [&mut [u32]; N]) + Sync,
) {
    let blocks = first.len().div_ceil(length);
    let blocks_of_a_piece = (CHUNK / length).max(1);
    let (first, others) = (Pieces::new(first), others.map(Pieces::new));
    for_each_piece(blocks.div_ceil(blocks_of_a_piece), |i| {
        let start = i * blocks_of_a_piece;
        vectorized(
            #[inline(always)]
            || {
                for block in start..blocks.min(start + blocks_of_a_piece) {
                    // SAFETY: every block occurs once, and blocks do not overlap.
                    let own = unsafe { first.at(block * length, length) };
                    let beside = std::array::from_fn(|number| {
                        // SAFETY: as above.
                        unsafe { others[number].at(block * words[number], words[number]) }
                    });
                    body(block, own, beside);
                }
            },
        );
    });
}

/// Runs a loop that is compiled for the processor's widest vectors. The bits do not depend on their width: nothing is
/// contracted or reordered.
#[inline(always)]
pub fn vectorized<T>(body: impl FnOnce() -> T) -> T {
    pulp::Arch::new().dispatch(body)
}

/// Runs `body` with a team of so many threads, regardless of the machine. The team is never freed, so this is for
/// tests.
#[doc(hidden)]
pub fn with_threads<T>(threads: usize, body: impl FnOnce() -> T) -> T {
    let before = OWN_TEAM.replace(Some(Box::leak(Box::new(Team::new(threads)))));
    let value = body();
    OWN_TEAM.set(before);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_run_once_by_any_number_of_threads() {
        for threads in [1, 2, 3, 8] {
            with_threads(threads, || {
                for pieces in [0, 1, 2, 3, 100, 1000] {
                    let counts: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
                    for round in 1..=50 {
                        for_each_piece(pieces, |i| {
                            counts[i].fetch_add(1, Ordering::Relaxed);
                        });
                        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == round));
                    }
                }
            });
        }
    }

    #[test]
    fn loops_within_loops_and_loops_of_several_threads_are_done() {
        let count = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        for_each_piece(10, |_| {
                            for_each_piece(10, |_| {
                                count.fetch_add(1, Ordering::Relaxed);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(count.into_inner(), 40_000);
    }

    #[test]
    fn a_panic_in_a_piece_reaches_the_caller_and_spoils_nothing() {
        with_threads(3, || {
            for bad in 0..20 {
                let outcome = catch_unwind(|| {
                    for_each_piece(20, |i| assert!(i != bad, "piece {i}"));
                });
                assert!(outcome.is_err());
            }
            let count = AtomicUsize::new(0);
            for_each_piece(7, |_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.into_inner(), 7);
        });
    }

    #[test]
    fn sleeping_helpers_wake() {
        with_threads(2, || {
            for _ in 0..20 {
                std::thread::sleep(2 * PATIENCE);
                let both = std::sync::Barrier::new(2);
                // Each piece waits for the other, so a single thread would never finish.
                for_each_piece(2, |_| {
                    both.wait();
                });
            }
        });
    }
}
