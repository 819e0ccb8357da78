//! The words of the clock, to be saved and set again, so that a run goes on to the bit.

use std::mem::offset_of;

use super::Clock;
use crate::optim::time::{ClockWords, SCHEDULE, STEP};
use crate::{Error, Result};

/// Where the count of workgroups that have ended stands.
const FINISHED: usize = offset_of!(ClockWords, finished) / 4;

impl Clock {
    /// The number of words of a saved clock.
    pub const SAVED_WORDS: usize = size_of::<ClockWords>() / 4;

    /// Returns all that the clock keeps from step to step, as words: counts, and the bits of floats. What belongs to
    /// the table on the device, schedule and segments, is 0 there. Waits for the device.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn save(&self) -> Result<Vec<u32>> {
        let mut words = self.state().to_vec::<u32>()?;
        for place in [FINISHED, SCHEDULE, SCHEDULE + 1] {
            words[place] = 0;
        }
        Ok(words)
    }

    /// Returns the number of updates that a saved clock has counted.
    #[must_use]
    pub fn saved_step(words: &[u32]) -> u32 {
        words.get(STEP).copied().unwrap_or(0)
    }

    /// Sets the clock to what [`save`](Self::save) has given. The schedule stays, and goes on at the saved place; recordings
    /// stay, too. Waits for the device.
    ///
    /// # Errors
    /// If these are not the words of a clock; then nothing is changed. Where work on the device has failed.
    pub fn restore(&mut self, words: &[u32]) -> Result<()> {
        if words.len() != Self::SAVED_WORDS {
            return Err(Error::Argument {
                op: "restore",
                name: "words",
                value: words.len().to_string(),
                rule: "as many as a clock of this version has",
            });
        }
        let mut next = self.state().to_vec::<u32>()?;
        for (place, (next, word)) in next.iter_mut().zip(words).enumerate() {
            if ![FINISHED, SCHEDULE, SCHEDULE + 1].contains(&place) {
                *next = *word;
            }
        }
        self.forget_reports();
        self.state().write(&next)
    }
}
