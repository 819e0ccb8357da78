//! Saves and restores the words of the clock, so that a run continues bit-exactly.

use std::mem::offset_of;

use super::Clock;
use crate::optim::time::{ClockWords, SCHEDULE, STEP};
use crate::{Error, Result};

/// The index of the count of finished workgroups.
const FINISHED: usize = offset_of!(ClockWords, finished) / 4;

impl Clock {
    /// The number of words of a saved clock.
    pub const SAVED_WORDS: usize = size_of::<ClockWords>() / 4;

    /// Returns all values that the clock keeps between steps, as words: counts, and the bits of floats. Words that
    /// describe the table on the device, schedule and segments, are 0. Waits for the device.
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

    /// Sets the clock to the result of [`save`](Self::save). The schedule is kept and continues at the saved
    /// position; recordings remain valid. Waits for the device.
    ///
    /// # Errors
    /// If these are not the words of a clock, in which case nothing is changed; or if work on the device has failed.
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
