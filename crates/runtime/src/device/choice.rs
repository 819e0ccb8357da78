//! The choice of a device by a word, an index or a name, and the GPUs that are open.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{Device, Executor, Inner};
use crate::gpu::{self, Found, Gpu};
use crate::info::DeviceKind;
use crate::{Error, Result};

/// A device that was chosen and is not open yet.
pub(super) enum Choice {
    Cpu,
    Gpu(Found),
}

/// Finds a device by a word, as [`Device::open`] takes it.
pub(super) fn find(word: &str) -> Result<Choice> {
    let lower = word.to_ascii_lowercase();
    if lower == "cpu" {
        return Ok(Choice::Cpu);
    }
    let found = gpu::find();
    match lower.as_str() {
        "auto" => Ok(match found.into_iter().next() {
            Some(first) if first.info.kind == DeviceKind::Hardware => Choice::Gpu(first),
            _ => Choice::Cpu,
        }),
        "gpu" => pick(found, word, |_, index| index == 0),
        // A number may also be the name of a model.
        _ => match lower.parse::<usize>() {
            Ok(wanted) if wanted < found.len() => pick(found, word, |_, index| index == wanted),
            _ => pick(found, word, |found, _| has_name(found, &lower)),
        },
    }
}

/// Finds the GPU with this index.
pub(super) fn find_at(wanted: usize) -> Result<Choice> {
    pick(gpu::find(), &wanted.to_string(), |_, index| index == wanted)
}

/// Finds the first GPU whose name contains `name`.
pub(super) fn find_named(name: &str) -> Result<Choice> {
    let lower = name.to_lowercase();
    pick(gpu::find(), name, |found, _| has_name(found, &lower))
}

/// Whether the name of an adapter contains some letters; it does not contain none.
fn has_name(found: &Found, lower: &str) -> bool {
    !lower.trim().is_empty() && found.info.name.to_lowercase().contains(lower)
}

fn pick(found: Vec<Found>, wanted: &str, is_it: impl Fn(&Found, usize) -> bool) -> Result<Choice> {
    let names = found.iter().map(|found| found.info.name.clone()).collect();
    let mut all = found.into_iter().enumerate();
    match all.find(|(index, found)| is_it(found, *index)) {
        Some((_, found)) => Ok(Choice::Gpu(found)),
        None => Err(Error::NoAdapter { wanted: wanted.to_string(), found: names }),
    }
}

impl Choice {
    /// Returns the device that all share.
    pub(super) fn open(&self) -> Result<Device> {
        /// The GPUs that somebody holds, by adapter.
        static OPEN: Mutex<Vec<(String, Weak<Inner>)>> = Mutex::new(Vec::new());
        let Self::Gpu(found) = self else { return Ok(Device::cpu()) };
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody holds any more, and those that have failed, are opened anew.
        open.retain(|(_, inner)| inner.upgrade().is_some_and(|inner| !has_failed(&inner)));
        if let Some(inner) = open.iter().find(|(id, _)| *id == found.id).and_then(|(_, inner)| inner.upgrade()) {
            return Ok(Device { inner });
        }
        let device = self.open_new()?;
        open.push((found.id.clone(), Arc::downgrade(&device.inner)));
        Ok(device)
    }

    /// Opens a device of its own.
    pub(super) fn open_new(&self) -> Result<Device> {
        Ok(Device::with_executor(match self {
            Self::Cpu => Executor::Cpu,
            Self::Gpu(found) => Executor::Gpu(Box::new(Gpu::open(found)?)),
        }))
    }
}

fn has_failed(inner: &Inner) -> bool {
    matches!(&inner.executor, Executor::Gpu(gpu) if gpu.has_failed())
}
