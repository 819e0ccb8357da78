//! [`Flight`]: the submissions in flight, whose number is bounded.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use super::failure::Failure;
use super::pace::Pace;
use super::signal::Signal;
use crate::time::Instant;
use crate::{Error, Result};

/// The most submissions in flight. The device never runs dry: while it works on three of them the host submits the
/// fourth. More would only let the host run further ahead, in time and in memory.
pub(crate) const MOST_IN_FLIGHT: usize = 4;

/// The default time limit for one submission.
const PATIENCE: Duration = Duration::from_secs(300);

/// Whether a thread cannot wait for the device: on a web page only the event loop reports its progress.
const CANNOT_WAIT: bool = cfg!(target_family = "wasm");

/// The queue of the device: submits work, and waits for it.
#[derive(Debug)]
pub(super) struct Flight {
    device: wgpu::Device,
    queue: wgpu::Queue,
    failure: Failure,
    state: Mutex<State>,
    /// The number of the last finished submission.
    done: Arc<AtomicU64>,
}

#[derive(Debug)]
struct State {
    /// In order.
    submissions: VecDeque<Submission>,
    /// The number of the last submission; the first is 1.
    last: u64,
    /// When the host saw the last submission finish.
    seen: Instant,
    most: usize,
    throttled: u64,
    patience: Duration,
}

#[derive(Debug)]
struct Submission {
    number: u64,
    index: wgpu::SubmissionIndex,
    submitted: Instant,
    /// The guessed nanoseconds, before the pace corrects them.
    guessed: f64,
    pace: Arc<Pace>,
}

impl Flight {
    pub(super) fn new(device: wgpu::Device, queue: wgpu::Queue, failure: Failure) -> Self {
        let state = State {
            submissions: VecDeque::with_capacity(MOST_IN_FLIGHT),
            last: 0,
            seen: Instant::now(),
            most: 0,
            throttled: 0,
            patience: PATIENCE,
        };
        Self { device, queue, failure, state: Mutex::new(state), done: Arc::default() }
    }

    pub(super) fn device(&self) -> &wgpu::Device {
        &self.device
    }

    pub(super) fn failure(&self) -> &Failure {
        &self.failure
    }

    pub(super) fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of submissions in flight, and its maximum so far.
    pub(super) fn in_flight(&self) -> (usize, usize) {
        self.look();
        let state = self.state();
        (state.submissions.len(), state.most)
    }

    /// Returns the number of submissions, and of those that had to wait for an earlier one.
    pub(super) fn submissions(&self) -> (u64, u64) {
        let state = self.state();
        (state.last, state.throttled)
    }

    pub(super) fn set_patience(&self, patience: Duration) {
        self.state().patience = patience;
    }

    /// Returns the number of the last submission.
    pub(super) fn last(&self) -> u64 {
        self.state().last
    }

    /// Waits until another submission is allowed.
    ///
    /// # Errors
    /// If the device has failed, or does not finish a submission in time.
    pub(super) fn make_room(&self) -> Result<()> {
        self.look();
        if CANNOT_WAIT {
            return self.failure.check();
        }
        let mut throttled = false;
        loop {
            let first = {
                let mut state = self.state();
                let is_full = state.submissions.len() >= MOST_IN_FLIGHT;
                state.throttled += u64::from(is_full && !throttled);
                throttled |= is_full;
                state.submissions.front().filter(|_| is_full).map(|first| first.number)
            };
            match first {
                Some(first) => self.wait_for(first)?,
                None => return self.failure.check(),
            }
        }
    }

    /// Submits encoded commands. The caller has called `make_room`, and has held the lock of the stream since.
    pub(super) fn submit(&self, encoded: wgpu::CommandBuffer, guessed: f64, pace: &Arc<Pace>) {
        let _span = tracing::debug_span!("submit").entered();
        let (number, submitted) = (self.last() + 1, Instant::now());
        // Some drivers run the previous submission in this call, so no lock is held that other threads need.
        let index = self.queue.submit([encoded]);
        let done = self.done.clone();
        self.queue.on_submitted_work_done(move || {
            done.fetch_max(number, Ordering::Release);
        });
        let mut state = self.state();
        state.last = number;
        state.submissions.push_back(Submission { number, index, submitted, guessed, pace: pace.clone() });
        state.most = state.most.max(state.submissions.len());
    }

    /// Frees the resources of finished work, without waiting. Errors go to the failure handler.
    pub(super) fn look(&self) {
        let _ = self.device.poll(wgpu::PollType::Poll);
        self.retire(None);
    }

    /// Removes the finished submissions. The time of one that the host has waited for is known exactly.
    fn retire(&self, awaited: Option<u64>) {
        let mut state = self.state();
        let done = self.done.load(Ordering::Acquire);
        while state.submissions.front().is_some_and(|first| first.number <= done) {
            let Some(first) = state.submissions.pop_front() else { break };
            let now = Instant::now();
            let took = now.saturating_duration_since(first.submitted.max(state.seen));
            first.pace.learn(first.guessed, took, awaited == Some(first.number));
            state.seen = now;
        }
    }

    /// Waits for a submission and all before it, one by one.
    ///
    /// # Errors
    /// If the device has failed, or does not finish a submission in time.
    pub(super) fn wait_for(&self, number: u64) -> Result<()> {
        let _span = tracing::debug_span!("wait").entered();
        self.look();
        if CANNOT_WAIT {
            self.failure.check()?;
            return Err(Error::CannotWait);
        }
        loop {
            self.failure.check()?;
            let (first, index, patience) = {
                let state = self.state();
                let Some(first) = state.submissions.front().filter(|first| first.number <= number) else {
                    return Ok(());
                };
                (first.number, first.index.clone(), state.patience)
            };
            let wait = wgpu::PollType::Wait { submission_index: Some(index), timeout: Some(patience) };
            let polled = self.device.poll(wait);
            self.failure.check()?;
            match polled {
                // Another thread may be about to run the callback that reports this.
                Ok(_) => self.done.fetch_max(first, Ordering::Release),
                Err(wgpu::PollError::Timeout) => return Err(Error::Timeout { patience }),
                Err(error) => return Err(Error::Driver { reason: error.to_string() }),
            };
            self.retire(Some(first));
        }
    }

    /// Returns the answer of a signal, or registers the task to be woken when it arrives. A native backend must be
    /// polled until then, which a helper thread does.
    pub(super) fn poll_signal<T: Send + 'static>(
        &self,
        signal: &Signal<T>,
        context: &mut Context<'_>,
    ) -> Poll<Result<T>> {
        self.look();
        self.failure.check()?;
        if let Some(answer) = signal.take_or_wake(context.waker()) {
            return Poll::Ready(Ok(answer));
        }
        let patience = self.state().patience;
        if signal.has_expired() {
            return Poll::Ready(Err(Error::Timeout { patience }));
        }
        if !CANNOT_WAIT && signal.start_driving() {
            let (device, driven) = (self.device.clone(), signal.clone());
            let drive = move || {
                let start = Instant::now();
                while start.elapsed() < patience {
                    let polled = device.poll(wgpu::PollType::Wait { submission_index: None, timeout: Some(patience) });
                    // Another thread may have fetched the answer, and be about to send it.
                    if driven.arrives_within(Duration::from_millis(10)) {
                        return;
                    }
                    if polled.is_err() {
                        break;
                    }
                }
                driven.expire();
            };
            let thread = std::thread::Builder::new().name("thalweg-poll".to_string()).spawn(drive);
            thread.map_err(|error| Error::Driver { reason: format!("no thread can be started: {error}") })?;
        }
        Poll::Pending
    }

    /// Waits for all submitted work.
    ///
    /// # Errors
    /// See [`wait_for`](Self::wait_for).
    pub(super) fn wait(&self) -> Result<()> {
        self.wait_for(self.last())?;
        // Handles writes without a later submission, and answers to map requests.
        self.look();
        self.failure.check()
    }

    /// Waits for all submitted work, ignoring errors.
    pub(super) fn drain(&self) {
        let timeout = Some(self.state().patience);
        let _ = self.device.poll(wgpu::PollType::Wait { submission_index: None, timeout });
        self.look();
    }
}
