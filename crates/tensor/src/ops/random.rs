//! Random numbers from a seed: the same stream on every device.

use crate::kernel::{Access, Call, Kernel, Launch};
use crate::math::{portable_log, portable_sine_cosine};
use crate::philox::{RUN, philox_run, unit_interval};
use crate::threads::for_each_chunk;
use crate::{DType, Device, Error, Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    length: u32,
    seed_low: u32,
    seed_high: u32,
    stream_low: u32,
    stream_high: u32,
    a: f32,
    b: f32,
}

/// Element 4 c + i is word i of Philox at counter (c, 0, stream), made uniform or normal.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let normal = call.constant("NORMAL") != 0.0;
    let [y] = call.bindings();
    let (a, b) = (params.a, params.b);
    let (rest, key) = ([0, params.stream_low, params.stream_high], [params.seed_low, params.seed_high]);
    for_each_chunk(
        y.write::<f32>(),
        #[inline(always)]
        |start, y| {
            for (run, y) in y.chunks_mut(4 * RUN).enumerate() {
                let words = philox_run((start / 4 + run * RUN) as u32, rest, key);
                for (y, words) in y.chunks_mut(2).zip(words.as_flattened().chunks(2)) {
                    let values = if normal {
                        normal_pair(words[0], words[1]).map(|z| a + b * z)
                    } else {
                        [words[0], words[1]].map(|word| a + (b - a) * unit_interval(word))
                    };
                    y.copy_from_slice(&values[..y.len()]);
                }
            }
        },
    );
}

/// Returns two independent standard normal numbers from two words, by Box and Muller.
pub(crate) fn normal_pair(first: u32, second: u32) -> [f32; 2] {
    // 1 - u is in (0, 1], so its logarithm is finite.
    let radius = (-2.0 * portable_log(1.0 - unit_interval(first))).sqrt();
    let (sine, cosine) = portable_sine_cosine(std::f32::consts::TAU * unit_interval(second));
    [radius * cosine, radius * sine]
}

pub(super) static RANDOM: Kernel = Kernel {
    shader: &thalweg_shaders::RANDOM,
    uniform: size_of::<Params>(),
    access: &[Access::Write],
    variants: &[&[("NORMAL", 0.0)], &[("NORMAL", 1.0)]],
    twin,
};

impl Tensor {
    /// Returns uniform random numbers in [low, high), the same for a seed and a stream on every device.
    ///
    /// Element 4 c + i is computed from 24 bits of word i of Philox4x32-10 at counter (c, 0, stream) with the seed as
    /// key. Streams with different numbers are independent.
    ///
    /// # Errors
    /// If the bounds are not finite, or the shape is too large.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::uniform(&Device::cpu(), 42, 0, -1.0, 1.0, &[1000])?;
    /// assert!(x.min()?.item::<f32>()? >= -1.0 && x.max()?.item::<f32>()? < 1.0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn uniform(device: &Device, seed: u64, stream: u64, low: f32, high: f32, shape: &[usize]) -> Result<Self> {
        Self::random(device, seed, stream, false, [("low", low), ("high", high)], shape)
    }

    /// Returns normal random numbers. They are the same for a seed and a stream on every device, except for the last
    /// bits: a GPU may contract products and sums.
    ///
    /// They are computed by Box and Muller from the numbers of [`uniform`](Self::uniform).
    ///
    /// # Errors
    /// If the mean or deviation is not finite, or the shape is too large.
    pub fn normal(device: &Device, seed: u64, stream: u64, mean: f32, deviation: f32, shape: &[usize]) -> Result<Self> {
        Self::random(device, seed, stream, true, [("mean", mean), ("deviation", deviation)], shape)
    }

    fn random(
        device: &Device,
        seed: u64,
        stream: u64,
        normal: bool,
        [a, b]: [(&'static str, f32); 2],
        shape: &[usize],
    ) -> Result<Self> {
        for (name, value) in [a, b] {
            if !value.is_finite() {
                return Err(Error::Argument { op: "random", name, value: value.to_string(), rule: "finite" });
            }
        }
        let y = Self::uninitialized(device, DType::F32, shape)?;
        let params = Params {
            length: y.len() as u32,
            seed_low: seed as u32,
            seed_high: (seed >> 32) as u32,
            stream_low: stream as u32,
            stream_high: (stream >> 32) as u32,
            a: a.1,
            b: b.1,
        };
        Launch::new(&RANDOM, params)
            .constant("NORMAL", normal)
            .bind(&y)
            .workgroups(y.len().div_ceil(256))
            .run(device)?;
        Ok(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(x: &[f32]) -> (f64, f64) {
        let n = x.len() as f64;
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        (mean, x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n)
    }

    #[test]
    fn moments_are_those_of_the_distribution() {
        // Five standard errors of the mean and of the variance for 100,000 numbers.
        let x = Tensor::normal(&Device::cpu(), 7, 0, 3.0, 2.0, &[100_000]).unwrap().to_vec::<f32>().unwrap();
        let (mean, variance) = moments(&x);
        assert!((mean - 3.0).abs() < 0.032 && (variance - 4.0).abs() < 0.09, "{mean} {variance}");
        let x = Tensor::uniform(&Device::cpu(), 7, 0, 0.0, 1.0, &[100_000]).unwrap().to_vec::<f32>().unwrap();
        let (mean, variance) = moments(&x);
        assert!((mean - 0.5).abs() < 0.0046 && (variance - 1.0 / 12.0).abs() < 0.0012, "{mean} {variance}");
    }

    #[test]
    fn seeds_and_streams_differ_and_repeat() {
        let draw = |seed, stream| {
            Tensor::uniform(&Device::cpu(), seed, stream, 0.0, 1.0, &[9]).unwrap().to_vec::<f32>().unwrap()
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(1 << 32 | 1, 2));
        assert!(Tensor::uniform(&Device::cpu(), 0, 0, f32::NAN, 1.0, &[1]).is_err());
    }
}
