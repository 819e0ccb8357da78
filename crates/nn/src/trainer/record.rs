//! The recordings of a run: one for each kind of step.

use std::collections::HashMap;

use thalweg_tensor::{Device, Recording};

use crate::Result;

/// What tells steps apart that are not the same work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    /// The rows of the batch.
    pub(super) rows: usize,
    /// Whether the step estimates the Hessian's diagonal.
    pub(super) estimates: bool,
}

/// The recordings of a run.
#[derive(Debug, Default)]
pub(super) struct Recordings(HashMap<Kind, Recording>);

impl Recordings {
    /// Takes steps of one kind, at most so many, and returns how many it took: a recording is replayed, and the first step
    /// of a kind is recorded. `step` takes one.
    pub(super) fn run(
        &mut self,
        device: &Device,
        kind: Kind,
        most: u64,
        step: impl FnMut() -> Result<()>,
    ) -> Result<u64> {
        if let Some(recording) = self.0.get(&kind) {
            recording.replay(most as usize)?;
            return Ok(most);
        }
        let (recording, ()) = device.record(step)?;
        self.0.insert(kind, recording);
        Ok(1)
    }
}
