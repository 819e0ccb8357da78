//! Copies in another order: flips, rolls, repetitions, triangles and diagonals.

use super::remap::Rule;
use crate::{Axes, Axis, DType, Error, Result, Tensor};

impl Tensor {
    /// Returns the tensor with the order of the elements turned around along some axes.
    ///
    /// # Errors
    /// If one of them is no axis of the tensor, or is named twice.
    pub fn flip(&self, axes: impl Axes) -> Result<Self> {
        let mut rules = self.rules();
        axes.of("flip", self.shape())?.into_iter().for_each(|axis| rules[axis].1 = Rule::Backwards);
        self.remap("flip", &rules, None, 0)
    }

    /// Returns the tensor with the elements moved along axes, one shift for each of them. What leaves an axis at its end
    /// comes in at its start. An axis named twice is moved by both shifts.
    ///
    /// # Errors
    /// If one of them is no axis of the tensor, or there are not as many shifts.
    pub fn roll(&self, shifts: &[isize], axes: &[impl Axis]) -> Result<Self> {
        if shifts.len() != axes.len() {
            return Err(Error::Argument {
                op: "roll",
                name: "shifts",
                value: format!("{shifts:?} for {} axes", axes.len()),
                rule: "one for each axis",
            });
        }
        let mut starts = vec![0; self.rank()];
        for (&shift, axis) in shifts.iter().zip(axes) {
            let axis = axis.of("roll", self.shape())?;
            // Extents fit into an isize many times.
            let extent = self.shape()[axis].max(1).cast_signed();
            starts[axis] = (starts[axis] - shift.rem_euclid(extent)).rem_euclid(extent);
        }
        let rule = |(&start, &extent): (&isize, &usize)| match start {
            0 => (extent, Rule::SAME),
            start => (extent, Rule::Wrap { shift: -start }),
        };
        let rules: Vec<_> = starts.iter().zip(self.shape()).map(rule).collect();
        self.remap("roll", &rules, None, 0)
    }

    /// Returns the tensor repeated so many times along each axis. More counts than axes add axes in front. It is NumPy's
    /// `tile`.
    ///
    /// # Shapes
    /// `[n, …]` and `[c, …]` → `[c · n, …]`.
    ///
    /// # Errors
    /// If there are fewer counts than axes, or the result is too large.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::from_slice(&Device::cpu(), &[1f32, 2.0], &[2])?;
    /// assert_eq!(x.repeat(&[2])?.to_vec::<f32>()?, [1.0, 2.0, 1.0, 2.0]);
    /// assert_eq!(x.repeat(&[3, 1])?.shape(), [3, 2]);
    /// assert_eq!(x.repeat_interleave(2, 0)?.to_vec::<f32>()?, [1.0, 1.0, 2.0, 2.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn repeat(&self, counts: &[usize]) -> Result<Self> {
        let Some(new) = counts.len().checked_sub(self.rank()) else {
            return Err(Error::Argument {
                op: "repeat",
                name: "counts",
                value: format!("{counts:?} for shape {:?}", self.shape()),
                rule: "one for each axis at least",
            });
        };
        let mut shape = vec![1; new];
        shape.extend(self.shape());
        crate::shape::element_count("repeat", &shape)?;
        let mut strides = vec![0; new];
        strides.extend(self.strides());
        let rule = |(&extent, &count): (&usize, &usize)| match count {
            1 => (extent, Rule::SAME),
            count => (extent.saturating_mul(count), Rule::Wrap { shift: 0 }),
        };
        let rules: Vec<_> = shape.iter().zip(counts).map(rule).collect();
        self.view(shape, strides, self.offset()).remap("repeat", &rules, None, 0)
    }

    /// Returns the tensor repeated as by [`repeat`](Self::repeat). Axes in front that have no count are not repeated.
    ///
    /// # Errors
    /// If the result is too large.
    pub fn tile(&self, counts: &[usize]) -> Result<Self> {
        let mut all = vec![1; self.rank().saturating_sub(counts.len())];
        all.extend(counts);
        self.repeat(&all)
    }

    /// Returns the tensor with each element so many times in a row along an axis.
    ///
    /// # Shapes
    /// `[…, n, …]` → `[…, count · n, …]`.
    ///
    /// # Errors
    /// If it is no axis of the tensor, or the result is too large.
    pub fn repeat_interleave(&self, count: usize, axis: impl Axis) -> Result<Self> {
        let axis = axis.of("repeat_interleave", self.shape())?;
        let mut rules = self.rules();
        rules[axis] = (rules[axis].0.saturating_mul(count), Rule::Divide { by: count });
        self.remap("repeat_interleave", &rules, None, 0)
    }

    /// Returns the lower triangles of the matrices in the last two axes: the elements on and below a diagonal. The others
    /// are 0. A positive number of the diagonal lies above the main one.
    ///
    /// # Errors
    /// If there are fewer than two axes.
    pub fn tril(&self, diagonal: isize) -> Result<Self> {
        self.band("tril", isize::MIN, diagonal)
    }

    /// Returns the upper triangles of the matrices in the last two axes: the elements on and above a diagonal. The others
    /// are 0. A positive number of the diagonal lies above the main one.
    ///
    /// # Errors
    /// If there are fewer than two axes.
    pub fn triu(&self, diagonal: isize) -> Result<Self> {
        self.band("triu", diagonal, isize::MAX)
    }

    fn band(&self, op: &'static str, low: isize, high: isize) -> Result<Self> {
        if self.rank() < 2 {
            return Err(Error::Rank { op, expected: "at least 2 dimensions", shape: self.shape().to_vec() });
        }
        self.remap(op, &self.rules(), Some((low, high)), 0)
    }

    /// Returns the matrix with a list on a diagonal and zeros elsewhere; of a matrix, its diagonal as a list, a view.
    ///
    /// # Shapes
    /// `[n]` → `[n + |diagonal|, n + |diagonal|]`; for `[r, c]`, see [`diagonal`](Self::diagonal).
    ///
    /// # Errors
    /// If there is another number of dimensions than 1 or 2, or the result is too large.
    pub fn diag(&self, diagonal: isize) -> Result<Self> {
        match self.rank() {
            1 => self.diag_embed(diagonal),
            2 => self.diagonal(diagonal, 0, 1),
            _ => Err(Error::Rank { op: "diag", expected: "1 or 2 dimensions", shape: self.shape().to_vec() }),
        }
    }

    /// Returns matrices with the last axis on a diagonal and zeros elsewhere. It is PyTorch's `diag_embed` of the last two
    /// axes.
    ///
    /// # Shapes
    /// `[…, n]` → `[…, n + |offset|, n + |offset|]`.
    ///
    /// # Errors
    /// If there is no dimension, or the result is too large.
    pub fn diag_embed(&self, offset: isize) -> Result<Self> {
        let axis = Axis::of(-1, "diag_embed", self.shape())?;
        let side = self.shape()[axis].saturating_add(offset.unsigned_abs());
        let (mut shape, mut strides) = (self.shape().to_vec(), self.strides().to_vec());
        // The coordinate along one axis of a matrix is that of the list; along the other one the list is stretched.
        let along = if offset < 0 { axis + 1 } else { axis };
        let across = 2 * axis + 1 - along;
        shape.insert(across, side);
        strides.insert(across, 0);
        crate::shape::element_count("diag_embed", &shape)?;
        let list = self.view(shape, strides, self.offset());
        let mut rules = list.rules();
        rules[along] = (side, Rule::SAME);
        list.remap("diag_embed", &rules, Some((offset, offset)), 0)
    }

    /// Returns the sum of the main diagonal of a matrix, of shape `[]`.
    ///
    /// # Errors
    /// If the tensor is no matrix of f32.
    pub fn trace(&self) -> Result<Self> {
        crate::tensor::expect_dtype("trace", self, DType::F32)?;
        if self.rank() != 2 {
            return Err(Error::Rank { op: "trace", expected: "2 dimensions", shape: self.shape().to_vec() });
        }
        self.diagonal(0, 0, 1)?.sum()
    }

    /// Returns the rules with which every element stays.
    pub(crate) fn rules(&self) -> Vec<(usize, Rule)> {
        self.shape().iter().map(|&extent| (extent, Rule::SAME)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    fn numbers(shape: &[usize]) -> Tensor {
        let elements: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| i as f32).collect();
        Tensor::from_slice(&Device::cpu(), &elements, shape).unwrap()
    }

    fn floats(x: Result<Tensor>) -> Vec<f32> {
        x.unwrap().to_vec().unwrap()
    }

    #[test]
    fn elements_change_their_order() {
        let x = numbers(&[2, 3]);
        assert_eq!(floats(x.flip(-1)), [2., 1., 0., 5., 4., 3.]);
        assert_eq!(floats(x.flip(..)), [5., 4., 3., 2., 1., 0.]);
        assert_eq!(floats(x.flip([0])), [3., 4., 5., 0., 1., 2.]);
        assert_eq!(floats(x.roll(&[1], &[1])), [2., 0., 1., 5., 3., 4.]);
        assert_eq!(floats(x.roll(&[-1, 3, 2], &[1, 0, 1])), [5., 3., 4., 2., 0., 1.]);
        assert_eq!(floats(x.roll(&[isize::MIN, isize::MAX], &[0, 0])), [3., 4., 5., 0., 1., 2.]);
        assert_eq!(numbers(&[0, 2]).roll(&[3], &[0]).unwrap().flip(0).unwrap().shape(), [0, 2]);
        assert!(x.roll(&[1], &[0, 1]).is_err() && x.roll(&[1], &[2]).is_err() && x.flip([0, 0]).is_err());
    }

    #[test]
    fn elements_are_repeated() {
        let x = numbers(&[2, 1]);
        assert_eq!(floats(x.repeat(&[2, 1, 3])), [0., 0., 0., 1., 1., 1., 0., 0., 0., 1., 1., 1.]);
        assert_eq!(floats(x.tile(&[2])), [0., 0., 1., 1.]);
        assert_eq!(floats(x.t().unwrap().tile(&[1, 2])), [0., 1., 0., 1.]);
        assert_eq!(
            (x.repeat(&[0, 1]).unwrap().shape(), numbers(&[]).repeat(&[]).unwrap().shape()),
            (&[0, 1][..], &[][..])
        );
        assert_eq!(floats(numbers(&[2, 2]).repeat_interleave(2, 0)), [0., 1., 0., 1., 2., 3., 2., 3.]);
        assert_eq!(numbers(&[2, 2]).repeat_interleave(0, 1).unwrap().shape(), [2, 0]);
        assert!(x.repeat(&[2]).is_err() && x.repeat(&[usize::MAX, 2]).is_err() && x.repeat(&[1; 9]).is_err());
    }

    #[test]
    fn triangles_and_diagonals() {
        let x = numbers(&[2, 3]).affine(1.0, 1.0).unwrap();
        assert_eq!(floats(x.tril(0)), [1., 0., 0., 4., 5., 0.]);
        assert_eq!(floats(x.triu(1)), [0., 2., 3., 0., 0., 6.]);
        assert_eq!(floats(x.triu(-1)), floats(Ok(x.clone())));
        assert_eq!(floats(x.tril(isize::MIN)), [0.; 6]);
        let list = numbers(&[2]).affine(1.0, 1.0).unwrap();
        assert_eq!(floats(list.diag(1)), [0., 1., 0., 0., 0., 2., 0., 0., 0.]);
        assert_eq!(floats(list.diag(-1)), [0., 0., 0., 1., 0., 0., 0., 2., 0.]);
        assert_eq!(floats(list.diag(0)), [1., 0., 0., 2.]);
        assert_eq!((floats(x.diag(1)), floats(x.trace())), (vec![2., 6.], vec![6.]));
        assert_eq!(numbers(&[0]).diag(2).unwrap().to_vec::<f32>().unwrap(), [0.; 4]);
        assert!(list.tril(0).is_err() && list.trace().is_err() && numbers(&[]).diag(0).is_err());
        assert!(list.diag(isize::MAX).is_err());
    }
}
