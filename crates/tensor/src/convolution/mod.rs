//! Convolutions of one, two and three axes as matrix products whose operands are addressed by tables: nothing is copied but
//! the padding.
//!
//! A convolution and its two gradients are bilinear, and the gradients of each are the other two. So all of them can be
//! differentiated as often as wanted.

mod geometry;

use crate::matmul::{Batch, Gather};
use crate::ops::{PadMode, Rule};
use crate::tensor::{expect_dtype, expect_target};
use crate::{DType, Error, Result, Tensor};

use geometry::{Geometry, image_axes, push_places};

/// The settings of a convolution over `D` axes, with PyTorch's names and defaults: a stride of 1, no padding, a dilation of
/// 1, one group.
///
/// ```
/// use thalweg_tensor::Convolution;
/// let same = Convolution::<2> { padding: [1, 1], ..Convolution::default() };
/// assert_eq!((same.stride, same.groups), ([1, 1], 1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution<const D: usize> {
    /// The distance of neighbouring windows.
    pub stride: [usize; D],
    /// The number of zeros put on both sides of each axis.
    pub padding: [usize; D],
    /// The distance of neighbouring elements of the kernel.
    pub dilation: [usize; D],
    /// The number of groups of channels that are convolved separately.
    pub groups: usize,
}

impl<const D: usize> Default for Convolution<D> {
    fn default() -> Self {
        Self { stride: [1; D], padding: [0; D], dilation: [1; D], groups: 1 }
    }
}

/// The settings of a transposed convolution over `D` axes, with PyTorch's names and defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvolutionTranspose<const D: usize> {
    /// The distance of neighbouring windows in the output.
    pub stride: [usize; D],
    /// The number of elements taken away on both sides of each axis of the output.
    pub padding: [usize; D],
    /// The number of elements added at the end of each axis of the output, less than the stride or the dilation.
    pub output_padding: [usize; D],
    /// The distance of neighbouring elements of the kernel.
    pub dilation: [usize; D],
    /// The number of groups of channels that are convolved separately.
    pub groups: usize,
}

impl<const D: usize> Default for ConvolutionTranspose<D> {
    fn default() -> Self {
        Self { stride: [1; D], padding: [0; D], output_padding: [0; D], dilation: [1; D], groups: 1 }
    }
}

/// The settings of a convolution with any number of axes.
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strides {
    stride: Vec<usize>,
    padding: Vec<usize>,
    dilation: Vec<usize>,
    groups: usize,
}

impl<const D: usize> From<&Convolution<D>> for Strides {
    fn from(settings: &Convolution<D>) -> Self {
        Self {
            stride: settings.stride.to_vec(),
            padding: settings.padding.to_vec(),
            dilation: settings.dilation.to_vec(),
            groups: settings.groups,
        }
    }
}

impl<const D: usize> From<&ConvolutionTranspose<D>> for Strides {
    fn from(settings: &ConvolutionTranspose<D>) -> Self {
        let &ConvolutionTranspose { stride, padding, dilation, groups, .. } = settings;
        (&Convolution { stride, padding, dilation, groups }).into()
    }
}

impl Strides {
    fn check(&self, op: &'static str) -> Result<()> {
        let rows = [("stride", &self.stride), ("dilation", &self.dilation), ("groups", &vec![self.groups])];
        for (name, values) in rows {
            if values.contains(&0) {
                return Err(Error::Argument { op, name, value: format!("{values:?}"), rule: "at least 1" });
            }
        }
        let values = [&self.stride, &self.padding, &self.dilation];
        if values.into_iter().flatten().any(|&value| value > 1 << 20) {
            let value = format!("{self:?}");
            return Err(Error::Argument { op, name: "settings", value, rule: "at most 2^20" });
        }
        Ok(())
    }

    /// Returns the distance of the first and the last element of a kernel.
    fn reach(&self, axis: usize, extent: usize) -> usize {
        self.dilation[axis] * (extent - 1)
    }
}

/// The most steps of the inner dimension of one launch. Lavapipe ends the loops of a lane without an error after 65,535
/// turns of four steps.
const MOST_STEPS: usize = 1 << 17;

impl Tensor {
    /// Returns the convolution over one axis (a cross-correlation, as in PyTorch's `conv1d`), with an optional bias.
    ///
    /// # Shapes
    /// `[n, in, l]`, weight `[out, in / groups, k]`, bias `[out]` → `[n, out, (l + 2 padding - dilation (k - 1) - 1) / stride + 1]`.
    ///
    /// # Numerics
    /// Sums in f32 in the order of channels, then of the kernel.
    ///
    /// # Errors
    /// If the shapes do not fit, the kernel is larger than the padded input, a stride, a dilation or the number of groups is 0,
    /// the elements are not f32, or the devices differ.
    pub fn conv1d(&self, weight: &Self, bias: Option<&Self>, settings: &Convolution<1>) -> Result<Self> {
        self.convolve("conv1d", weight, bias, &settings.into())
    }

    /// Returns the convolution over two axes (a cross-correlation, as in PyTorch's `conv2d`), with an optional bias.
    ///
    /// # Shapes
    /// `[n, in, h, w]`, weight `[out, in / groups, kh, kw]`, bias `[out]` → `[n, out, h', w']`; see [`conv1d`](Self::conv1d).
    ///
    /// # Errors
    /// As of [`conv1d`](Self::conv1d).
    ///
    /// ```
    /// use thalweg_tensor::{Convolution, Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let device = Device::best();
    /// let image = Tensor::full(&device, 1.0f32, &[1, 1, 4, 4])?;
    /// let weight = Tensor::full(&device, 1.0f32, &[1, 1, 3, 3])?;
    /// let y = image.conv2d(&weight, None, &Convolution { padding: [1, 1], stride: [3, 3], ..Convolution::default() })?;
    /// assert_eq!(y.to_vec::<f32>()?, [4.0, 4.0, 4.0, 4.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn conv2d(&self, weight: &Self, bias: Option<&Self>, settings: &Convolution<2>) -> Result<Self> {
        self.convolve("conv2d", weight, bias, &settings.into())
    }

    /// Returns the convolution over three axes (a cross-correlation, as in PyTorch's `conv3d`), with an optional bias.
    ///
    /// # Shapes
    /// `[n, in, d, h, w]`, weight `[out, in / groups, kd, kh, kw]`, bias `[out]` → `[n, out, d', h', w']`; see
    /// [`conv1d`](Self::conv1d).
    ///
    /// # Errors
    /// As of [`conv1d`](Self::conv1d).
    pub fn conv3d(&self, weight: &Self, bias: Option<&Self>, settings: &Convolution<3>) -> Result<Self> {
        self.convolve("conv3d", weight, bias, &settings.into())
    }

    /// The convolution over any number of axes.
    #[doc(hidden)]
    pub fn convolve(&self, op: &'static str, weight: &Self, bias: Option<&Self>, strides: &Strides) -> Result<Self> {
        if self.dtype().is_half() && self.dtype() == weight.dtype() {
            let bias = bias.map(Self::in_f32).transpose()?;
            return self.in_f32()?.convolve(op, &weight.in_f32()?, bias.as_ref(), strides)?.to_dtype(self.dtype());
        }
        self.expect_operands(op, weight)?;
        let geometry = Geometry::new(op, self.shape(), weight.shape(), strides)?;
        let channels = geometry.groups * geometry.outputs;
        if let Some(bias) = bias {
            expect_dtype(op, bias, DType::F32)?;
            self.same_device(op, bias)?;
            if bias.shape() != [channels] {
                let rule = "the bias must have one element per output channel";
                return Err(Error::Shape { op, rule, left: weight.shape().to_vec(), right: bias.shape().to_vec() });
            }
        }
        let image = self.padded(&geometry)?;
        let y = Self::uninitialized(self.device(), DType::F32, &geometry.output_shape())?;
        let (taps, padded) = (geometry.taps(), geometry.padded());
        let (size, depth) = (padded.iter().product::<usize>(), geometry.inputs * taps);
        let mut tables = Vec::new();
        push_places(&mut tables, &[(geometry.outputs, depth)]);
        push_places(&mut tables, &[(depth, 1)]);
        push_places(&mut tables, &[&[(geometry.inputs, size)], &geometry.kernel_axes(&padded)[..]].concat());
        push_places(&mut tables, &geometry.output_axes());
        let group = geometry.outputs * depth;
        Gather {
            extents: [geometry.outputs, geometry.pixels(), depth],
            operands: [&weight.contiguous()?, &image],
            tables: &self.table(&tables)?,
            batch: batch(
                &[geometry.samples, geometry.groups],
                [[0, group], [geometry.groups * geometry.inputs * size, geometry.inputs * size], [0, geometry.outputs]],
            ),
            bias: bias.map(Self::contiguous).transpose()?.as_ref(),
        }
        .run(&y, false)?;
        Ok(y)
    }

    /// Returns the gradient of the input of a convolution: the transposed convolution. `self` is the gradient of the output.
    ///
    /// # Shapes
    /// `[n, out, …]`, weight `[out, in / groups, …]` → `[n, in, …input]`.
    #[doc(hidden)]
    pub fn convolve_transpose(
        &self,
        op: &'static str,
        weight: &Self,
        bias: Option<&Self>,
        input: &[usize],
        strides: &Strides,
    ) -> Result<Self> {
        if self.dtype().is_half() && self.dtype() == weight.dtype() {
            let bias = bias.map(Self::in_f32).transpose()?;
            let y = self.in_f32()?.convolve_transpose(op, &weight.in_f32()?, bias.as_ref(), input, strides)?;
            return y.to_dtype(self.dtype());
        }
        self.expect_operands(op, weight)?;
        let samples = self.shape().first().copied().unwrap_or(0);
        let channels = weight.shape().get(1).map_or(0, |inputs| inputs.saturating_mul(strides.groups));
        let geometry = Geometry::new(op, &[&[samples, channels], input].concat(), weight.shape(), strides)?;
        if self.shape() != geometry.output_shape() {
            let rule = "the shape is not that of the convolution's output";
            return Err(Error::Shape { op, rule, left: self.shape().to_vec(), right: geometry.output_shape() });
        }
        let spread = geometry.spread();
        let mut rules = self.rules();
        for d in 0..geometry.axes() {
            let shift = strides.reach(d, geometry.kernel[d]) as isize - strides.padding[d] as isize;
            rules[d + 2] = (spread[d], Rule::Spread { shift, step: strides.stride[d] });
        }
        let image = self.remap(op, &rules, None, 0)?.contiguous()?;
        let y = Self::uninitialized(self.device(), DType::F32, &geometry.input_shape())?;
        let (taps, size) = (geometry.taps(), spread.iter().product::<usize>());
        let mut tables = Vec::new();
        push_places(&mut tables, &[(geometry.inputs, taps)]);
        // The kernel backwards.
        let start = tables.len();
        push_places(&mut tables, &[(geometry.outputs, geometry.inputs * taps), (taps, 1)]);
        tables[start..].chunks_mut(taps).for_each(|kernel| kernel.reverse());
        push_places(&mut tables, &[&[(geometry.outputs, size)], &geometry.kernel_axes(&spread)[..]].concat());
        push_places(&mut tables, &image_axes(&geometry.input, &spread));
        let group = geometry.outputs * geometry.inputs * taps;
        Gather {
            extents: [geometry.inputs, geometry.input.iter().product(), geometry.outputs * taps],
            operands: [&weight.contiguous()?, &image],
            tables: &self.table(&tables)?,
            batch: batch(
                &[geometry.samples, geometry.groups],
                [
                    [0, group],
                    [geometry.groups * geometry.outputs * size, geometry.outputs * size],
                    [0, geometry.inputs],
                ],
            ),
            bias: bias.map(Self::contiguous).transpose()?.as_ref(),
        }
        .run(&y, false)?;
        Ok(y)
    }

    /// Writes the gradient of the weight of a convolution over `target`, or adds it. `self` is the gradient of the output.
    ///
    /// # Shapes
    /// `[n, out, …]`, input `[n, in, …]` → target `[out, in / groups, …]`.
    #[doc(hidden)]
    pub fn convolve_weight_into(&self, input: &Self, target: &Self, accumulate: bool, strides: &Strides) -> Result<()> {
        let op = "conv_weight_grad";
        if self.dtype().is_half() && self.dtype() == input.dtype() {
            return self.in_f32()?.convolve_weight_into(&input.in_f32()?, target, accumulate, strides);
        }
        self.expect_operands(op, input)?;
        self.same_device(op, target)?;
        let geometry = Geometry::new(op, input.shape(), target.shape(), strides)?;
        expect_target(op, target, &geometry.weight_shape())?;
        if self.shape() != geometry.output_shape() {
            let rule = "the shape is not that of the convolution's output";
            return Err(Error::Shape { op, rule, left: self.shape().to_vec(), right: geometry.output_shape() });
        }
        let (pixels, padded) = (geometry.pixels(), geometry.padded());
        let size = padded.iter().product::<usize>();
        if geometry.samples * pixels == 0 {
            return if accumulate {
                Ok(())
            } else {
                Self::zeros(self.device(), DType::F32, target.shape())?.copy_into(target)
            };
        }
        let (g, image) = (self.contiguous()?, input.padded(&geometry)?);
        let together = (MOST_STEPS / pixels).clamp(1, geometry.samples);
        for start in (0..geometry.samples).step_by(together) {
            let samples = together.min(geometry.samples - start);
            let mut tables = Vec::new();
            push_places(&mut tables, &[(geometry.outputs, pixels)]);
            push_places(&mut tables, &[(samples, geometry.groups * geometry.outputs * pixels), (pixels, 1)]);
            let sample = (samples, geometry.groups * geometry.inputs * size);
            push_places(&mut tables, &[&[sample], &geometry.output_axes()[..]].concat());
            push_places(&mut tables, &[&[(geometry.inputs, size)], &geometry.kernel_axes(&padded)[..]].concat());
            Gather {
                extents: [geometry.outputs, geometry.inputs * geometry.taps(), samples * pixels],
                operands: [&g.slice(0, start, start + samples)?, &image.slice(0, start, start + samples)?],
                tables: &self.table(&tables)?,
                batch: batch(&[geometry.groups], [[geometry.outputs * pixels], [geometry.inputs * size], [0]]),
                bias: None,
            }
            .run(target, accumulate || start > 0)?;
        }
        Ok(())
    }

    /// Returns the shape of the weight's gradient, and checks nothing.
    fn expect_operands(&self, op: &'static str, other: &Self) -> Result<()> {
        expect_dtype(op, self, DType::F32)?;
        expect_dtype(op, other, DType::F32)?;
        self.same_device(op, other)
    }

    /// Returns the contiguous input with zeros around it.
    fn padded(&self, geometry: &Geometry) -> Result<Self> {
        let widths: Vec<_> = geometry.strides.padding.iter().map(|&width| (width as isize, width as isize)).collect();
        self.pad(&widths, PadMode::Constant(0.0))?.contiguous()
    }

    fn table(&self, places: &[u32]) -> Result<Self> {
        Self::from_slice(self.device(), places, &[places.len()])
    }
}

/// Returns a batch of a few axes with the strides of both operands and of the bias.
fn batch<const N: usize>(extents: &[usize; N], strides: [[usize; N]; 3]) -> Batch {
    let batch = Batch::new(extents, strides.each_ref().map(|strides| &strides[..]));
    batch.unwrap_or_else(|| unreachable!("there are at most four axes"))
}

macro_rules! transposed {
    ($($name:ident $axes:literal)*) => {
        impl Tensor {
            $(
                #[doc = concat!(" Returns the transposed convolution over ", $axes, " axes, with an optional bias: the gradient of a")]
                /// convolution with respect to its input, as PyTorch's method of this name.
                ///
                /// # Shapes
                /// `[n, in, …]`, weight `[in, out / groups, …k]`, bias `[out]` → `[n, out, …]`, each axis of
                /// `(l - 1) stride - 2 padding + dilation (k - 1) + output_padding + 1`.
                ///
                /// # Errors
                /// If the shapes do not fit, a stride, a dilation or the number of groups is 0, the output padding is not less
                /// than the stride or the dilation, the elements are not f32, or the devices differ.
                pub fn $name(
                    &self,
                    weight: &Self,
                    bias: Option<&Self>,
                    settings: &ConvolutionTranspose<$axes>,
                ) -> Result<Self> {
                    let extents = settings.output_extents(stringify!($name), self.shape(), weight.shape())?;
                    self.convolve_transpose(stringify!($name), weight, bias, &extents, &settings.into())
                }
            )*
        }
    };
}

transposed!(conv_transpose1d 1 conv_transpose2d 2 conv_transpose3d 3);

impl<const D: usize> ConvolutionTranspose<D> {
    /// Returns the spatial extents of the output.
    #[doc(hidden)]
    pub fn output_extents(&self, op: &'static str, input: &[usize], weight: &[usize]) -> Result<Vec<usize>> {
        Strides::from(self).check(op)?;
        let wrong = |rule| Error::Shape { op, rule, left: input.to_vec(), right: weight.to_vec() };
        if input.len() != D + 2 || weight.len() != D + 2 {
            return Err(wrong("the input must be [samples, channels, …] and the weight [in, out / groups, …]"));
        }
        if input[2..].iter().chain(&weight[2..]).any(|&extent| extent == 0) {
            return Err(wrong("an extent is 0"));
        }
        (0..D)
            .map(|d| {
                let added = self.output_padding[d];
                if added >= self.stride[d].max(self.dilation[d]) {
                    let value = format!("{added} with stride {} and dilation {}", self.stride[d], self.dilation[d]);
                    let rule = "less than the stride or the dilation";
                    return Err(Error::Argument { op, name: "output_padding", value, rule });
                }
                let whole = (input[d + 2] - 1) * self.stride[d] + self.dilation[d] * (weight[d + 2] - 1) + added + 1;
                let extent = whole.checked_sub(2 * self.padding[d]).filter(|&extent| extent > 0);
                extent.ok_or_else(|| wrong("the padding takes everything away"))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
