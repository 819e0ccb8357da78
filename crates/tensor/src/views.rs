//! Views of a [`Tensor`] beside those of `tensor.rs`: joined and split axes, parts of an axis, diagonals, windows.

use crate::{Axis, Error, Result, Tensor, shape};

impl Tensor {
    /// Returns the tensor with the axes `start..=end` joined to one; a view where [`reshape`](Self::reshape) is one.
    /// A tensor without axes becomes one of shape `[1]`.
    ///
    /// # Shapes
    /// `[…, a, …, b, …]` → `[…, a · … · b, …]`.
    ///
    /// # Errors
    /// If one of them is no axis of the tensor, or `start` is after `end`.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::full(&Device::cpu(), 1f32, &[2, 3, 4, 5])?;
    /// assert_eq!(x.flatten(1, -1)?.shape(), [2, 60]);
    /// assert_eq!(x.flatten(1, -1)?.unflatten(1, &[3, -1])?.shape(), [2, 3, 20]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn flatten(&self, start: impl Axis, end: impl Axis) -> Result<Self> {
        let mut shape = self.shape().to_vec();
        if shape.is_empty() {
            shape.push(1);
        }
        let (first, last) = (start.of("flatten", &shape)?, end.of("flatten", &shape)?);
        if first > last {
            return Err(Error::Argument {
                op: "flatten",
                name: "start",
                value: format!("{first}, with the end {last}"),
                rule: "an axis not behind the end",
            });
        }
        let joined = shape[first..=last].iter().product();
        shape.splice(first..=last, [joined]);
        self.reshape(&shape)
    }

    /// Returns the tensor with an axis split into several; a view where [`reshape`](Self::reshape) is one. One of the
    /// sizes may be -1, and is found from the extent of the axis.
    ///
    /// # Shapes
    /// `[…, a · … · b, …]` → `[…, a, …, b, …]`.
    ///
    /// # Errors
    /// If it is no axis of the tensor, or the product of the sizes is not its extent.
    pub fn unflatten(&self, axis: impl Axis, sizes: &[isize]) -> Result<Self> {
        let axis = axis.of("unflatten", self.shape())?;
        let extent = self.shape()[axis];
        let wrong = || Error::Argument {
            op: "unflatten",
            name: "sizes",
            value: format!("{sizes:?} of an extent of {extent}"),
            rule: "extents with the product of the axis, one of them -1 at most",
        };
        let known = |product: usize, &size: &isize| match usize::try_from(size) {
            Ok(size) => product.checked_mul(size).ok_or_else(wrong),
            Err(_) if size == -1 => Ok(product),
            Err(_) => Err(wrong()),
        };
        let known = sizes.iter().try_fold(1, known)?;
        let missing = match sizes.iter().filter(|&&size| size == -1).count() {
            0 if known == extent => 1,
            1 if known > 0 && extent.is_multiple_of(known) => extent / known,
            _ => return Err(wrong()),
        };
        let mut shape = self.shape().to_vec();
        shape.splice(axis..=axis, sizes.iter().map(|&size| usize::try_from(size).unwrap_or(missing)));
        self.reshape(&shape)
    }

    /// Returns the view whose axis `to` is axis `from` of the tensor. The other axes keep their order.
    ///
    /// # Errors
    /// If one of them is no axis of the tensor.
    pub fn movedim(&self, from: impl Axis, to: impl Axis) -> Result<Self> {
        let (from, to) = (from.of("movedim", self.shape())?, to.of("movedim", self.shape())?);
        let mut order: Vec<usize> = (0..self.rank()).collect();
        let moved = order.remove(from);
        order.insert(to, moved);
        self.permute(&order)
    }

    /// Returns the view stretched to a larger shape, as by [`broadcast_to`](Self::broadcast_to). An extent of -1 keeps
    /// the tensor's.
    ///
    /// # Errors
    /// If the tensor does not broadcast to the shape, or -1 is given for an axis that the tensor does not have.
    pub fn expand(&self, shape: &[isize]) -> Result<Self> {
        let new = shape.len().saturating_sub(self.rank());
        let kept = |d: usize| d.checked_sub(new).and_then(|d| self.shape().get(d).copied());
        let extent = |(d, &extent): (usize, &isize)| match (usize::try_from(extent), extent) {
            (Ok(extent), _) => Ok(extent),
            (Err(_), -1) => kept(d).ok_or(d),
            (Err(_), _) => Err(d),
        };
        let extents = shape.iter().enumerate().map(extent).collect::<std::result::Result<Vec<usize>, usize>>();
        match extents {
            Ok(extents) => self.broadcast_to(&extents),
            Err(_) => Err(Error::Argument {
                op: "expand",
                name: "shape",
                value: format!("{shape:?} of shape {:?}", self.shape()),
                rule: "extents, or -1 for an axis of the tensor",
            }),
        }
    }

    /// Returns the view without the axes of extent 1. It is PyTorch's `squeeze` without an axis.
    ///
    /// # Errors
    /// If work on the device has failed; the view itself is always there.
    pub fn squeeze_all(&self) -> Result<Self> {
        let kept = || self.shape().iter().zip(self.strides()).filter(|(extent, _)| **extent != 1);
        let shape = kept().map(|(&extent, _)| extent).collect();
        let strides = kept().map(|(_, &stride)| stride).collect();
        Ok(self.view(shape, strides, self.offset()))
    }

    /// Returns the view of `length` elements from `start` on along an axis.
    ///
    /// # Errors
    /// If it is no axis of the tensor, or the elements are not inside of it.
    pub fn narrow(&self, axis: impl Axis, start: usize, length: usize) -> Result<Self> {
        self.slice(axis, start, start.saturating_add(length))
    }

    /// Returns the view of one index of an axis, without that axis. A negative index counts from the back.
    ///
    /// # Shapes
    /// `[…, n, …]` → `[…, …]`.
    ///
    /// # Errors
    /// If it is no axis of the tensor, or the index is not inside of it.
    pub fn select(&self, axis: impl Axis, index: impl Axis) -> Result<Self> {
        let axis = axis.of("select", self.shape())?;
        let extent = self.shape()[axis];
        let Some(index) = index.place(extent) else {
            return Err(Error::Argument {
                op: "select",
                name: "index",
                value: format!("{} of an extent of {extent}", index.text()),
                rule: "inside of the axis",
            });
        };
        let (mut shape, mut strides) = (self.shape().to_vec(), self.strides().to_vec());
        shape.remove(axis);
        let stride = strides.remove(axis);
        Ok(self.view(shape, strides, self.offset() + index * stride))
    }

    /// Returns the view of every `step`-th index from `start` to before `end` along an axis, as by `x[start:end:step]` in
    /// Python. `None` is the start or the end of the axis, and negative numbers count from the back. What lies outside
    /// of the axis is left out. For steps backwards, see [`flip`](Self::flip).
    ///
    /// # Errors
    /// If it is no axis of the tensor, or `step` is 0.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::from_slice(&Device::cpu(), &[0f32, 1.0, 2.0, 3.0, 4.0], &[5])?;
    /// assert_eq!(x.slice_step(0, -3, None, 1)?.to_vec::<f32>()?, [2.0, 3.0, 4.0]);
    /// assert_eq!(x.slice_step(0, None, None, 2)?.to_vec::<f32>()?, [0.0, 2.0, 4.0]);
    /// assert_eq!(x.slice_step(0, 1, -1, 2)?.to_vec::<f32>()?, [1.0, 3.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn slice_step(
        &self,
        axis: impl Axis,
        start: impl Into<Option<isize>>,
        end: impl Into<Option<isize>>,
        step: usize,
    ) -> Result<Self> {
        let axis = axis.of("slice_step", self.shape())?;
        if step == 0 {
            let (value, rule) = ("0".to_string(), "at least 1");
            return Err(Error::Argument { op: "slice_step", name: "step", value, rule });
        }
        let extent = self.shape()[axis];
        let place = |index: isize| {
            // Extents are far below the largest number.
            let from_front = if index < 0 { index.saturating_add_unsigned(extent) } else { index };
            usize::try_from(from_front).unwrap_or(0).min(extent)
        };
        let (start, end) = (start.into().map_or(0, place), end.into().map_or(extent, place));
        let count = end.saturating_sub(start).div_ceil(step);
        let (mut shape, mut strides) = (self.shape().to_vec(), self.strides().to_vec());
        let offset = self.offset() + if count == 0 { 0 } else { start * strides[axis] };
        // A step of the extent leads out of the axis.
        (shape[axis], strides[axis]) = (count, step.min(extent.max(1)) * strides[axis]);
        Ok(self.view(shape, strides, offset))
    }

    /// Returns the view of a diagonal of two axes, which becomes the last axis. A positive offset lies above the main
    /// diagonal, a negative one below.
    ///
    /// # Shapes
    /// `[…, r, …, c, …]` → `[…, …, …, n]` with n = min(r, c - offset) for an offset from 0 on, else
    /// min(r + offset, c); 0 if that is negative.
    ///
    /// # Errors
    /// If one of them is no axis of the tensor, or both are the same.
    pub fn diagonal(&self, offset: isize, axis1: impl Axis, axis2: impl Axis) -> Result<Self> {
        let (rows, columns) = self.two_axes("diagonal", axis1, axis2)?;
        let (mut shape, mut strides) = (self.shape().to_vec(), self.strides().to_vec());
        let skipped = offset.unsigned_abs();
        let (below, right) = if offset < 0 { (skipped, 0) } else { (0, skipped) };
        let count = shape[rows].saturating_sub(below).min(shape[columns].saturating_sub(right));
        let start = if count == 0 { 0 } else { below * strides[rows] + right * strides[columns] };
        let stride = strides[rows] + strides[columns];
        for axis in [rows.max(columns), rows.min(columns)] {
            shape.remove(axis);
            strides.remove(axis);
        }
        shape.push(count);
        strides.push(stride);
        Ok(self.view(shape, strides, self.offset() + start))
    }

    /// Returns two different axes.
    fn two_axes(&self, op: &'static str, axis1: impl Axis, axis2: impl Axis) -> Result<(usize, usize)> {
        let (first, second) = (axis1.of(op, self.shape())?, axis2.of(op, self.shape())?);
        if first == second {
            return Err(Error::Argument {
                op,
                name: "axes",
                value: format!("{first} twice, of shape {:?}", self.shape()),
                rule: "two different axes",
            });
        }
        Ok((first, second))
    }

    /// Returns views of `size` indices each along an axis, one after the other. The last one has the rest. An axis of
    /// extent 0 gives one empty view.
    ///
    /// # Errors
    /// If it is no axis of the tensor, or `size` is 0 and its extent is not.
    pub fn split(&self, axis: impl Axis, size: usize) -> Result<Vec<Self>> {
        let axis = axis.of("split", self.shape())?;
        let extent = self.shape()[axis];
        if size == 0 && extent > 0 {
            return Err(Error::Argument { op: "split", name: "size", value: "0".to_string(), rule: "at least 1" });
        }
        let starts = (0..extent.max(1)).step_by(size.max(1));
        starts.map(|start| self.slice(axis, start, start.saturating_add(size).min(extent))).collect()
    }

    /// Returns views with these extents along an axis, one after the other. It is PyTorch's `split` with a list.
    ///
    /// # Errors
    /// If it is no axis of the tensor, or the sum of the sizes is not its extent.
    pub fn split_sizes(&self, axis: impl Axis, sizes: &[usize]) -> Result<Vec<Self>> {
        let axis = axis.of("split_sizes", self.shape())?;
        let extent = self.shape()[axis];
        if sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size)) != Some(extent) {
            return Err(Error::Argument {
                op: "split_sizes",
                name: "sizes",
                value: format!("{sizes:?} of an extent of {extent}"),
                rule: "extents with the sum of the axis",
            });
        }
        let mut end = 0;
        let part = |&size: &usize| {
            end += size;
            self.slice(axis, end - size, end)
        };
        sizes.iter().map(part).collect()
    }

    /// Returns at most `count` views of equal extent along an axis, one after the other. The last one may be smaller, and
    /// there may be fewer, as in PyTorch.
    ///
    /// # Errors
    /// If it is no axis of the tensor, or `count` is 0.
    pub fn chunk(&self, axis: impl Axis, count: usize) -> Result<Vec<Self>> {
        let axis = axis.of("chunk", self.shape())?;
        if count == 0 {
            return Err(Error::Argument { op: "chunk", name: "count", value: "0".to_string(), rule: "at least 1" });
        }
        match self.shape()[axis].div_ceil(count) {
            0 => Ok(vec![self.clone(); count]),
            size => self.split(axis, size),
        }
    }

    /// Returns the view of all windows of `size` neighbours along an axis, `step` apart. The last axis of the result runs
    /// through a window. Windows may overlap, and a rest at the end of the axis is in no window.
    ///
    /// # Shapes
    /// `[…, n, …]` → `[…, (n - size) / step + 1, …, size]`.
    ///
    /// # Errors
    /// If it is no axis of the tensor, `size` is larger than its extent, or `step` is 0.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::from_slice(&Device::cpu(), &[0f32, 1.0, 2.0, 3.0], &[4])?;
    /// let windows = x.unfold(0, 2, 1)?;
    /// assert_eq!(windows.shape(), [3, 2]);
    /// assert_eq!(windows.to_vec::<f32>()?, [0.0, 1.0, 1.0, 2.0, 2.0, 3.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn unfold(&self, axis: impl Axis, size: usize, step: usize) -> Result<Self> {
        let axis = axis.of("unfold", self.shape())?;
        let (mut shape, mut strides) = (self.shape().to_vec(), self.strides().to_vec());
        let (extent, stride) = (shape[axis], strides[axis]);
        if size > extent || step == 0 {
            return Err(Error::Argument {
                op: "unfold",
                name: "size and step",
                value: format!("{size} and {step} of an extent of {extent}"),
                rule: "a size inside of the axis, and a step of at least 1",
            });
        }
        shape[axis] = (extent - size) / step + 1;
        strides[axis] = step.min(extent.max(1)) * stride;
        shape.push(size);
        strides.push(stride);
        shape::element_count("unfold", &shape)?;
        Ok(self.view(shape, strides, self.offset()))
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

    #[test]
    fn axes_join_and_split() {
        let x = numbers(&[2, 3, 4]);
        assert_eq!(x.flatten(0, 1).unwrap().shape(), [6, 4]);
        assert_eq!(x.flatten(0, -1).unwrap().unflatten(-1, &[4, -1, 3]).unwrap().shape(), [4, 2, 3]);
        assert_eq!(numbers(&[]).flatten(0, -1).unwrap().shape(), [1]);
        assert_eq!(numbers(&[0, 3]).unflatten(0, &[2, 0]).unwrap().shape(), [2, 0, 3]);
        assert!(x.flatten(2, 1).is_err() && x.unflatten(0, &[-1, -1]).is_err() && x.unflatten(0, &[3]).is_err());
        assert!(x.unflatten(0, &[0, -1]).is_err() && x.unflatten(0, &[-2, -1]).is_err());
        assert_eq!(x.movedim(0, -1).unwrap().shape(), [3, 4, 2]);
        assert_eq!(x.movedim(2, 0).unwrap().shape(), [4, 2, 3]);
        assert_eq!(numbers(&[1, 3, 1]).squeeze_all().unwrap().shape(), [3]);
    }

    #[test]
    fn expansion_keeps_extents() {
        let x = numbers(&[2, 1]);
        assert_eq!(x.expand(&[3, -1, 2]).unwrap().to_vec::<f32>().unwrap(), [0., 0., 1., 1.].repeat(3));
        let error = x.expand(&[-1, 2, 2]).unwrap_err().to_string();
        assert!(error.contains("[-1, 2, 2] of shape [2, 1]"), "{error}");
        assert!(x.expand(&[2, -2]).is_err() && x.expand(&[3, 3]).is_err() && x.expand(&[-1]).is_err());
    }

    #[test]
    fn steps_are_pythons() {
        let x = numbers(&[7]);
        let of = |start: Option<isize>, end: Option<isize>, step| -> Vec<f32> {
            x.slice_step(0, start, end, step).unwrap().to_vec().unwrap()
        };
        assert_eq!(of(Some(-100), Some(100), 3), [0., 3., 6.]);
        assert_eq!(of(Some(-3), Some(-1), 1), [4., 5.]);
        assert_eq!(of(Some(5), Some(2), 1), [0f32; 0]);
        assert_eq!(of(None, Some(-8), 1), [0f32; 0]);
        assert_eq!(of(Some(2), Some(5), 2), [2., 4.]);
        assert_eq!(of(Some(6), None, usize::MAX), [6.]);
        assert_eq!(of(Some(isize::MIN), Some(isize::MAX), usize::MAX), [0.]);
        assert!(x.slice_step(0, None, None, 0).is_err() && numbers(&[]).slice_step(0, None, None, 1).is_err());
        assert_eq!(numbers(&[0]).slice_step(0, 1, -1, 2).unwrap().shape(), [0]);
    }

    #[test]
    fn parts_of_an_axis() {
        let x = numbers(&[2, 5]);
        let shapes = |parts: Vec<Tensor>| parts.iter().map(|part| part.shape()[1]).collect::<Vec<_>>();
        assert_eq!(shapes(x.split(1, 2).unwrap()), [2, 2, 1]);
        assert_eq!(shapes(x.split(1, usize::MAX).unwrap()), [5]);
        assert_eq!(shapes(x.split_sizes(-1, &[1, 0, 4]).unwrap()), [1, 0, 4]);
        assert_eq!(shapes(x.chunk(1, 4).unwrap()), [2, 2, 1]);
        let empty = numbers(&[2, 0]);
        assert_eq!((shapes(empty.chunk(1, 3).unwrap()), shapes(empty.split(1, 3).unwrap())), (vec![0; 3], vec![0]));
        assert!(x.split(1, 0).is_err() && x.chunk(1, 0).is_err() && x.split_sizes(1, &[2, 2]).is_err());
        assert_eq!(x.select(1, -1).unwrap().to_vec::<f32>().unwrap(), [4., 9.]);
        assert_eq!(x.narrow(1, 1, 2).unwrap().to_vec::<f32>().unwrap(), [1., 2., 6., 7.]);
        assert!(x.select(1, 5).is_err() && x.narrow(1, 1, usize::MAX).is_err());
    }

    #[test]
    fn diagonals_and_windows() {
        let x = numbers(&[2, 3, 4]);
        assert_eq!(x.diagonal(1, 0, 2).unwrap().to_vec::<f32>().unwrap(), [1., 14., 5., 18., 9., 22.]);
        assert_eq!(x.diagonal(-1, 2, 1).unwrap().to_vec::<f32>().unwrap(), [1., 6., 11., 13., 18., 23.]);
        assert_eq!(x.diagonal(7, 0, 1).unwrap().shape(), [4, 0]);
        assert_eq!(x.diagonal(isize::MIN, 0, 1).unwrap().shape(), [4, 0]);
        assert!(x.diagonal(0, 0, -3).is_err());
        let windows = numbers(&[5, 2]).unfold(0, 3, 2).unwrap();
        assert_eq!(windows.shape(), [2, 2, 3]);
        assert_eq!(windows.to_vec::<f32>().unwrap(), [0., 2., 4., 1., 3., 5., 4., 6., 8., 5., 7., 9.]);
        assert!(x.unfold(0, 3, 1).is_err() && x.unfold(0, 1, 0).is_err());
        assert_eq!(x.unfold(0, 0, 1).unwrap().shape(), [3, 3, 4, 0]);
    }
}
