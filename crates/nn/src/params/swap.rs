//! Replaces the parameters by other values, such as averages, and keeps the parameters.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thalweg_tensor::{Arena, Device, guard, hold_as, is_recording};

use crate::{Error, Params, Result};

/// The names of the calls that exchange the parameters of a model, for errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Calls {
    /// Replaces the parameters by other values.
    pub(crate) put_in: &'static str,
    /// Puts the parameters back.
    pub(crate) take_out: &'static str,
}

/// The owner of the values that replace the parameters of a model. All clones of [`Params`] share it, so that two
/// owners cannot exchange them at once.
#[derive(Debug, Default)]
pub(crate) struct Exchange(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The owner of the current values, and the calls that it uses; `None` for the parameters themselves.
    owner: Option<(u64, Calls)>,
    kept: Option<Arena>,
}

impl Exchange {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that the parameters themselves are in place.
    pub(crate) fn check(&self, call: &'static str) -> Result<()> {
        self.lock().owner.map_or(Ok(()), |(_, calls)| Err(in_place(call, calls)))
    }

    /// Makes the current recording of this thread on a device, if there is one, refuse its replay while other values
    /// are in place.
    pub(crate) fn guard(self: &Arc<Self>, device: &Device) {
        if is_recording(device) {
            let exchange = self.clone();
            guard(move || {
                let owner = exchange.lock().owner;
                owner.map_or(Ok(()), |(_, calls)| Err(thalweg_tensor::Error::Stale { problem: calls.problem() }))
            });
        }
    }
}

impl Calls {
    fn problem(self) -> String {
        let Self { put_in, take_out } = self;
        format!("{put_in} has put other values in the place of the parameters; call {take_out} first")
    }
}

fn in_place(call: &'static str, calls: Calls) -> Error {
    Error::Order { call, problem: calls.problem() }
}

/// An owner that may exchange the parameters: an optimizer or an average. If it is dropped, the current values stay in
/// place.
#[derive(Debug)]
pub(crate) struct Swap {
    id: u64,
    params: Params,
}

impl Swap {
    pub(crate) fn new(params: &Params) -> Self {
        static SWAPS: AtomicU64 = AtomicU64::new(0);
        Self { id: SWAPS.fetch_add(1, Ordering::Relaxed), params: params.clone() }
    }

    fn exchange(&self) -> &Arc<Exchange> {
        self.params.exchange()
    }

    /// Returns whether values of this owner are in place.
    pub(crate) fn is_in(&self) -> bool {
        self.exchange().lock().owner.is_some_and(|(id, _)| id == self.id)
    }

    /// Puts other values in place, unless they are there already. `put` writes them, and saves the parameters in the
    /// given arena.
    ///
    /// # Errors
    /// [`Error::Order`] if values of another owner, or of another call, are in place.
    pub(crate) fn put_in(
        &self,
        calls: Calls,
        put: impl FnOnce(&Arena, &Arena) -> thalweg_tensor::Result<()>,
    ) -> Result<()> {
        let mut state = self.exchange().lock();
        match state.owner {
            Some(owner) if owner == (self.id, calls) => return Ok(()),
            Some((_, other)) => return Err(in_place(calls.put_in, other)),
            None => {}
        }
        let values = self.params.values();
        let kept = match state.kept.take() {
            Some(kept) => kept,
            None => hold_as("optimizer state", || values.zeros_like())?,
        };
        let done = put(values, &kept);
        state.kept = Some(kept);
        done?;
        state.owner = Some((self.id, calls));
        Ok(())
    }

    /// Restores the parameters, to the bit, with one copy. Does nothing if they are in place.
    ///
    /// # Errors
    /// [`Error::Order`] if values of another owner are in place.
    pub(crate) fn take_out(&self, call: &'static str) -> Result<()> {
        let mut state = self.exchange().lock();
        match (state.owner, &state.kept) {
            (Some((id, other)), _) if id != self.id => return Err(in_place(call, other)),
            (Some(_), Some(kept)) => self.params.values().copy_from(kept)?,
            _ => {}
        }
        state.owner = None;
        Ok(())
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let mut state = self.exchange().lock();
        state.owner.take_if(|(id, _)| *id == self.id);
        if state.owner.is_none() {
            state.kept = None;
        }
    }
}
