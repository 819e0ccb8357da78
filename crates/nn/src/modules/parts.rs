//! [`Parts`]: the parts of a model, as a tree of names.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thalweg_autograd::{Parameter, Tape};
use thalweg_tensor::Tensor;

use crate::{Buffer, CheckpointTensor, LoadReport, Result, StateDict, Summary};

/// Something that has named parts: parameters, buffers, and things that have parts themselves.
///
/// One function lists the parts, a line for each field. Everything that is done to all parts of a model follows from
/// it: the names of saved tensors, the checks of the trainer, [`train`](Self::train) and [`eval`](Self::eval).
///
/// [`parts!`](crate::parts) writes the function for a struct whose fields are named as their parts.
///
/// ```
/// use thalweg_autograd::Parameter;
/// use thalweg_nn::{Init, Linear, ParamsBuilder, Parts, Visitor};
///
/// struct Scaled {
///     body: Linear,
///     scale: Parameter,
/// }
///
/// impl Parts for Scaled {
///     fn visit(&self, visitor: &mut Visitor<'_>) {
///         visitor.part("body", &self.body);
///         visitor.part("scale", &self.scale);
///     }
/// }
///
/// # fn main() -> thalweg_nn::Result<()> {
/// let mut builder = ParamsBuilder::new(0);
/// let body = Linear::new(&mut builder, "body", 2, 1)?;
/// let model = Scaled { body, scale: builder.add("scale", &[1], Init::Constant(1.0))? };
/// let names: Vec<String> = model.named_parameters().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["body.weight", "body.bias", "scale"]);
/// # Ok(())
/// # }
/// ```
pub trait Parts {
    /// Shows each part, with its name, to a visitor.
    fn visit(&self, visitor: &mut Visitor<'_>);

    /// Returns the parameters in the order of the visit, each once.
    fn parameters(&self) -> Vec<Parameter> {
        self.named_parameters().into_iter().map(|(_, parameter)| parameter).collect()
    }

    /// Returns the parameters with their names in this part, such as `layers.0.weight`, in the order of the visit. A
    /// shared parameter appears once, under its first name.
    fn named_parameters(&self) -> Vec<(String, Parameter)> {
        let mut found: Vec<(String, Parameter)> = Vec::new();
        each(self, &mut |path, leaf| {
            if let Leaf::Parameter(parameter) = leaf
                && !found.iter().any(|(_, other)| other.is_same(parameter))
            {
                found.push((path.to_string(), parameter.clone()));
            }
        });
        found
    }

    /// Returns the buffers with their names in this part, such as `norm.running_mean`, in the order of the visit, each
    /// once.
    fn named_buffers(&self) -> Vec<(String, Buffer)> {
        let mut found: Vec<(String, Buffer)> = Vec::new();
        each(self, &mut |path, leaf| {
            if let Leaf::Buffer(buffer) = leaf
                && !found.iter().any(|(_, other)| other.is_same(buffer))
            {
                found.push((path.to_string(), buffer.clone()));
            }
        });
        found
    }

    /// Puts every module in this part back into training mode, on tapes of training. See [`eval`](Self::eval).
    fn train(&self) {
        set_modes(self, true);
    }

    /// Puts every module in this part into evaluation mode, on every tape: dropout drops nothing, and a batch
    /// normalisation uses its running statistics. Use it for a frozen backbone. Existing recordings do not change.
    fn eval(&self) {
        set_modes(self, false);
    }

    /// Reads back the values of all parameters and buffers, under their names in this part. Waits for the device.
    ///
    /// # Errors
    /// If a parameter or buffer has no memory yet, or work on the device has failed.
    fn state_dict(&self) -> Result<StateDict> {
        let tensors = named_tensors(self)?.into_iter().map(|(name, tensor)| CheckpointTensor::read(name, &tensor));
        Ok(StateDict::new(tensors.collect::<Result<_>>()?))
    }

    /// Writes the values of a state dict over those of this part. Every name must match.
    ///
    /// # Errors
    /// [`Error::State`](crate::Error::State) if a name is missing or unexpected (it lists them), or if a shape or type
    /// differs. Nothing is changed then. Also if work on the device has failed.
    fn load_state_dict(&self, state: &StateDict) -> Result<()> {
        compare(&named_tensors(self)?, state).require_complete()?;
        self.load_matching(state).map(|_| ())
    }

    /// Writes the values with matching names over those of this part, and reports the other names.
    ///
    /// # Errors
    /// [`Error::State`](crate::Error::State) if a shape or type differs under a matching name. Nothing is changed then.
    /// Also if work on the device has failed.
    fn load_matching(&self, state: &StateDict) -> Result<LoadReport> {
        let named = named_tensors(self)?;
        let matching = || named.iter().filter_map(|(name, tensor)| Some((state.get(name)?, tensor)));
        matching().try_for_each(|(saved, tensor)| saved.check(tensor))?;
        matching().try_for_each(|(saved, tensor)| saved.write(tensor))?;
        Ok(compare(&named, state))
    }

    /// Returns the layers of this part with their parameters, as a table.
    /// [`Module::summary_of_input`](crate::Module::summary_of_input) adds the shapes of their outputs.
    fn summary(&self) -> Summary {
        Summary::of(self)
    }

    /// Returns the settings that the tensors do not contain, as text: activations, probabilities of dropout. A run
    /// cannot resume from a checkpoint with other settings.
    fn settings(&self) -> String {
        let mut text = String::new();
        each(self, &mut |path, leaf| {
            if let Leaf::Setting(value) = leaf {
                let comma = if text.is_empty() { "" } else { ", " };
                text += &format!("{comma}{path} {value}");
            }
        });
        text
    }
}

fn each(parts: &(impl Parts + ?Sized), found: &mut dyn FnMut(&str, Leaf<'_>)) {
    parts.visit(&mut Visitor { path: String::new(), found });
}

/// Returns the values of all parameters and buffers with their names.
fn named_tensors(parts: &(impl Parts + ?Sized)) -> Result<Vec<(String, Tensor)>> {
    let parameters =
        parts.named_parameters().into_iter().map(|(name, parameter)| Ok((name, parameter.value()?.clone())));
    let buffers = parts.named_buffers().into_iter().map(|(name, buffer)| Ok((name, buffer.value()?.clone())));
    parameters.chain(buffers).collect()
}

/// Returns the names that only one side has.
fn compare(named: &[(String, Tensor)], state: &StateDict) -> LoadReport {
    let missing = named.iter().map(|(name, _)| name).filter(|name| state.get(name).is_none()).cloned();
    let has = |name: &str| named.iter().any(|(own, _)| own == name);
    let unexpected = state.tensors().iter().map(|tensor| &tensor.name).filter(|name| !has(name)).cloned();
    LoadReport { missing: missing.collect(), unexpected: unexpected.collect() }
}

fn set_modes(parts: &(impl Parts + ?Sized), training: bool) {
    each(parts, &mut |_, leaf| {
        if let Leaf::Mode(mode) = leaf {
            mode.0.store(training, Ordering::Relaxed);
        }
    });
}

/// A leaf of the tree of parts.
enum Leaf<'a> {
    Parameter(&'a Parameter),
    Buffer(&'a Buffer),
    Mode(&'a Mode),
    Setting(&'a dyn fmt::Display),
}

/// Walks over the parts of a model: see [`Parts::visit`].
pub struct Visitor<'v> {
    /// The names from the root to the current part, with dots between them.
    path: String,
    found: &'v mut dyn FnMut(&str, Leaf<'_>),
}

impl Visitor<'_> {
    /// Visits a part under a name: a parameter, a buffer, a module, a [`Mode`], or a list of these. The names of parts
    /// in a list are their numbers.
    pub fn part(&mut self, name: impl fmt::Display, part: &(impl Parts + ?Sized)) {
        self.under(name, |visitor| part.visit(visitor));
    }

    /// Adds a setting that the tensors do not contain: see [`Parts::settings`].
    pub fn setting(&mut self, name: impl fmt::Display, value: &dyn fmt::Display) {
        self.under(name, |visitor| visitor.leaf(Leaf::Setting(value)));
    }

    fn under(&mut self, name: impl fmt::Display, visit: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        let dot = if self.path.is_empty() { "" } else { "." };
        self.path += &format!("{dot}{name}");
        visit(self);
        self.path.truncate(length);
    }

    fn leaf(&mut self, leaf: Leaf<'_>) {
        (self.found)(&self.path, leaf);
    }
}

impl fmt::Debug for Visitor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Visitor(at {:?})", self.path)
    }
}

/// The mode of a module that differs between training and prediction. Such a module has a mode among its parts and
/// reads it in its forward pass.
///
/// ```
/// use thalweg_autograd::{Result, Tape, Var};
/// use thalweg_nn::{Mode, Module, Parts, parts};
///
/// /// Doubles its input in training.
/// #[derive(Default)]
/// struct Double {
///     mode: Mode,
/// }
///
/// parts!(Double { mode });
///
/// impl Module for Double {
///     fn forward<'t>(&self, input: Var<'t>) -> Result<Var<'t>> {
///         if self.mode.is_training(input.tape()) { input.affine(2.0, 0.0) } else { Ok(input) }
///     }
/// }
///
/// let double = Double::default();
/// assert!(double.mode.is_training(&Tape::new()) && !double.mode.is_training(&Tape::inference()));
/// double.eval();
/// assert!(!double.mode.is_training(&Tape::new()));
/// ```
#[derive(Debug, Clone)]
pub struct Mode(Arc<AtomicBool>);

impl Default for Mode {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Mode {
    /// Returns whether a forward pass on this tape is a training pass: the tape must be one of training, and the module
    /// must not be in evaluation mode ([`Parts::eval`]).
    #[must_use]
    pub fn is_training(&self, tape: &Tape) -> bool {
        tape.is_training() && self.0.load(Ordering::Relaxed)
    }
}

impl Parts for Parameter {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.leaf(Leaf::Parameter(self));
    }
}

impl Parts for Buffer {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.leaf(Leaf::Buffer(self));
    }
}

impl Parts for Mode {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.leaf(Leaf::Mode(self));
    }
}

impl<P: Parts + ?Sized> Parts for &P {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        (**self).visit(visitor);
    }
}

impl<P: Parts + ?Sized> Parts for Box<P> {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        (**self).visit(visitor);
    }
}

impl<P: Parts> Parts for Option<P> {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        if let Some(part) = self {
            part.visit(visitor);
        }
    }
}

impl<P: Parts> Parts for [P] {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        for (i, part) in self.iter().enumerate() {
            visitor.part(i, part);
        }
    }
}

impl<P: Parts> Parts for Vec<P> {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        self.as_slice().visit(visitor);
    }
}

impl<P: Parts, const N: usize> Parts for [P; N] {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        self.as_slice().visit(visitor);
    }
}

/// Two models that one step trains together.
impl<A: Parts, B: Parts> Parts for (A, B) {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.part(0, &self.0);
        visitor.part(1, &self.1);
    }
}

/// Implements [`Parts`] for a struct. The names of the fields are the names of its parts.
///
/// ```
/// use thalweg_nn::{Linear, ParamsBuilder, Parts, parts};
///
/// struct Net {
///     hidden: Vec<Linear>,
///     output: Linear,
/// }
///
/// parts!(Net { hidden, output });
///
/// # fn main() -> thalweg_nn::Result<()> {
/// let mut builder = ParamsBuilder::new(0);
/// let hidden = (0..2).map(|i| Linear::new(&mut builder.path("hidden"), i, 4, 4)).collect::<Result<_, _>>()?;
/// let net = Net { hidden, output: Linear::new(&mut builder, "output", 4, 1)? };
/// assert_eq!(net.parameters().len(), 6);
/// assert!(net.named_parameters().iter().all(|(name, parameter)| name == parameter.name()));
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! parts {
    ($type:ident { $($field:ident),* $(,)? }) => {
        impl $crate::Parts for $type {
            fn visit(&self, visitor: &mut $crate::Visitor<'_>) {
                $(visitor.part(stringify!($field), &self.$field);)*
                let _ = visitor;
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dropout, Init, Linear, ParamsBuilder};
    use thalweg_tensor::{Device, Tensor};

    struct Net {
        layers: Vec<Linear>,
        head: Option<Linear>,
        tied: Parameter,
        dropout: Dropout,
        mean: Buffer,
    }

    parts!(Net { layers, head, tied, dropout, mean });

    fn net() -> (Net, crate::Params) {
        let mut builder = ParamsBuilder::new(0);
        let layers: Vec<Linear> = (0..2).map(|i| Linear::new(&mut builder.path("layers"), i, 3, 3).unwrap()).collect();
        let tied = layers[0].weight().clone();
        let dropout = Dropout::new(&mut builder, 0.5).unwrap();
        let mean = builder.buffer("mean", &[3], Init::Zeros).unwrap();
        (Net { layers, head: None, tied, dropout, mean }, builder.build(&Device::cpu()).unwrap())
    }

    #[test]
    fn names_follow_from_one_line_a_field_and_shared_parameters_count_once() {
        let (net, params) = net();
        let names: Vec<String> = net.named_parameters().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"]);
        assert!(names.iter().eq(params.parameters().iter().map(Parameter::name)));
        assert_eq!(net.named_buffers()[0].0, "mean");
        let pair = (&net, &net);
        assert_eq!(pair.named_parameters()[1].0, "0.layers.0.bias");
        assert_eq!((pair.parameters().len(), pair.named_buffers().len()), (4, 1));
        assert_eq!(net.settings(), "dropout.probability 0.5");
    }

    #[test]
    fn a_part_can_be_put_into_evaluation_by_itself() {
        use crate::Module;

        let (net, params) = net();
        let ones = Tensor::full(params.device(), 1f32, &[64]).unwrap();
        let drops = || {
            let tape = Tape::new();
            net.dropout.forward(tape.constant(&ones)).unwrap().value().to_vec::<f32>().unwrap().contains(&0.0)
        };
        assert!(drops());
        net.eval();
        assert!(!drops());
        net.train();
        assert!(drops());
    }
}
