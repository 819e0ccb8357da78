//! Joined and split axes, parts of an axis, diagonals and windows. With g the gradient of the output.

use thalweg_tensor::{Axis, DType, Indexing, PadMode, Tensor};

use crate::{Result, Var};

impl<'t> Var<'t> {
    /// A tensor of the same elements in the same order.
    fn reshaped(self, op: &'static str, value: Tensor) -> Result<Self> {
        self.tape().record(op, value, &[self], |pull| pull.give(0, pull.cotangent()?.reshape(&pull.input(0).shape())?))
    }

    /// Returns the variable with the axes `start..=end` joined to one; see [`Tensor::flatten`].
    ///
    /// # Errors
    /// If one of them is no axis of the variable, or `start` is after `end`.
    pub fn flatten(self, start: impl Axis, end: impl Axis) -> Result<Self> {
        self.reshaped("flatten", self.value().flatten(start, end)?)
    }

    /// Returns the variable with an axis split into several, of which one may be -1; see [`Tensor::unflatten`].
    ///
    /// # Errors
    /// If it is no axis of the variable, or the product of the sizes is not its extent.
    pub fn unflatten(self, axis: impl Axis, sizes: &[isize]) -> Result<Self> {
        self.reshaped("unflatten", self.value().unflatten(axis, sizes)?)
    }

    /// Returns the view without the axes of extent 1.
    ///
    /// # Errors
    /// If the tape refuses the value; the view itself is always there.
    pub fn squeeze_all(self) -> Result<Self> {
        self.reshaped("squeeze_all", self.value().squeeze_all()?)
    }

    /// Returns the view whose axis `to` is axis `from` of the variable. The other axes keep their order.
    ///
    /// # Errors
    /// If one of them is no axis of the variable.
    pub fn movedim(self, from: impl Axis, to: impl Axis) -> Result<Self> {
        let [from, to] = [from.of("movedim", &self.shape())?, to.of("movedim", &self.shape())?];
        self.tape().record("movedim", self.value().movedim(from, to)?, &[self], move |pull| {
            pull.give(0, pull.cotangent()?.movedim(to, from)?)
        })
    }

    /// Returns the view stretched to a larger shape. An extent of -1 keeps the variable's; see [`Tensor::expand`].
    ///
    /// # Errors
    /// If the variable does not broadcast to the shape, or -1 is given for an axis that the variable does not have.
    pub fn expand(self, shape: &[isize]) -> Result<Self> {
        self.tape().record("expand", self.value().expand(shape)?, &[self], |pull| {
            pull.give(0, pull.cotangent()?.sum_to(&pull.input(0).shape())?)
        })
    }

    /// Returns the view of `length` elements from `start` on along an axis.
    ///
    /// # Errors
    /// If it is no axis of the variable, or the elements are not inside of it.
    pub fn narrow(self, axis: impl Axis, start: usize, length: usize) -> Result<Self> {
        self.slice(axis, start, start.saturating_add(length))
    }

    /// Returns the view of one index of an axis, without that axis. A negative index counts from the back.
    ///
    /// # Errors
    /// If it is no axis of the variable, or the index is not inside of it.
    pub fn select(self, axis: impl Axis, index: impl Axis) -> Result<Self> {
        let y = self.value().select(axis, index)?;
        let axis = axis.of("select", &self.shape())?;
        let extent = self.shape()[axis];
        let index = index.place(extent).unwrap_or_default();
        self.tape().record("select", y, &[self], move |pull| {
            pull.give(0, pull.cotangent()?.unsqueeze(axis)?.spread(axis, extent, index, 1)?)
        })
    }

    /// Returns the view of every `step`-th index from `start` to before `end` along an axis, as in Python; see
    /// [`Tensor::slice_step`].
    ///
    /// # Errors
    /// If it is no axis of the variable, or `step` is 0.
    pub fn slice_step(
        self,
        axis: impl Axis,
        start: impl Into<Option<isize>>,
        end: impl Into<Option<isize>>,
        step: usize,
    ) -> Result<Self> {
        let (start, shape) = (start.into(), self.shape());
        let axis = axis.of("slice_step", &shape)?;
        let y = self.value().slice_step(axis, start, end, step)?;
        let extent = shape[axis];
        // As the view counts: from the back if negative, and at most the extent.
        let first = match start.unwrap_or(0) {
            start if start < 0 => start.saturating_add_unsigned(extent).max(0).unsigned_abs(),
            start => start.unsigned_abs().min(extent),
        };
        let step = step.min(extent.max(1));
        self.tape().record("slice_step", y, &[self], move |pull| {
            pull.give(0, pull.cotangent()?.spread(axis, extent, first, step)?)
        })
    }

    /// Zeros of which the elements at the places `start + step · i` along an axis are those of the variable.
    pub(crate) fn spread(self, axis: usize, extent: usize, start: usize, step: usize) -> Result<Self> {
        let count = self.shape()[axis];
        self.tape().record("spread", self.value().spread(axis, extent, start, step)?, &[self], move |pull| {
            pull.give(0, pull.cotangent()?.slice_step(axis, start.cast_signed(), None, step)?.slice(axis, 0, count)?)
        })
    }

    /// Returns the view of a diagonal of two axes, which becomes the last axis; see [`Tensor::diagonal`].
    ///
    /// # Errors
    /// If one of them is no axis of the variable, or both are the same.
    pub fn diagonal(self, offset: isize, axis1: impl Axis, axis2: impl Axis) -> Result<Self> {
        let y = self.value().diagonal(offset, axis1, axis2)?;
        let shape = self.shape();
        let [rows, columns] = [axis1.of("diagonal", &shape)?, axis2.of("diagonal", &shape)?];
        let last = shape.len() - 2;
        let (extents, count) = ([shape[rows], shape[columns]], y.shape()[last]);
        self.tape().record("diagonal", y, &[self], move |pull| {
            if count == 0 {
                let zeros = Tensor::zeros(&pull.device(), DType::F32, &pull.input(0).shape())?;
                return pull.give(0, pull.constant(&zeros));
            }
            // A square with zeros around it, or less of its zeros; then the two axes where they were, the first one first.
            let side = count.cast_signed() + offset.abs();
            let rest = extents.map(|extent| (0, extent.cast_signed() - side));
            let g = pull.cotangent()?.diag_embed(offset)?.pad(&rest, PadMode::Constant(0.0))?;
            let g = if rows < columns {
                g.movedim(last, rows)?.movedim(last + 1, columns)
            } else {
                g.movedim(last + 1, columns)?.movedim(last + 1, rows)
            };
            pull.give(0, g?)
        })
    }

    /// Returns views of `size` indices each along an axis; see [`Tensor::split`].
    ///
    /// # Errors
    /// If it is no axis of the variable, or `size` is 0 and its extent is not.
    pub fn split(self, axis: impl Axis, size: usize) -> Result<Vec<Self>> {
        self.parts("split", axis, &self.value().split(axis, size)?)
    }

    /// Returns views with these extents along an axis; see [`Tensor::split_sizes`].
    ///
    /// # Errors
    /// If it is no axis of the variable, or the sum of the sizes is not its extent.
    pub fn split_sizes(self, axis: impl Axis, sizes: &[usize]) -> Result<Vec<Self>> {
        self.parts("split_sizes", axis, &self.value().split_sizes(axis, sizes)?)
    }

    /// Returns at most `count` views of equal extent along an axis; see [`Tensor::chunk`].
    ///
    /// # Errors
    /// If it is no axis of the variable, or `count` is 0.
    pub fn chunk(self, axis: impl Axis, count: usize) -> Result<Vec<Self>> {
        self.parts("chunk", axis, &self.value().chunk(axis, count)?)
    }

    /// The slices that these values are, one after the other.
    fn parts(self, op: &'static str, axis: impl Axis, values: &[Tensor]) -> Result<Vec<Self>> {
        let axis = axis.of(op, &self.shape())?;
        let mut end = 0;
        let part = |value: &Tensor| {
            end += value.shape()[axis];
            self.slice(axis, end - value.shape()[axis], end)
        };
        values.iter().map(part).collect()
    }

    /// Returns the view of all windows of `size` neighbours along an axis, `step` apart; see [`Tensor::unfold`].
    ///
    /// # Errors
    /// If it is no axis of the variable, `size` is larger than its extent, or `step` is 0.
    pub fn unfold(self, axis: impl Axis, size: usize, step: usize) -> Result<Self> {
        let y = self.value().unfold(axis, size, step)?;
        let axis = axis.of("unfold", &self.shape())?;
        let extent = self.shape()[axis];
        let (count, step) = (y.shape()[axis], step.min(extent.max(1)));
        self.tape().record("unfold", y, &[self], move |pull| {
            // Parts of `step` elements of all windows do not overlap, so they are one tensor.
            let windows = pull.cotangent()?.movedim(-1, axis + 1)?;
            let mut sum: Option<Var<'_>> = None;
            for start in (0..size).step_by(step) {
                let end = (start + step).min(size);
                let part = windows.slice(axis + 1, start, end)?.spread(axis + 1, step, 0, 1)?;
                // The last part may extend past the end of the axis, where it is zero.
                let room = (count * step).max(extent - start);
                let part =
                    part.flatten(axis, axis + 1)?.spread(axis, start + room, start, 1)?.slice(axis, 0, extent)?;
                sum = Some(match sum {
                    Some(sum) => sum.add(part)?,
                    None => part,
                });
            }
            match sum {
                Some(sum) => pull.give(0, sum),
                None => {
                    let zeros = Tensor::zeros(&pull.device(), DType::F32, &pull.input(0).shape())?;
                    pull.give(0, pull.constant(&zeros))
                }
            }
        })
    }

    /// Returns the coordinates of the grid that lists span; see [`Tensor::meshgrid`].
    ///
    /// # Errors
    /// If there is none, one has more than one dimension, or the grid is too large.
    pub fn meshgrid(lists: &[Self], indexing: Indexing) -> Result<Vec<Self>> {
        let values: Vec<Tensor> = lists.iter().map(Var::value).collect();
        let grids = Tensor::meshgrid(&values, indexing)?;
        let grid = |(i, (list, grid)): (usize, (&Self, &Tensor))| {
            let rank = grid.rank();
            let axis = if indexing == Indexing::Cartesian && rank > 1 && i < 2 { 1 - i } else { i };
            let mut shape = vec![1; rank];
            shape[axis] = grid.shape()[axis];
            list.reshape(&shape)?.broadcast_to(grid.shape())
        };
        lists.iter().zip(&grids).enumerate().map(grid).collect()
    }
}
