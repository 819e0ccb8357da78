//! Pooling: maxima, averages and norms over windows.

use super::maxima::Spans;
use super::sums::Bands;
use super::{AveragePooling, MaxPooling, MaxWindows, WindowSums};
use crate::{Error, Result, Tensor};

/// Returns the last extents of a shape.
pub(super) fn last<'a, const D: usize>(op: &'static str, shape: &'a [usize]) -> Result<&'a [usize; D]> {
    let expected = if D == 1 { "at least one axis" } else { "at least two axes" };
    shape.last_chunk().ok_or_else(|| Error::Rank { op, expected, shape: shape.to_vec() })
}

impl<const D: usize> MaxPooling<D> {
    /// Returns the windows of a tensor of this shape.
    #[doc(hidden)]
    pub fn plan(&self, op: &'static str, shape: &[usize]) -> Result<MaxWindows> {
        MaxWindows::of_pooling(op, &self.windows(op, last::<D>(op, shape)?)?)
    }
}

impl<const D: usize> AveragePooling<D> {
    /// Returns the sums of the averages of a tensor of this shape.
    #[doc(hidden)]
    pub fn plan(&self, op: &'static str, shape: &[usize]) -> Result<WindowSums> {
        let windows = self.windows(op, last::<D>(op, shape)?)?;
        let bands = windows.iter().enumerate().map(|(d, axis)| {
            let divisor = |start: usize, end: usize, padded: usize| match self.divisor_override {
                Some(divisor) => {
                    if d == 0 {
                        divisor
                    } else {
                        1
                    }
                }
                None if self.count_include_pad => padded,
                None => end - start,
            };
            Bands::of_windows(
                axis.extent,
                (0..axis.count).map(|window| {
                    let (start, end, padded) = axis.inside(window);
                    (start, end, divisor(start, end, padded) as f32)
                }),
            )
        });
        Ok(WindowSums::new(bands.collect(), true))
    }
}

/// Returns where the windows of adaptive pooling start and end, for each axis.
fn adaptive<const D: usize>(op: &'static str, shape: &[usize], output_size: [usize; D]) -> Result<Vec<Spans>> {
    let extents = last::<D>(op, shape)?;
    if extents.contains(&0) {
        return Err(Error::Rank { op, expected: "extents of at least 1", shape: shape.to_vec() });
    }
    let axis = |(&extent, &count): (&usize, &usize)| {
        if count == 0 || count > 1 << 24 {
            let value = format!("{output_size:?}");
            return Err(Error::Argument { op, name: "output_size", value, rule: "from 1 to 2^24" });
        }
        let span = |i: usize| (i * extent / count, ((i + 1) * extent).div_ceil(count));
        Ok((extent, (0..count).map(span).collect()))
    };
    extents.iter().zip(&output_size).map(axis).collect()
}

/// Returns the sums of adaptive averages of a tensor of this shape.
#[doc(hidden)]
pub fn adaptive_averages<const D: usize>(
    op: &'static str,
    shape: &[usize],
    output_size: [usize; D],
) -> Result<WindowSums> {
    let bands = |(extent, spans): Spans| {
        Bands::of_windows(extent, spans.into_iter().map(|(start, end)| (start, end, (end - start) as f32)))
    };
    Ok(WindowSums::new(adaptive(op, shape, output_size)?.into_iter().map(bands).collect(), true))
}

/// Returns the windows of adaptive maxima of a tensor of this shape.
#[doc(hidden)]
pub fn adaptive_maxima<const D: usize>(
    op: &'static str,
    shape: &[usize],
    output_size: [usize; D],
) -> Result<MaxWindows> {
    MaxWindows::of_spans(op, adaptive(op, shape, output_size)?)
}

macro_rules! pooling {
    ($axes:literal $last:literal $max:ident $max_with_indices:ident $avg:ident $adaptive_avg:ident $adaptive_max:ident $lp:ident) => {
        #[doc = concat!("Pooling over the last axes: `", $last, "`.")]
        impl Tensor {
            #[doc = concat!(" Returns the maxima over windows of the last axes, `", $last, "`.")]
            ///
            /// # Shapes
            /// Each extent `n` becomes `(n + 2 padding - dilation (k - 1) - 1) / stride + 1`, rounded down, or up in
            /// `ceil_mode`; a window that would start after the end is left out.
            ///
            /// # Numerics
            /// NaN counts as the largest. The first of equal elements has the gradient.
            ///
            /// # Errors
            /// If a setting is out of range, a window has more than 32,768 elements, or the elements are not f32.
            pub fn $max(&self, settings: &MaxPooling<$axes>) -> Result<Self> {
                Ok(self.window_max(stringify!($max), &settings.plan(stringify!($max), self.shape())?)?.0)
            }

            #[doc = concat!(" Returns the maxima of [`", stringify!($max), "`](Self::", stringify!($max), "), and the place of each as u32:")]
            #[doc = concat!(" its number among the elements of `", $last, "`. A window without elements has `u32::MAX`.")]
            ///
            /// # Errors
            #[doc = concat!(" As of [`", stringify!($max), "`](Self::", stringify!($max), ").")]
            pub fn $max_with_indices(&self, settings: &MaxPooling<$axes>) -> Result<(Self, Self)> {
                self.window_max(stringify!($max_with_indices), &settings.plan(stringify!($max_with_indices), self.shape())?)
            }

            #[doc = concat!(" Returns the averages over windows of the last axes, `", $last, "`.")]
            ///
            /// # Shapes
            #[doc = concat!(" As of [`", stringify!($max), "`](Self::", stringify!($max), ").")]
            ///
            /// # Errors
            /// If a setting is out of range, or the elements are not f32.
            pub fn $avg(&self, settings: &AveragePooling<$axes>) -> Result<Self> {
                self.window_sums(stringify!($avg), &settings.plan(stringify!($avg), self.shape())?, false)
            }

            #[doc = concat!(" Returns the averages over as many windows of the last axes, `", $last, "`, as the result is to have.")]
            /// They share the elements as evenly as possible; `1` is the average of all.
            ///
            /// # Errors
            /// If an extent is 0, of the result or of the tensor, or the elements are not f32.
            pub fn $adaptive_avg(&self, output_size: [usize; $axes]) -> Result<Self> {
                let op = stringify!($adaptive_avg);
                self.window_sums(op, &adaptive_averages(op, self.shape(), output_size)?, false)
            }

            #[doc = concat!(" Returns the maxima over the windows of [`", stringify!($adaptive_avg), "`](Self::", stringify!($adaptive_avg), ").")]
            ///
            /// # Errors
            /// If an extent is 0, a window has more than 32,768 elements, or the elements are not f32.
            pub fn $adaptive_max(&self, output_size: [usize; $axes]) -> Result<Self> {
                let op = stringify!($adaptive_max);
                Ok(self.window_max(op, &adaptive_maxima(op, self.shape(), output_size)?)?.0)
            }

            #[doc = concat!(" Returns (Σ x^p)^(1/p) over windows of the last axes, `", $last, "`, `kernel_size` apart unless a stride is given.")]
            ///
            /// # Numerics
            /// As PyTorch's: a sum over a window that hangs over the end is scaled up to a whole one, and a negative sum has
            /// no root unless p is 1.
            ///
            /// # Errors
            /// If a setting is out of range, p is 0 or not finite, or the elements are not f32.
            pub fn $lp(
                &self,
                p: f32,
                kernel_size: [usize; $axes],
                stride: impl Into<Option<[usize; $axes]>>,
                ceil_mode: bool,
            ) -> Result<Self> {
                let settings = norm_pooling(stringify!($lp), p, kernel_size, stride.into(), ceil_mode)?;
                let count: usize = kernel_size.iter().product();
                self.powf(p)?.$avg(&settings)?.affine(count as f32, 0.0)?.powf(1.0 / p)
            }
        }
    };
}

pooling!(1 "[…, l]" max_pool1d max_pool1d_with_indices avg_pool1d adaptive_avg_pool1d adaptive_max_pool1d lp_pool1d);
pooling!(2 "[…, h, w]" max_pool2d max_pool2d_with_indices avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d lp_pool2d);

/// Returns the averages from which norms over windows follow.
#[doc(hidden)]
pub fn norm_pooling<const D: usize>(
    op: &'static str,
    p: f32,
    kernel_size: [usize; D],
    stride: Option<[usize; D]>,
    ceil_mode: bool,
) -> Result<AveragePooling<D>> {
    if p == 0.0 || !p.is_finite() {
        return Err(Error::Argument { op, name: "p", value: p.to_string(), rule: "finite and not 0" });
    }
    let stride = stride.unwrap_or(kernel_size);
    Ok(AveragePooling { stride, ceil_mode, ..AveragePooling::new(kernel_size) })
}
