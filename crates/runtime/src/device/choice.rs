//! The choice of a device by a word, an index or a name, and the list of open GPUs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{Device, Executor, Inner};
use crate::gpu::{self, Found, Gpu};
use crate::info::DeviceKind;
use crate::{Error, Result};

/// A chosen device that is not open yet.
pub(super) enum Choice {
    Cpu,
    Gpu(Found),
}

/// Finds a device by a word, as in [`Device::open`].
pub(super) fn find(word: &str) -> Result<Choice> {
    if word.eq_ignore_ascii_case("cpu") { Ok(Choice::Cpu) } else { choose(word, gpu::find()) }
}

/// Finds a device by a word without blocking.
pub(super) async fn find_async(word: &str) -> Result<Choice> {
    if word.eq_ignore_ascii_case("cpu") { Ok(Choice::Cpu) } else { choose(word, gpu::find_async().await) }
}

fn choose(word: &str, found: Vec<Found>) -> Result<Choice> {
    let lower = word.to_ascii_lowercase();
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

/// Returns whether the name of an adapter contains some letters; `false` for no letters.
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
    /// Returns the shared device.
    pub(super) fn open(&self) -> Result<Device> {
        let Self::Gpu(found) = self else { return Ok(Device::cpu()) };
        let mut open = open_gpus();
        if let Some(device) = open.shared(found) {
            return Ok(device);
        }
        let device = self.open_new()?;
        open.share(found, &device);
        Ok(device)
    }

    /// Opens the shared device without blocking. If two tasks open the same adapter at once, the second one uses the
    /// device of the first.
    pub(super) async fn open_async(&self) -> Result<Device> {
        let Self::Gpu(found) = self else { return Ok(Device::cpu()) };
        if let Some(device) = open_gpus().shared(found) {
            return Ok(device);
        }
        let opened = Device::with_executor(Executor::Gpu(Box::new(Gpu::open(found).await?)));
        let mut open = open_gpus();
        if let Some(device) = open.shared(found) {
            return Ok(device);
        }
        open.share(found, &opened);
        Ok(opened)
    }

    /// Opens a new device that is not shared.
    pub(super) fn open_new(&self) -> Result<Device> {
        Ok(Device::with_executor(match self {
            Self::Cpu => Executor::Cpu,
            Self::Gpu(found) => Executor::Gpu(Box::new(gpu::open(found)?)),
        }))
    }
}

/// The GPUs in use, by adapter.
struct OpenGpus(Vec<(String, Weak<Inner>)>);

fn open_gpus() -> MutexGuard<'static, OpenGpus> {
    static OPEN: Mutex<OpenGpus> = Mutex::new(OpenGpus(Vec::new()));
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OpenGpus {
    /// Returns the shared device of an adapter. A device that has failed or is no longer in use is not shared.
    fn shared(&mut self, found: &Found) -> Option<Device> {
        self.0.retain(|(_, inner)| inner.upgrade().is_some_and(|inner| !has_failed(&inner)));
        let inner = self.0.iter().find(|(id, _)| *id == found.id).and_then(|(_, inner)| inner.upgrade());
        inner.map(|inner| Device { inner })
    }

    fn share(&mut self, found: &Found, device: &Device) {
        self.0.push((found.id.clone(), Arc::downgrade(&device.inner)));
    }
}

fn has_failed(inner: &Inner) -> bool {
    matches!(&inner.executor, Executor::Gpu(gpu) if gpu.has_failed())
}
