//! Flips, rolls, repetitions, padding, triangles and diagonal matrices. With g the gradient of the output.

use thalweg_tensor::{Axes, Axis, PadMode};

use crate::{Result, Var};

impl<'t> Var<'t> {
    /// Returns the variable with the order of the elements turned around along some axes.
    ///
    /// # Errors
    /// If one of them is no axis of the variable, or is named twice.
    pub fn flip(self, axes: impl Axes) -> Result<Self> {
        let axes = axes.of("flip", &self.shape())?;
        self.tape().record("flip", self.value().flip(&axes)?, &[self], move |pull| {
            pull.give(0, pull.cotangent()?.flip(&axes)?)
        })
    }

    /// Returns the variable with the elements moved along axes, one shift for each of them; see
    /// [`Tensor::roll`](thalweg_tensor::Tensor::roll).
    ///
    /// # Errors
    /// If one of them is no axis of the variable, or there are not as many shifts.
    pub fn roll(self, shifts: &[isize], axes: &[impl Axis]) -> Result<Self> {
        let (y, shape) = (self.value().roll(shifts, axes)?, self.shape());
        let axes = axes.iter().map(|axis| axis.of("roll", &shape)).collect::<std::result::Result<Vec<_>, _>>()?;
        let back = |(&shift, &axis): (&isize, &usize)| -shift.rem_euclid(shape[axis].max(1).cast_signed());
        let back: Vec<isize> = shifts.iter().zip(&axes).map(back).collect();
        self.tape().record("roll", y, &[self], move |pull| pull.give(0, pull.cotangent()?.roll(&back, &axes)?))
    }

    /// Returns the variable repeated so many times along each axis; see
    /// [`Tensor::repeat`](thalweg_tensor::Tensor::repeat).
    ///
    /// # Errors
    /// If there are fewer counts than axes, or the result is too large.
    pub fn repeat(self, counts: &[usize]) -> Result<Self> {
        let counts = counts.to_vec();
        self.tape().record("repeat", self.value().repeat(&counts)?, &[self], move |pull| {
            // The sum over the copies.
            let (mut g, shape) = (pull.cotangent()?, pull.input(0).shape());
            let new = counts.len() - shape.len();
            for (axis, &count) in counts.iter().enumerate().filter(|(_, count)| **count != 1) {
                let extent = if axis < new { 1 } else { shape[axis - new] };
                g = sum_within(g, axis, [count, extent], 0)?;
            }
            pull.give(0, g.reshape(&shape)?)
        })
    }

    /// Returns the variable repeated as by [`repeat`](Self::repeat). Axes in front that have no count are not repeated.
    ///
    /// # Errors
    /// If the result is too large.
    pub fn tile(self, counts: &[usize]) -> Result<Self> {
        let mut all = vec![1; self.shape().len().saturating_sub(counts.len())];
        all.extend(counts);
        self.repeat(&all)
    }

    /// Returns the variable with each element so many times in a row along an axis.
    ///
    /// # Errors
    /// If it is no axis of the variable, or the result is too large.
    pub fn repeat_interleave(self, count: usize, axis: impl Axis) -> Result<Self> {
        let y = self.value().repeat_interleave(count, axis)?;
        let axis = axis.of("repeat_interleave", &self.shape())?;
        let extent = self.shape()[axis];
        self.tape().record("repeat_interleave", y, &[self], move |pull| {
            pull.give(0, sum_within(pull.cotangent()?, axis, [extent, count], 1)?)
        })
    }

    /// Returns the variable with elements added before and after its last axes; see
    /// [`Tensor::pad`](thalweg_tensor::Tensor::pad).
    ///
    /// # Errors
    /// If the widths do not fit the shape or the mode.
    pub fn pad(self, widths: &[(isize, isize)], mode: PadMode) -> Result<Self> {
        let y = self.value().pad(widths, mode)?;
        let first = self.shape().len() - widths.len();
        let widths = widths.to_vec();
        self.tape().record("pad", y, &[self], move |pull| {
            let mut g = pull.cotangent()?;
            for (axis, &(before, after)) in (first..).zip(&widths) {
                let (before, after) = (before.max(0).unsigned_abs(), after.max(0).unsigned_abs());
                g = fold(g, axis, before, after, mode)?;
            }
            // Elements that a negative width removes have no gradient.
            let taken: Vec<_> = widths.iter().map(|width| (-width.0.min(0), -width.1.min(0))).collect();
            if taken.iter().any(|width| *width != (0, 0)) {
                g = g.pad(&taken, PadMode::Constant(0.0))?;
            }
            pull.give(0, g)
        })
    }

    /// Returns the lower triangles of the matrices in the last two axes; see
    /// [`Tensor::tril`](thalweg_tensor::Tensor::tril).
    ///
    /// # Errors
    /// If there are fewer than two axes.
    pub fn tril(self, diagonal: isize) -> Result<Self> {
        self.tape().record("tril", self.value().tril(diagonal)?, &[self], move |pull| {
            pull.give(0, pull.cotangent()?.tril(diagonal)?)
        })
    }

    /// Returns the upper triangles of the matrices in the last two axes; see
    /// [`Tensor::triu`](thalweg_tensor::Tensor::triu).
    ///
    /// # Errors
    /// If there are fewer than two axes.
    pub fn triu(self, diagonal: isize) -> Result<Self> {
        self.tape().record("triu", self.value().triu(diagonal)?, &[self], move |pull| {
            pull.give(0, pull.cotangent()?.triu(diagonal)?)
        })
    }

    /// Returns the matrix with a list on a diagonal and zeros elsewhere; of a matrix, its diagonal as a list.
    ///
    /// # Errors
    /// If there is another number of dimensions than 1 or 2, or the result is too large.
    pub fn diag(self, diagonal: isize) -> Result<Self> {
        if self.shape().len() == 1 {
            return self.diag_embed(diagonal);
        }
        // A view of a matrix, or an error.
        self.value().diag(diagonal)?;
        self.diagonal(diagonal, 0, 1)
    }

    /// Returns matrices with the last axis on a diagonal and zeros elsewhere; see
    /// [`Tensor::diag_embed`](thalweg_tensor::Tensor::diag_embed).
    ///
    /// # Errors
    /// If there is no dimension, or the result is too large.
    pub fn diag_embed(self, offset: isize) -> Result<Self> {
        self.tape().record("diag_embed", self.value().diag_embed(offset)?, &[self], move |pull| {
            pull.give(0, pull.cotangent()?.diagonal(offset, -2, -1)?)
        })
    }

    /// Returns the sum of the main diagonal of a matrix, of shape `[]`.
    ///
    /// # Errors
    /// If the variable is no matrix of f32.
    pub fn trace(self) -> Result<Self> {
        self.value().t()?;
        self.diagonal(0, 0, 1)?.sum()
    }
}

/// Splits an axis into two with these extents and sums over one of them.
fn sum_within<'t>(g: Var<'t>, axis: usize, extents: [usize; 2], summed: usize) -> Result<Var<'t>> {
    let mut shape = g.shape();
    let outer = shape[..axis].iter().product();
    let inner = shape[axis + 1..].iter().product();
    shape[axis] = extents[1 - summed];
    g.reshape(&[outer, extents[0], extents[1], inner])?.sum_along(1 + summed, false)?.reshape(&shape)
}

/// Returns the gradient of padding along an axis: each element gets the sum of the gradients of itself and of its copies.
fn fold<'t>(g: Var<'t>, axis: usize, before: usize, after: usize, mode: PadMode) -> Result<Var<'t>> {
    if before + after == 0 {
        return Ok(g);
    }
    let extent = g.shape()[axis] - before - after;
    let mut sum = g.slice(axis, before, before + extent)?;
    if let PadMode::Constant(_) = mode {
        return Ok(sum);
    }
    for (count, part, is_front) in [
        (before, g.slice(axis, 0, before)?, true),
        (after, g.slice(axis, before + extent, before + extent + after)?, false),
    ] {
        if count == 0 {
            continue;
        }
        let (part, start) = match (mode, is_front) {
            (PadMode::Reflect, true) => (part.flip(axis)?, 1),
            (PadMode::Reflect, false) => (part.flip(axis)?, extent - 1 - count),
            (PadMode::Replicate, true) => (part.sum_along(axis, true)?, 0),
            (PadMode::Replicate, false) => (part.sum_along(axis, true)?, extent - 1),
            (_, true) => (part, extent - count),
            (_, false) => (part, 0),
        };
        sum = sum.add(part.spread(axis, extent, start, 1)?)?;
    }
    Ok(sum)
}
