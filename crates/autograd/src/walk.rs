//! The backward pass: a walk over a tape from a root to the leaves, and the interface of a pullback.

use std::cell::RefCell;
use std::fmt;

use thalweg_tensor::{Device, Origin, Pass, Tensor};

use crate::parameter::Parameter;
use crate::tape::Node;
use crate::{Result, Tape, Var};

/// The gradients of the inputs of a tape, which [`Tape::backward`] returns.
pub struct Gradients {
    tape: u64,
    of: Vec<Option<Slot>>,
}

impl Gradients {
    /// Returns the gradient with respect to an input, or `None` if there is none or the input is on another tape.
    /// Parameters store their own gradients.
    #[must_use]
    pub fn get(&self, input: Var<'_>) -> Option<&Tensor> {
        if input.tape().id() != self.tape {
            return None;
        }
        self.of.get(input.index())?.as_ref()?.tensor()
    }
}

/// Formats the gradient of each input with the number of its variable.
impl fmt::Debug for Gradients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gradients = self.of.iter().enumerate().filter_map(|(i, slot)| Some((i, slot.as_ref()?.tensor()?)));
        f.write_str("Gradients ")?;
        f.debug_map().entries(gradients).finish()
    }
}

/// A gradient within a walk.
#[derive(Clone)]
pub(crate) enum Cotangent {
    /// That of the root: one, without memory.
    One,
    /// In a backward pass: only a value.
    Tensor(Tensor),
    /// In [`Tape::grad`]: a variable, so that it can be differentiated again.
    Var(usize),
}

#[derive(Clone)]
struct Slot {
    cotangent: Cotangent,
    /// Whether it is already masked by the node's ReLU.
    masked: bool,
}

impl Slot {
    fn tensor(&self) -> Option<&Tensor> {
        match &self.cotangent {
            Cotangent::Tensor(tensor) => Some(tensor),
            Cotangent::One | Cotangent::Var(_) => None,
        }
    }
}

/// One walk from a root to the leaves.
pub(crate) struct Walk<'t> {
    tape: &'t Tape,
    root: usize,
    slots: RefCell<Vec<Option<Slot>>>,
    /// Nodes whose gradient is requested, besides the leaves.
    wanted: RefCell<Vec<bool>>,
    /// Whether gradients are variables.
    graph: bool,
    /// Gradients that the pullback of the node has stored directly, which are still to be checked for NaN and
    /// infinity.
    claimed: RefCell<Vec<(usize, Tensor)>>,
}

impl<'t> Walk<'t> {
    pub(crate) fn new(tape: &'t Tape, root: Var<'_>, cotangent: Cotangent, graph: bool) -> Self {
        let root = root.index();
        let mut slots = vec![None; root + 1];
        slots[root] = Some(Slot { cotangent, masked: false });
        let wanted = RefCell::new(vec![false; tape.nodes.borrow().len()]);
        Self { tape, root, slots: RefCell::new(slots), wanted, graph, claimed: RefCell::default() }
    }

    /// Keeps the gradient of a node, which is otherwise dropped after its pullback.
    pub(crate) fn keep(&self, node: usize) {
        self.wanted.borrow_mut()[node] = true;
    }

    /// Returns the gradient of a node as a variable; `None` if there is none.
    pub(crate) fn gradient_of(&self, node: usize) -> Option<Var<'t>> {
        match self.slots.borrow().get(node) {
            Some(Some(Slot { cotangent: Cotangent::Var(index), .. })) => Some(Var::new(self.tape, *index)),
            _ => None,
        }
    }

    pub(crate) fn into_gradients(self) -> Gradients {
        Gradients { tape: self.tape.id(), of: self.slots.into_inner() }
    }

    /// Walks from the root to the leaves. If `nothing` is given, it replaces values that no pullback needs any more.
    pub(crate) fn run(&self, nothing: Option<&Tensor>) -> Result<()> {
        self.run_to(0, nothing)
    }

    /// Walks as [`run`](Self::run), to the node `last` at most: the nodes before it only collect their gradients.
    fn run_to(&self, last: usize, nothing: Option<&Tensor>) -> Result<()> {
        for node in (last..=self.root).rev() {
            let Some(slot) = self.slots.borrow()[node].clone() else { continue };
            let (pullback, parameter, op, path) = {
                let nodes = self.tape.nodes.borrow();
                let Node { pullback, parameter, op, origin, .. } = &nodes[node];
                (pullback.clone(), parameter.clone(), *op, origin.path.clone())
            };
            let _origin = Origin { path, pass: Pass::Backward, operation: Some(op) }.enter();
            match (pullback, parameter) {
                (Some(pullback), _) => {
                    let mark = self.tape.nodes.borrow().len();
                    pullback(&Pull { walk: self, node, slot })?;
                    self.check_claimed(node)?;
                    if !self.graph {
                        // The intermediate values of the pullback are no longer needed.
                        self.tape.truncate(mark);
                    }
                    if !self.wanted.borrow()[node] {
                        self.slots.borrow_mut()[node] = None;
                    }
                    if let Some(nothing) = nothing {
                        // All readers of this value come after it, so the walk has already passed them.
                        let mut nodes = self.tape.nodes.borrow_mut();
                        nodes[node].pullback = None;
                        if node != self.root {
                            let value = std::mem::replace(&mut nodes[node].value, nothing.clone());
                            nodes[node].freed = Some(value.shape().to_vec());
                        }
                    }
                }
                (None, Some(parameter)) if !self.graph => self.store(node, &parameter, &slot)?,
                (None, _) => self.materialise(node, slot)?,
            }
        }
        Ok(())
    }

    /// Runs the pullback of one node.
    pub(crate) fn pull(&self, node: usize) -> Result<()> {
        let slot = self.slots.borrow()[node].clone();
        let pullback = self.tape.nodes.borrow()[node].pullback.clone();
        match (slot, pullback) {
            (Some(slot), Some(pullback)) => pullback(&Pull { walk: self, node, slot }),
            _ => Ok(()),
        }
    }

    /// Checks the gradients that a pullback has stored directly for NaN and infinity.
    fn check_claimed(&self, node: usize) -> Result<()> {
        self.claimed.take().into_iter().try_for_each(|(i, gradient)| self.tape.check_gradient(node, i, &gradient))
    }

    /// Stores the gradient of a parameter in its memory.
    fn store(&self, node: usize, parameter: &Parameter, slot: &Slot) -> Result<()> {
        let gradient = self.as_tensor(node, &slot.cotangent)?;
        let (target, accumulate) = parameter.claim()?;
        let sum = if accumulate { target.add(&gradient)? } else { gradient };
        sum.copy_into(&target)?;
        self.slots.borrow_mut()[node] = None;
        Ok(())
    }

    /// Allocates the gradient of one if the root itself is a leaf.
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

/// The interface of a pullback to its operation: inputs, output, the gradient with respect to the output, and
/// functions that pass gradients to the inputs.
pub struct Pull<'t, 'w> {
    walk: &'w Walk<'t>,
    node: usize,
    slot: Slot,
}

impl<'t> Pull<'t, '_> {
    /// Returns input number `i` of the operation.
    #[must_use]
    pub fn input(&self, i: usize) -> Var<'t> {
        Var::new(self.walk.tape, self.input_index(i))
    }

    /// Returns the number of inputs of the operation.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.walk.tape.nodes.borrow()[self.node].inputs.len()
    }

    /// Returns the operation's result.
    #[must_use]
    pub fn output(&self) -> Var<'t> {
        Var::new(self.walk.tape, self.node)
    }

    /// Returns the gradient with respect to the result.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn cotangent(&self) -> Result<Var<'t>> {
        self.walk.as_var(self.node, &self.slot.cotangent)
    }

    /// Returns the device of the operation.
    #[must_use]
    pub fn device(&self) -> Device {
        self.walk.tape.value(self.node).device().clone()
    }

    /// Returns a variable without a gradient.
    #[must_use]
    pub fn constant(&self, value: &Tensor) -> Var<'t> {
        self.walk.tape.constant(value)
    }

    /// Returns whether input number `i` needs a gradient.
    #[must_use]
    pub fn needs(&self, i: usize) -> bool {
        self.walk.tape.is_tracked(self.input_index(i))
    }

    /// Passes a gradient, of the input's shape, to input number `i`. Gradients from several operations are added.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn give(&self, i: usize, gradient: Var<'t>) -> Result<()> {
        self.add(i, gradient, false)
    }

    /// Passes the inputs the gradients of a composition of differentiable operations, which computes the result from the
    /// inputs once more. For passes whose gradients are variables, where the rule itself has values only.
    pub(crate) fn give_through(&self, compose: impl Fn(&[Var<'t>]) -> Result<Var<'t>>) -> Result<()> {
        let tape = self.walk.tape;
        let cotangent = self.cotangent()?;
        let inputs: Vec<Var<'t>> = (0..self.inputs()).map(|i| self.input(i)).collect();
        let mark = tape.nodes.borrow().len();
        let result = compose(&inputs)?;
        if result.index() < mark || !result.is_tracked() {
            return Ok(());
        }
        let walk = Walk::new(tape, result, Cotangent::Var(cotangent.index()), true);
        walk.run_to(mark, None)?;
        for (i, input) in inputs.iter().enumerate() {
            let is_repeated = inputs[..i].iter().any(|other| other.index() == input.index());
            if let Some(gradient) = walk.gradient_of(input.index()).filter(|_| !is_repeated) {
                self.give(i, gradient)?;
            }
        }
        Ok(())
    }

    /// Returns whether the gradient of the result is known to be one, so that values computed for it can be used
    /// directly.
    pub(crate) fn is_unit(&self) -> bool {
        matches!(self.slot.cotangent, Cotangent::One)
    }

    /// Returns whether the gradient of the result is already masked by the ReLU that produced it.
    pub(crate) fn is_masked(&self) -> bool {
        self.slot.masked
    }

    /// Returns whether gradients are only values, so that fused kernels may compute them.
    pub(crate) fn is_plain(&self) -> bool {
        !self.walk.graph
    }

    /// Returns whether input number `i` is the output of a ReLU without other readers, so that its gradient may be
    /// masked here.
    pub(crate) fn may_mask(&self, i: usize) -> bool {
        let nodes = self.walk.tape.nodes.borrow();
        let node = &nodes[self.input_index_in(&nodes, i)];
        self.is_plain() && node.relu && node.uses == 1
    }

    /// Passes a gradient like [`give`](Self::give); it is already masked by the input's ReLU.
    pub(crate) fn give_masked(&self, i: usize, gradient: Var<'t>) -> Result<()> {
        self.add(i, gradient, true)
    }

    /// Returns the memory for the gradients of several inputs, and whether to add to it, if the inputs are different
    /// parameters without a gradient in this walk. Returns `None` if [`give`](Self::give) must be used instead.
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
        if self.walk.tape.detects_anomalies.get() {
            self.walk.claimed.borrow_mut().extend(inputs.into_iter().zip(targets.iter().cloned()));
        }
        Ok(targets.try_into().ok().map(|targets| (targets, accumulate)))
    }

    fn input_index(&self, i: usize) -> usize {
        self.input_index_in(&self.walk.tape.nodes.borrow(), i)
    }

    fn input_index_in(&self, nodes: &[Node], i: usize) -> usize {
        nodes[self.node].inputs[i]
    }

    fn add(&self, i: usize, gradient: Var<'t>, masked: bool) -> Result<()> {
        let index = self.input_index(i);
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
        let gradient = gradient.to_dtype(self.walk.tape.value(index).dtype())?;
        self.walk.tape.check_gradient(self.node, i, &gradient.value())?;
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
