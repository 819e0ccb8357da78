//! [`Device::profile`].

use super::Device;
use crate::profile::{Profile, Times};
use crate::time::Instant;
use crate::{Error, Result};

impl Device {
    /// Runs a closure and takes the time of every launch in it, of eager work and of replays alike. Results are the same
    /// bits as without. Waits for the device before and after.
    ///
    /// A GPU that has timestamps gives each launch a compute pass of its own, so that the whole takes longer than it
    /// would; the durations are the kernels' own, and in hardware those of launches that do not depend on each other may
    /// overlap. Launches of other threads on the same GPU are included, on the CPU only this thread's are.
    ///
    /// # Errors
    /// Whatever the closure fails with; [`Error::Profile`] if the device, or on the CPU this thread, is being profiled
    /// already; [`Error::Recording`] while a recording is made.
    pub fn profile<T, E: From<Error>>(&self, body: impl FnOnce() -> Result<T, E>) -> Result<(Profile, T), E> {
        /// Ends a profile whose closure fails or panics.
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
        // From here on a profile of another thread may begin, which is not this one's to stop.
        std::mem::forget(stop);
        let Times { launches, omitted } = self.finish_timing()?;
        Ok((Profile { began, source, launches, omitted }, value))
    }
}
