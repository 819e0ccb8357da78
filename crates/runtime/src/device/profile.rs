//! [`Device::profile`].

use super::Device;
use crate::profile::{Profile, Times};
use crate::time::Instant;
use crate::{Error, Result};

impl Device {
    /// Runs a closure and measures every launch in it, both eager work and replays. The results have the same bits as
    /// without a profile. Waits for the device before and after.
    ///
    /// On a GPU with timestamps each launch runs in a separate compute pass, so the total time is longer than without
    /// a profile. The durations are those of the kernels. On hardware, independent launches may overlap. On a GPU the
    /// profile includes launches of other threads; on the CPU it includes only this thread's.
    ///
    /// # Errors
    /// Returns the closure's own error; [`Error::Profile`] if the device, or on the CPU this thread, is already being
    /// profiled; [`Error::Recording`] while a recording is made.
    pub fn profile<T, E: From<Error>>(&self, body: impl FnOnce() -> Result<T, E>) -> Result<(Profile, T), E> {
        /// Ends the profile if the closure fails or panics.
        struct Stop<'a>(&'a Device);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.stop_timing();
            }
        }
        self.synchronize()?;
        let began = Instant::now();
        let source = self.start_timing(began)?;
        let stop = Stop(self);
        let value = body()?;
        self.synchronize()?;
        // From here on another thread may start a profile, which must not be stopped here.
        std::mem::forget(stop);
        let Times { launches, omitted } = self.finish_timing()?;
        Ok((Profile { began, source, launches, omitted }, value))
    }
}
