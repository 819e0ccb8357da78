//! Forward mode: tangents follow the operations of a tape from the inputs to a result.
//!
//! Operations with a pushforward compute their tangent directly. For the others it is the derivative of their pullback with
//! respect to the cotangent, in which a pullback is linear.

use std::rc::Rc;

use thalweg_tensor::{DType, Device, Tensor};

use crate::walk::{Cotangent, Walk};
use crate::{Error, Result, Tape, Var};

pub(crate) type Pushforward = Rc<dyn for<'t> Fn(&Push<'t, '_>) -> Result<Option<Var<'t>>>>;

/// The view of a pushforward on its operation: the inputs, their tangents and the output.
pub struct Push<'t, 'w> {
    tape: &'t Tape,
    node: usize,
    inputs: &'w [usize],
    tangents: &'w [Option<usize>],
}

impl<'t> Push<'t, '_> {
    /// Returns the i-th input of the operation.
    #[must_use]
    pub fn input(&self, i: usize) -> Var<'t> {
        Var::new(self.tape, self.inputs[i])
    }

    /// Returns the number of inputs.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs.len()
    }

    /// Returns the operation's result.
    #[must_use]
    pub fn output(&self) -> Var<'t> {
        Var::new(self.tape, self.node)
    }

    /// Returns the tangent of the i-th input; `None` if it is zero.
    #[must_use]
    pub fn tangent(&self, i: usize) -> Option<Var<'t>> {
        self.tangents[self.inputs[i]].map(|index| Var::new(self.tape, index))
    }

    /// Returns the device of the operation.
    #[must_use]
    pub fn device(&self) -> Device {
        self.tape.value(self.node).device().clone()
    }
}

/// Returns the sum of two tangents, of which each may be zero.
pub(crate) fn sum<'t>(left: Option<Var<'t>>, right: Option<Var<'t>>) -> Result<Option<Var<'t>>> {
    match (left, right) {
        (Some(left), Some(right)) => left.add(right).map(Some),
        (tangent, None) | (None, tangent) => Ok(tangent),
    }
}

impl Var<'_> {
    /// Sets the pushforward of the operation that has just been recorded: a function that returns the tangent of the result
    /// from those of the inputs, or `None` if it is zero. Without one, [`Tape::jacobian_vector_product`] differentiates the
    /// pullback.
    ///
    /// ```
    /// use thalweg_autograd::{Result, Var};
    ///
    /// /// 2 x
    /// fn twice(x: Var<'_>) -> Result<Var<'_>> {
    ///     let y = x.tape().record("twice", x.value().affine(2.0, 0.0)?, &[x], |pull| {
    ///         pull.give(0, pull.cotangent()?.affine(2.0, 0.0)?)
    ///     })?;
    ///     Ok(y.with_pushforward(|push| push.tangent(0).map(|tangent| tangent.affine(2.0, 0.0)).transpose()))
    /// }
    /// ```
    #[must_use]
    pub fn with_pushforward<F>(self, pushforward: F) -> Self
    where
        F: for<'t> Fn(&Push<'t, '_>) -> Result<Option<Var<'t>>> + 'static,
    {
        let mut nodes = self.tape().nodes.borrow_mut();
        let node = &mut nodes[self.index()];
        if node.tracked {
            node.pushforward = Some(Rc::new(pushforward));
        }
        drop(nodes);
        self
    }

    /// Sets the pushforward of an operation of one input that is linear in it: the operation itself.
    pub(crate) fn with_linear<F>(self, operation: F) -> Self
    where
        F: for<'t> Fn(Var<'t>) -> Result<Var<'t>> + 'static,
    {
        self.with_pushforward(move |push| push.tangent(0).map(&operation).transpose())
    }
}

impl Tape {
    /// Computes the product of the Jacobian of `y` with respect to some variables with tangents of their shapes: the
    /// derivative of `y` along a direction. The result is a variable that can be differentiated again.
    ///
    /// It costs about as much as computing `y` once more. Element-wise functions, matrix products, linear layers,
    /// convolutions, sums, means and rearrangements have a pushforward (true forward mode). The tangents of other
    /// operations are derivatives of their pullbacks, two reverse passes over that operation alone.
    ///
    /// # Errors
    /// If the numbers of variables and tangents or their shapes differ, `y` depends on no tracked variable, or variables
    /// belong to another tape.
    ///
    /// ```
    /// use thalweg_autograd::Tape;
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_autograd::Result<()> {
    /// let tape = Tape::new();
    /// let x = tape.input(&Tensor::from_slice(&Device::cpu(), &[1.0, 2.0, 3.0], &[3])?);
    /// let y = x.square()?;
    /// let direction = tape.constant(&Tensor::from_slice(&Device::cpu(), &[1.0, 0.0, -1.0], &[3])?);
    /// let tangent = tape.jacobian_vector_product(y, &[x], &[direction])?;
    /// assert_eq!(tangent.value().to_vec::<f32>()?, [2.0, 0.0, -6.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn jacobian_vector_product<'t>(
        &'t self,
        y: Var<'t>,
        variables: &[Var<'t>],
        tangents: &[Var<'t>],
    ) -> Result<Var<'t>> {
        let op = "jacobian_vector_product";
        self.check_root(op, y)?;
        if variables.iter().chain(tangents).any(|variable| !std::ptr::eq(variable.tape(), self)) {
            return Err(Error::Tapes { op });
        }
        let shapes = |list: &[Var<'t>]| list.iter().map(Var::shape).collect::<Vec<_>>();
        let (left, right) = (shapes(variables), shapes(tangents));
        if left != right {
            let (left, right) = (left.concat(), right.concat());
            let rule = "each variable has a tangent of its shape";
            return Err(thalweg_tensor::Error::Shape { op, rule, left, right }.into());
        }
        let last = y.index();
        let mut flowing: Vec<Option<usize>> = vec![None; last + 1];
        for (variable, tangent) in variables.iter().zip(tangents) {
            if variable.index() <= last {
                let before = flowing[variable.index()].map(|index| Var::new(self, index));
                flowing[variable.index()] = sum(before, Some(*tangent))?.map(|tangent| tangent.index());
            }
        }
        let given: Vec<bool> = flowing.iter().map(Option::is_some).collect();
        // The operations that `y` depends on.
        let mut needed = vec![false; last + 1];
        needed[last] = true;
        for node in (0..=last).rev() {
            if needed[node] {
                self.nodes.borrow()[node].inputs.iter().for_each(|&input| needed[input] = true);
            }
        }
        for node in (0..=last).filter(|&node| needed[node]) {
            let (inputs, pushforward, has_pullback) = {
                let nodes = self.nodes.borrow();
                let node = &nodes[node];
                (node.inputs.clone(), node.pushforward.clone(), node.pullback.is_some())
            };
            if !has_pullback || given[node] || inputs.iter().all(|&input| flowing[input].is_none()) {
                continue;
            }
            let tangent = match pushforward {
                Some(pushforward) => pushforward(&Push { tape: self, node, inputs: &inputs, tangents: &flowing })?,
                None => self.by_double_backward(node, &inputs, &flowing)?,
            };
            flowing[node] = tangent.map(|tangent| tangent.index());
        }
        match flowing[last] {
            Some(index) => Ok(Var::new(self, index)),
            None => {
                let value = y.value();
                Ok(self.constant(&Tensor::zeros(value.device(), DType::F32, value.shape())?))
            }
        }
    }

    /// The tangent of a node: the pullback of a cotangent u gives each input a gradient g(u), linear in u. The gradient of
    /// Σ ⟨g(u), tangent⟩ with respect to u is the tangent of the result.
    fn by_double_backward<'t>(
        &'t self,
        node: usize,
        inputs: &[usize],
        flowing: &[Option<usize>],
    ) -> Result<Option<Var<'t>>> {
        let output = Var::new(self, node);
        let value = output.value();
        // Any u will do; pullbacks that are linear by way of logarithms need one that is not zero.
        let cotangent = self.input(&Tensor::full(value.device(), 1f32, value.shape())?);
        let walk = Walk::new(self, output, Cotangent::Var(cotangent.index()), true);
        walk.pull(node)?;
        let mut inner: Option<Var<'t>> = None;
        let mut seen = Vec::new();
        for &input in inputs {
            let Some(tangent) = flowing[input].filter(|_| !seen.contains(&input)) else { continue };
            seen.push(input);
            if let Some(gradient) = walk.gradient_of(input) {
                let product = gradient.mul(Var::new(self, tangent))?.sum()?;
                inner = sum(inner, Some(product))?;
            }
        }
        match inner.filter(Var::is_tracked) {
            Some(inner) => Ok(Some(self.grad(inner, &[cotangent])?[0])),
            None => Ok(None),
        }
    }
}
