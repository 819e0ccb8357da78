//! Random numbers that a captured step draws anew: classes from a softmax, and normal numbers around means.

use super::Clock;
use super::time::steps_of;
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::math;
use crate::ops::random::normal_pair;
use crate::philox::{RUN, philox, philox_run, unit_interval};
use crate::tensor::expect_dtype;
use crate::threads::for_each_chunk;
use crate::{DType, Error, Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct ClassParams {
    rows: u32,
    classes: u32,
    seed: [u32; 2],
    stream: [u32; 2],
}

/// The first class for which the cumulative sum of exp(logits - largest) is more than u times the total.
fn class_twin(call: Call<'_>) {
    let ClassParams { classes, seed, stream, .. } = call.params();
    let [logits, clock, sampled] = call.bindings();
    let (logits, time) = (logits.read::<f32>(), steps_of(clock.read()));
    let classes = classes as usize;
    for (row, sampled) in sampled.write::<u32>().iter_mut().enumerate() {
        let u = unit_interval(philox([row as u32, time, stream[0], stream[1]], seed)[0]);
        let logits = &logits[row * classes..][..classes];
        let largest = math::row_maximum(logits);
        let sum = logits.iter().fold(0.0, |sum, logit| sum + (logit - largest).exp());
        let (wanted, mut below) = (u * sum, 0.0);
        let chosen = logits.iter().position(|logit| {
            below += (logit - largest).exp();
            below > wanted
        });
        *sampled = chosen.unwrap_or(classes - 1) as u32;
    }
}

pub(super) static SAMPLE_CLASSES: Kernel = Kernel {
    shader: &thalweg_shaders::SAMPLE_CLASSES,
    uniform: size_of::<ClassParams>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: &[&[]],
    twin: class_twin,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct NormalParams {
    length: u32,
    seed: [u32; 2],
    stream: [u32; 2],
    deviation: f32,
}

/// y = mean + deviation z, with z from the words of Philox at counter (c, time, stream) for the elements from 4 c on.
fn normal_twin(call: Call<'_>) {
    let NormalParams { seed, stream, deviation, .. } = call.params();
    let [means, clock, y] = call.bindings();
    let (means, time) = (means.read::<f32>(), steps_of(clock.read()));
    for_each_chunk(
        y.write::<f32>(),
        #[inline(always)]
        |start, y| {
            for (run, (y, means)) in y.chunks_mut(4 * RUN).zip(means[start..].chunks(4 * RUN)).enumerate() {
                let words = philox_run((start / 4 + run * RUN) as u32, [time, stream[0], stream[1]], seed);
                let pairs = y.chunks_mut(2).zip(means.chunks(2)).zip(words.as_flattened().chunks(2));
                for ((y, means), words) in pairs {
                    for ((y, mean), z) in y.iter_mut().zip(means).zip(normal_pair(words[0], words[1])) {
                        *y = mean + deviation * z;
                    }
                }
            }
        },
    );
}

pub(super) static SAMPLE_NORMAL: Kernel = Kernel {
    shader: &thalweg_shaders::SAMPLE_NORMAL,
    uniform: size_of::<NormalParams>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: &[&[]],
    twin: normal_twin,
};

fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

impl Clock {
    /// Returns a class for each row of logits, drawn from their softmax: the first class for which the cumulative
    /// probability exceeds a uniform random number. The number is word 0 of Philox4x32-10 at counter (row, time,
    /// stream) with the seed as key. The time is the number of this clock's steps, done and skipped. So repeated
    /// calls within a step draw the same classes, and a captured step draws anew in every replay. One launch.
    ///
    /// # Shapes
    /// logits `[n, classes]` → u32 `[n]`.
    ///
    /// # Numerics
    /// A row that contains NaN or infinity gives an arbitrary class.
    ///
    /// # Errors
    /// If the logits have another type or shape, have no classes, or are on another device.
    ///
    /// ```
    /// use thalweg_tensor::{Clock, Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let device = Device::cpu();
    /// let clock = Clock::new(&device, 0.1)?;
    /// let logits = Tensor::from_slice(&device, &[0.0, 50.0, 80.0, 0.0], &[2, 2])?;
    /// assert_eq!(clock.sample_classes(&logits, 0, 0)?.to_vec::<u32>()?, [1, 0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sample_classes(&self, logits: &Tensor, seed: u64, stream: u64) -> Result<Tensor> {
        let op = "sample_classes";
        expect_dtype(op, logits, DType::F32)?;
        logits.same_device(op, self.state())?;
        let (rows, classes) = match *logits.shape() {
            [rows, classes] if classes > 0 => (rows, classes),
            _ => return Err(Error::Rank { op, expected: "logits [n, classes]", shape: logits.shape().to_vec() }),
        };
        let sampled = Tensor::uninitialized(logits.device(), DType::U32, &[rows])?;
        let params =
            ClassParams { rows: rows as u32, classes: classes as u32, seed: halves(seed), stream: halves(stream) };
        Launch::new(&SAMPLE_CLASSES, params)
            .bind(&logits.contiguous()?)
            .bind(self.state())
            .bind(&sampled)
            .workgroups(rows.div_ceil(64))
            .run(logits.device())?;
        Ok(sampled)
    }

    /// Returns normal random numbers with these means and one standard deviation, drawn at this clock's time like
    /// [`sample_classes`](Self::sample_classes). One launch.
    ///
    /// # Errors
    /// If the means are not f32 or are on another device, or the deviation is not finite.
    pub fn sample_normal(&self, means: &Tensor, deviation: f32, seed: u64, stream: u64) -> Result<Tensor> {
        let op = "sample_normal";
        expect_dtype(op, means, DType::F32)?;
        means.same_device(op, self.state())?;
        if !deviation.is_finite() {
            return Err(Error::Argument { op, name: "deviation", value: deviation.to_string(), rule: "finite" });
        }
        let y = Tensor::uninitialized(means.device(), DType::F32, means.shape())?;
        let params = NormalParams { length: y.len() as u32, seed: halves(seed), stream: halves(stream), deviation };
        Launch::new(&SAMPLE_NORMAL, params)
            .bind(&means.contiguous()?)
            .bind(self.state())
            .bind(&y)
            .workgroups(y.len().div_ceil(256))
            .run(means.device())?;
        Ok(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    #[test]
    fn classes_come_as_often_as_their_probabilities_say() {
        const ROWS: usize = 40_000;
        let device = Device::cpu();
        let clock = Clock::new(&device, 0.1).unwrap();
        let probabilities = [0.1f32, 0.0, 0.6, 0.3];
        let logits: Vec<f32> = probabilities.iter().map(|p| p.ln() + 7.0).collect();
        let logits = Tensor::from_slice(&device, &logits.repeat(ROWS), &[ROWS, 4]).unwrap();
        let draw = |seed, stream| clock.sample_classes(&logits, seed, stream).unwrap().to_vec::<u32>().unwrap();
        let sampled = draw(1, 2);
        for (class, p) in probabilities.iter().enumerate() {
            let count = sampled.iter().filter(|&&sampled| sampled as usize == class).count();
            // Five standard deviations of a binomial count.
            let allowed = 5.0 * (ROWS as f32 * p * (1.0 - p)).sqrt();
            assert!((count as f32 - ROWS as f32 * p).abs() <= allowed, "{class}: {count}");
        }
        assert_eq!(sampled, draw(1, 2));
        assert_ne!(sampled, draw(2, 2));
        assert_ne!(sampled, draw(1, 3));
        assert!(clock.sample_classes(&logits.slice(1, 0, 0).unwrap(), 0, 0).is_err());
        let broken = Tensor::full(&device, f32::NAN, &[1, 4]).unwrap();
        assert!(clock.sample_classes(&broken, 0, 0).unwrap().item::<u32>().unwrap() < 4);
    }

    #[test]
    fn normal_numbers_lie_around_their_means() {
        let device = Device::cpu();
        let clock = Clock::new(&device, 0.1).unwrap();
        let means = Tensor::from_slice(&device, &[-3.0f32, 5.0].repeat(50_000), &[100_000]).unwrap();
        let y = clock.sample_normal(&means, 2.0, 7, 1).unwrap().to_vec::<f32>().unwrap();
        let z: Vec<f64> = y.iter().zip([-3.0, 5.0].repeat(50_000)).map(|(y, mean)| f64::from(*y) - mean).collect();
        let mean = z.iter().sum::<f64>() / z.len() as f64;
        let variance = z.iter().map(|z| z * z).sum::<f64>() / z.len() as f64;
        // Five standard errors.
        assert!(mean.abs() < 0.032 && (variance - 4.0).abs() < 0.09, "{mean} {variance}");
        assert!(clock.sample_normal(&means, f32::NAN, 0, 0).is_err());
    }
}
