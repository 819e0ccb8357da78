//! [`Tape`]: the operations of a forward pass, in order, and their pullbacks.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use thalweg_tensor::{DType, Origin, Scope, Tensor};

use crate::forward::Pushforward;
use crate::parameter::Parameter;
use crate::walk::{Cotangent, Gradients, Pull, Walk};
use crate::{Error, Result, Var};

/// The record of a forward pass. Each operation on a [`Var`] appends its value and its pullback. A backward pass
/// walks the record in reverse.
///
/// A tape is for one pass: create a new one for each step. It is used on one thread.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_autograd::Result<()> {
/// let tape = Tape::new();
/// let x = tape.input(&Tensor::from_slice(&Device::cpu(), &[1.0, 2.0, 3.0], &[3])?);
/// let y = x.square()?.sum()?;
/// let gradients = tape.backward(y)?;
/// assert_eq!(gradients.get(x).unwrap().to_vec::<f32>()?, [2.0, 4.0, 6.0]);
/// # Ok(())
/// # }
/// ```
pub struct Tape {
    /// Unique among the tapes of the process: variables of one tape are invalid on another.
    id: u64,
    pub(crate) nodes: RefCell<Vec<Node>>,
    /// The node of each parameter, by the parameter's key and whether the node is tracked.
    parameters: RefCell<HashMap<(usize, bool), usize>>,
    paused: Cell<bool>,
    /// Whether a backward pass has freed values.
    freed: Cell<bool>,
    inference: bool,
    /// Whether values are checked for NaN and infinity.
    pub(crate) detects_anomalies: Cell<bool>,
    /// The type that products store their operands and results in.
    autocast: Cell<Option<DType>>,
}

pub(crate) type Pullback = Rc<dyn for<'t> Fn(&Pull<'t, '_>) -> Result<()>>;

pub(crate) struct Node {
    /// The operation's name.
    pub(crate) op: &'static str,
    /// The module and the pass of the operation.
    pub(crate) origin: Origin,
    pub(crate) value: Tensor,
    /// The shape of a value that a backward pass has freed.
    pub(crate) freed: Option<Vec<usize>>,
    /// Whether gradients flow to it.
    pub(crate) tracked: bool,
    pub(crate) inputs: Vec<usize>,
    /// The pullback; `None` for leaves and untracked nodes.
    pub(crate) pullback: Option<Pullback>,
    /// The pushforward, if the operation has one.
    pub(crate) pushforward: Option<Pushforward>,
    /// The number of tracked operations that read it.
    pub(crate) uses: usize,
    /// Whether it is the output of a ReLU whose pullback accepts a gradient that is already masked.
    pub(crate) relu: bool,
    pub(crate) parameter: Option<Parameter>,
}

impl Node {
    /// Creates an untracked node.
    fn new(op: &'static str, value: Tensor, inputs: Vec<usize>) -> Self {
        let (pullback, pushforward) = (None, None);
        let (origin, freed, parameter) = (Origin::current(), None, None);
        let (tracked, relu) = (false, false);
        Self { op, origin, value, freed, tracked, inputs, pullback, pushforward, uses: 0, relu, parameter }
    }

    /// Returns the shape of its value, freed or not.
    pub(crate) fn shape(&self) -> &[usize] {
        self.freed.as_deref().unwrap_or(self.value.shape())
    }
}

impl Default for Tape {
    fn default() -> Self {
        Self::new()
    }
}

impl Tape {
    /// Returns an empty tape for training: [`is_training`](Self::is_training).
    #[must_use]
    pub fn new() -> Self {
        Self::of(false)
    }

    /// Returns an empty tape that tracks nothing, for evaluation: modules behave as for prediction.
    #[must_use]
    pub fn inference() -> Self {
        Self::of(true)
    }

    fn of(inference: bool) -> Self {
        static TAPES: AtomicU64 = AtomicU64::new(0);
        Self {
            id: TAPES.fetch_add(1, Ordering::Relaxed),
            nodes: RefCell::default(),
            parameters: RefCell::default(),
            paused: Cell::new(false),
            freed: Cell::new(false),
            inference,
            detects_anomalies: Cell::new(false),
            autocast: Cell::new(None),
        }
    }

    /// Returns an empty tape that tracks as another one does.
    pub(crate) fn like(other: &Self) -> Self {
        let tape = Self::of(other.inference);
        tape.detects_anomalies.set(other.detects_anomalies.get());
        tape.autocast.set(other.autocast.get());
        tape
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Returns whether modules should behave as in training (dropout drops).
    #[must_use]
    pub fn is_training(&self) -> bool {
        !self.inference
    }

    fn is_tracking(&self) -> bool {
        !self.inference && !self.paused.get()
    }

    /// Returns a variable whose gradient [`backward`](Self::backward) returns.
    pub fn input(&self, value: &Tensor) -> Var<'_> {
        self.leaf("input", value.clone(), self.is_tracking(), None)
    }

    /// Returns a variable without a gradient.
    pub fn constant(&self, value: &Tensor) -> Var<'_> {
        self.leaf("constant", value.clone(), false, None)
    }

    /// Returns the variable of a parameter; a backward pass stores its gradient in the parameter. Repeated calls
    /// return the same variable.
    ///
    /// # Errors
    /// If the parameter has no memory yet.
    pub fn parameter(&self, parameter: &Parameter) -> Result<Var<'_>> {
        let tracked = self.is_tracking() && !parameter.is_frozen();
        let key = (parameter.key(), tracked);
        if let Some(&index) = self.parameters.borrow().get(&key) {
            return Ok(Var::new(self, index));
        }
        if self.is_tracking() {
            parameter.guard_frozen()?;
        }
        let var = self.leaf("parameter", parameter.value()?.clone(), tracked, Some(parameter.clone()));
        self.parameters.borrow_mut().insert(key, var.index());
        Ok(var)
    }

    /// Removes all nodes from `mark` on.
    pub(crate) fn truncate(&self, mark: usize) {
        let mut nodes = self.nodes.borrow_mut();
        if nodes[mark..].iter().any(|node| node.parameter.is_some()) {
            self.parameters.borrow_mut().retain(|_, index| *index < mark);
        }
        nodes.truncate(mark);
    }

    fn leaf(&self, op: &'static str, value: Tensor, tracked: bool, parameter: Option<Parameter>) -> Var<'_> {
        self.push(Node { tracked, parameter, ..Node::new(op, value, Vec::new()) })
    }

    fn push(&self, node: Node) -> Var<'_> {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(node);
        Var::new(self, nodes.len() - 1)
    }

    /// Appends a custom operation: its value, its inputs, and its pullback, which passes gradients to the inputs with
    /// [`Pull::give`]. The rules of this crate use it.
    ///
    /// A pullback is written on variables, so that it can be differentiated again. It is dropped at once if no input
    /// has a gradient.
    ///
    /// # Errors
    /// If an input belongs to another tape.
    ///
    /// ```
    /// use thalweg_autograd::{GradientCheck, Result, Var, Verdict, check_gradient};
    /// use thalweg_tensor::{Device, Tensor};
    ///
    /// /// x³, with the gradient 3 x² g.
    /// fn cube(x: Var<'_>) -> Result<Var<'_>> {
    ///     let value = x.value();
    ///     let y = value.mul(&value.square()?)?;
    ///     x.tape().record("cube", y, &[x], |pull| {
    ///         let slope = pull.input(0).square()?.affine(3.0, 0.0)?;
    ///         pull.give(0, slope.mul(pull.cotangent()?)?)
    ///     })
    /// }
    ///
    /// # fn main() -> Result<()> {
    /// let x = Tensor::uniform(&Device::cpu(), 0, 0, 0.5, 2.0, &[5])?;
    /// let report = check_gradient(&GradientCheck::default(), &[x], |_, x| cube(x[0]))?;
    /// assert_eq!(report.verdict, Verdict::Right, "{report}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn record<F>(&self, op: &'static str, value: Tensor, inputs: &[Var<'_>], pullback: F) -> Result<Var<'_>>
    where
        F: for<'t> Fn(&Pull<'t, '_>) -> Result<()> + 'static,
    {
        self.record_node(op, value, inputs, false, pullback)
    }

    pub(crate) fn record_node<F>(
        &self,
        op: &'static str,
        value: Tensor,
        inputs: &[Var<'_>],
        relu: bool,
        pullback: F,
    ) -> Result<Var<'_>>
    where
        F: for<'t> Fn(&Pull<'t, '_>) -> Result<()> + 'static,
    {
        self.record_if(inputs.iter().any(Var::is_tracked), op, value, inputs, relu, pullback)
    }

    /// Appends an operation that is tracked if the tape tracks at all.
    pub(crate) fn record_if<F>(
        &self,
        tracked: bool,
        op: &'static str,
        value: Tensor,
        inputs: &[Var<'_>],
        relu: bool,
        pullback: F,
    ) -> Result<Var<'_>>
    where
        F: for<'t> Fn(&Pull<'t, '_>) -> Result<()> + 'static,
    {
        if inputs.iter().any(|input| !std::ptr::eq(input.tape(), self)) {
            return Err(Error::Tapes { op });
        }
        let inputs: Vec<usize> = inputs.iter().map(|input| input.index()).collect();
        self.check_output(op, &value, &inputs)?;
        let tracked = tracked && self.is_tracking();
        if !tracked {
            return Ok(self.push(Node::new(op, value, inputs)));
        }
        for &i in &inputs {
            self.nodes.borrow_mut()[i].uses += 1;
        }
        let pullback: Pullback = Rc::new(pullback);
        Ok(self.push(Node { tracked, pullback: Some(pullback), relu, ..Node::new(op, value, inputs) }))
    }

    /// Sets the module of this thread's work until the result is dropped: see [`thalweg_tensor::scope`]. Operations
    /// on tapes and their launches have its name, in backward passes too.
    ///
    /// ```
    /// use thalweg_autograd::Tape;
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_autograd::Result<()> {
    /// let tape = Tape::new();
    /// let x = tape.input(&Tensor::from_slice(&Device::cpu(), &[1.0, 2.0, 3.0], &[3])?);
    /// let y = {
    ///     let _scope = tape.scope("encoder.0");
    ///     x.exp()?
    /// };
    /// let (profile, _) = Device::cpu().profile(|| tape.backward(y.sum()?))?;
    /// let layers = profile.by_layer();
    /// let encoder = layers.iter().find(|layer| layer.path.as_deref() == Some("encoder.0")).unwrap();
    /// assert_eq!((encoder.forward.launches, encoder.backward.launches), (0, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn scope(&self, name: &str) -> Scope {
        thalweg_tensor::scope(name)
    }

    /// Sets the type in which matrix products, linear layers and convolutions store their operands and results, f16 or bf16;
    /// `None`, the default, leaves all types as they are. It is PyTorch's `autocast`.
    ///
    /// Products add in f32 and round their results to the type, to the nearest, ties to even. Activations follow in the type
    /// of their operand; operands of two types become f32, and losses are computed in f32. Parameters stay f32: they are the
    /// master weights, and their gradients are f32. Small gradients vanish in f16 unless the loss is scaled
    /// (`Optimizer::with_loss_scale`); bf16 needs no scale.
    ///
    /// # Errors
    /// If the type is not f16 or bf16.
    ///
    /// ```
    /// use thalweg_autograd::Tape;
    /// use thalweg_tensor::{DType, Device, Tensor};
    /// # fn main() -> thalweg_autograd::Result<()> {
    /// let tape = Tape::new();
    /// tape.autocast(Some(DType::F16))?;
    /// let x = tape.input(&Tensor::full(&Device::cpu(), 0.1f32, &[2, 2])?);
    /// let y = x.matmul(x)?;
    /// assert_eq!(y.dtype(), DType::F16);
    /// assert_eq!(tape.backward(y.sum()?.to_dtype(DType::F32)?)?.get(x).unwrap().dtype(), DType::F32);
    /// # Ok(())
    /// # }
    /// ```
    pub fn autocast(&self, dtype: Option<DType>) -> Result<()> {
        if let Some(dtype) = dtype.filter(|dtype| !dtype.is_half()) {
            let (op, name, rule) = ("autocast", "dtype", "f16 or bf16");
            return Err(thalweg_tensor::Error::Argument { op, name, value: dtype.to_string(), rule }.into());
        }
        self.autocast.set(dtype);
        Ok(())
    }

    /// Returns the type set by [`autocast`](Self::autocast).
    #[must_use]
    pub fn autocast_type(&self) -> Option<DType> {
        self.autocast.get()
    }

    /// Returns operands of a product in the type of the autocast, if it is on.
    pub(crate) fn cast<'t, const N: usize>(&self, operands: [Var<'t>; N]) -> Result<[Var<'t>; N]> {
        let mut cast = operands;
        if let Some(dtype) = self.autocast.get() {
            for operand in cast.iter_mut().filter(|operand| operand.dtype().is_float()) {
                *operand = operand.to_dtype(dtype)?;
            }
        }
        Ok(cast)
    }

    /// Runs a closure whose operations are not tracked: their results are constants.
    pub fn no_grad<T>(&self, body: impl FnOnce() -> T) -> T {
        struct Restore<'a>(&'a Cell<bool>, bool);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.set(self.1);
            }
        }
        let _restore = Restore(&self.paused, self.paused.replace(true));
        body()
    }

    pub(crate) fn value(&self, index: usize) -> Tensor {
        self.nodes.borrow()[index].value.clone()
    }

    pub(crate) fn is_tracked(&self, index: usize) -> bool {
        self.nodes.borrow()[index].tracked
    }

    /// Computes the gradients of one number with respect to everything that is tracked. Gradients of parameters are
    /// added to the existing ones (see [`Parameter::zero_grad`]); those of inputs are returned.
    ///
    /// # Errors
    /// If `loss` has more than one element or depends on no tracked variable, or work on the device has failed.
    pub fn backward(&self, loss: Var<'_>) -> Result<Gradients> {
        self.walk_back(loss, None)
    }

    /// Computes gradients like [`backward`](Self::backward), and frees each value between the leaves and the loss as
    /// soon as no gradient needs it. A training step then needs less memory, especially in a deep network.
    ///
    /// Afterwards another pass returns an error, and [`Var::value`] of a freed value is an empty tensor. The leaves,
    /// the loss and tensors taken out before keep their values.
    ///
    /// # Errors
    /// See [`backward`](Self::backward).
    pub fn backward_and_free(&self, loss: Var<'_>) -> Result<Gradients> {
        let nothing = Tensor::zeros(loss.value().device(), DType::F32, &[0])?;
        self.walk_back(loss, Some(nothing))
    }

    fn walk_back(&self, loss: Var<'_>, nothing: Option<Tensor>) -> Result<Gradients> {
        self.check_root("backward", loss)?;
        if loss.value().len() != 1 {
            return Err(Error::NotScalar { op: "backward", shape: loss.value().shape().to_vec() });
        }
        if nothing.is_some() {
            self.freed.set(true);
        }
        let walk = Walk::new(self, loss, Cotangent::One, false);
        self.no_grad(|| walk.run(nothing.as_ref()))?;
        Ok(walk.into_gradients())
    }

    /// Computes the gradients of one number with respect to some variables, as variables that can be differentiated
    /// again: a Hessian-vector product is the gradient of a gradient's product with a vector. The gradient is zero if
    /// `y` does not depend on a variable. Gradients of parameters do not change.
    ///
    /// # Errors
    /// If `y` has more than one element or depends on no tracked variable, or variables belong to another tape.
    ///
    /// ```
    /// use thalweg_autograd::Tape;
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_autograd::Result<()> {
    /// let tape = Tape::new();
    /// let x = tape.input(&Tensor::scalar(&Device::cpu(), 2.0f32)?);
    /// let y = x.powf(3.0)?;
    /// let first = tape.grad(y, &[x])?[0];
    /// let second = tape.grad(first, &[x])?[0];
    /// assert_eq!((first.item()?, second.item()?), (12.0, 12.0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn grad<'t>(&'t self, y: Var<'t>, variables: &[Var<'t>]) -> Result<Vec<Var<'t>>> {
        if y.value().len() != 1 {
            return Err(Error::NotScalar { op: "grad", shape: y.value().shape().to_vec() });
        }
        let ones = self.constant(&Tensor::full(y.value().device(), 1f32, y.value().shape())?);
        self.vector_jacobian_product(y, ones, variables)
    }

    /// Computes the product of a cotangent, of the shape of `y`, with the Jacobian of `y` with respect to some
    /// variables, as variables that can be differentiated again.
    ///
    /// # Errors
    /// If the shapes differ, `y` depends on no tracked variable, or variables belong to another tape.
    pub fn vector_jacobian_product<'t>(
        &'t self,
        y: Var<'t>,
        cotangent: Var<'t>,
        variables: &[Var<'t>],
    ) -> Result<Vec<Var<'t>>> {
        self.check_root("grad", y)?;
        if variables.iter().chain([&cotangent]).any(|variable| !std::ptr::eq(variable.tape(), self)) {
            return Err(Error::Tapes { op: "grad" });
        }
        if cotangent.value().shape() != y.value().shape() {
            return Err(thalweg_tensor::Error::Shape {
                op: "grad",
                rule: "the cotangent has another shape",
                left: y.value().shape().to_vec(),
                right: cotangent.value().shape().to_vec(),
            }
            .into());
        }
        let walk = Walk::new(self, y, Cotangent::Var(cotangent.index()), true);
        for variable in variables {
            walk.keep(variable.index());
        }
        walk.run(None)?;
        variables
            .iter()
            .map(|variable| match walk.gradient_of(variable.index()) {
                Some(gradient) => Ok(gradient),
                None => {
                    let value = variable.value();
                    Ok(self.constant(&Tensor::zeros(value.device(), value.dtype(), value.shape())?))
                }
            })
            .collect()
    }

    pub(crate) fn check_root(&self, op: &'static str, root: Var<'_>) -> Result<()> {
        if !std::ptr::eq(root.tape(), self) {
            return Err(Error::Tapes { op });
        }
        if self.freed.get() {
            return Err(Error::Freed { op });
        }
        let (expected, found) = (DType::F32, root.value().dtype());
        if found != expected {
            return Err(thalweg_tensor::Error::DType { op, expected, found }.into());
        }
        if self.is_tracked(root.index()) { Ok(()) } else { Err(Error::NotTracked { op }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_tensor::Device;

    #[test]
    fn gradients_of_one_tape_mean_nothing_on_another_at_its_place_in_memory() {
        let one = Tensor::scalar(&Device::cpu(), 1f32).unwrap();
        let mut kept: Option<Gradients> = None;
        // Each iteration's tape has the address of the previous one.
        for _ in 0..3 {
            let tape = Tape::new();
            let x = tape.input(&one);
            assert!(kept.is_none_or(|gradients| gradients.get(x).is_none()));
            let gradients = tape.backward(x.square().unwrap()).unwrap();
            assert_eq!(gradients.get(x).unwrap().item::<f32>().unwrap(), 2.0);
            kept = Some(gradients);
        }
    }

    #[test]
    fn a_parameter_has_one_variable_and_a_new_one_after_its_node_is_gone() {
        let device = Device::cpu();
        let parameter = Parameter::declare("scale", &[]);
        let grad = Tensor::zeros(&device, DType::F32, &[]).unwrap();
        parameter.bind(Tensor::scalar(&device, 3f32).unwrap(), grad).unwrap();
        let tape = Tape::new();
        let x = tape.input(&Tensor::scalar(&device, 2f32).unwrap());
        let by_parameter = parameter.clone();
        // The pullback uses the parameter while nothing is tracked, and the nodes that it creates are removed after
        // it.
        let y = tape.record("scaled", x.value(), &[x], move |pull| {
            let factor = pull.input(0).tape().parameter(&by_parameter)?;
            pull.give(0, pull.cotangent()?.mul(factor)?)
        });
        for _ in 0..2 {
            let gradients = tape.backward(y.as_ref().copied().unwrap()).unwrap();
            assert_eq!(gradients.get(x).unwrap().item::<f32>().unwrap(), 3.0);
        }
        let [first, second] = [(); 2].map(|()| tape.parameter(&parameter).unwrap().index());
        assert_eq!(first, second);
        assert!(tape.parameter(&parameter).unwrap().is_tracked());
        let constant = tape.no_grad(|| tape.parameter(&parameter)).unwrap();
        assert!(!constant.is_tracked() && constant.index() != first);
    }

    #[test]
    fn gradients_show_the_inputs_that_have_one() {
        let device = Device::cpu();
        let tape = Tape::new();
        let [x, y] = [1f32, 2.0].map(|value| tape.input(&Tensor::scalar(&device, value).unwrap()));
        let gradients = tape.backward(y.square().unwrap()).unwrap();
        assert!(gradients.get(x).is_none());
        let text = format!("{gradients:?}");
        assert!(text.starts_with("Gradients {1: Tensor(") && !text.contains("0: Tensor"), "{text}");
    }
}
