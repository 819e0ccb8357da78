//! Padding.

use super::remap::Rule;
use crate::{DType, Error, Result, Tensor, bf16, f16};

/// What [`Tensor::pad`] puts around a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PadMode {
    /// One value.
    Constant(f32),
    /// The elements mirrored at the first and the last one, which are not repeated: `c b | a b c | b a`.
    Reflect,
    /// The nearest element: `a a | a b c | c c`.
    Replicate,
    /// The elements around the axis: `b c | a b c | a b`.
    Circular,
}

impl Tensor {
    /// Returns the tensor with elements added before and after its last axes. It is PyTorch's `nn.functional.pad`,
    /// with another order of widths.
    ///
    /// The widths are pairs (before, after), in the order of the axes: the last pair is for the last axis, as in
    /// `numpy.pad`. PyTorch has one flat list that begins with the last axis. Axes that lie before those with a pair are
    /// not padded. A negative width takes elements away, before anything is put around the rest.
    ///
    /// # Shapes
    /// `[…, n, …]` → `[…, before + n + after, …]`.
    ///
    /// # Errors
    /// If there are more pairs than axes, or more is taken away than there is. If a width of `Reflect` is not less than
    /// the extent, one of `Circular` is more, or one of `Replicate` finds an extent of 0. If the elements are u32 and the
    /// value is no whole number of that type.
    ///
    /// ```
    /// use thalweg_tensor::{Device, PadMode, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::from_slice(&Device::cpu(), &[1f32, 2.0, 3.0], &[3])?;
    /// assert_eq!(x.pad(&[(1, 2)], PadMode::Constant(0.0))?.to_vec::<f32>()?, [0.0, 1.0, 2.0, 3.0, 0.0, 0.0]);
    /// assert_eq!(x.pad(&[(2, 1)], PadMode::Reflect)?.to_vec::<f32>()?, [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    /// assert_eq!(x.pad(&[(-1, 2)], PadMode::Replicate)?.to_vec::<f32>()?, [2.0, 3.0, 3.0, 3.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pad(&self, widths: &[(isize, isize)], mode: PadMode) -> Result<Self> {
        let wrong = |(before, after): (isize, isize), rule| Error::Argument {
            op: "pad",
            name: "widths",
            value: format!("({before}, {after}) of shape {:?}", self.shape()),
            rule,
        };
        let Some(first) = self.rank().checked_sub(widths.len()) else {
            return Err(Error::Rank {
                op: "pad",
                expected: "at least one axis for each pair",
                shape: self.shape().to_vec(),
            });
        };
        let fill = match mode {
            PadMode::Constant(value) => self.bits_of("pad", value)?,
            _ => 0,
        };
        let mut rest = self.clone();
        let mut rules = self.rules();
        let mut is_padded = false;
        for (axis, &width) in (first..).zip(widths) {
            let taken = |width: isize| if width < 0 { width.unsigned_abs() } else { 0 };
            let (start, end) = (taken(width.0), self.shape()[axis].checked_sub(taken(width.1)));
            let Some(end) = end.filter(|&end| start <= end) else {
                return Err(wrong(width, "no more taken away than there is"));
            };
            rest = rest.slice(axis, start, end)?;
            let (extent, before, after) = (end - start, width.0.max(0), width.1.max(0));
            let most = before.max(after).unsigned_abs();
            let shift = before;
            let rule = match mode {
                _ if most == 0 => Rule::SAME,
                PadMode::Constant(_) => Rule::Spread { shift, step: 1 },
                PadMode::Reflect if most < extent => Rule::Mirror { shift },
                PadMode::Reflect => return Err(wrong(width, "less than the extent")),
                PadMode::Replicate if extent > 0 => Rule::Clamp { shift },
                PadMode::Replicate => return Err(wrong(width, "around at least one element")),
                PadMode::Circular if most <= extent => Rule::Wrap { shift: before - extent.cast_signed() },
                PadMode::Circular => return Err(wrong(width, "at most the extent")),
            };
            let extent = extent.saturating_add_signed(before).saturating_add_signed(after);
            rules[axis] = (extent, rule);
            is_padded |= most > 0;
        }
        if is_padded { rest.remap("pad", &rules, None, fill) } else { Ok(rest) }
    }

    /// Returns the bits of a value as an element.
    fn bits_of(&self, op: &'static str, value: f32) -> Result<u32> {
        Ok(match self.dtype() {
            DType::F32 => value.to_bits(),
            DType::F16 => f16::from_f32(value).to_bits().into(),
            DType::BF16 => bf16::from_f32(value).to_bits().into(),
            DType::U32 if f64::from(value as u32) == f64::from(value) => value as u32,
            DType::U32 => {
                return Err(Error::Argument {
                    op,
                    name: "value",
                    value: value.to_string(),
                    rule: "a whole number for elements of u32",
                });
            }
        })
    }

    /// Returns zeros of which the elements at the places `start + step · i` along an axis are those of the tensor: the way
    /// back from [`slice_step`](Self::slice_step).
    ///
    /// # Shapes
    /// `[…, n, …]` → `[…, extent, …]`.
    ///
    /// # Errors
    /// If the shape is too large, or the device has no room.
    #[doc(hidden)]
    pub fn spread(&self, axis: usize, extent: usize, start: usize, step: usize) -> Result<Self> {
        let mut rules = self.rules();
        rules[axis] = (extent, Rule::Spread { shift: start.cast_signed(), step });
        self.remap("spread", &rules, None, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    fn letters() -> Tensor {
        Tensor::from_slice(&Device::cpu(), &[1f32, 2.0, 3.0], &[3]).unwrap()
    }

    #[test]
    fn modes_put_their_elements() {
        let of = |width, mode| letters().pad(&[width], mode).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(of((2, 2), PadMode::Reflect), [3., 2., 1., 2., 3., 2., 1.]);
        assert_eq!(of((2, 3), PadMode::Replicate), [1., 1., 1., 2., 3., 3., 3., 3.]);
        assert_eq!(of((3, 2), PadMode::Circular), [1., 2., 3., 1., 2., 3., 1., 2.]);
        assert_eq!(of((-1, 1), PadMode::Circular), [2., 3., 2.]);
        assert_eq!(of((2, -3), PadMode::Constant(7.0)), [7., 7.]);
        assert_eq!(of((-1, -1), PadMode::Reflect), [2.]);
        assert!(of((0, 1), PadMode::Constant(f32::NAN))[3].is_nan());
    }

    #[test]
    fn pairs_are_for_the_last_axes() {
        let x = letters().unsqueeze(0).unwrap().pad(&[(0, 1)], PadMode::Constant(0.0)).unwrap();
        assert_eq!(x.shape(), [1, 4]);
        assert_eq!(x.pad(&[(1, 0), (0, 0)], PadMode::Replicate).unwrap().shape(), [2, 4]);
        let empty = Tensor::zeros(&Device::cpu(), DType::F16, &[0, 2]).unwrap();
        let y = empty.pad(&[(1, 0), (1, 0)], PadMode::Constant(0.5)).unwrap();
        assert_eq!(y.to_vec::<f16>().unwrap(), [f16::from_f32(0.5); 3]);
    }

    #[test]
    fn widths_that_do_not_fit_are_refused() {
        let fails = |width, mode| letters().pad(&[width], mode).is_err();
        assert!(fails((3, 0), PadMode::Reflect) && fails((0, 4), PadMode::Circular));
        assert!(fails((-2, -2), PadMode::Replicate) && fails((isize::MIN, 0), PadMode::Constant(0.0)));
        assert!(fails((isize::MAX, isize::MAX), PadMode::Constant(0.0)) && fails((-3, 1), PadMode::Replicate));
        assert!(letters().pad(&[(0, 0); 2], PadMode::Reflect).is_err());
        let words = Tensor::from_slice(&Device::cpu(), &[1u32], &[1]).unwrap();
        assert_eq!(words.pad(&[(1, 0)], PadMode::Constant(9.0)).unwrap().to_vec::<u32>().unwrap(), [9, 1]);
        for value in [-1.0, 0.5, f32::NAN, 5e9] {
            let error = words.pad(&[(1, 0)], PadMode::Constant(value)).unwrap_err().to_string();
            assert!(error.contains("a whole number"), "{error}");
        }
    }
}
