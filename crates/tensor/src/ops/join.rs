//! Joins of tensors along an axis. Each part is written to its place in the result.

use crate::{Axis, Error, Result, Tensor};

impl Tensor {
    /// Returns the elements of several tensors one after the other along an axis. It is PyTorch's `cat`.
    ///
    /// # Shapes
    /// `[…, nᵢ, …]` each → `[…, Σ nᵢ, …]`.
    ///
    /// # Errors
    /// If there is none, it is no axis of theirs, or their types, devices or other extents differ.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let device = Device::cpu();
    /// let x = Tensor::from_slice(&device, &[1.0, 2.0], &[2, 1])?;
    /// let y = Tensor::from_slice(&device, &[3.0, 4.0, 5.0, 6.0], &[2, 2])?;
    /// assert_eq!(Tensor::concatenate(&[x, y], 1)?.to_vec::<f32>()?, [1.0, 3.0, 4.0, 2.0, 5.0, 6.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn concatenate(tensors: &[Self], axis: impl Axis) -> Result<Self> {
        join("concatenate", tensors, axis)
    }

    /// Returns tensors of one shape side by side along a new axis, which has the number `axis` in the result.
    ///
    /// # Shapes
    /// n times `[…, …]` → `[…, n, …]`.
    ///
    /// # Errors
    /// If there is none, the result would have no axis of this number, or their types, devices or shapes differ.
    pub fn stack(tensors: &[Self], axis: impl Axis) -> Result<Self> {
        let parts = tensors.iter().map(|tensor| tensor.unsqueeze(axis)).collect::<Result<Vec<_>>>()?;
        join("stack", &parts, axis)
    }
}

fn join(op: &'static str, tensors: &[Tensor], axis: impl Axis) -> Result<Tensor> {
    let Some(first) = tensors.first() else {
        let (value, rule) = ("[]".to_string(), "at least one tensor");
        return Err(Error::Argument { op, name: "tensors", value, rule });
    };
    let axis = axis.of(op, first.shape())?;
    let mut shape = first.shape().to_vec();
    shape[axis] = 0;
    for tensor in tensors {
        first.same_device(op, tensor)?;
        let mut others = tensor.shape().to_vec();
        others.get_mut(axis).into_iter().for_each(|extent| *extent = first.shape()[axis]);
        if others != first.shape() || tensor.dtype() != first.dtype() {
            return Err(Error::Shape {
                op,
                rule: "the other extents or the types differ",
                left: first.shape().to_vec(),
                right: tensor.shape().to_vec(),
            });
        }
        shape[axis] += tensor.shape()[axis];
    }
    // Elements that share a word with others are written by the driver or the copy, one after the other.
    let is_outermost = shape[..axis].iter().all(|&extent| extent == 1);
    if first.dtype().size() != 4 && !is_outermost {
        let parts = tensors.iter().map(|tensor| tensor.transpose(0, axis)).collect::<Result<Vec<_>>>()?;
        return join(op, &parts, 0)?.transpose(0, axis);
    }
    let y = Tensor::uninitialized(first.device(), first.dtype(), &shape)?;
    let inner: usize = shape[axis + 1..].iter().product();
    let mut start = 0;
    for tensor in tensors {
        if is_outermost && (tensor.is_contiguous() || first.dtype().size() != 4) {
            tensor.contiguous()?.copy_to(&y, start * inner)?;
        } else {
            tensor.write_into(&y, axis, start)?;
        }
        start += tensor.shape()[axis];
    }
    Ok(y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Device, f16};

    fn numbers(start: usize, shape: &[usize]) -> Tensor {
        let elements: Vec<f32> = (start..start + shape.iter().product::<usize>()).map(|i| i as f32).collect();
        Tensor::from_slice(&Device::cpu(), &elements, shape).unwrap()
    }

    #[test]
    fn concatenation_keeps_the_order() {
        let parts = [numbers(1, &[1, 2]), numbers(3, &[2, 2]).t().unwrap()];
        let y = Tensor::concatenate(&parts, 0).unwrap();
        assert_eq!((y.shape(), y.to_vec::<f32>().unwrap()), (&[3, 2][..], vec![1.0, 2.0, 3.0, 5.0, 4.0, 6.0]));
    }

    #[test]
    fn every_axis_joins_as_the_first_one_of_transposed_parts() {
        let shapes = [[2usize, 3, 4], [2, 3, 1], [1, 3, 4], [1, 1, 1], [0, 3, 4]];
        for shape in shapes {
            for axis in 0..3 {
                for turned in [false, true] {
                    let mut other = shape;
                    other[axis] = 2;
                    let mut empty = shape;
                    empty[axis] = 0;
                    let parts = [numbers(0, &shape), numbers(50, &empty), numbers(100, &other), numbers(200, &shape)];
                    let parts = parts.map(|x| {
                        let order = [2, 1, 0];
                        if turned { x.permute(&order).unwrap().copy().unwrap().permute(&order).unwrap() } else { x }
                    });
                    let moved = parts.clone().map(|x| x.transpose(0, axis).unwrap().copy().unwrap());
                    let expected = Tensor::concatenate(&moved, 0).unwrap().transpose(0, axis).unwrap();
                    let got = Tensor::concatenate(&parts, axis).unwrap();
                    assert_eq!(got.shape(), expected.shape());
                    let expected = expected.to_vec::<f32>().unwrap();
                    assert_eq!(got.to_vec::<f32>().unwrap(), expected, "{shape:?} along {axis}");
                    let halves = parts.map(|x| x.to_dtype(DType::F16).unwrap());
                    let got = Tensor::concatenate(&halves, axis).unwrap().to_vec::<f16>().unwrap();
                    assert!(got.iter().map(|x| x.to_f32()).eq(expected), "{shape:?} of f16 along {axis}");
                }
            }
        }
    }

    #[test]
    fn stacks_have_a_new_axis() {
        let parts = [numbers(0, &[2]), numbers(2, &[2])];
        assert_eq!(Tensor::stack(&parts, -1).unwrap().to_vec::<f32>().unwrap(), [0., 2., 1., 3.]);
        assert_eq!(Tensor::stack(&parts, 0).unwrap().to_vec::<f32>().unwrap(), [0., 1., 2., 3.]);
        assert_eq!(Tensor::stack(&[numbers(7, &[])], 0).unwrap().shape(), [1]);
        let error = Tensor::stack(&[numbers(0, &[2]), numbers(0, &[3])], 0).unwrap_err().to_string();
        assert!(error.starts_with("stack: the other extents"), "{error}");
        assert!(Tensor::stack(&[], 0).is_err() && Tensor::stack(&parts, 2).is_err());
        assert!(Tensor::concatenate(&[numbers(0, &[])], 0).is_err());
        assert!(Tensor::concatenate(&[numbers(0, &[2]), numbers(0, &[])], 0).is_err());
    }
}
