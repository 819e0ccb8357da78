//! [`Params`]: all parameters of a model in common memory.

mod buffer;
mod builder;
mod random;

use std::sync::Arc;

use thalweg_autograd::Parameter;
use thalweg_tensor::{Arena, Device, Tensor};

use crate::{CheckpointTensor, Error, Result};

pub use buffer::Buffer;
pub use builder::{ParamsBuilder, Path};
pub(crate) use random::RandomStream;

/// All parameters of a model: slices of one arena, and their gradients of another with the same layout, so that an
/// optimizer reaches all by one launch; and the buffers beside them. A cheap clone.
#[derive(Debug, Clone)]
pub struct Params {
    parameters: Vec<Parameter>,
    buffers: Vec<Buffer>,
    values: Arena,
    grads: Arena,
    dropouts: Vec<Arc<RandomStream>>,
}

impl Params {
    /// The device they lie on.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.values.device()
    }

    /// The number of parameters, each a tensor.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parameters.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// The number of numbers that are learned.
    #[must_use]
    pub fn element_count(&self) -> usize {
        self.values.element_count()
    }

    /// The parameters, in the order of their declaration.
    #[must_use]
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The parameter with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name() == name)
    }

    /// Returns the buffers, in the order of their declaration.
    #[must_use]
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// The arena of the values.
    #[must_use]
    pub fn values(&self) -> &Arena {
        &self.values
    }

    /// The arena of the gradients. What no backward pass has written since [`zero_grad`](Self::zero_grad) is zeroed
    /// first.
    ///
    /// # Errors
    /// Where work on the device has failed.
    pub fn grads(&self) -> Result<&Arena> {
        for parameter in &self.parameters {
            parameter.settle()?;
        }
        Ok(&self.grads)
    }

    /// Makes all gradients zero. No memory is touched; the next backward pass writes over them.
    pub fn zero_grad(&self) {
        self.parameters.iter().for_each(Parameter::zero_grad);
    }

    /// Reads back names, shapes and values: the parameters, then the buffers, in the order of declaration.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn to_host(&self) -> Result<Vec<CheckpointTensor>> {
        let named = self.named_tensors()?;
        named.into_iter().map(|(name, tensor)| CheckpointTensor::read(name, tensor)).collect()
    }

    /// Writes over all parameters and buffers with those of these tensors that have their names. Others are left out of
    /// account.
    ///
    /// # Errors
    /// [`Error::State`] if one is missing or has another shape or type; then nothing is changed.
    pub fn load(&self, tensors: &[CheckpointTensor]) -> Result<()> {
        self.check(tensors)?;
        let named = self.named_tensors()?;
        named.into_iter().try_for_each(|(name, tensor)| find(tensors, name)?.write(tensor))
    }

    /// Checks that there is a tensor that fits for each parameter and each buffer.
    pub(crate) fn check(&self, tensors: &[CheckpointTensor]) -> Result<()> {
        let named = self.named_tensors()?;
        named.into_iter().try_for_each(|(name, tensor)| find(tensors, name)?.check(tensor))
    }

    /// All that is saved.
    fn named_tensors(&self) -> Result<Vec<(&str, &Tensor)>> {
        let parameters = self.parameters.iter().map(|parameter| Ok((parameter.name(), parameter.value()?)));
        parameters.chain(self.buffers.iter().map(|buffer| Ok((buffer.name(), buffer.value()?)))).collect()
    }

    pub(crate) fn check_random_counters(&self, counters: &[u32]) -> Result<()> {
        if counters.len() == self.dropouts.len() {
            return Ok(());
        }
        let problem = format!("there are {}, but the model has {} dropout layers", counters.len(), self.dropouts.len());
        Err(Error::state("random counters", problem))
    }

    /// How often each dropout layer has drawn random numbers, in the order of declaration: with the seed all that their
    /// next numbers follow from. Waits for the device.
    ///
    /// # Errors
    /// Where work on the device has failed.
    pub fn random_counters(&self) -> Result<Vec<u32>> {
        self.dropouts.iter().map(|stream| stream.calls()).collect()
    }

    /// Sets what [`random_counters`](Self::random_counters) has given, so that a run goes on where it was.
    ///
    /// # Errors
    /// [`Error::State`] where there are not as many as dropout layers; where work on the device has failed.
    pub fn set_random_counters(&self, counters: &[u32]) -> Result<()> {
        self.check_random_counters(counters)?;
        self.dropouts.iter().zip(counters).try_for_each(|(stream, &calls)| stream.set_calls(self.device(), calls))
    }
}

/// The tensor with this name.
fn find<'a>(tensors: &'a [CheckpointTensor], name: &str) -> Result<&'a CheckpointTensor> {
    let found = tensors.iter().find(|tensor| tensor.name == name);
    found.ok_or_else(|| Error::state(name, "the tensor is missing"))
}
