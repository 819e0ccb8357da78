//! [`Params`]: all parameters of a model in common memory.

use std::sync::{Arc, OnceLock};

use thalweg_autograd::Parameter;
use thalweg_tensor::{Arena, Device, DropoutState, hold_as};

use crate::{CheckpointTensor, Error, Init, Result};

/// Streams of random numbers, so that none is drawn twice: parameters count from here,
const PARAMETER_STREAMS: u64 = 0;
/// and dropout layers from here.
const DROPOUT_STREAMS: u64 = 1 << 32;

/// The random numbers of a dropout layer: seed, stream, and the state on the device, which is made when it is first needed.
#[derive(Debug)]
pub(crate) struct RandomStream {
    seed: u64,
    stream: u64,
    state: OnceLock<DropoutState>,
}

impl RandomStream {
    pub(crate) fn state(&self, device: &Device) -> Result<&DropoutState> {
        if let Some(state) = self.state.get() {
            return Ok(state);
        }
        let made = DropoutState::new(device, self.seed, self.stream)?;
        Ok(self.state.get_or_init(|| made))
    }
}

/// Collects the parameters of a model while its modules are made; [`build`](Self::build) gives them memory.
///
/// ```
/// use thalweg_nn::{Linear, ParamsBuilder};
/// use thalweg_tensor::Device;
/// # fn main() -> thalweg_nn::Result<()> {
/// let mut builder = ParamsBuilder::new(0);
/// let layer = Linear::new(&mut builder, "head", 4, 3)?;
/// let params = builder.build(&Device::cpu())?;
/// assert_eq!((params.len(), params.element_count()), (2, 15));
/// assert_eq!(layer.weight().name(), "head.weight");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ParamsBuilder {
    seed: u64,
    entries: Vec<(Parameter, Init)>,
    dropouts: Vec<Arc<RandomStream>>,
}

impl ParamsBuilder {
    /// An empty collection. The seed decides the initial values, the same on every device.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, entries: Vec::new(), dropouts: Vec::new() }
    }

    /// Declares a parameter of this shape; it has no memory before [`build`](Self::build). Its initial values follow from
    /// the seed and from its place in the order of declaration.
    ///
    /// # Errors
    /// [`Error::Setting`] where the name is taken, or the initialisation does not fit the shape.
    pub fn add(&mut self, name: impl Into<String>, shape: &[usize], init: Init) -> Result<Parameter> {
        let name = name.into();
        if self.entries.iter().any(|(parameter, _)| parameter.name() == name) {
            return Err(Error::Setting {
                field: "name",
                value: name,
                rule: "different from that of every other parameter",
            });
        }
        init.validate(shape)?;
        let parameter = Parameter::declare(name, shape);
        self.entries.push((parameter.clone(), init));
        Ok(parameter)
    }

    /// The random numbers of the next dropout layer.
    pub(crate) fn dropout_stream(&mut self) -> Arc<RandomStream> {
        let stream = DROPOUT_STREAMS + 1 + self.dropouts.len() as u64;
        let stream = Arc::new(RandomStream { seed: self.seed, stream, state: OnceLock::new() });
        self.dropouts.push(stream.clone());
        stream
    }

    /// Makes memory for all parameters and their gradients on a device, and draws the initial values, on the CPU: they
    /// are the same bits on every device.
    ///
    /// # Errors
    /// [`Error::Tensor`] where the device has no room, [`Error::Autograd`] where a parameter has memory already.
    pub fn build(self, device: &Device) -> Result<Params> {
        let shapes: Vec<Vec<usize>> = self.entries.iter().map(|(parameter, _)| parameter.shape().to_vec()).collect();
        let values = hold_as("parameters", || Arena::new(device, &shapes))?;
        let grads = hold_as("gradients", || values.zeros_like())?;
        for (i, (parameter, init)) in self.entries.iter().enumerate() {
            let drawn = init.draw(self.seed, PARAMETER_STREAMS + i as u64, parameter.shape())?;
            values.get(i).write(&drawn)?;
            parameter.bind(values.get(i).clone(), grads.get(i).clone())?;
        }
        let parameters = self.entries.into_iter().map(|(parameter, _)| parameter).collect();
        Ok(Params { parameters, values, grads, dropouts: self.dropouts })
    }
}

/// All parameters of a model: slices of one arena, and their gradients of another with the same layout, so that an
/// optimizer reaches all by one launch. A cheap clone.
#[derive(Debug, Clone)]
pub struct Params {
    parameters: Vec<Parameter>,
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

    /// Names, shapes and values, read back from the device, in the order of declaration.
    ///
    /// # Errors
    /// Where work on the device has failed.
    pub fn to_host(&self) -> Result<Vec<CheckpointTensor>> {
        self.parameters.iter().map(|p| CheckpointTensor::read(p.name(), p.value()?)).collect()
    }

    /// Writes over all parameters with those of these tensors that have their names. Others are left out of account.
    ///
    /// # Errors
    /// [`Error::State`] where one is missing or has another shape or type; then nothing is changed.
    pub fn load(&self, tensors: &[CheckpointTensor]) -> Result<()> {
        self.find(tensors)?.into_iter().try_for_each(|(parameter, tensor)| tensor.write(parameter.value()?))
    }

    /// For each parameter the tensor that has its name.
    pub(crate) fn find<'a>(&self, tensors: &'a [CheckpointTensor]) -> Result<Vec<(&Parameter, &'a CheckpointTensor)>> {
        let found = self.parameters.iter().map(|parameter| {
            let tensor = tensors.iter().find(|tensor| tensor.name == parameter.name());
            let tensor = tensor.ok_or_else(|| Error::state(parameter.name(), "the parameter is missing"))?;
            tensor.check(parameter.value()?)?;
            Ok((parameter, tensor))
        });
        found.collect()
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
        self.dropouts.iter().map(|stream| Ok(stream.state.get().map_or(Ok(0), DropoutState::calls)?)).collect()
    }

    /// Sets what [`random_counters`](Self::random_counters) has given, so that a run goes on where it was.
    ///
    /// # Errors
    /// [`Error::State`] where there are not as many as dropout layers; where work on the device has failed.
    pub fn set_random_counters(&self, counters: &[u32]) -> Result<()> {
        self.check_random_counters(counters)?;
        for (stream, &calls) in self.dropouts.iter().zip(counters) {
            // What has not drawn yet has no state on the device, and needs none.
            if calls > 0 || stream.state.get().is_some() {
                stream.state(self.device())?.set_calls(calls)?;
            }
        }
        Ok(())
    }
}
