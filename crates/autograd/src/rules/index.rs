//! Gathers, scatters, masks, sorts and medians. g is the gradient of the output.

use thalweg_tensor::{Axis, DType, Tensor};

use crate::walk::Pull;
use crate::{Result, Var};

/// Zeros of the shape of the first input.
fn zeros<'t>(pull: &Pull<'t, '_>) -> Result<Var<'t>> {
    Ok(pull.constant(&Tensor::zeros(&pull.device(), DType::F32, &pull.input(0).shape())?))
}

impl<'t> Var<'t> {
    /// Returns the elements with these indices along an axis; see [`Tensor::gather`].
    ///
    /// # Errors
    /// If the elements have 16 bits, the shapes do not fit, the indices are not u32, or the devices differ.
    #[doc(alias = "take_along_axis")]
    pub fn gather(self, axis: impl Axis, indices: &Tensor) -> Result<Self> {
        let y = self.value().gather(axis, indices)?;
        let (axis, indices) = (axis.of("gather", &self.shape())?, indices.clone());
        self.tape().record("gather", y, &[self], move |pull| {
            pull.give(0, zeros(pull)?.scatter_add(axis, &indices, pull.cotangent()?)?)
        })
    }

    /// Returns the elements with these indices, but 0 where a later index names the same element; see
    /// [`Tensor::gather_last`].
    ///
    /// # Errors
    /// As of [`gather`](Self::gather).
    pub fn gather_last(self, axis: impl Axis, indices: &Tensor) -> Result<Self> {
        let y = self.value().gather_last(axis, indices)?;
        let (axis, indices) = (axis.of("gather_last", &self.shape())?, indices.clone());
        self.tape().record("gather_last", y, &[self], move |pull| {
            pull.give(0, zeros(pull)?.scatter(axis, &indices, pull.cotangent()?)?)
        })
    }

    /// Returns the parts with these indices along an axis; see [`Tensor::index_select`].
    ///
    /// # Errors
    /// If the elements have 16 bits, the axis is none of the variable's, the indices are not a list of u32, or the devices
    /// differ.
    pub fn index_select(self, axis: impl Axis, indices: &Tensor) -> Result<Self> {
        let axis = axis.of("index_select", &self.shape())?;
        if axis == 0 {
            return self.gather_rows(indices);
        }
        let y = self.value().index_select(axis, indices)?;
        let indices = indices.clone();
        self.tape().record("index_select", y, &[self], move |pull| {
            pull.give(0, zeros(pull)?.index_add(axis, &indices, pull.cotangent()?)?)
        })
    }

    /// Returns the variable with elements of `source` at these indices along an axis; see [`Tensor::scatter`]. Of the
    /// elements that name one place only the last one has a gradient.
    ///
    /// # Errors
    /// If the elements have 16 bits or two types, the shapes do not fit, the indices are not u32, or the devices or the
    /// tapes differ.
    pub fn scatter(self, axis: impl Axis, indices: &Tensor, source: Self) -> Result<Self> {
        let y = self.value().scatter(axis, indices, &source.value())?;
        let (axis, indices) = (axis.of("scatter", &self.shape())?, indices.clone());
        self.tape().record("scatter", y, &[self, source], move |pull| {
            let g = pull.cotangent()?;
            if pull.needs(0) {
                let none = pull.constant(&Tensor::zeros(&pull.device(), DType::F32, indices.shape())?);
                pull.give(0, g.scatter(axis, &indices, none)?)?;
            }
            if pull.needs(1) {
                pull.give(1, g.gather_last(axis, &indices)?)?;
            }
            Ok(())
        })
    }

    /// Returns the variable with elements of `source` added at these indices along an axis; see [`Tensor::scatter_add`].
    ///
    /// # Errors
    /// If the elements are not f32, the shapes do not fit, the indices are not u32, or the devices or the tapes differ.
    pub fn scatter_add(self, axis: impl Axis, indices: &Tensor, source: Self) -> Result<Self> {
        let y = self.value().scatter_add(axis, indices, &source.value())?;
        let (axis, indices) = (axis.of("scatter_add", &self.shape())?, indices.clone());
        self.tape().record("scatter_add", y, &[self, source], move |pull| {
            let g = pull.cotangent()?;
            if pull.needs(0) {
                pull.give(0, g)?;
            }
            if pull.needs(1) {
                pull.give(1, g.gather(axis, &indices)?)?;
            }
            Ok(())
        })
    }

    /// Returns the variable with parts of `source` added at these indices along an axis; see [`Tensor::index_add`].
    ///
    /// # Errors
    /// If the elements are not f32, the shapes do not fit, the indices are not a list of u32, or the devices or the tapes
    /// differ.
    pub fn index_add(self, axis: impl Axis, indices: &Tensor, source: Self) -> Result<Self> {
        let y = self.value().index_add(axis, indices, &source.value())?;
        let (axis, indices) = (axis.of("index_add", &self.shape())?, indices.clone());
        self.tape().record("index_add", y, &[self, source], move |pull| {
            let g = pull.cotangent()?;
            if pull.needs(0) {
                pull.give(0, g)?;
            }
            if pull.needs(1) {
                pull.give(1, g.index_select(axis, &indices)?)?;
            }
            Ok(())
        })
    }

    /// Returns the variable with `value` where the mask is not 0; see [`Tensor::masked_fill`].
    ///
    /// # Errors
    /// If the mask does not broadcast to the variable's shape, the types differ or are no floating-point numbers, or the
    /// devices differ.
    pub fn masked_fill(self, mask: &Tensor, value: f32) -> Result<Self> {
        let x = self.value();
        let mask = self.tape().constant(&mask.broadcast_to(x.shape())?);
        let value = self.tape().constant(&Tensor::scalar(x.device(), value)?.to_dtype(x.dtype())?);
        mask.where_cond(value, self)
    }

    /// Returns the elements where the mask is not 0; see [`Tensor::masked_select`]. Waits for the device.
    ///
    /// # Errors
    /// If the shapes do not broadcast, elements have 16 bits, the devices differ, or a recording is being made.
    pub fn masked_select(self, mask: &Tensor) -> Result<Self> {
        let (shape, places) = self.value().selected_places(mask)?;
        self.broadcast_to(&shape)?.reshape(&[shape.iter().product()])?.gather_rows(&places)
    }

    /// Returns the elements sorted along an axis, and their indices along it; see [`Tensor::sort`].
    ///
    /// # Errors
    /// If the elements have 16 bits, or the axis is none of the variable's.
    pub fn sort(self, axis: impl Axis, descending: bool) -> Result<(Self, Tensor)> {
        let (values, indices) = self.value().sort(axis, descending)?;
        self.chosen("sort", values, indices, axis, true)
    }

    /// Returns the `k` largest or smallest elements along an axis, and their indices along it; see [`Tensor::topk`].
    ///
    /// # Errors
    /// If the elements have 16 bits, the axis is none of the variable's, or it has fewer than `k` elements.
    pub fn topk(self, k: usize, axis: impl Axis, largest: bool) -> Result<(Self, Tensor)> {
        let (values, indices) = self.value().topk(k, axis, largest)?;
        self.chosen("topk", values, indices, axis, true)
    }

    /// Returns the median along an axis, and its index along it; see [`Tensor::median`].
    ///
    /// # Errors
    /// If the elements are not f32, or the axis is none of the variable's or has no elements.
    pub fn median(self, axis: impl Axis, keepdim: bool) -> Result<(Self, Tensor)> {
        let (values, indices) = self.value().median(axis, keepdim)?;
        self.chosen("median", values, indices, axis, keepdim)
    }

    /// Records elements of the variable by their indices along an axis, each of which occurs once. `keepdim` is whether
    /// the values have that axis.
    fn chosen(
        self,
        op: &'static str,
        values: Tensor,
        indices: Tensor,
        axis: impl Axis,
        keepdim: bool,
    ) -> Result<(Self, Tensor)> {
        let shape = self.shape();
        let at = indices.clone();
        // A variable without axes has the axis 0.
        let axis = axis.place(shape.len()).unwrap_or(0);
        let y = self.tape().record(op, values, &[self], move |pull| {
            let g = pull.cotangent()?;
            if shape.is_empty() {
                return pull.give(0, g.sum()?);
            }
            let (g, at) = if keepdim { (g, at.clone()) } else { (g.unsqueeze(axis)?, at.unsqueeze(axis)?) };
            pull.give(0, zeros(pull)?.scatter(axis, &at, g)?)
        })?;
        Ok((y, indices))
    }
}
