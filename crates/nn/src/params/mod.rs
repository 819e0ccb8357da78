//! [`Params`]: all parameters of a model in common memory.

mod buffer;
mod builder;
mod random;
pub(crate) mod swap;

use std::sync::Arc;

use thalweg_autograd::Parameter;
use thalweg_tensor::{Arena, Device, Tensor};
use wildmatch::WildMatch;

use crate::{CheckpointTensor, Error, Result};

pub use buffer::Buffer;
pub use builder::{ParamsBuilder, Path};
pub(crate) use random::RandomStream;
use swap::Exchange;

/// All parameters of a model, with its buffers. The parameters are slices of one arena and their gradients slices of
/// another with the same layout, so an optimizer updates all of them in one launch. A clone is cheap.
#[derive(Debug, Clone)]
pub struct Params {
    parameters: Vec<Parameter>,
    buffers: Vec<Buffer>,
    values: Arena,
    grads: Arena,
    dropouts: Vec<Arc<RandomStream>>,
    exchange: Arc<Exchange>,
}

impl Params {
    /// Returns the device of the parameters.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.values.device()
    }

    /// Returns the number of parameters, each a tensor.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parameters.len()
    }

    /// Returns whether there are no parameters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// Returns the number of learned numbers.
    #[must_use]
    pub fn element_count(&self) -> usize {
        self.values.element_count()
    }

    /// Returns the parameters, in the order of their declaration.
    #[must_use]
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Returns the parameter with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name() == name)
    }

    /// Returns the buffers, in the order of their declaration.
    #[must_use]
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// Returns the arena of the values.
    #[must_use]
    pub fn values(&self) -> &Arena {
        &self.values
    }

    /// Returns the arena of the gradients, for reading or writing. Gradients that no backward pass has written since
    /// [`zero_grad`](Self::zero_grad) are zeroed first. From then on all gradients count as written
    /// ([`Parameter::has_grad`]).
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn grads(&self) -> Result<&Arena> {
        for parameter in &self.parameters {
            parameter.grad()?;
        }
        Ok(&self.grads)
    }

    /// Returns the same arena as [`grads`](Self::grads), for reading only.
    pub(crate) fn settled_grads(&self) -> Result<&Arena> {
        for parameter in &self.parameters {
            parameter.settle()?;
        }
        Ok(&self.grads)
    }

    /// Checks that there is a gradient to step with.
    pub(crate) fn check_grads(&self, call: &'static str) -> Result<()> {
        let learns = |parameter: &Parameter| !parameter.is_frozen() && parameter.has_grad();
        if self.is_empty() || self.parameters.iter().any(learns) {
            return Ok(());
        }
        let problem = if self.parameters.iter().all(Parameter::is_frozen) {
            "every parameter is frozen; unfreeze one first"
        } else {
            "no parameter has a gradient; run a backward pass first"
        };
        Err(Error::Order { call, problem: problem.to_string() })
    }

    /// Freezes the parameters whose names match a pattern, or unfreezes them: see [`Parameter::set_frozen`]. In a
    /// pattern `*` matches any number of characters and `?` matches one. Returns the number of matching parameters.
    ///
    /// ```
    /// use thalweg_nn::{Linear, ParamsBuilder};
    /// use thalweg_tensor::Device;
    /// # fn main() -> thalweg_nn::Result<()> {
    /// let mut builder = ParamsBuilder::new(0);
    /// let body = Linear::new(&mut builder, "body", 4, 8)?;
    /// let params = builder.build(&Device::cpu())?;
    /// assert_eq!(params.set_frozen("body.*", true)?, 2);
    /// assert!(body.bias().is_frozen());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] if the pattern matches no parameter.
    pub fn set_frozen(&self, pattern: &str, frozen: bool) -> Result<usize> {
        let matching = matching(pattern, &self.parameters)?;
        for &i in &matching {
            self.parameters[i].set_frozen(frozen);
        }
        Ok(matching.len())
    }

    /// Checks that the arena contains the parameters themselves, and not averages of them.
    pub(crate) fn check_in_place(&self, call: &'static str) -> Result<()> {
        self.exchange.check(call)
    }

    pub(crate) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
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

    /// Writes the tensors over the parameters and buffers with the same names. Other tensors are ignored.
    ///
    /// # Errors
    /// [`Error::State`] if one is missing or has another shape or type, [`Error::Order`] while averages replace the
    /// parameters, as after [`Optimizer::eval`](crate::Optimizer::eval). Nothing is changed then.
    pub fn load(&self, tensors: &[CheckpointTensor]) -> Result<()> {
        self.check_in_place("Params::load")?;
        self.check(tensors)?;
        let named = self.named_tensors()?;
        named.into_iter().try_for_each(|(name, tensor)| find(tensors, name)?.write(tensor))
    }

    /// Checks that each parameter and each buffer has a tensor that fits.
    pub(crate) fn check(&self, tensors: &[CheckpointTensor]) -> Result<()> {
        let named = self.named_tensors()?;
        named.into_iter().try_for_each(|(name, tensor)| find(tensors, name)?.check(tensor))
    }

    /// Returns the tensors to save.
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

    /// Returns how often each dropout layer has drawn random numbers, in the order of declaration. Together with the
    /// seed these counters determine their next numbers. Waits for the device.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn random_counters(&self) -> Result<Vec<u32>> {
        self.dropouts.iter().map(|stream| stream.calls()).collect()
    }

    /// Sets the counters of [`random_counters`](Self::random_counters), so that a run continues where it was.
    ///
    /// # Errors
    /// [`Error::State`] if their number differs from the number of dropout layers. If work on the device has failed.
    pub fn set_random_counters(&self, counters: &[u32]) -> Result<()> {
        self.check_random_counters(counters)?;
        self.dropouts.iter().zip(counters).try_for_each(|(stream, &calls)| stream.set_calls(self.device(), calls))
    }
}

/// Returns the tensor with this name.
fn find<'a>(tensors: &'a [CheckpointTensor], name: &str) -> Result<&'a CheckpointTensor> {
    let found = tensors.iter().find(|tensor| tensor.name == name);
    found.ok_or_else(|| Error::state(name, "the tensor is missing"))
}

/// Returns the positions of the parameters whose names match a pattern.
///
/// # Errors
/// [`Error::Setting`] if there are none.
pub(crate) fn matching(pattern: &str, parameters: &[Parameter]) -> Result<Vec<usize>> {
    let names = WildMatch::new(pattern);
    let matching: Vec<usize> = (0..parameters.len()).filter(|&i| names.matches(parameters[i].name())).collect();
    if matching.is_empty() {
        return Err(Error::Setting {
            field: "pattern",
            value: format!("{pattern:?}"),
            rule: "one that matches the name of a parameter; `*` stands for any characters, `?` for one",
        });
    }
    Ok(matching)
}
