//! Views, copies of rows, and concatenation. x is the input and g the gradient of the output.

use thalweg_tensor::{Axis, DType, Tensor};

use crate::{Result, Var};

impl<'t> Var<'t> {
    /// Returns the same elements with another shape.
    ///
    /// # Errors
    /// If the number of elements differs.
    pub fn reshape(self, shape: &[usize]) -> Result<Self> {
        let y = self.tape().record("reshape", self.value().reshape(shape)?, &[self], |pull| {
            pull.give(0, pull.cotangent()?.reshape(&pull.input(0).shape())?)
        })?;
        let shape = shape.to_vec();
        Ok(y.with_linear(move |x| x.reshape(&shape)))
    }

    /// Returns the elements as those of another floating-point type; see [`Tensor::to_dtype`]. The gradient is converted
    /// back.
    ///
    /// # Errors
    /// If one of the types is u32, or the device has no room.
    pub fn to_dtype(self, dtype: DType) -> Result<Self> {
        if self.dtype() == dtype {
            return Ok(self);
        }
        let y = self.tape().record("to_dtype", self.value().to_dtype(dtype)?, &[self], |pull| {
            pull.give(0, pull.cotangent()?.to_dtype(pull.input(0).dtype())?)
        })?;
        Ok(y.with_linear(move |x| x.to_dtype(dtype)))
    }

    /// Returns the view with two axes exchanged.
    ///
    /// # Errors
    /// If one of them is no axis of the variable.
    pub fn transpose(self, first: impl Axis, second: impl Axis) -> Result<Self> {
        let [first, second] = [first.of("transpose", &self.shape())?, second.of("transpose", &self.shape())?];
        let y = self.tape().record("transpose", self.value().transpose(first, second)?, &[self], move |pull| {
            pull.give(0, pull.cotangent()?.transpose(first, second)?)
        })?;
        Ok(y.with_linear(move |x| x.transpose(first, second)))
    }

    /// Returns a matrix transposed.
    ///
    /// # Errors
    /// If the variable is not a matrix.
    pub fn t(self) -> Result<Self> {
        self.value().t()?;
        self.transpose(0, 1)
    }

    /// Returns the view whose axis `d` is axis `order[d]` of the variable.
    ///
    /// # Errors
    /// If `order` does not name each axis once.
    pub fn permute(self, order: &[impl Axis]) -> Result<Self> {
        let y = self.value().permute(order)?;
        let shape = self.shape();
        let order = order.iter().map(|axis| axis.of("permute", &shape)).collect::<std::result::Result<Vec<_>, _>>()?;
        let mut inverse = vec![0; order.len()];
        for (to, &from) in order.iter().enumerate() {
            inverse[from] = to;
        }
        let y = self
            .tape()
            .record("permute", y, &[self], move |pull| pull.give(0, pull.cotangent()?.permute(&inverse)?))?;
        Ok(y.with_linear(move |x| x.permute(&order)))
    }

    /// Returns the variable broadcast to a larger shape by NumPy's rule.
    ///
    /// # Errors
    /// If the shape does not broadcast.
    pub fn broadcast_to(self, shape: &[usize]) -> Result<Self> {
        let y = self.tape().record("broadcast_to", self.value().broadcast_to(shape)?, &[self], |pull| {
            pull.give(0, pull.cotangent()?.sum_to(&pull.input(0).shape())?)
        })?;
        let shape = shape.to_vec();
        Ok(y.with_linear(move |x| x.broadcast_to(&shape)))
    }

    /// Returns the elements `start..end` along an axis.
    ///
    /// # Errors
    /// If it is no axis of the variable, or the range is not inside of it.
    pub fn slice(self, axis: impl Axis, start: usize, end: usize) -> Result<Self> {
        let axis = axis.of("slice", &self.shape())?;
        let y = self.tape().record("slice", self.value().slice(axis, start, end)?, &[self], move |pull| {
            pull.give(0, pull.cotangent()?.spread(axis, pull.input(0).shape()[axis], start, 1)?)
        })?;
        Ok(y.with_linear(move |x| x.slice(axis, start, end)))
    }

    /// Returns several variables one after the other along an axis; see [`Tensor::concatenate`].
    ///
    /// # Errors
    /// If there is none, it is no axis of theirs, or their types, devices, tapes or other extents differ.
    pub fn concatenate(parts: &[Self], axis: impl Axis) -> Result<Self> {
        let values: Vec<Tensor> = parts.iter().map(Var::value).collect();
        let y = Tensor::concatenate(&values, axis)?;
        let axis = axis.of("concatenate", y.shape())?;
        let extents: Vec<usize> = values.iter().map(|value| value.shape()[axis]).collect();
        parts[0].tape().record("concatenate", y, parts, move |pull| {
            let g = pull.cotangent()?;
            let mut start = 0;
            for (i, extent) in extents.iter().enumerate() {
                if pull.needs(i) {
                    pull.give(i, g.slice(axis, start, start + extent)?)?;
                }
                start += extent;
            }
            Ok(())
        })
    }

    /// Returns variables of one shape side by side along a new axis, which has the number `axis` in the result.
    ///
    /// # Errors
    /// If there is none, the result would have no axis of this number, or their types, devices, tapes or shapes differ.
    pub fn stack(parts: &[Self], axis: impl Axis) -> Result<Self> {
        let values: Vec<Tensor> = parts.iter().map(Var::value).collect();
        let y = Tensor::stack(&values, axis)?;
        let axis = axis.of("stack", y.shape())?;
        parts[0].tape().record("stack", y, parts, move |pull| {
            let g = pull.cotangent()?;
            let needed = (0..g.shape()[axis]).filter(|&i| pull.needs(i));
            needed.into_iter().try_for_each(|i| pull.give(i, g.select(axis, i)?))
        })
    }

    /// Returns the view with an axis of extent 1 added, which has the number `axis` in the result.
    ///
    /// # Errors
    /// If the result would have no axis of this number.
    pub fn unsqueeze(self, axis: impl Axis) -> Result<Self> {
        let shape = self.value().unsqueeze(axis)?.shape().to_vec();
        self.reshape(&shape)
    }

    /// Returns the view without an axis of extent 1.
    ///
    /// # Errors
    /// If it is no axis of the variable, or its extent is not 1.
    pub fn squeeze(self, axis: impl Axis) -> Result<Self> {
        let shape = self.value().squeeze(axis)?.shape().to_vec();
        self.reshape(&shape)
    }

    /// Returns the rows with these numbers; see [`Tensor::gather_rows`]. The gradients of a row that occurs several
    /// times are added in the order of the indices.
    ///
    /// # Shapes
    /// `[rows, …]` and u32 indices `[n]` → `[n, …]`.
    ///
    /// # Errors
    /// If the variable has no dimension, the indices are not a list of u32, or the devices differ.
    pub fn gather_rows(self, indices: &Tensor) -> Result<Self> {
        let y = self.value().gather_rows(indices)?;
        let indices = indices.clone();
        self.tape().record("gather_rows", y, &[self], move |pull| {
            pull.give(0, pull.cotangent()?.scatter_add_rows(&indices, pull.input(0).shape()[0])?)
        })
    }

    /// Adds row i of the variable to row `indices[i]` of a table of zeros with `rows` rows, and returns the table.
    ///
    /// # Shapes
    /// `[n, …]` and u32 indices `[n]` → `[rows, …]`.
    ///
    /// # Errors
    /// If shapes or types do not match, or the devices differ.
    pub fn scatter_add_rows(self, indices: &Tensor, rows: usize) -> Result<Self> {
        let mut shape = self.shape();
        if let Some(first) = shape.first_mut() {
            *first = rows;
        }
        let table = Tensor::zeros(self.value().device(), DType::F32, &shape)?;
        self.value().scatter_add_rows_into(indices, &table)?;
        let indices = indices.clone();
        self.tape().record("scatter_add_rows", table, &[self], move |pull| {
            pull.give(0, pull.cotangent()?.gather_rows(&indices)?)
        })
    }

    /// Returns the rows with these numbers, in the shape of the indices; see [`Tensor::embedding`]. Row `padding_idx` of the
    /// table, if there is one, gets no gradient.
    ///
    /// # Shapes
    /// table `[rows, …]`, indices u32 of any shape → that shape, then `[…]`.
    ///
    /// # Errors
    /// If the variable has no dimension or no such row, the indices are not u32, or the devices differ.
    pub fn embedding(self, indices: &Tensor, padding_idx: impl Into<Option<usize>>) -> Result<Self> {
        let (padding_idx, table) = (padding_idx.into(), self.shape());
        let y = self.value().embedding(indices)?;
        if let Some(row) = padding_idx.filter(|&row| row >= table[0]) {
            let (op, name, value) = ("embedding", "padding_idx", row.to_string());
            return Err(thalweg_tensor::Error::Argument { op, name, value, rule: "a row of the table" }.into());
        }
        let indices = indices.reshape(&[indices.len()])?;
        self.tape().record("embedding", y, &[self], move |pull| {
            let rows = [&[indices.len()], &table[1..]].concat();
            let mut sums = pull.cotangent()?.reshape(&rows)?.scatter_add_rows(&indices, table[0])?;
            if let Some(padding) = padding_idx {
                let is_padding: Vec<f32> = (0..table[0]).map(|row| f32::from(u8::from(row == padding))).collect();
                let mut column = vec![1; table.len()];
                column[0] = table[0];
                sums = sums.masked_fill(&Tensor::from_slice(&pull.device(), &is_padding, &column)?, 0.0)?;
            }
            pull.give(0, sums)
        })
    }
}
