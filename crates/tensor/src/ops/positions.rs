//! Positions in a sequence: sinusoids, and rotations of vectors.

use crate::tensor::expect_dtype;
use crate::{DType, Device, Error, Result, Tensor, shape};

/// The settings of [`Tensor::rotary`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rotary {
    /// The base of the wavelengths: pair i of n turns by position / baseⁱᐟⁿ. Default 10,000.
    pub base: f64,
    /// Whether neighbours are a pair (2i, 2i + 1), as in LLaMA's own code and torchtune. If not, the default, i and n + i
    /// are a pair, as in GPT-NeoX and Hugging Face's LLaMA.
    pub interleaved: bool,
}

impl Default for Rotary {
    fn default() -> Self {
        Self { base: 10_000.0, interleaved: false }
    }
}

impl Tensor {
    /// Returns the vectors of the last axis rotated by their positions, pair by pair (Su et al., RoFormer, 2021): x cos a -
    /// y sin a and y cos a + x sin a, by the angle a = position / baseⁱᐟⁿ of pair i of n. The product of two rotated
    /// vectors depends on the difference of their positions.
    ///
    /// # Shapes
    /// x `[…, l, 2n]`, positions that broadcast to `[…, l]` → `[…, l, 2n]`.
    ///
    /// # Numerics
    /// Angles are products in f32, as in PyTorch's models, so at position p they have an error of some 6e-8 p.
    ///
    /// # Errors
    /// If the width is odd, the base is not above 0, the positions do not broadcast, elements are not f32, or the devices
    /// differ.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Rotary, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let device = Device::cpu();
    /// let x = Tensor::from_slice(&device, &[1.0, 0.0, 1.0, 0.0], &[2, 2])?;
    /// let y = x.rotary(&Tensor::arange(&device, 0.0, 2.0, 1.0)?, &Rotary::default())?.to_vec::<f32>()?;
    /// // The first one stays, and the second one turns by 1.
    /// assert_eq!(y[..2], [1.0, 0.0]);
    /// assert!((y[2] - 1f32.cos()).abs() < 1e-6 && (y[3] - 1f32.sin()).abs() < 1e-6);
    /// # Ok(())
    /// # }
    /// ```
    pub fn rotary(&self, positions: &Self, settings: &Rotary) -> Result<Self> {
        let [cosines, sines] = self.rotary_factors(positions, settings)?;
        let half = cosines.shape().last().copied().unwrap_or(0);
        let outer = &self.shape()[..self.rank() - 1];
        let (split, axis) = if settings.interleaved { ([half, 2], -1) } else { ([2, half], -2) };
        let pairs = self.reshape(&[outer, &split[..]].concat())?;
        let (x, y) = (pairs.select(axis, 0)?, pairs.select(axis, 1)?);
        let turned = [x.mul(&cosines)?.sub(&y.mul(&sines)?)?, y.mul(&cosines)?.add(&x.mul(&sines)?)?];
        Self::stack(&turned, axis)?.reshape(self.shape())
    }

    /// Checks the arguments of [`rotary`](Self::rotary), and returns the cosines and sines of the angles, `[…, l, n]`.
    #[doc(hidden)]
    pub fn rotary_factors(&self, positions: &Self, settings: &Rotary) -> Result<[Self; 2]> {
        const OP: &str = "rotary";
        expect_dtype(OP, self, DType::F32)?;
        expect_dtype(OP, positions, DType::F32)?;
        let Some((&width, outer)) = self.shape().split_last().filter(|(width, _)| width.is_multiple_of(2)) else {
            return Err(Error::Rank { op: OP, expected: "vectors of an even width", shape: self.shape().to_vec() });
        };
        if !(settings.base > 0.0 && settings.base.is_finite()) {
            let value = settings.base.to_string();
            return Err(Error::Argument { op: OP, name: "base", value, rule: "a finite number above 0" });
        }
        positions.broadcast_to(outer)?;
        let half = width / 2;
        let rates: Vec<f32> = (0..half).map(|i| settings.base.powf(-(i as f64) / half as f64) as f32).collect();
        let rates = Self::from_slice(self.device(), &rates, &[half])?;
        let angles = positions.unsqueeze(-1)?.mul(&rates)?;
        Ok([angles.cos()?, angles.sin()?])
    }

    /// Returns the sinusoidal encoding of the first positions (Vaswani et al., Attention Is All You Need, 2017). Column 2i of
    /// row p is sin(p / 10000^(2i / width)), and column 2i + 1 is the cosine of the same angle.
    ///
    /// # Shapes
    /// `[count, width]`.
    ///
    /// # Numerics
    /// Computed in f64 and rounded once.
    ///
    /// # Errors
    /// If the result is too large, or the device has no room.
    pub fn sinusoidal_positions(device: &Device, count: usize, width: usize) -> Result<Self> {
        shape::element_count("sinusoidal_positions", &[count, width])?;
        let value = |position: usize, column: usize| {
            let angle = position as f64 * 10_000f64.powf(-((column / 2 * 2) as f64) / width as f64);
            (if column.is_multiple_of(2) { angle.sin() } else { angle.cos() }) as f32
        };
        let elements: Vec<f32> = (0..count * width).map(|i| value(i / width, i % width)).collect();
        Self::from_slice(device, &elements, &[count, width])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_pairs_turn_by_the_same_angles() {
        let device = Device::cpu();
        let x: Vec<f32> = (0..24).map(|i| (i as f32).sin()).collect();
        let positions = Tensor::from_slice(&device, &[0.0f32, 3.0, 500.0], &[3]).unwrap();
        for interleaved in [false, true] {
            let settings = Rotary { base: 100.0, interleaved };
            let y = Tensor::from_slice(&device, &x, &[2, 3, 4]).unwrap().rotary(&positions, &settings).unwrap();
            let y = y.to_vec::<f32>().unwrap();
            for (row, (x, y)) in x.chunks(4).zip(y.chunks(4)).enumerate() {
                for i in 0..2 {
                    let angle = [0.0f64, 3.0, 500.0][row % 3] * 100f64.powf(-(i as f64) / 2.0);
                    let [a, b] = if interleaved { [2 * i, 2 * i + 1] } else { [i, i + 2] };
                    let (left, right) = (f64::from(x[a]), f64::from(x[b]));
                    let expected = [left * angle.cos() - right * angle.sin(), right * angle.cos() + left * angle.sin()];
                    for (y, expected) in [y[a], y[b]].into_iter().zip(expected) {
                        // An angle of 500 has half an ulp of 1.5e-5.
                        assert!((f64::from(y) - expected).abs() < 5e-5, "row {row}, pair {i}: {y} and {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn sinusoids_are_those_of_the_paper() {
        let y = Tensor::sinusoidal_positions(&Device::cpu(), 3, 5).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(y[..5], [0.0, 1.0, 0.0, 1.0, 0.0]);
        let angle = 2.0 * 10_000f64.powf(-2.0 / 5.0);
        assert_eq!((y[12], y[13]), (angle.sin() as f32, angle.cos() as f32));
        assert_eq!(Tensor::sinusoidal_positions(&Device::cpu(), 0, 4).unwrap().shape(), [0, 4]);
    }

    #[test]
    fn misuse_is_an_error_that_says_what() {
        let device = Device::cpu();
        let positions = Tensor::arange(&device, 0.0, 3.0, 1.0).unwrap();
        let of = |shape: &[usize]| Tensor::full(&device, 1f32, shape).unwrap();
        let settings = Rotary::default();
        assert!(of(&[3, 3]).rotary(&positions, &settings).unwrap_err().to_string().contains("even width"));
        assert!(of(&[4, 2]).rotary(&positions, &settings).is_err() && of(&[]).rotary(&positions, &settings).is_err());
        assert!(of(&[3, 2]).rotary(&positions, &Rotary { base: 0.0, ..settings }).is_err());
    }
}
