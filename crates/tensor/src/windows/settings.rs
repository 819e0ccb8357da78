//! The settings of pooling, and the windows along one axis that follow from them.

use crate::{Error, Result};

/// The settings of maxima over windows of `D` axes, with PyTorch's names.
///
/// ```
/// use thalweg_tensor::MaxPooling;
/// let halves = MaxPooling::new([2, 2]);
/// assert_eq!((halves.stride, halves.padding), ([2, 2], [0, 0]));
/// let overlapping = MaxPooling { stride: [2, 2], padding: [1, 1], ..MaxPooling::new([3, 3]) };
/// assert!(!overlapping.ceil_mode);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxPooling<const D: usize> {
    /// The extents of a window.
    pub kernel_size: [usize; D],
    /// The distance of neighbouring windows. Default: `kernel_size`.
    pub stride: [usize; D],
    /// The number of elements of -∞ on both sides of each axis, at most half of a window. Default: 0.
    pub padding: [usize; D],
    /// The distance of neighbouring elements of a window. Default: 1.
    pub dilation: [usize; D],
    /// Whether a last window may hang over the end. Default: false.
    pub ceil_mode: bool,
}

impl<const D: usize> MaxPooling<D> {
    /// Returns the settings of windows with these extents that lie side by side.
    #[must_use]
    pub const fn new(kernel_size: [usize; D]) -> Self {
        Self { kernel_size, stride: kernel_size, padding: [0; D], dilation: [1; D], ceil_mode: false }
    }

    pub(super) fn windows(&self, op: &'static str, extents: &[usize]) -> Result<[Windows; D]> {
        let &Self { kernel_size, stride, padding, dilation, ceil_mode } = self;
        windows(extents, |d, extent| {
            let (kernel, stride, padding, dilation) = (kernel_size[d], stride[d], padding[d], dilation[d]);
            Windows { extent, count: 0, kernel, stride, padding, dilation }.counted(op, ceil_mode)
        })
    }
}

/// The settings of averages over windows of `D` axes, with PyTorch's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AveragePooling<const D: usize> {
    /// The extents of a window.
    pub kernel_size: [usize; D],
    /// The distance of neighbouring windows. Default: `kernel_size`.
    pub stride: [usize; D],
    /// The number of zeros on both sides of each axis, at most half of a window. Default: 0.
    pub padding: [usize; D],
    /// Whether a last window may hang over the end. Default: false.
    pub ceil_mode: bool,
    /// Whether the zeros of the padding count as elements. Default: true.
    pub count_include_pad: bool,
    /// What the sums are divided by instead of the number of elements. Default: none.
    pub divisor_override: Option<usize>,
}

impl<const D: usize> AveragePooling<D> {
    /// Returns the settings of windows with these extents that lie side by side.
    #[must_use]
    pub const fn new(kernel_size: [usize; D]) -> Self {
        Self {
            kernel_size,
            stride: kernel_size,
            padding: [0; D],
            ceil_mode: false,
            count_include_pad: true,
            divisor_override: None,
        }
    }

    pub(super) fn windows(&self, op: &'static str, extents: &[usize]) -> Result<[Windows; D]> {
        let &Self { kernel_size, stride, padding, ceil_mode, divisor_override, .. } = self;
        if divisor_override == Some(0) {
            return Err(Error::Argument { op, name: "divisor_override", value: "0".to_string(), rule: "at least 1" });
        }
        windows(extents, |d, extent| {
            let (kernel, stride, padding) = (kernel_size[d], stride[d], padding[d]);
            Windows { extent, count: 0, kernel, stride, padding, dilation: 1 }.counted(op, ceil_mode)
        })
    }
}

fn windows<const D: usize>(extents: &[usize], of: impl Fn(usize, usize) -> Result<Windows>) -> Result<[Windows; D]> {
    let mut result = [Windows::default(); D];
    for (d, (windows, &extent)) in result.iter_mut().zip(extents).enumerate() {
        *windows = of(d, extent)?;
    }
    Ok(result)
}

/// The windows along one axis.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Windows {
    /// The extent of the axis.
    pub(super) extent: usize,
    /// The number of windows.
    pub(super) count: usize,
    pub(super) kernel: usize,
    stride: usize,
    padding: usize,
    pub(super) dilation: usize,
}

impl Windows {
    /// Counts the windows, by PyTorch's rules.
    fn counted(self, op: &'static str, ceil_mode: bool) -> Result<Self> {
        let Self { extent, kernel, stride, padding, dilation, .. } = self;
        let wrong = |name, value: usize, rule| Err(Error::Argument { op, name, value: value.to_string(), rule });
        let rows =
            [("kernel_size", kernel, 1), ("stride", stride, 1), ("dilation", dilation, 1), ("padding", padding, 0)];
        for (name, value, least) in rows {
            if value < least {
                return wrong(name, value, "at least 1");
            }
            if value > 1 << 20 {
                return wrong(name, value, "at most 2^20");
            }
        }
        let reach = dilation * (kernel - 1) + 1;
        if padding > reach / 2 {
            return wrong("padding", padding, "at most half of a window");
        }
        if extent == 0 {
            return wrong("extent", extent, "at least 1");
        }
        let room = extent.cast_signed() + (2 * padding).cast_signed() - reach.cast_signed();
        let more = if ceil_mode { stride - 1 } else { 0 };
        let count = (room + more.cast_signed()).div_euclid(stride.cast_signed()) + 1;
        if count < 1 {
            return wrong("kernel_size", kernel, "no larger than the padded extent");
        }
        let mut count = count.unsigned_abs();
        // The last window starts inside of the extent or of the padding before it.
        if ceil_mode && (count - 1) * stride >= extent + padding {
            count -= 1;
        }
        Ok(Self { count, ..self })
    }

    /// Returns where a window starts and ends, also outside of the axis.
    pub(super) fn span(&self, window: usize) -> (isize, isize) {
        let start = (window * self.stride).cast_signed() - self.padding.cast_signed();
        (start, start + (self.dilation * (self.kernel - 1) + 1).cast_signed())
    }

    /// Returns where a window starts and ends inside of the axis, without dilation, and how many elements it has with
    /// those of the padding.
    pub(super) fn inside(&self, window: usize) -> (usize, usize, usize) {
        let (start, end) = self.span(window);
        let padded = end.min((self.extent + self.padding).cast_signed()) - start;
        let end = end.min(self.extent.cast_signed()).max(0).unsigned_abs();
        (start.max(0).unsigned_abs().min(end), end, padded.unsigned_abs())
    }
}
