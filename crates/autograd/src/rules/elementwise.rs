//! Element-wise functions: the derivatives of their entries, evaluated on variables.

use thalweg_tensor::functions::{Elementwise, Expression, Numbers, RELU};
use thalweg_tensor::{DType, MOST_ARGUMENTS, Tensor, elementwise_methods};

use crate::forward::{Push, sum};
use crate::walk::Pull;
use crate::{Result, Var};

impl Var<'_> {
    thalweg_tensor::for_each_function!(elementwise_methods [] self);

    /// Applies an element-wise function of one argument, with its numbers; see
    /// [`Tensor::apply`](thalweg_tensor::Tensor::apply). It can be differentiated as often as its derivatives can.
    ///
    /// # Errors
    /// If the number of arguments or numbers is wrong, or the elements are not floating-point numbers.
    pub fn apply(self, function: &'static Elementwise, numbers: &[f32]) -> Result<Self> {
        self.apply_with(function, &[], numbers)
    }

    /// Applies an element-wise function of several arguments; see
    /// [`Tensor::apply_with`](thalweg_tensor::Tensor::apply_with). This variable is the first argument. The gradients
    /// of broadcast operands are summed.
    ///
    /// # Errors
    /// If the number of arguments or numbers is wrong, the shapes do not broadcast, the elements are not floating-point
    /// numbers or have several types, or the operands are on different devices or tapes.
    pub fn apply_with(self, function: &'static Elementwise, others: &[Self], numbers: &[f32]) -> Result<Self> {
        if self.tape().autocast_type().is_some() && others.iter().any(|other| other.dtype() != self.dtype()) {
            // Under autocast the wider type of the operands is f32.
            let others = others.iter().map(|other| other.to_dtype(DType::F32)).collect::<Result<Vec<_>>>()?;
            return self.to_dtype(DType::F32)?.apply_with(function, &others, numbers);
        }
        let values: Vec<Tensor> = others.iter().map(Self::value).collect();
        let result = self.value().apply_with(function, &values.iter().collect::<Vec<_>>(), numbers)?;
        let inputs: Vec<Self> = std::iter::once(self).chain(others.iter().copied()).collect();
        let mut own = Numbers::default();
        own[..numbers.len()].copy_from_slice(numbers);
        let is_relu = function == &RELU;
        let y = self
            .tape()
            .record_node(function.name(), result, &inputs, is_relu, move |pull| pullback(function, &own, pull))?;
        Ok(y.with_pushforward(move |push| pushforward(function, &own, push)))
    }
}

/// Passes each input its gradient.
fn pullback(function: &Elementwise, numbers: &Numbers, pull: &Pull<'_, '_>) -> Result<()> {
    let wanted =
        |(i, derivative)| Option::as_ref(derivative).filter(|_| pull.needs(i)).map(|derivative| (i, derivative));
    let wanted: Vec<(usize, &Expression)> = function.derivatives.iter().enumerate().filter_map(wanted).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let cotangent = pull.cotangent()?;
    let point = Point::new(function, |i| pull.input(i), pull.output(), cotangent);
    for (i, derivative) in wanted {
        // A product may already have masked the gradient of a ReLU.
        let gradient = if pull.is_masked() { cotangent } else { point.evaluate(derivative, numbers)? };
        pull.give(i, gradient.sum_to(&pull.input(i).shape())?)?;
    }
    Ok(())
}

/// Returns the tangent: the sum of the derivatives along the tangents of the inputs.
fn pushforward<'t>(function: &Elementwise, numbers: &Numbers, push: &Push<'t, '_>) -> Result<Option<Var<'t>>> {
    let output = push.output();
    let shape = output.shape();
    let mut tangent = None;
    for (i, derivative) in function.derivatives.iter().enumerate() {
        let (Some(direction), Some(derivative)) = (push.tangent(i), derivative) else { continue };
        let point = Point::new(function, |i| push.input(i), output, direction.broadcast_to(&shape)?);
        tangent = sum(tangent, Some(point.evaluate(derivative, numbers)?))?;
    }
    Ok(tangent)
}

/// The arguments of a function, its result, and the direction that derivatives are multiplied by: a cotangent or a tangent.
struct Point<'t> {
    inputs: [Option<Var<'t>>; MOST_ARGUMENTS],
    output: Var<'t>,
    direction: Var<'t>,
}

impl<'t> Point<'t> {
    fn new(function: &Elementwise, input: impl Fn(usize) -> Var<'t>, output: Var<'t>, direction: Var<'t>) -> Self {
        let count = function.function.arguments.len();
        Self { inputs: std::array::from_fn(|i| (i < count).then(|| input(i))), output, direction }
    }

    fn evaluate(&self, expression: &Expression, numbers: &Numbers) -> Result<Var<'t>> {
        match expression {
            Expression::Argument(i) => {
                Ok(self.inputs[*i].unwrap_or_else(|| unreachable!("derivatives name arguments of the function")))
            }
            Expression::Result => Ok(self.output),
            Expression::Cotangent => Ok(self.direction),
            Expression::Constant(value) => {
                let output = self.output.value();
                let value = Tensor::scalar(output.device(), *value)?.to_dtype(output.dtype())?;
                Ok(self.output.tape().constant(&value))
            }
            Expression::Apply { function, operands, numbers: own } => {
                let operands: Vec<Var<'t>> =
                    operands.iter().map(|operand| self.evaluate(operand, numbers)).collect::<Result<_>>()?;
                let own = own(numbers);
                operands[0].apply_with(function, &operands[1..], &own[..function.function.numbers.len()])
            }
        }
    }
}
