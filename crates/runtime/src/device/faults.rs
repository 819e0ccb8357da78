//! Indices out of range, which kernels find: noted in memory of the device, and returned by the next read-back.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::{Device, Executor, Reading};
use crate::memory::{Buffer, View, hold_as};
use crate::{DType, Error, Result};

/// The number of faults since the last report, then the index, the bound and the operation of the first one.
pub(super) const WORDS: usize = 4;

/// The memory of a device for faults, made with the first kernel that takes it, and the operations by their numbers.
#[derive(Debug, Default)]
pub(super) struct Faults {
    buffer: OnceLock<Arc<Buffer>>,
    operations: Mutex<Vec<&'static str>>,
}

impl Device {
    /// Returns the memory in which kernels note the first index that is out of range, to bind as
    /// [`Access::Write`](crate::kernel::Access::Write), and the number of an operation there.
    ///
    /// The next read-back returns the first recorded fault as [`Error::Index`] and clears it, without a launch or a wait.
    /// A shader notes an index by `note_fault` of [`FAULTS`](crate::FAULTS), and a twin by [`note_fault`].
    ///
    /// # Errors
    /// If the device has no room or has failed.
    pub fn faults(&self, op: &'static str) -> Result<(View, u32)> {
        let faults = &self.inner.faults;
        let buffer = match faults.buffer.get() {
            Some(buffer) => buffer,
            None => {
                let buffer = hold_as("faults", || self.allocate(4 * WORDS))?;
                self.forget(&buffer)?;
                faults.buffer.get_or_init(|| buffer)
            }
        };
        let mut operations = faults.operations.lock().unwrap_or_else(PoisonError::into_inner);
        let number = operations.iter().position(|other| *other == op).unwrap_or_else(|| {
            operations.push(op);
            operations.len() - 1
        });
        Ok((View::new(buffer.clone(), DType::U32, 0, WORDS), number as u32))
    }

    /// Returns the memory for faults, if a kernel has taken it.
    pub(super) fn fault_memory(&self) -> Option<&Arc<Buffer>> {
        self.inner.faults.buffer.get()
    }

    /// Clears the memory for faults. Recordings do not hold this.
    fn forget(&self, buffer: &Arc<Buffer>) -> Result<()> {
        match &self.inner.executor {
            Executor::Gpu(gpu) => gpu.clear(buffer.gpu(), 0, 4 * WORDS),
            Executor::Cpu => {
                crate::cpu::clear(buffer, 0, 4 * WORDS);
                Ok(())
            }
        }
    }

    /// Returns the fault in the words of a read, and forgets it; the read keeps it for later calls.
    pub(super) fn check_faults(&self, words: &[u32], reading: &mut Reading) -> Result<()> {
        let &[count, index, bound, operation] = words else { return Ok(()) };
        if count == 0 {
            return Ok(());
        }
        if let Some(buffer) = self.fault_memory() {
            self.forget(buffer)?;
        }
        let operations = self.inner.faults.operations.lock().unwrap_or_else(PoisonError::into_inner);
        let op = operations.get(operation as usize).copied().unwrap_or("kernel");
        let error = Error::Index { op, index, bound };
        *reading = Reading::Refused(error.clone());
        Err(error)
    }
}

/// Notes an index that is out of range, unless there is one already: what a twin does with the memory of
/// [`Device::faults`].
pub fn note_fault(faults: &mut [u32], index: u32, bound: u32, operation: u32) {
    if faults[0] == 0 {
        faults.copy_from_slice(&[1, index, bound, operation]);
    }
}
