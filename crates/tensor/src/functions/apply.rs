//! Applies a function to tensors, in one launch.

use super::Elementwise;
use super::kernel::{elements_of_lane, kernels_of};
use crate::elementwise::{Addressing, Application, Function, MOST_ARGUMENTS};
use crate::kernel::Launch;
use crate::tensor::expect_dtype;
use crate::{DType, Error, Result, Tensor, shape};

impl Tensor {
    /// Applies an element-wise function of one argument, with its numbers, in one launch.
    ///
    /// The function is an entry of [the table](mod@crate::functions) or one declared by
    /// [`functions!`](crate::functions!). A tensor that is not contiguous is copied first.
    ///
    /// # Errors
    /// If the number of arguments or numbers is wrong, or the elements are not floating-point numbers.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor, functions};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::from_slice(&Device::cpu(), &[-2.0, 3.0], &[2])?;
    /// assert_eq!(x.apply(&functions::LEAKY_RELU, &[0.5])?.to_vec::<f32>()?, [-1.0, 3.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn apply(&self, function: &'static Elementwise, numbers: &[f32]) -> Result<Self> {
        self.apply_with(function, &[], numbers)
    }

    /// Applies an element-wise function of several arguments, in one launch. This tensor is the first argument.
    ///
    /// # Shapes
    /// The shapes broadcast by NumPy's rule: they are aligned at the last dimension, and an extent of 1 is repeated.
    ///
    /// # Numerics
    /// Elements of f16 and bf16 are loaded as f32, and the result is rounded to the nearest element, ties to even.
    /// All operands and the result have the same type; [`to_dtype`](Self::to_dtype) converts.
    ///
    /// # Errors
    /// If the number of arguments or numbers is wrong, the shapes do not broadcast, the elements are not
    /// floating-point numbers or have several types, or the devices differ.
    pub fn apply_with(&self, function: &'static Elementwise, others: &[&Self], numbers: &[f32]) -> Result<Self> {
        let function = &function.function;
        let name = function.name;
        check_count(name, "the number of arguments", 1 + others.len(), function.arguments.len())?;
        check_count(name, "the number of its numbers", numbers.len(), function.numbers.len())?;
        let dtype = self.dtype();
        for operand in std::iter::once(&self).chain(others) {
            if !operand.dtype().is_float() {
                expect_dtype(name, operand, DType::F32)?;
            }
            if operand.dtype() != dtype {
                return Err(Error::MixedTypes { op: name, left: dtype, right: operand.dtype() });
            }
        }
        let mut shape = self.shape().to_vec();
        for other in others {
            self.same_device(name, other)?;
            shape = shape::broadcast(name, &shape, other.shape())?;
        }
        let copied = if others.is_empty() { Some(self.contiguous()?) } else { None };
        let first = copied.as_ref().unwrap_or(self);
        let operands: Vec<&Self> = std::iter::once(first).chain(others.iter().copied()).collect();
        let result = Self::uninitialized(self.device(), dtype, &shape)?;
        let launch = if operands.iter().all(|operand| operand.shape() == shape && operand.is_bindable()) {
            plain(function, &operands, &result, numbers)
        } else {
            strided(function, &operands, &result, numbers)?
        };
        launch.run(self.device())?;
        Ok(result)
    }
}

/// Checks that the number of operands or numbers is that of the function.
fn check_count(op: &'static str, name: &'static str, given: usize, wanted: usize) -> Result<()> {
    const RULES: [&str; 5] = ["0", "1", "2", "3", "4"];
    if given == wanted {
        return Ok(());
    }
    let rule = RULES.get(wanted).copied().unwrap_or("as many as the function declares");
    Err(Error::Argument { op, name, value: given.to_string(), rule })
}

/// Returns the launch for operands that are contiguous and have the shape of the result.
fn plain(function: &'static Function, operands: &[&Tensor], result: &Tensor, numbers: &[f32]) -> Launch {
    let mut words = vec![result.len() as u32];
    words.extend(numbers.iter().map(|number| number.to_bits()));
    let launch = Launch::with_words(kernels_of(function, result.dtype()).plain, &words);
    operands
        .iter()
        .fold(launch, |launch, operand| launch.bind(*operand))
        .bind(result)
        .workgroups(result.len().div_ceil(256))
        .applies(Application::new(function, numbers))
}

/// Returns the launch for operands that are read through strides.
fn strided(function: &'static Function, operands: &[&Tensor], result: &Tensor, numbers: &[f32]) -> Result<Launch> {
    let shape = result.shape();
    let of_operand = |operand: &&Tensor| {
        shape::broadcast_strides(operand.shape(), operand.strides(), shape).ok_or_else(|| Error::Shape {
            op: function.name,
            rule: "the shapes do not broadcast",
            left: operand.shape().to_vec(),
            right: shape.to_vec(),
        })
    };
    let strides = operands.iter().map(of_operand).collect::<Result<Vec<_>>>()?;
    // Padding with repeated strides does not change the collapsed dimensions.
    let padded: [&[usize]; MOST_ARGUMENTS] = std::array::from_fn(|i| &strides[i.min(strides.len() - 1)][..]);
    let (extents, strides) = shape::collapse(shape, padded);
    let strides = &strides[..operands.len()];
    let mut words = shape::pack(&extents).concat();
    strides.iter().for_each(|strides| words.extend(shape::pack(strides).concat()));
    words.extend([result.len() as u32, extents.len() as u32]);
    words.extend(operands.iter().map(|operand| operand.offset() as u32));
    words.extend(numbers.iter().map(|number| number.to_bits()));
    let narrow = |list: &[usize]| list.iter().map(|&number| number as u32).collect::<Vec<u32>>();
    let extents = narrow(&extents);
    let place = |(operand, strides): (&&Tensor, &Vec<usize>)| {
        Addressing::new(&extents, &narrow(strides), operand.offset() as u32, result.dtype().alignment() as u32)
    };
    let places: Vec<Option<Addressing>> = operands.iter().zip(strides).map(place).collect();
    let launch = Launch::with_words(kernels_of(function, result.dtype()).strided, &words);
    Ok(operands
        .iter()
        .fold(launch, |launch, operand| launch.bind_whole(*operand))
        .bind(result)
        .workgroups(result.len().div_ceil(elements_of_lane(result.dtype())).div_ceil(64))
        .applies(Application::at(function, numbers, &places)))
}

#[cfg(test)]
mod tests {
    use crate::functions;
    use crate::functions::{ADD, CLAMP, RELU};
    use crate::{Device, Tensor};

    fn numbers(elements: &[f32], shape: &[usize]) -> Tensor {
        Tensor::from_slice(&Device::cpu(), elements, shape).unwrap()
    }

    #[test]
    fn rows_and_columns_broadcast() {
        let sum = numbers(&[10.0, 20.0], &[2, 1]).add(&numbers(&[1.0, 2.0, 3.0], &[3])).unwrap();
        assert_eq!(sum.shape(), [2, 3]);
        assert_eq!(sum.to_vec::<f32>().unwrap(), [11.0, 12.0, 13.0, 21.0, 22.0, 23.0]);
    }

    #[test]
    fn errors_name_the_function_that_was_called() {
        let error = numbers(&[0.0; 3], &[3]).sub(&numbers(&[0.0; 2], &[2])).unwrap_err();
        assert_eq!(error.to_string(), "sub: the shapes do not broadcast, [3] × [2]");
    }

    #[test]
    fn a_wrong_number_of_operands_or_of_numbers_is_refused() {
        let x = numbers(&[1.0], &[1]);
        let error = x.apply(&ADD, &[]).unwrap_err();
        assert_eq!(error.to_string(), "add: the number of arguments = 1, but it must be 2");
        let error = x.apply_with(&RELU, &[&x], &[]).unwrap_err();
        assert_eq!(error.to_string(), "relu: the number of arguments = 2, but it must be 1");
        let error = x.apply(&CLAMP, &[0.0]).unwrap_err();
        assert_eq!(error.to_string(), "clamp: the number of its numbers = 1, but it must be 2");
    }

    functions! {
        /// x if c is positive, else y; scaled.
        CHOOSE = choose(c, x, y; scale) {
            wgsl: "return scale * select(y, x, c > 0.0);",
            twin: scale * if c > 0.0 { x } else { y },
            derivatives: [flat, flat, flat],
        }
    }

    #[test]
    fn a_function_of_three_arguments_broadcasts_all_of_them() {
        let condition = numbers(&[1.0, -1.0, 1.0], &[3]);
        let (row, column) = (numbers(&[1.0, 2.0, 3.0], &[3]), numbers(&[10.0, 20.0], &[2, 1]));
        let chosen = condition.apply_with(&CHOOSE, &[&row, &column], &[2.0]).unwrap();
        assert_eq!(chosen.to_vec::<f32>().unwrap(), [2.0, 20.0, 6.0, 2.0, 40.0, 6.0]);
        let chosen = condition.apply_with(&CHOOSE, &[&row, &row.neg().unwrap()], &[1.0]).unwrap();
        assert_eq!(chosen.to_vec::<f32>().unwrap(), [1.0, -2.0, 3.0]);
    }

    #[test]
    fn names_are_different() {
        let mut names: Vec<&str> =
            functions::all().into_iter().chain(functions::slopes()).map(|function| function.name()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
