//! Numbers in flight from the device to the host, for which no step waits.

use thalweg_tensor::{PendingClock, PendingRead, ValueLog};

use crate::{Optimizer, Result};

/// The minimum number of steps between two reads of the losses or of the clock.
const STEPS_BETWEEN_READS: u64 = 64;

/// The losses of an epoch in flight, of which the host has some.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    pub(super) seen: u64,
    pending: Option<PendingRead<f32>>,
}

impl Arriving {
    /// Returns losses that have arrived. Requests those of the steps so far if none are in flight.
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

/// Checks for skipped steps, if these are an error, without waiting for the device.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The step of the last request.
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
