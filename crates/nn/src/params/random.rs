//! [`RandomStream`]: the random numbers of a dropout layer.

use std::sync::OnceLock;

use thalweg_tensor::{Device, DropoutState};

use crate::Result;

/// The random numbers of a dropout layer: seed, stream, and a state on the device, which is created on first use.
#[derive(Debug)]
pub(crate) struct RandomStream {
    seed: u64,
    stream: u64,
    state: OnceLock<DropoutState>,
}

impl RandomStream {
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        Self { seed, stream, state: OnceLock::new() }
    }

    pub(crate) fn state(&self, device: &Device) -> Result<&DropoutState> {
        if let Some(state) = self.state.get() {
            return Ok(state);
        }
        let made = DropoutState::new(device, self.seed, self.stream)?;
        Ok(self.state.get_or_init(|| made))
    }

    /// Returns how often it has drawn.
    pub(super) fn calls(&self) -> Result<u32> {
        Ok(self.state.get().map_or(Ok(0), DropoutState::calls)?)
    }

    pub(super) fn set_calls(&self, device: &Device, calls: u32) -> Result<()> {
        // A stream that has not drawn yet needs no state on the device.
        if calls > 0 || self.state.get().is_some() {
            self.state(device)?.set_calls(calls)?;
        }
        Ok(())
    }
}
