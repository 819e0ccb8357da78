//! Patches as columns, and copies between channels and space.

use crate::ops::PadMode;
use crate::{Convolution, Error, Result, Tensor};

/// What [`Tensor::unfold2d`] does one after the other, on a tensor or on a variable.
#[doc(hidden)]
#[derive(Debug)]
pub struct Patches {
    /// Samples, channels, height and width.
    pub shape: [usize; 4],
    pub padding: [(isize, isize); 2],
    /// The extents of patches with the gaps between their elements, the distance of patches, and that of elements.
    pub reach: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// The shape of the result.
    pub result: Vec<usize>,
}

impl Patches {
    /// Returns the patches of a tensor of this shape.
    pub fn new(op: &'static str, shape: &[usize], kernel_size: [usize; 2], settings: &Convolution<2>) -> Result<Self> {
        let &Convolution { stride, padding, dilation, groups } = settings;
        let [outer @ .., channels, height, width] = shape else {
            return Err(Error::Rank { op, expected: "[…, channels, height, width]", shape: shape.to_vec() });
        };
        let rows = [
            ("kernel_size", kernel_size, 1, 1 << 20),
            ("stride", stride, 1, 1 << 20),
            ("dilation", dilation, 1, 1 << 20),
            ("padding", padding, 0, 1 << 20),
            ("groups", [groups; 2], 1, 1),
        ];
        for (name, values, least, most) in rows {
            if values.iter().any(|value| !(least..=most).contains(value)) {
                let rule = if name == "groups" { "1" } else { "in the range from 1, of padding 0, to 2^20" };
                return Err(Error::Argument { op, name, value: format!("{values:?}"), rule });
            }
        }
        let mut count = 1;
        for (d, extent) in [height, width].into_iter().enumerate() {
            let Some(room) = (extent + 2 * padding[d]).checked_sub(dilation[d] * (kernel_size[d] - 1) + 1) else {
                let (value, rule) = (format!("{kernel_size:?}"), "no larger than the padded extents");
                return Err(Error::Argument { op, name: "kernel_size", value, rule });
            };
            count *= room / stride[d] + 1;
        }
        let [kernel_height, kernel_width] = kernel_size;
        Ok(Self {
            shape: [outer.iter().product(), *channels, *height, *width],
            padding: padding.map(|width| (width.cast_signed(), width.cast_signed())),
            reach: [0, 1].map(|d| dilation[d] * (kernel_size[d] - 1) + 1),
            stride,
            dilation,
            result: [outer, &[channels * kernel_height * kernel_width, count]].concat(),
        })
    }
}

/// Returns the shapes between which pixels are shuffled into space, and the order of the axes between them.
#[doc(hidden)]
pub fn shuffled(op: &'static str, shape: &[usize], factor: usize) -> Result<[Vec<usize>; 2]> {
    let [outer @ .., channels, height, width] = shape else {
        return Err(Error::Rank { op, expected: "[…, channels, height, width]", shape: shape.to_vec() });
    };
    let square = factor.saturating_mul(factor);
    if factor == 0 || !channels.is_multiple_of(square) {
        let rule = "at least 1, and its square must divide the channels";
        return Err(Error::Argument { op, name: "upscale_factor", value: factor.to_string(), rule });
    }
    let count = outer.iter().product();
    Ok([
        vec![count, channels / square, factor, factor, *height, *width],
        [outer, &[channels / square, height * factor, width * factor]].concat(),
    ])
}

/// Returns the shapes between which space is shuffled into channels.
#[doc(hidden)]
pub fn unshuffled(op: &'static str, shape: &[usize], factor: usize) -> Result<[Vec<usize>; 2]> {
    let [outer @ .., channels, height, width] = shape else {
        return Err(Error::Rank { op, expected: "[…, channels, height, width]", shape: shape.to_vec() });
    };
    if factor == 0 || !height.is_multiple_of(factor) || !width.is_multiple_of(factor) {
        let rule = "at least 1, and must divide height and width";
        return Err(Error::Argument { op, name: "downscale_factor", value: factor.to_string(), rule });
    }
    let (rows, columns) = (height / factor, width / factor);
    let count = outer.iter().product();
    Ok([
        vec![count, *channels, rows, factor, columns, factor],
        [outer, &[channels.saturating_mul(factor * factor), rows, columns]].concat(),
    ])
}

/// The orders of the axes of both.
#[doc(hidden)]
pub const SHUFFLE: [usize; 6] = [0, 1, 4, 2, 5, 3];
#[doc(hidden)]
pub const UNSHUFFLE: [usize; 6] = [0, 1, 3, 5, 2, 4];

impl Tensor {
    /// Returns the patches that a convolution with these settings multiplies by its weight, each as a column: PyTorch's
    /// `nn.functional.unfold`.
    ///
    /// # Shapes
    /// `[…, channels, h, w]` → `[…, channels kh kw, patches]`.
    ///
    /// # Errors
    /// If there are fewer than three axes, a setting is out of range, groups are not 1, or a patch is larger than the padded
    /// tensor.
    pub fn unfold2d(&self, kernel_size: [usize; 2], settings: &Convolution<2>) -> Result<Self> {
        let patches = Patches::new("unfold2d", self.shape(), kernel_size, settings)?;
        let Patches { shape, padding, reach, stride, dilation, result } = patches;
        self.reshape(&shape)?
            .pad(&padding, PadMode::Constant(0.0))?
            .unfold(2, reach[0], stride[0])?
            .unfold(3, reach[1], stride[1])?
            .slice_step(4, None, None, dilation[0])?
            .slice_step(5, None, None, dilation[1])?
            .permute(&[0, 1, 4, 5, 2, 3])?
            .reshape(&result)
    }

    /// Returns the elements of groups of channels as squares of `upscale_factor` by `upscale_factor` pixels.
    ///
    /// # Shapes
    /// `[…, channels f², h, w]` → `[…, channels, h f, w f]`.
    ///
    /// # Errors
    /// If there are fewer than three axes, or the square of the factor does not divide the channels.
    pub fn pixel_shuffle(&self, upscale_factor: usize) -> Result<Self> {
        let [split, joined] = shuffled("pixel_shuffle", self.shape(), upscale_factor)?;
        self.reshape(&split)?.permute(&SHUFFLE)?.reshape(&joined)
    }

    /// Returns the pixels of squares of `downscale_factor` by `downscale_factor` as groups of channels: the way back of
    /// [`pixel_shuffle`](Self::pixel_shuffle).
    ///
    /// # Shapes
    /// `[…, channels, h f, w f]` → `[…, channels f², h, w]`.
    ///
    /// # Errors
    /// If there are fewer than three axes, or the factor does not divide height and width.
    pub fn pixel_unshuffle(&self, downscale_factor: usize) -> Result<Self> {
        let [split, joined] = unshuffled("pixel_unshuffle", self.shape(), downscale_factor)?;
        self.reshape(&split)?.permute(&UNSHUFFLE)?.reshape(&joined)
    }
}
