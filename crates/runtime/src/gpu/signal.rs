//! [`Signal`]: the answer of a callback, for a waiting thread or a future.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// An answer that arrives once, from a callback of the driver.
#[derive(Debug)]
pub(super) struct Signal<T>(Arc<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
}

#[derive(Debug)]
struct State<T> {
    answer: Option<T>,
    waker: Option<Waker>,
    /// Whether a thread polls the device until the answer arrives.
    is_driven: bool,
    /// Whether that thread has reached its time limit.
    has_expired: bool,
}

impl<T> Clone for Signal<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Signal<T> {
    pub(super) fn new() -> Self {
        let state = State { answer: None, waker: None, is_driven: false, has_expired: false };
        Self(Arc::new(Inner { state: Mutex::new(state), arrived: Condvar::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the answer and wakes all waiters.
    pub(super) fn set(&self, answer: T) {
        let waker = {
            let mut state = self.state();
            state.answer = Some(answer);
            state.waker.take()
        };
        self.0.arrived.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns the answer, if it is there.
    pub(super) fn take(&self) -> Option<T> {
        self.state().answer.take()
    }

    /// Returns the answer, if it arrives in time.
    pub(super) fn take_within(&self, time: Duration) -> Option<T> {
        let state = self.state();
        let waited = self.0.arrived.wait_timeout_while(state, time, |state| state.answer.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.answer.take()
    }

    /// Returns the answer, or registers `waker` to be woken when it arrives.
    pub(super) fn take_or_wake(&self, waker: &Waker) -> Option<T> {
        let mut state = self.state();
        let answer = state.answer.take();
        if answer.is_none() {
            state.waker = Some(waker.clone());
        }
        answer
    }

    /// Returns `true` once: that caller must poll the device.
    pub(super) fn start_driving(&self) -> bool {
        !std::mem::replace(&mut self.state().is_driven, true)
    }

    /// Returns whether the answer arrives within a time limit.
    pub(super) fn arrives_within(&self, time: Duration) -> bool {
        // The waker is removed when the answer is stored, even if the answer has been taken since.
        let waits = |state: &mut State<T>| state.answer.is_none() && state.waker.is_some();
        let waited = self.0.arrived.wait_timeout_while(self.state(), time, waits);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Ends the polling without an answer.
    pub(super) fn expire(&self) {
        let waker = {
            let mut state = self.state();
            state.has_expired = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns whether the polling has ended without an answer.
    pub(super) fn has_expired(&self) -> bool {
        self.state().has_expired
    }
}
