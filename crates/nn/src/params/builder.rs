//! [`ParamsBuilder`]: collects the parameters and buffers of a model and allocates them.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use thalweg_autograd::Parameter;
use thalweg_tensor::{Arena, Device, Tensor, hold_as};

use super::{RandomStream, find};
use crate::{Buffer, CheckpointTensor, Error, Init, Params, Result};

/// Streams of random numbers, none of which is used twice: parameters count from here,
const PARAMETER_STREAMS: u64 = 0;
/// dropout layers from here,
const DROPOUT_STREAMS: u64 = 1 << 32;
/// and buffers from here. Estimates of the Hessian have streams between these two.
const BUFFER_STREAMS: u64 = 1 << 34;

/// Collects the parameters and buffers of a model while its modules are made; [`build`](Self::build) allocates them.
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
    /// The names from the root to the next declaration, with a dot after each.
    path: String,
    parameters: Vec<(Parameter, Init)>,
    buffers: Vec<(Buffer, Init)>,
    dropouts: Vec<Arc<RandomStream>>,
}

impl ParamsBuilder {
    /// Makes an empty collection. The seed determines the initial values, which are the same on every device.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, path: String::new(), parameters: Vec::new(), buffers: Vec::new(), dropouts: Vec::new() }
    }

    /// Descends by a name in the tree of names, until the result is dropped: everything declared through it has this
    /// name and a dot before its own.
    ///
    /// ```
    /// use thalweg_nn::{Linear, Mlp, MlpConfig, ParamsBuilder};
    /// # fn main() -> thalweg_nn::Result<()> {
    /// let mut builder = ParamsBuilder::new(0);
    /// let head = Linear::new(&mut builder.path("heads").path(0), "output", 8, 2)?;
    /// assert_eq!(head.weight().name(), "heads.0.output.weight");
    /// let config = MlpConfig { inputs: 4, outputs: 8, ..MlpConfig::default() };
    /// let body = Mlp::new(&mut builder.path("body"), &config)?;
    /// assert_eq!(body.layers()[0].weight().name(), "body.layers.0.weight");
    /// # Ok(())
    /// # }
    /// ```
    pub fn path(&mut self, name: impl fmt::Display) -> Path<'_> {
        let length = self.path.len();
        self.path += &format!("{name}.");
        Path { builder: self, length }
    }

    /// Declares a parameter of this shape. It has no memory before [`build`](Self::build). Its initial values follow
    /// from the seed and from its position in the order of declaration.
    ///
    /// # Errors
    /// [`Error::Setting`] if the name is taken, or the initialisation does not fit the shape.
    pub fn add(&mut self, name: impl fmt::Display, shape: &[usize], init: Init) -> Result<Parameter> {
        let name = self.new_name(name)?;
        init.validate(shape)?;
        let parameter = Parameter::declare(name, shape);
        self.parameters.push((parameter.clone(), init));
        Ok(parameter)
    }

    /// Declares a buffer of this shape: a tensor that is saved but not trained. It does not change the initial values
    /// of the parameters.
    ///
    /// # Errors
    /// Same as [`add`](Self::add).
    pub fn buffer(&mut self, name: impl fmt::Display, shape: &[usize], init: Init) -> Result<Buffer> {
        let name = self.new_name(name)?;
        init.validate(shape)?;
        let buffer = Buffer::declare(name, shape);
        self.buffers.push((buffer.clone(), init));
        Ok(buffer)
    }

    /// Returns the name with its path, if it is not taken.
    fn new_name(&self, name: impl fmt::Display) -> Result<String> {
        let name = format!("{}{name}", self.path);
        let mut taken = self.parameters.iter().map(|(p, _)| p.name()).chain(self.buffers.iter().map(|(b, _)| b.name()));
        if taken.any(|other| other == name) {
            let rule = "different from that of every other parameter and buffer";
            return Err(Error::Setting { field: "name", value: name, rule });
        }
        Ok(name)
    }

    /// Returns the random numbers of the next dropout layer.
    pub(crate) fn dropout_stream(&mut self) -> Arc<RandomStream> {
        let stream = DROPOUT_STREAMS + 1 + self.dropouts.len() as u64;
        let stream = Arc::new(RandomStream::new(self.seed, stream));
        self.dropouts.push(stream.clone());
        stream
    }

    /// Allocates all parameters, their gradients and all buffers on a device, and draws the initial values. The CPU
    /// draws them, so they are the same bits on every device.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device has no room, [`Error::Autograd`] if a parameter already has memory.
    pub fn build(self, device: &Device) -> Result<Params> {
        let inits: Vec<Init> = self.parameters.iter().map(|x| x.1).chain(self.buffers.iter().map(|x| x.1)).collect();
        let (seed, parameters) = (self.seed, self.parameters.len());
        self.build_with(device, |i, tensor| {
            let place =
                if i < parameters { PARAMETER_STREAMS + i as u64 } else { BUFFER_STREAMS + (i - parameters) as u64 };
            Ok(tensor.write(&inits[i].draw(seed, place, tensor.shape())?)?)
        })
    }

    /// Builds as [`build`](Self::build) does, with saved values: nothing is drawn. Tensors with other names are
    /// ignored.
    ///
    /// # Errors
    /// Same as [`build`](Self::build). [`Error::State`] if a tensor is missing or has another shape or type.
    pub fn build_from(self, device: &Device, saved: &[CheckpointTensor]) -> Result<Params> {
        let names = self.parameters.iter().map(|(p, _)| p.name()).chain(self.buffers.iter().map(|(b, _)| b.name()));
        let found: Vec<&CheckpointTensor> = names.map(|name| find(saved, name)).collect::<Result<_>>()?;
        self.build_with(device, |i, tensor| found[i].write(tensor))
    }

    /// Allocates the memory; `write` fills it, parameters first, then buffers.
    fn build_with(self, device: &Device, write: impl Fn(usize, &Tensor) -> Result<()>) -> Result<Params> {
        let shapes: Vec<Vec<usize>> = self.parameters.iter().map(|(parameter, _)| parameter.shape().to_vec()).collect();
        let values = hold_as("parameters", || Arena::new(device, &shapes))?;
        let grads = hold_as("gradients", || values.zeros_like())?;
        for (i, (parameter, _)) in self.parameters.iter().enumerate() {
            write(i, values.get(i))?;
            parameter.bind(values.get(i).clone(), grads.get(i).clone())?;
        }
        let shapes: Vec<Vec<usize>> = self.buffers.iter().map(|(buffer, _)| buffer.shape().to_vec()).collect();
        let kept = hold_as("buffers", || Arena::new(device, &shapes))?;
        for (i, (buffer, _)) in self.buffers.iter().enumerate() {
            write(self.parameters.len() + i, kept.get(i))?;
            buffer.bind(kept.get(i).clone())?;
        }
        let parameters = self.parameters.into_iter().map(|(parameter, _)| parameter).collect();
        let buffers = self.buffers.into_iter().map(|(buffer, _)| buffer).collect();
        Ok(Params { parameters, buffers, values, grads, dropouts: self.dropouts, exchange: Arc::default() })
    }
}

/// A [`ParamsBuilder`] deeper in the tree of names: see [`ParamsBuilder::path`].
#[derive(Debug)]
pub struct Path<'a> {
    builder: &'a mut ParamsBuilder,
    /// The length of the outer path.
    length: usize,
}

impl Deref for Path<'_> {
    type Target = ParamsBuilder;

    fn deref(&self) -> &ParamsBuilder {
        self.builder
    }
}

impl DerefMut for Path<'_> {
    fn deref_mut(&mut self) -> &mut ParamsBuilder {
        self.builder
    }
}

impl Drop for Path<'_> {
    fn drop(&mut self) {
        self.builder.path.truncate(self.length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_nest_and_end_with_their_value() {
        let mut builder = ParamsBuilder::new(0);
        {
            let mut layers = builder.path("layers");
            let first = layers.path(0).add("weight", &[1], Init::Zeros).unwrap();
            assert_eq!(first.name(), "layers.0.weight");
            assert_eq!(layers.buffer("mean", &[1], Init::Zeros).unwrap().name(), "layers.mean");
        }
        assert_eq!(builder.add("weight", &[1], Init::Zeros).unwrap().name(), "weight");
        let taken = builder.path("layers").path(0).buffer("weight", &[1], Init::Zeros).unwrap_err().to_string();
        assert!(taken.starts_with("name = layers.0.weight, but it must be different"), "{taken}");
    }

    #[test]
    fn buffers_do_not_change_the_initial_values_of_parameters() {
        let weight = |with_buffer: bool| {
            let mut builder = ParamsBuilder::new(3);
            if with_buffer {
                builder.buffer("noise", &[4], Init::Uniform { low: 0.0, high: 1.0 }).unwrap();
            }
            let weight = builder.add("weight", &[2, 2], Init::FanInUniform).unwrap();
            builder.build(&Device::cpu()).unwrap();
            weight.value().unwrap().to_vec::<f32>().unwrap()
        };
        assert_eq!(weight(true), weight(false));
    }

    #[test]
    fn saved_values_are_built_with_and_a_missing_one_is_named() {
        let builder = || {
            let mut builder = ParamsBuilder::new(0);
            builder.add("weight", &[2], Init::Zeros).unwrap();
            builder.buffer("mean", &[1], Init::Zeros).unwrap();
            builder
        };
        let tensor = |name: &str, values: Vec<f32>| CheckpointTensor {
            name: name.to_string(),
            shape: vec![values.len()],
            values: values.into(),
        };
        let device = Device::cpu();
        let mut saved = vec![tensor("other", vec![9.0]), tensor("mean", vec![7.0]), tensor("weight", vec![1.0, 2.0])];
        let params = builder().build_from(&device, &saved).unwrap();
        let values: Vec<CheckpointTensor> = params.to_host().unwrap();
        assert_eq!(values, [saved[2].clone(), saved[1].clone()]);
        saved.remove(1);
        let missing = builder().build_from(&device, &saved).unwrap_err().to_string();
        assert_eq!(missing, "mean: the tensor is missing");
    }
}
