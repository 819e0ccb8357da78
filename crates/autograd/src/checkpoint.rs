//! Gradient checkpointing and hooks.

use thalweg_tensor::Tensor;

use crate::walk::{Cotangent, Pull, Walk};
use crate::{Error, Result, Tape, Var};

impl Tape {
    /// Computes a segment of a forward pass without keeping its values. The backward pass computes them once more. So a deep
    /// network needs memory for the values between its segments, and for those within one segment (Chen et al., "Training deep
    /// nets with sublinear memory cost", 2016). It is PyTorch's `checkpoint`.
    ///
    /// Parameters that the segment uses get their gradients. Gradients of gradients flow to its inputs alone.
    ///
    /// # Errors
    /// If the segment fails, has no input or uses dropout, whose mask would differ in the second pass; if a gradient of a
    /// gradient would have to flow to a tracked variable or parameter that is not an input.
    ///
    /// ```
    /// use thalweg_autograd::Tape;
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_autograd::Result<()> {
    /// let tape = Tape::new();
    /// let x = tape.input(&Tensor::from_slice(&Device::cpu(), &[0.0, 1.0], &[2])?);
    /// let y = tape.checkpoint(&[x], |_, x| x[0].exp()?.square())?;
    /// let gradients = tape.backward(y.sum()?)?;
    /// assert_eq!(gradients.get(x).unwrap().to_vec::<f32>()?[0], 2.0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn checkpoint<'t, F>(&'t self, inputs: &[Var<'t>], segment: F) -> Result<Var<'t>>
    where
        F: for<'s> Fn(&'s Tape, &[Var<'s>]) -> Result<Var<'s>> + 'static,
    {
        if inputs.is_empty() {
            return Err(Error::Checkpoint { problem: "has no input" });
        }
        let inner = Tape::like(self);
        let values: Vec<Tensor> = inputs.iter().map(Var::value).collect();
        let tracked: Vec<bool> = inputs.iter().map(Var::is_tracked).collect();
        let y = segment(&inner, &leaves(&inner, &values, &tracked))?;
        let is_tracked = y.is_tracked();
        if is_tracked && inner.nodes.borrow().iter().any(|node| node.op == "dropout") {
            return Err(Error::Checkpoint { problem: "uses dropout, whose mask would differ in the second pass" });
        }
        self.record_if(is_tracked, "checkpoint", y.value(), inputs, false, move |pull| match pull.is_plain() {
            true => backward_of_values(pull, &segment),
            false => backward_of_variables(pull, &segment),
        })
    }
}

/// Returns the inputs of a segment as variables of another tape.
fn leaves<'s>(tape: &'s Tape, values: &[Tensor], tracked: &[bool]) -> Vec<Var<'s>> {
    let leaf = |(value, &tracked): (&Tensor, &bool)| if tracked { tape.input(value) } else { tape.constant(value) };
    values.iter().zip(tracked).map(leaf).collect()
}

/// Computes the segment on a tape of its own, and walks back over it: parameters get their gradients at once.
fn backward_of_values<F>(pull: &Pull<'_, '_>, segment: &F) -> Result<()>
where
    F: for<'s> Fn(&'s Tape, &[Var<'s>]) -> Result<Var<'s>>,
{
    let inner = Tape::like(pull.output().tape());
    let values: Vec<Tensor> = (0..pull.inputs()).map(|i| pull.input(i).value()).collect();
    let tracked: Vec<bool> = (0..pull.inputs()).map(|i| pull.needs(i)).collect();
    let inputs = leaves(&inner, &values, &tracked);
    let y = segment(&inner, &inputs)?;
    let walk = Walk::new(&inner, y, Cotangent::Tensor(pull.cotangent()?.value()), false);
    inner.no_grad(|| walk.run(None))?;
    let indices: Vec<Var<'_>> = inputs.clone();
    let gradients = walk.into_gradients();
    for (i, input) in indices.into_iter().enumerate() {
        if let Some(gradient) = gradients.get(input) {
            pull.give(i, pull.constant(gradient))?;
        }
    }
    Ok(())
}

/// Computes the segment on the tape of the pass, so that its gradients can be differentiated again.
fn backward_of_variables<'t, F>(pull: &Pull<'t, '_>, segment: &F) -> Result<()>
where
    F: for<'s> Fn(&'s Tape, &[Var<'s>]) -> Result<Var<'s>>,
{
    let tape = pull.output().tape();
    let mark = tape.nodes.borrow().len();
    // Leaves in place of the inputs: the walk ends at them.
    let inputs: Vec<Var<'t>> = (0..pull.inputs()).map(|i| pull.input(i)).collect();
    let entries = inputs
        .iter()
        .map(|input| tape.record("checkpoint_input", input.value(), &[*input], |pull| pull.give(0, pull.cotangent()?)));
    let entries = entries.collect::<Result<Vec<_>>>()?;
    let y = segment(tape, &entries)?;
    let is_from_outside = {
        let nodes = tape.nodes.borrow();
        let last_entry = mark + entries.len();
        let reads_outside = |&i: &usize| i < mark && nodes[i].tracked;
        nodes[last_entry..]
            .iter()
            .any(|node| (node.parameter.is_some() && node.tracked) || node.inputs.iter().any(reads_outside))
    };
    if is_from_outside {
        let problem = "depends on tracked variables or parameters that are not its inputs, to which gradients of gradients \
                       do not flow; pass them as inputs";
        return Err(Error::Checkpoint { problem });
    }
    if !y.is_tracked() {
        return Ok(());
    }
    let gradients = tape.vector_jacobian_product(y, pull.cotangent()?, &entries)?;
    for (i, gradient) in gradients.into_iter().enumerate().filter(|(i, _)| pull.needs(*i)) {
        pull.give(i, gradient)?;
    }
    Ok(())
}

impl Var<'_> {
    /// Returns the same value with a hook: a function that sees the gradient that flows back through this place, and returns the
    /// gradient that flows on. It is PyTorch's `register_hook`.
    ///
    /// # Errors
    /// If the tape refuses the value. A backward pass returns the error of the hook.
    ///
    /// ```
    /// use thalweg_autograd::Tape;
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_autograd::Result<()> {
    /// let tape = Tape::new();
    /// let x = tape.input(&Tensor::from_slice(&Device::cpu(), &[3.0, -1.0], &[2])?);
    /// let y = x.with_hook(|gradient| gradient.clamp(-4.0, 4.0))?.square()?.sum()?;
    /// assert_eq!(tape.backward(y)?.get(x).unwrap().to_vec::<f32>()?, [4.0, -2.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_hook<F>(self, hook: F) -> Result<Self>
    where
        F: for<'t> Fn(Var<'t>) -> Result<Var<'t>> + 'static,
    {
        let y =
            self.tape().record("hook", self.value(), &[self], move |pull| pull.give(0, hook(pull.cotangent()?)?))?;
        Ok(y.with_linear(|x| Ok(x)))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use thalweg_tensor::{DType, Device, DropoutState};

    use super::*;
    use crate::Parameter;

    fn numbers(seed: u64, shape: &[usize]) -> Tensor {
        Tensor::uniform(&Device::cpu(), seed, 0, -1.0, 1.0, shape).unwrap()
    }

    fn parameter(name: &str, value: &Tensor) -> Parameter {
        let parameter = Parameter::declare(name, value.shape());
        let grad = Tensor::zeros(&Device::cpu(), DType::F32, value.shape()).unwrap();
        parameter.bind(value.clone(), grad).unwrap();
        parameter
    }

    /// A segment with two parameters.
    fn segment<'t>(tape: &'t Tape, x: Var<'t>, parameters: &[Parameter; 2]) -> Result<Var<'t>> {
        x.linear(tape.parameter(&parameters[0])?, tape.parameter(&parameters[1])?, true)?.tanh()?.mul(x)
    }

    #[test]
    fn gradients_are_those_without_checkpoints_to_the_bit() {
        let x = numbers(1, &[3, 4]);
        let run = |with_checkpoints: bool| {
            let parameters = [parameter("weight", &numbers(2, &[4, 4])), parameter("bias", &numbers(3, &[4]))];
            let tape = Tape::new();
            let input = tape.input(&x);
            let mut y = input;
            for _ in 0..3 {
                let shared = parameters.clone();
                y = match with_checkpoints {
                    true => tape.checkpoint(&[y], move |tape, x| segment(tape, x[0], &shared)).unwrap(),
                    false => segment(&tape, y, &shared).unwrap(),
                };
            }
            let nodes = tape.nodes.borrow().len();
            let gradients = tape.backward(y.square().unwrap().sum().unwrap()).unwrap();
            let read = |x: &Tensor| x.to_vec::<f32>().unwrap();
            let of_parameters: Vec<Vec<f32>> =
                parameters.iter().map(|parameter| read(parameter.grad().unwrap())).collect();
            (nodes, read(&y.value()), read(gradients.get(input).unwrap()), of_parameters)
        };
        let (with, without) = (run(true), run(false));
        assert_eq!((&with.1, &with.2, &with.3), (&without.1, &without.2, &without.3));
        assert!(with.0 < without.0, "{} nodes, {} without", with.0, without.0);
    }

    #[test]
    fn gradients_of_gradients_flow_to_the_inputs_and_nowhere_else_in_silence() {
        let tape = Tape::new();
        let x = tape.input(&Tensor::scalar(&Device::cpu(), 0.5f32).unwrap());
        let y = tape.checkpoint(&[x], |_, x| x[0].powf(3.0)).unwrap();
        let first = tape.grad(y.square().unwrap(), &[x]).unwrap()[0];
        let second = tape.grad(first, &[x]).unwrap()[0].item().unwrap();
        assert!((second - 30.0 * 0.5f32.powi(4)).abs() < 1e-5, "{second}");
        let scale = parameter("scale", &Tensor::scalar(&Device::cpu(), 2f32).unwrap());
        let y = tape.checkpoint(&[x], move |tape, x| x[0].mul(tape.parameter(&scale)?)).unwrap();
        assert!(matches!(tape.grad(y, &[x]), Err(Error::Checkpoint { .. })));
        let z = tape.checkpoint(&[x], |_, x| x[0].exp()).unwrap();
        let tangent = tape.jacobian_vector_product(z, &[x], &[tape.constant(&x.value())]).unwrap();
        assert!((tangent.item().unwrap() - 0.5 * 0.5f32.exp()).abs() < 1e-6);
    }

    #[test]
    fn what_cannot_be_computed_twice_is_refused() {
        let tape = Tape::new();
        let x = tape.input(&numbers(1, &[4]));
        let state = DropoutState::new(&Device::cpu(), 1, 0).unwrap();
        let dropped = tape.checkpoint(&[x], move |_, x| x[0].dropout(0.5, &state));
        assert!(dropped.unwrap_err().to_string().contains("dropout"));
        assert!(tape.checkpoint(&[], |tape, _| Ok(tape.constant(&numbers(1, &[1])))).is_err());
        let constant = tape.constant(&numbers(1, &[4]));
        assert!(!tape.checkpoint(&[constant], |_, x| x[0].exp()).unwrap().is_tracked());
    }

    #[test]
    fn hooks_see_and_change_gradients() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let tape = Tape::new();
        let x = tape.input(&Tensor::scalar(&Device::cpu(), 3f32).unwrap());
        let log = seen.clone();
        let hooked = x.with_hook(move |gradient| {
            log.borrow_mut().push(gradient.item()?);
            gradient.affine(0.5, 0.0)
        });
        let y = hooked.unwrap().square().unwrap();
        assert_eq!(tape.backward(y).unwrap().get(x).unwrap().item::<f32>().unwrap(), 3.0);
        assert_eq!(*seen.borrow(), [6.0]);
        let failing = x.with_hook(|gradient| gradient.matmul(gradient)).unwrap().square().unwrap();
        assert!(tape.backward(failing).is_err());
    }
}
