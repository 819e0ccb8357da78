//! The recordings of a run: one for each kind of step.

use std::collections::HashMap;

use thalweg_tensor::{Device, Recording};

use crate::{Error, Result};

/// The properties that distinguish steps with different work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    /// The rows of the batch.
    pub(super) rows: usize,
    /// Whether the step estimates the Hessian's diagonal.
    pub(super) estimates: bool,
}

/// The recordings of a run.
#[derive(Debug, Default)]
pub(super) struct Recordings(HashMap<Kind, Recorded>);

#[derive(Debug)]
struct Recorded {
    recording: Recording,
    /// Whether it may be replayed: in debug builds only after a comparison with another step.
    is_compared: bool,
}

impl Recordings {
    /// Takes at most `most` steps of one kind, and returns how many it took. A recording is replayed; the first step
    /// of a kind is recorded. `step` takes one.
    ///
    /// Debug builds record the second step of a kind too, instead of a replay, and compare the two. They differ if the
    /// step depends on the host, where a replay would repeat the first one.
    pub(super) fn run(
        &mut self,
        device: &Device,
        kind: Kind,
        most: u64,
        step: impl FnMut() -> Result<()>,
    ) -> Result<u64> {
        if let Some(Recorded { recording, is_compared: true }) = self.0.get(&kind) {
            recording.replay(most as usize)?;
            return Ok(most);
        }
        let (recording, ()) = device.record(step)?;
        match self.0.get_mut(&kind) {
            Some(first) => {
                if let Some(difference) = first.recording.difference(&recording) {
                    return Err(Error::HostState { difference });
                }
                first.is_compared = true;
            }
            None => {
                self.0.insert(kind, Recorded { recording, is_compared: !cfg!(debug_assertions) });
            }
        }
        Ok(1)
    }
}
