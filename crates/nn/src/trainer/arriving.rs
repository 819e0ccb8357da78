//! Numbers on their way from the device to the host, which no step waits for.

use thalweg_tensor::{PendingClock, PendingRead, ValueLog};

use crate::{Optimizer, Result};

/// Steps between two looks at the losses, or at the clock, at least.
const STEPS_BETWEEN_READS: u64 = 64;

/// The losses of an epoch on their way to the host, of which it has seen some.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    pub(super) seen: u64,
    pending: Option<PendingRead<f32>>,
}

impl Arriving {
    /// Returns losses that have arrived. Asks for those of the steps so far if none are on their way.
    pub(super) fn next(&mut self, log: &ValueLog, step: u64) -> Result<Option<Vec<f32>>> {
        if let Some(pending) = &mut self.pending {
            let arrived = pending.poll()?;
            if let Some(losses) = &arrived {
                self.seen += losses.len() as u64;
                self.pending = None;
            }
            return Ok(arrived);
        }
        if step >= self.seen + STEPS_BETWEEN_READS {
            self.pending = Some(log.read_later(self.seen as usize..step as usize)?);
        }
        Ok(None)
    }
}

/// Looks for skipped steps, if they are to be an error, without waiting for the device.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The step that was asked for last.
    asked: u64,
    pending: Option<PendingClock>,
}

impl Watch {
    pub(super) fn look(&mut self, optimizer: &Optimizer, step: u64) -> Result<()> {
        if let Some(pending) = &mut self.pending {
            if pending.poll()?.is_some() {
                self.pending = None;
            }
        } else if step >= self.asked + STEPS_BETWEEN_READS {
            self.asked = step;
            self.pending = Some(optimizer.read_clock_later()?);
        }
        Ok(())
    }
}
