//! [`Tape`]: what was computed, in order, and how to go back.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use thalweg_tensor::{Device, Tensor};

use crate::parameter::Parameter;
use crate::{Error, Result, Var};

/// The record of a forward pass. Each operation on a [`Var`] appends its value and its pullback; a backward pass walks
/// the record from its end.
///
/// A tape is for one pass: make a new one for each step. It lives on one thread.
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
#[derive(Default)]
pub struct Tape {
    nodes: RefCell<Vec<Node>>,
    paused: Cell<bool>,
    inference: bool,
}

type Pullback = Rc<dyn for<'t> Fn(&Pull<'t, '_>) -> Result<()>>;

struct Node {
    value: Tensor,
    /// Whether gradients flow to it.
    tracked: bool,
    inputs: Vec<usize>,
    /// How to go back; leaves and what is not tracked have none.
    pullback: Option<Pullback>,
    /// How many tracked operations read it.
    uses: usize,
    /// Whether it is the output of a ReLU that its pullback accounts for, so that a gradient may come masked already.
    relu: bool,
    parameter: Option<Parameter>,
}

impl Tape {
    /// An empty tape, for training: [`is_training`](Self::is_training).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty tape that tracks nothing, for evaluation: modules behave as at prediction.
    #[must_use]
    pub fn inference() -> Self {
        Self { inference: true, ..Self::default() }
    }

    /// Whether modules should behave as in training (dropout drops).
    #[must_use]
    pub fn is_training(&self) -> bool {
        !self.inference
    }

    fn is_tracking(&self) -> bool {
        !self.inference && !self.paused.get()
    }

    /// A variable whose gradient [`backward`](Self::backward) gives.
    pub fn input(&self, value: &Tensor) -> Var<'_> {
        self.leaf(value.clone(), self.is_tracking(), None)
    }

    /// A variable that no gradient flows to.
    pub fn constant(&self, value: &Tensor) -> Var<'_> {
        self.leaf(value.clone(), false, None)
    }

    /// The variable of a parameter; a backward pass writes its gradient where the parameter keeps it. Asked for twice,
    /// it is the same variable.
    ///
    /// # Errors
    /// Where the parameter has no memory yet.
    pub fn parameter(&self, parameter: &Parameter) -> Result<Var<'_>> {
        let known = self.nodes.borrow().iter().position(|node| {
            node.tracked == self.is_tracking() && node.parameter.as_ref().is_some_and(|p| p.is_same(parameter))
        });
        match known {
            Some(index) => Ok(Var::new(self, index)),
            None => Ok(self.leaf(parameter.value()?.clone(), self.is_tracking(), Some(parameter.clone()))),
        }
    }

    fn leaf(&self, value: Tensor, tracked: bool, parameter: Option<Parameter>) -> Var<'_> {
        self.push(Node { value, tracked, inputs: Vec::new(), pullback: None, uses: 0, relu: false, parameter })
    }

    fn push(&self, node: Node) -> Var<'_> {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(node);
        Var::new(self, nodes.len() - 1)
    }

    /// Appends an operation of one's own: its value, what it was computed from, and its pullback, which gives the
    /// inputs their gradients by [`Pull::give`]. The rules of this crate are written with it.
    ///
    /// A pullback is written on variables, so that it can be differentiated again. It is dropped at once where no
    /// gradient flows to any input.
    ///
    /// # Errors
    /// Where an input lies on another tape.
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
        if inputs.iter().any(|input| !std::ptr::eq(input.tape(), self)) {
            return Err(Error::Tapes { op });
        }
        let inputs: Vec<usize> = inputs.iter().map(|input| input.index()).collect();
        let tracked = self.is_tracking() && inputs.iter().any(|&i| self.nodes.borrow()[i].tracked);
        if !tracked {
            return Ok(self.leaf(value, false, None));
        }
        for &i in &inputs {
            self.nodes.borrow_mut()[i].uses += 1;
        }
        let pullback: Pullback = Rc::new(pullback);
        Ok(self.push(Node { value, tracked, inputs, pullback: Some(pullback), uses: 0, relu, parameter: None }))
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

    /// The gradients of one number with respect to everything that is tracked. Those of parameters are added to what
    /// the parameters hold (see [`Parameter::zero_grad`]); those of inputs are returned.
    ///
    /// # Errors
    /// Where `loss` has more than one element or depends on nothing that is tracked, or work on the device has failed.
    pub fn backward(&self, loss: Var<'_>) -> Result<Gradients> {
        self.check_root("backward", loss)?;
        if loss.value().len() != 1 {
            return Err(Error::NotScalar { op: "backward", shape: loss.value().shape().to_vec() });
        }
        let walk = Walk::new(self, loss, Cotangent::One, false);
        self.no_grad(|| walk.run())?;
        Ok(Gradients { of: walk.slots.into_inner() })
    }

    /// The gradients of one number with respect to some variables, as variables that can be differentiated again:
    /// Hessian-vector products are the gradient of a gradient's product with a vector. Zero where `y` does not depend
    /// on a variable. What parameters hold is not touched.
    ///
    /// # Errors
    /// Where `y` has more than one element or depends on nothing that is tracked, or variables lie on another tape.
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

    /// The product of a cotangent, of the shape of `y`, with the Jacobian of `y` with respect to some variables, as
    /// variables that can be differentiated again.
    ///
    /// # Errors
    /// Where the shapes differ, `y` depends on nothing that is tracked, or variables lie on another tape.
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
            walk.wanted.borrow_mut()[variable.index()] = true;
        }
        walk.run()?;
        variables
            .iter()
            .map(|variable| match &walk.slots.borrow().get(variable.index()) {
                Some(Some(Slot { cotangent: Cotangent::Var(index), .. })) => Ok(Var::new(self, *index)),
                _ => {
                    let value = variable.value();
                    Ok(self.constant(&Tensor::zeros(value.device(), value.dtype(), value.shape())?))
                }
            })
            .collect()
    }

    fn check_root(&self, op: &'static str, root: Var<'_>) -> Result<()> {
        if !std::ptr::eq(root.tape(), self) {
            return Err(Error::Tapes { op });
        }
        if self.is_tracked(root.index()) { Ok(()) } else { Err(Error::NotTracked { op }) }
    }
}

/// The gradients of the inputs of a tape, as [`Tape::backward`] gives them.
pub struct Gradients {
    of: Vec<Option<Slot>>,
}

impl Gradients {
    /// The gradient with respect to an input; `None` where nothing flowed to it. Parameters hold their own.
    #[must_use]
    pub fn get(&self, input: Var<'_>) -> Option<&Tensor> {
        match self.of.get(input.index()) {
            Some(Some(Slot { cotangent: Cotangent::Tensor(tensor), .. })) => Some(tensor),
            _ => None,
        }
    }
}

/// A gradient on its way.
#[derive(Clone)]
enum Cotangent {
    /// Of the root: one, without memory.
    One,
    /// In a backward pass: values alone.
    Tensor(Tensor),
    /// In [`Tape::grad`]: a variable, so that it can be differentiated again.
    Var(usize),
}

#[derive(Clone)]
struct Slot {
    cotangent: Cotangent,
    /// Whether the ReLU that made the node has been accounted for.
    masked: bool,
}

/// One walk from a root to the leaves.
struct Walk<'t> {
    tape: &'t Tape,
    root: usize,
    slots: RefCell<Vec<Option<Slot>>>,
    /// Nodes whose gradient is asked for, besides the leaves.
    wanted: RefCell<Vec<bool>>,
    /// Whether gradients are variables.
    graph: bool,
}

impl<'t> Walk<'t> {
    fn new(tape: &'t Tape, root: Var<'_>, cotangent: Cotangent, graph: bool) -> Self {
        let root = root.index();
        let mut slots = vec![None; root + 1];
        slots[root] = Some(Slot { cotangent, masked: false });
        let wanted = RefCell::new(vec![false; tape.nodes.borrow().len()]);
        Self { tape, root, slots: RefCell::new(slots), wanted, graph }
    }

    fn run(&self) -> Result<()> {
        for node in (0..=self.root).rev() {
            let Some(slot) = self.slots.borrow()[node].clone() else { continue };
            let (pullback, parameter) = {
                let nodes = self.tape.nodes.borrow();
                (nodes[node].pullback.clone(), nodes[node].parameter.clone())
            };
            match (pullback, parameter) {
                (Some(pullback), _) => {
                    let mark = self.tape.nodes.borrow().len();
                    pullback(&Pull { walk: self, node, slot })?;
                    if !self.graph {
                        // What the pullback has computed on the way is no longer needed.
                        self.tape.nodes.borrow_mut().truncate(mark);
                    }
                    if !self.wanted.borrow()[node] {
                        self.slots.borrow_mut()[node] = None;
                    }
                }
                (None, Some(parameter)) if !self.graph => self.store(node, &parameter, &slot)?,
                (None, _) => self.materialise(node, slot)?,
            }
        }
        Ok(())
    }

    /// Writes the gradient of a parameter into its place.
    fn store(&self, node: usize, parameter: &Parameter, slot: &Slot) -> Result<()> {
        let gradient = self.as_tensor(node, &slot.cotangent)?;
        let (target, accumulate) = parameter.claim()?;
        let sum = if accumulate { target.add(&gradient)? } else { gradient };
        sum.copy_into(&target)?;
        self.slots.borrow_mut()[node] = None;
        Ok(())
    }

    /// The root may be a leaf itself: its gradient of one gets memory.
    fn materialise(&self, node: usize, slot: Slot) -> Result<()> {
        if matches!(slot.cotangent, Cotangent::One) {
            let tensor = self.as_tensor(node, &slot.cotangent)?;
            self.slots.borrow_mut()[node] = Some(Slot { cotangent: Cotangent::Tensor(tensor), ..slot });
        }
        Ok(())
    }

    fn as_tensor(&self, node: usize, cotangent: &Cotangent) -> Result<Tensor> {
        Ok(match cotangent {
            Cotangent::Tensor(tensor) => tensor.clone(),
            Cotangent::Var(index) => self.tape.value(*index),
            Cotangent::One => {
                let value = self.tape.value(node);
                Tensor::full(value.device(), 1f32, value.shape())?
            }
        })
    }

    fn as_var(&self, node: usize, cotangent: &Cotangent) -> Result<Var<'t>> {
        Ok(match cotangent {
            Cotangent::Var(index) => Var::new(self.tape, *index),
            other => self.tape.constant(&self.as_tensor(node, other)?),
        })
    }
}

/// A pullback's view of its operation: inputs, output, the gradient that has come to the output, and the way to hand
/// gradients on to the inputs.
pub struct Pull<'t, 'w> {
    walk: &'w Walk<'t>,
    node: usize,
    slot: Slot,
}

impl<'t> Pull<'t, '_> {
    /// Input number `i` of the operation.
    #[must_use]
    pub fn input(&self, i: usize) -> Var<'t> {
        Var::new(self.walk.tape, self.input_index(i))
    }

    /// The operation's result.
    #[must_use]
    pub fn output(&self) -> Var<'t> {
        Var::new(self.walk.tape, self.node)
    }

    /// The gradient with respect to the result.
    ///
    /// # Errors
    /// Where the device has no room.
    pub fn cotangent(&self) -> Result<Var<'t>> {
        self.walk.as_var(self.node, &self.slot.cotangent)
    }

    /// The device of the operation.
    #[must_use]
    pub fn device(&self) -> Device {
        self.walk.tape.value(self.node).device().clone()
    }

    /// A variable that no gradient flows to.
    #[must_use]
    pub fn constant(&self, value: &Tensor) -> Var<'t> {
        self.walk.tape.constant(value)
    }

    /// Whether a gradient flows to input number `i` at all.
    #[must_use]
    pub fn needs(&self, i: usize) -> bool {
        self.walk.tape.is_tracked(self.input_index(i))
    }

    /// Hands a gradient, of the input's shape, to input number `i`. Gradients from several operations add up.
    ///
    /// # Errors
    /// Where the shapes differ.
    pub fn give(&self, i: usize, gradient: Var<'t>) -> Result<()> {
        self.add(self.input_index(i), gradient, false)
    }

    /// Whether the gradient of the result is known to be one, so that values worked out for it can be used as they are.
    pub(crate) fn is_unit(&self) -> bool {
        matches!(self.slot.cotangent, Cotangent::One)
    }

    /// Whether the gradient of the result has been masked by the ReLU that made it.
    pub(crate) fn is_masked(&self) -> bool {
        self.slot.masked
    }

    /// Whether gradients are values alone, so that fused kernels may compute them.
    pub(crate) fn is_plain(&self) -> bool {
        !self.walk.graph
    }

    /// Whether input number `i` is the output of a ReLU that nothing else reads, so that its gradient may be masked on
    /// the way.
    pub(crate) fn may_mask(&self, i: usize) -> bool {
        let nodes = self.walk.tape.nodes.borrow();
        let node = &nodes[self.input_index_in(&nodes, i)];
        self.is_plain() && node.relu && node.uses == 1
    }

    /// As [`give`](Self::give), of a gradient that the input's ReLU has masked already.
    pub(crate) fn give_masked(&self, i: usize, gradient: Var<'t>) -> Result<()> {
        self.add(self.input_index(i), gradient, true)
    }

    /// The memory for the gradients of several inputs, where they are different parameters whose gradients nothing has
    /// come to in this walk, and whether to add to what is there. `None` where they must go by [`give`](Self::give).
    pub(crate) fn claim<const N: usize>(&self, inputs: [usize; N]) -> Result<Option<([Tensor; N], bool)>> {
        if !self.is_plain() {
            return Ok(None);
        }
        let indices = inputs.map(|i| self.input_index(i));
        let mut parameters = Vec::with_capacity(N);
        for (n, &index) in indices.iter().enumerate() {
            let nodes = self.walk.tape.nodes.borrow();
            let pending = self.walk.slots.borrow()[index].is_some() || indices[..n].contains(&index);
            match &nodes[index].parameter {
                Some(parameter) if nodes[index].tracked && !pending => parameters.push(parameter.clone()),
                _ => return Ok(None),
            }
        }
        let accumulate = parameters[0].accumulates();
        if parameters.iter().any(|parameter| parameter.accumulates() != accumulate) {
            return Ok(None);
        }
        let targets = parameters.iter().map(|p| Ok(p.claim()?.0)).collect::<Result<Vec<_>>>()?;
        Ok(targets.try_into().ok().map(|targets| (targets, accumulate)))
    }

    fn input_index(&self, i: usize) -> usize {
        self.input_index_in(&self.walk.tape.nodes.borrow(), i)
    }

    fn input_index_in(&self, nodes: &[Node], i: usize) -> usize {
        nodes[self.node].inputs[i]
    }

    fn add(&self, index: usize, gradient: Var<'t>, masked: bool) -> Result<()> {
        let shape = self.walk.tape.value(index).shape().to_vec();
        if gradient.value().shape() != shape {
            return Err(thalweg_tensor::Error::Shape {
                op: "give",
                rule: "the gradient has another shape than the input",
                left: shape,
                right: gradient.value().shape().to_vec(),
            }
            .into());
        }
        if !self.walk.tape.is_tracked(index) {
            return Ok(());
        }
        let before = self.walk.slots.borrow()[index].clone();
        let sum = match &before {
            None => gradient,
            Some(slot) => self.walk.as_var(index, &slot.cotangent)?.add(gradient)?,
        };
        let cotangent = if self.walk.graph { Cotangent::Var(sum.index()) } else { Cotangent::Tensor(sum.value()) };
        self.walk.slots.borrow_mut()[index] = Some(Slot { cotangent, masked });
        Ok(())
    }
}
