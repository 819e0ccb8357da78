//! Derivatives of functions from tensors to tensors: products with the Jacobian from both sides, whole Jacobians and Hessians.

use thalweg_tensor::{DType, Tensor};

use crate::{Result, Tape, Var};

/// Computes a function and its derivative along tangents of its inputs, in forward mode: PyTorch's `torch.func.jvp`. Returns
/// the value and the tangent.
///
/// # Errors
/// If the function fails or depends on no input, or the tangents do not have the shapes of the inputs.
///
/// ```
/// use thalweg_autograd::jvp;
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_autograd::Result<()> {
/// let x = Tensor::from_slice(&Device::cpu(), &[1.0, 2.0], &[2])?;
/// let direction = Tensor::from_slice(&Device::cpu(), &[1.0, 0.5], &[2])?;
/// let (value, tangent) = jvp(&[x], &[direction], |_, x| x[0].square()?.sum())?;
/// assert_eq!((value.item::<f32>()?, tangent.item::<f32>()?), (5.0, 4.0));
/// # Ok(())
/// # }
/// ```
pub fn jvp<F>(inputs: &[Tensor], tangents: &[Tensor], function: F) -> Result<(Tensor, Tensor)>
where
    F: for<'t> Fn(&'t Tape, &[Var<'t>]) -> Result<Var<'t>>,
{
    let tape = Tape::new();
    let variables: Vec<Var<'_>> = inputs.iter().map(|input| tape.input(input)).collect();
    let tangents: Vec<Var<'_>> = tangents.iter().map(|tangent| tape.constant(tangent)).collect();
    let y = function(&tape, &variables)?;
    let tangent = tape.jacobian_vector_product(y, &variables, &tangents)?;
    Ok((y.value(), tangent.value()))
}

/// Computes a function and the product of a cotangent of its value with its Jacobian, in reverse mode: PyTorch's
/// `torch.func.vjp`. Returns the value and a gradient for each input.
///
/// # Errors
/// If the function fails or depends on no input, or the cotangent does not have the shape of the value.
pub fn vjp<F>(inputs: &[Tensor], cotangent: &Tensor, function: F) -> Result<(Tensor, Vec<Tensor>)>
where
    F: for<'t> Fn(&'t Tape, &[Var<'t>]) -> Result<Var<'t>>,
{
    let tape = Tape::new();
    let variables: Vec<Var<'_>> = inputs.iter().map(|input| tape.input(input)).collect();
    let y = function(&tape, &variables)?;
    let gradients = tape.vector_jacobian_product(y, tape.constant(cotangent), &variables)?;
    Ok((y.value(), gradients.iter().map(Var::value).collect()))
}

/// Computes the Jacobian of a function of one tensor: PyTorch's `torch.func.jacrev` and `jacfwd`. It takes a pass for each
/// element of the input in forward mode, or of the value in reverse mode, whichever are fewer.
///
/// # Shapes
/// input `[…in]`, value `[…out]` → `[…out, …in]`.
///
/// # Errors
/// If the function fails or does not depend on its input.
///
/// ```
/// use thalweg_autograd::jacobian;
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_autograd::Result<()> {
/// let x = Tensor::from_slice(&Device::cpu(), &[1.0, 2.0], &[2])?;
/// assert_eq!(jacobian(&x, |_, x| x.square())?.to_vec::<f32>()?, [2.0, 0.0, 0.0, 4.0]);
/// # Ok(())
/// # }
/// ```
pub fn jacobian<F>(input: &Tensor, function: F) -> Result<Tensor>
where
    F: for<'t> Fn(&'t Tape, Var<'t>) -> Result<Var<'t>>,
{
    let tape = Tape::new();
    let x = tape.input(input);
    let y = function(&tape, x)?;
    let (value, mark) = (y.value(), tape.nodes.borrow().len());
    let shape = [value.shape(), input.shape()].concat();
    if value.is_empty() || input.is_empty() {
        return Ok(Tensor::zeros(input.device(), DType::F32, &shape)?);
    }
    let mut lines = Vec::new();
    if input.len() < value.len() {
        for i in 0..input.len() {
            let direction = tape.constant(&unit(input, i)?);
            lines.push(tape.jacobian_vector_product(y, &[x], &[direction])?.value().reshape(&[value.len()])?);
            tape.truncate(mark);
        }
        return Ok(Tensor::stack(&lines, 1)?.reshape(&shape)?);
    }
    for i in 0..value.len() {
        let cotangent = tape.constant(&unit(&value, i)?);
        lines.push(tape.vector_jacobian_product(y, cotangent, &[x])?[0].value().reshape(&[input.len()])?);
        tape.truncate(mark);
    }
    Ok(Tensor::stack(&lines, 0)?.reshape(&shape)?)
}

/// Computes the Hessian of a function from one tensor to a number: PyTorch's `torch.func.hessian`, in forward mode over
/// reverse mode, a pass for each element.
///
/// # Shapes
/// input `[…]` → `[…, …]`.
///
/// # Errors
/// If the function fails, does not depend on its input, or its value is not one number.
pub fn hessian<F>(input: &Tensor, function: F) -> Result<Tensor>
where
    F: for<'t> Fn(&'t Tape, Var<'t>) -> Result<Var<'t>>,
{
    let tape = Tape::new();
    let x = tape.input(input);
    let gradient = tape.grad(function(&tape, x)?, &[x])?[0];
    let mark = tape.nodes.borrow().len();
    let shape = [input.shape(), input.shape()].concat();
    if input.is_empty() || !gradient.is_tracked() {
        return Ok(Tensor::zeros(input.device(), DType::F32, &shape)?);
    }
    let mut lines = Vec::new();
    for i in 0..input.len() {
        let direction = tape.constant(&unit(input, i)?);
        let line = tape.jacobian_vector_product(gradient, &[x], &[direction])?;
        lines.push(line.value().reshape(&[input.len()])?);
        tape.truncate(mark);
    }
    Ok(Tensor::stack(&lines, 0)?.reshape(&shape)?)
}

/// Computes the product of the Hessian of a function to a number with vectors of the shapes of its inputs, in forward mode
/// over reverse mode: PyTorch's `torch.autograd.functional.hvp`. Returns a tensor for each input.
///
/// # Errors
/// If the function fails or depends on no input, its value is not one number, or the vectors do not have the shapes of the
/// inputs.
///
/// ```
/// use thalweg_autograd::hvp;
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_autograd::Result<()> {
/// let x = Tensor::from_slice(&Device::cpu(), &[1.0, 2.0], &[2])?;
/// let vector = Tensor::from_slice(&Device::cpu(), &[1.0, -1.0], &[2])?;
/// let product = hvp(&[x], &[vector], |_, x| x[0].powf(3.0)?.sum())?;
/// assert_eq!(product[0].to_vec::<f32>()?, [6.0, -12.0]);
/// # Ok(())
/// # }
/// ```
pub fn hvp<F>(inputs: &[Tensor], vectors: &[Tensor], function: F) -> Result<Vec<Tensor>>
where
    F: for<'t> Fn(&'t Tape, &[Var<'t>]) -> Result<Var<'t>>,
{
    let tape = Tape::new();
    let variables: Vec<Var<'_>> = inputs.iter().map(|input| tape.input(input)).collect();
    let vectors: Vec<Var<'_>> = vectors.iter().map(|vector| tape.constant(vector)).collect();
    let gradients = tape.grad(function(&tape, &variables)?, &variables)?;
    gradients
        .into_iter()
        .map(|gradient| match gradient.is_tracked() {
            true => Ok(tape.jacobian_vector_product(gradient, &variables, &vectors)?.value()),
            false => Ok(Tensor::zeros(gradient.value().device(), DType::F32, &gradient.shape())?),
        })
        .collect()
}

/// Computes the gradients of a number with respect to some tensors separately for each row of a batch, one pass after the
/// other: PyTorch's `vmap(grad(…))`. `function` gets the tensors as variables and one row, `[1, …]`.
///
/// # Shapes
/// inputs of any shapes, rows `[n, …]` → for each input `[n, …]`.
///
/// # Errors
/// If the function fails or depends on no input, its value is not one number, or the rows have no axis.
pub fn per_example_gradients<F>(inputs: &[Tensor], rows: &Tensor, function: F) -> Result<Vec<Tensor>>
where
    F: for<'t> Fn(&'t Tape, &[Var<'t>], &Tensor) -> Result<Var<'t>>,
{
    let count = rows.shape().first().copied().unwrap_or(0);
    let mut lists = vec![Vec::with_capacity(count); inputs.len()];
    for row in 0..count {
        let tape = Tape::new();
        let variables: Vec<Var<'_>> = inputs.iter().map(|input| tape.input(input)).collect();
        let y = function(&tape, &variables, &rows.slice(0, row, row + 1)?)?;
        let gradients = tape.grad(y, &variables)?;
        lists.iter_mut().zip(gradients).for_each(|(list, gradient)| list.push(gradient.value()));
    }
    let stacked = |(list, input): (Vec<Tensor>, &Tensor)| match list.is_empty() {
        true => Tensor::zeros(input.device(), DType::F32, &[&[0], input.shape()].concat()),
        false => Tensor::stack(&list, 0),
    };
    Ok(lists.into_iter().zip(inputs).map(stacked).collect::<std::result::Result<_, _>>()?)
}

/// Returns zeros with a one at a place.
fn unit(like: &Tensor, place: usize) -> Result<Tensor> {
    let mut elements = vec![0f32; like.len()];
    elements[place] = 1.0;
    Ok(Tensor::from_slice(like.device(), &elements, like.shape())?)
}

#[cfg(test)]
mod tests {
    use thalweg_tensor::Device;

    use super::*;

    fn numbers(seed: u64, shape: &[usize]) -> Tensor {
        Tensor::uniform(&Device::cpu(), seed, 0, -1.0, 1.0, shape).unwrap()
    }

    fn close(x: &Tensor, y: &Tensor) {
        assert_eq!(x.shape(), y.shape());
        for (x, y) in x.to_vec::<f32>().unwrap().iter().zip(y.to_vec::<f32>().unwrap()) {
            assert!((x - y).abs() <= 2e-5 * (1.0 + y.abs()), "{x} and not {y}");
        }
    }

    /// A small network: products, element-wise functions, a reduction, and softmax, which has no pushforward.
    fn network<'t>(x: &[Var<'t>]) -> Result<Var<'t>> {
        let hidden = x[0].linear(x[1], x[2], true)?.mul(x[0].linear(x[1], x[2], false)?.tanh()?)?;
        hidden.softmax(-1)?.matmul(x[1])?.sub(x[0].mean()?)
    }

    #[test]
    fn both_modes_agree() {
        let inputs = [numbers(1, &[4, 3]), numbers(2, &[5, 3]), numbers(3, &[5])];
        let tangents = [numbers(4, &[4, 3]), numbers(5, &[5, 3]), numbers(6, &[5])];
        let cotangent = numbers(7, &[4, 3]);
        let (value, tangent) = jvp(&inputs, &tangents, |_, x| network(x)).unwrap();
        let (same, gradients) = vjp(&inputs, &cotangent, |_, x| network(x)).unwrap();
        close(&value, &same);
        let inner = |x: &Tensor, y: &Tensor| x.mul(y).unwrap().sum().unwrap().item::<f32>().unwrap();
        let right: f32 = gradients.iter().zip(&tangents).map(|(gradient, tangent)| inner(gradient, tangent)).sum();
        assert!((inner(&cotangent, &tangent) - right).abs() < 1e-5);
    }

    #[test]
    fn jacobians_of_both_shapes_are_those_of_the_formula() {
        let (weight, x) = (numbers(1, &[2, 5]), numbers(2, &[5]));
        let product = jacobian(&x, |tape, x| tape.constant(&weight).matmul(x)).unwrap();
        close(&product, &weight);
        let outer = jacobian(&x.slice(0, 0, 2).unwrap(), |tape, x| x.matmul(tape.constant(&weight))).unwrap();
        close(&outer, &weight.t().unwrap());
        assert_eq!(jacobian(&numbers(1, &[0]), |_, x| x.exp()).unwrap().shape(), [0, 0]);
    }

    #[test]
    fn hessians_are_symmetric_and_multiply_vectors() {
        let (x, vector) = (numbers(3, &[4]), numbers(4, &[4]));
        fn function<'t>(x: Var<'t>) -> Result<Var<'t>> {
            x.exp()?.sum()?.log()?.add(x.square()?.sum()?.square()?)
        }
        let whole = hessian(&x, |_, x| function(x)).unwrap();
        close(&whole, &whole.t().unwrap());
        let product = hvp(std::slice::from_ref(&x), std::slice::from_ref(&vector), |_, x| function(x[0])).unwrap();
        close(&product[0], &whole.matmul(&vector).unwrap());
        let linear = hessian(&x, |_, x| x.sum()).unwrap();
        assert_eq!(linear.to_vec::<f32>().unwrap(), [0.0; 16]);
    }

    #[test]
    fn gradients_of_rows_sum_to_that_of_the_batch() {
        let (weight, rows) = (numbers(1, &[3]), numbers(2, &[4, 3]));
        let each = per_example_gradients(std::slice::from_ref(&weight), &rows, |tape, x, row| {
            tape.constant(row).matmul(x[0])?.tanh()?.sum()
        });
        let each = each.unwrap().remove(0);
        assert_eq!(each.shape(), [4, 3]);
        let (_, whole) = vjp(&[weight], &Tensor::scalar(&Device::cpu(), 1f32).unwrap(), |tape, x| {
            tape.constant(&rows).matmul(x[0])?.tanh()?.sum()
        })
        .unwrap();
        close(&each.sum_along(0, false).unwrap(), &whole[0]);
    }

    #[test]
    fn tangents_that_do_not_fit_are_refused() {
        let x = numbers(1, &[3]);
        assert!(jvp(std::slice::from_ref(&x), &[numbers(1, &[2])], |_, x| x[0].exp()).is_err());
        assert!(jvp(std::slice::from_ref(&x), &[], |_, x| x[0].exp()).is_err());
        assert!(hvp(std::slice::from_ref(&x), std::slice::from_ref(&x), |_, x| x[0].exp()).is_err());
    }
}
