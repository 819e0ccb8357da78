//! Interpolation to other extents.

use super::WindowSums;
use super::pool::last;
use super::sums::Bands;
use crate::ops::Rule;
use crate::{Error, Result, Tensor};

/// The extents to which the last `D` axes are stretched or shrunk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Resize<const D: usize> {
    /// These extents.
    Size([usize; D]),
    /// So many times the extents of the tensor, rounded down.
    Factor([f64; D]),
}

/// One axis: its extent, the new one, and the distance of neighbours of the result in the tensor.
#[derive(Debug, Clone, Copy)]
struct Scaled {
    extent: usize,
    count: usize,
    step: f64,
}

impl<const D: usize> Resize<D> {
    fn axes(&self, op: &'static str, shape: &[usize]) -> Result<[Scaled; D]> {
        let extents = last::<D>(op, shape)?;
        if extents.contains(&0) {
            return Err(Error::Rank { op, expected: "extents of at least 1", shape: shape.to_vec() });
        }
        let mut axes = [Scaled { extent: 1, count: 1, step: 1.0 }; D];
        for (d, (axis, &extent)) in axes.iter_mut().zip(extents).enumerate() {
            *axis = match *self {
                Self::Size(size) => Scaled { extent, count: size[d], step: extent as f64 / size[d] as f64 },
                Self::Factor(factors) => {
                    Scaled { extent, count: (extent as f64 * factors[d]) as usize, step: 1.0 / factors[d] }
                }
            };
            if axis.count == 0 || axis.count > 1 << 30 || !axis.step.is_finite() {
                let value = format!("{self:?} of shape {shape:?}");
                return Err(Error::Argument { op, name: "size", value, rule: "extents from 1 to 2^30" });
            }
        }
        Ok(axes)
    }

    /// Returns the plan of the nearest elements.
    #[doc(hidden)]
    pub fn nearest(&self, op: &'static str, shape: &[usize]) -> Result<WindowSums> {
        let bands = |axis: Scaled| {
            let window = |i: usize| {
                let place = axis.place(i);
                (place, place + 1, 1.0)
            };
            Bands::of_windows(axis.extent, (0..axis.count).map(window))
        };
        Ok(WindowSums::new(self.axes(op, shape)?.map(bands).into(), true))
    }

    /// Returns the plan of straight lines between neighbours.
    #[doc(hidden)]
    pub fn linear(&self, op: &'static str, shape: &[usize], align_corners: bool) -> Result<WindowSums> {
        let bands = |Scaled { extent, count, step }: Scaled| {
            let place = |i: usize| {
                let at = if align_corners {
                    i as f64 * ((extent - 1) as f64 / (count - 1).max(1) as f64)
                } else {
                    ((i as f64 + 0.5) * step - 0.5).max(0.0)
                };
                let place = (at as usize).min(extent - 1);
                (place, if place == extent - 1 { 0.0 } else { at - place as f64 })
            };
            Bands::between(extent, (0..count).map(place))
        };
        Ok(WindowSums::new(self.axes(op, shape)?.map(bands).into(), false))
    }
}

impl Scaled {
    /// The nearest element of a place of the result, as PyTorch's `nearest`: that at or before it.
    fn place(&self, i: usize) -> usize {
        let is_exact = self.step == self.extent as f64 / self.count as f64;
        let place = if is_exact { i * self.extent / self.count } else { (i as f64 * self.step) as usize };
        place.min(self.extent - 1)
    }

    /// How often each element is repeated, if all are repeated as often.
    fn repeats(&self) -> Option<usize> {
        let times = self.count / self.extent;
        (self.count.is_multiple_of(self.extent) && self.step == 1.0 / times as f64).then_some(times)
    }
}

impl Tensor {
    /// Returns the tensor with the last axis resized, each place with the nearest element at or before it.
    ///
    /// # Numerics
    /// The places are those of exact arithmetic; PyTorch rounds the scale to f32 and may be one place off.
    ///
    /// # Errors
    /// If an extent is 0, or the elements are not f32 and the new extent is no multiple of the old one.
    pub fn upsample_nearest1d(&self, size: &Resize<1>) -> Result<Self> {
        self.nearest("upsample_nearest1d", size)
    }

    /// Returns the tensor with the last two axes resized; see [`upsample_nearest1d`](Self::upsample_nearest1d).
    ///
    /// # Errors
    /// As of [`upsample_nearest1d`](Self::upsample_nearest1d).
    ///
    /// ```
    /// use thalweg_tensor::{Device, Resize, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::from_slice(&Device::best(), &[1f32, 2.0], &[1, 2])?;
    /// let y = x.upsample_nearest2d(&Resize::Factor([1.0, 2.0]))?;
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 1.0, 2.0, 2.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn upsample_nearest2d(&self, size: &Resize<2>) -> Result<Self> {
        self.nearest("upsample_nearest2d", size)
    }

    fn nearest<const D: usize>(&self, op: &'static str, size: &Resize<D>) -> Result<Self> {
        let axes = size.axes(op, self.shape())?;
        let mut rules = self.rules();
        let outer = rules.len() - D;
        for (rule, axis) in rules[outer..].iter_mut().zip(&axes) {
            let Some(by) = axis.repeats() else {
                return self.window_sums(op, &size.nearest(op, self.shape())?, false);
            };
            *rule = (axis.count, Rule::Divide { by });
        }
        self.remap(op, &rules, None, 0)
    }

    /// Returns the tensor with the last two axes resized, by straight lines between neighbours along both.
    ///
    /// With `align_corners` the first and last places of both are the same. Without it, places are the middles of squares, and
    /// beyond the outermost middles lies the nearest element.
    ///
    /// # Errors
    /// If an extent is 0, or the elements are not f32.
    pub fn upsample_bilinear2d(&self, size: &Resize<2>, align_corners: bool) -> Result<Self> {
        let op = "upsample_bilinear2d";
        self.window_sums(op, &size.linear(op, self.shape(), align_corners)?, false)
    }
}
