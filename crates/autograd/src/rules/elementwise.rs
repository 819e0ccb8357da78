//! Element-wise functions: the derivatives of their entries, evaluated on variables.

use thalweg_tensor::functions::{Elementwise, Expression, Numbers, RELU};
use thalweg_tensor::{Tensor, elementwise_methods};

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
        let values: Vec<Tensor> = others.iter().map(Self::value).collect();
        let result = self.value().apply_with(function, &values.iter().collect::<Vec<_>>(), numbers)?;
        let inputs: Vec<Self> = std::iter::once(self).chain(others.iter().copied()).collect();
        let mut own = Numbers::default();
        own[..numbers.len()].copy_from_slice(numbers);
        let is_relu = function == &RELU;
        self.tape().record_node(function.name(), result, &inputs, is_relu, move |pull| pullback(function, &own, pull))
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
    for (i, derivative) in wanted {
        // A product may already have masked the gradient of a ReLU.
        let gradient = if pull.is_masked() { cotangent } else { evaluate(derivative, numbers, cotangent, pull)? };
        pull.give(i, gradient.sum_to(&pull.input(i).shape())?)?;
    }
    Ok(())
}

fn evaluate<'t>(
    expression: &Expression,
    numbers: &Numbers,
    cotangent: Var<'t>,
    pull: &Pull<'t, '_>,
) -> Result<Var<'t>> {
    match expression {
        Expression::Argument(i) => Ok(pull.input(*i)),
        Expression::Result => Ok(pull.output()),
        Expression::Cotangent => Ok(cotangent),
        Expression::Constant(value) => Ok(pull.constant(&Tensor::scalar(&pull.device(), *value)?)),
        Expression::Apply { function, operands, numbers: own } => {
            let operands: Vec<Var<'t>> =
                operands.iter().map(|operand| evaluate(operand, numbers, cotangent, pull)).collect::<Result<_>>()?;
            let own = own(numbers);
            operands[0].apply_with(function, &operands[1..], &own[..function.function.numbers.len()])
        }
    }
}
