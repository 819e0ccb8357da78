//! Random draws from distributions: truths, waiting times, bounded normal numbers, classes and orders. All are functions
//! of a seed and a stream, from the numbers of [`Tensor::uniform`].

use crate::functions;
use crate::functions::{Check, FEW_ULP};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::math::{maximum, minimum, normal_cdf, portable_log};
use crate::philox::{philox, unit_interval};
use crate::tensor::expect_dtype;
use crate::threads::for_each_chunk;
use crate::{DType, Device, Error, Result, Tensor};

/// The smallest chance of the interval of a truncated distribution.
const LEAST_CHANCE: f32 = 1e-6;

/// A key above those of all classes, for a class without weight, and one above these, for a class that is drawn.
const NO_WEIGHT: f32 = 3e38;
const DRAWN: f32 = f32::MAX;

functions! {
    /// the waiting time of an exponential distribution with the mean `scale`, from a uniform number.
    EXPONENTIAL = exponential_of(u; scale) {
        wgsl: "return scale * (0.0 - safe_log(1.0 - u));",
        twin: scale * (0.0 - portable_log(1.0 - u)),
        derivatives: [flat],
        checks: [Check::over(0.0, 0.99).numbers(&[0.5]).within(FEW_ULP)],
    }

    /// the standard normal number below which numbers have the probability low + span u.
    NORMAL_QUANTILE = normal_quantile(u; low, span) {
        wgsl: "let p = minimum(maximum(low + span * u, 1.5e-8), 0.99999994);
    let w = 0.0 - safe_log(4.0 * p * (1.0 - p));
    var q: f32;
    if (w < 5.0) {
        let x = w - 2.5;
        q = 2.81022636e-8;
        q = 3.43273939e-7 + q * x;
        q = -3.5233877e-6 + q * x;
        q = -4.39150654e-6 + q * x;
        q = 0.00021858087 + q * x;
        q = -0.00125372503 + q * x;
        q = -0.00417768164 + q * x;
        q = 0.246640727 + q * x;
        q = 1.50140941 + q * x;
    } else {
        let x = sqrt(w) - 3.0;
        q = -0.000200214257;
        q = 0.000100950558 + q * x;
        q = 0.00134934322 + q * x;
        q = -0.00367342844 + q * x;
        q = 0.00573950773 + q * x;
        q = -0.0076224613 + q * x;
        q = 0.00943887047 + q * x;
        q = 1.00167406 + q * x;
        q = 2.83297682 + q * x;
    }
    return 1.41421356 * (q * (2.0 * p - 1.0));",
        twin: normal_quantile(minimum(maximum(low + span * u, 1.5e-8), 0.999_999_94)),
        derivatives: [flat],
        checks: [Check::over(0.0, 1.0).numbers(&[0.1, 0.8]).within(FEW_ULP)],
    }
}

/// √2 erf⁻¹(2 p - 1) by the polynomials of Giles, Approximating the erfinv function (2010).
#[inline(always)]
fn normal_quantile(p: f32) -> f32 {
    const MIDDLE: [f32; 9] = [
        2.810_226_4e-8,
        3.432_739_4e-7,
        -3.523_387_7e-6,
        -4.391_506_5e-6,
        0.000_218_580_87,
        -0.001_253_725,
        -0.004_177_681_6,
        0.246_640_73,
        1.501_409_4,
    ];
    const TAIL: [f32; 9] = [
        -0.000_200_214_26,
        0.000_100_950_56,
        0.001_349_343_2,
        -0.003_673_428_4,
        0.005_739_507_7,
        -0.007_622_461_3,
        0.009_438_870_5,
        1.001_674,
        2.832_976_8,
    ];
    let w = 0.0 - portable_log(4.0 * p * (1.0 - p));
    let (x, coefficients) = if w < 5.0 { (w - 2.5, MIDDLE) } else { (w.sqrt() - 3.0, TAIL) };
    let q = coefficients[1..].iter().fold(coefficients[0], |q, coefficient| coefficient + q * x);
    std::f32::consts::SQRT_2 * (q * (2.0 * p - 1.0))
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    classes: u32,
    count: u32,
    seed: [u32; 2],
    stream: [u32; 2],
}

/// The first class of each draw whose running sum is more than u times the total.
fn twin(call: Call<'_>) {
    let Params { classes, count, seed, stream, .. } = call.params();
    let [sums, drawn] = call.bindings();
    let (sums, classes) = (sums.read::<f32>(), classes as usize);
    for_each_chunk(drawn.write::<u32>(), |start, drawn| {
        for (i, drawn) in (start..).zip(drawn) {
            let u = unit_interval(philox([(i / 4) as u32, 0, stream[0], stream[1]], seed)[i % 4]);
            let sums = &sums[i / count as usize * classes..][..classes];
            let total = sums[classes - 1];
            let mut wanted = u * total;
            if wanted >= total && total > 0.0 {
                wanted = total.next_down();
            }
            let (mut low, mut high) = (0, classes - 1);
            while low < high {
                let middle = (low + high) / 2;
                if sums[middle] > wanted {
                    high = middle;
                } else {
                    low = middle + 1;
                }
            }
            *drawn = low as u32;
        }
    });
}

pub(super) static MULTINOMIAL: Kernel = Kernel {
    shader: &thalweg_shaders::MULTINOMIAL,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Write],
    variants: &[&[]],
    twin,
};

fn refusal(op: &'static str, name: &'static str, value: String, rule: &'static str) -> Error {
    Error::Argument { op, name, value, rule }
}

impl Tensor {
    /// Returns ones and zeros: a one with the probability that the element says. The probabilities are not checked; one
    /// below 0 or NaN counts as 0, and one above 1 as 1.
    ///
    /// The numbers are the same on every device.
    ///
    /// # Shapes
    /// `[…]` → `[…]`.
    ///
    /// # Errors
    /// If the elements are not f32.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let p = Tensor::from_slice(&Device::cpu(), &[0f32, 1.0, 0.5], &[3])?;
    /// assert_eq!(p.bernoulli(1, 0)?.to_vec::<f32>()?[..2], [0.0, 1.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn bernoulli(&self, seed: u64, stream: u64) -> Result<Self> {
        expect_dtype("bernoulli", self, DType::F32)?;
        Self::uniform(self.device(), seed, stream, 0.0, 1.0, self.shape())?.lt(self)
    }

    /// Returns random numbers of the exponential distribution, with the mean 1 / rate.
    ///
    /// They are the same for a seed and a stream on every device, except for the last bits. None is above 16.7 / rate,
    /// because they are made from 24 bits.
    ///
    /// # Errors
    /// If the rate is not positive and finite, or the shape is too large.
    pub fn exponential(device: &Device, seed: u64, stream: u64, rate: f32, shape: &[usize]) -> Result<Self> {
        let scale = 1.0 / rate;
        if !(rate > 0.0 && rate.is_finite() && scale.is_finite()) {
            return Err(refusal("exponential", "rate", rate.to_string(), "positive and finite"));
        }
        Self::uniform(device, seed, stream, 0.0, 1.0, shape)?.apply(&EXPONENTIAL, &[scale])
    }

    /// Returns normal random numbers under the condition that they are between two bounds, which may be infinite. It is
    /// PyTorch's `trunc_normal_`.
    ///
    /// They are the same for a seed and a stream on every device, except for the last bits.
    ///
    /// # Numerics
    /// The inverse distribution function of a uniform number of 24 bits. None is farther from the mean than 5.5 deviations.
    ///
    /// # Errors
    /// If the mean is not finite, the deviation is not positive and finite, the normal distribution has a chance below 10⁻⁶
    /// between the bounds, or the shape is too large.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::truncated_normal(&Device::cpu(), 1, 0, 0.0, 0.02, [-0.04, 0.04], &[1000])?;
    /// assert!(x.abs()?.max()?.item::<f32>()? <= 0.04);
    /// # Ok(())
    /// # }
    /// ```
    pub fn truncated_normal(
        device: &Device,
        seed: u64,
        stream: u64,
        mean: f32,
        deviation: f32,
        [low, high]: [f32; 2],
        shape: &[usize],
    ) -> Result<Self> {
        let op = "truncated_normal";
        if !mean.is_finite() {
            return Err(refusal(op, "mean", mean.to_string(), "finite"));
        }
        if !(deviation > 0.0 && deviation.is_finite()) {
            return Err(refusal(op, "deviation", deviation.to_string(), "positive and finite"));
        }
        // The lower tail has more digits, so an interval above the mean is turned around.
        let [from, to] = [low, high].map(|bound| (bound - mean) / deviation);
        let is_above = from + to > 0.0;
        let (from, to) = if is_above { (-to, -from) } else { (from, to) };
        let below = normal_cdf(from);
        let chance = normal_cdf(to) - below;
        if chance.is_nan() || chance < LEAST_CHANCE {
            let rule = "in ascending order, with a chance of 1e-6 at least between them";
            return Err(refusal(op, "bounds", format!("[{low}, {high}]"), rule));
        }
        let sign = if is_above { -1.0 } else { 1.0 };
        let uniform = Self::uniform(device, seed, stream, 0.0, 1.0, shape)?;
        let normal = uniform.apply(&NORMAL_QUANTILE, &[below, chance])?;
        normal.affine(sign * deviation, mean)?.clamp(low, high)
    }

    /// Returns the numbers of classes that are drawn with given weights, `count` for each row. The weights need not sum to
    /// 1; they are not checked. With replacement a class may be drawn again.
    ///
    /// Without replacement, the order is that of successive draws. If fewer classes than `count` have a weight above 0,
    /// classes without one follow, where PyTorch fails.
    ///
    /// A device that rounds sums otherwise may draw a neighbouring class in rare cases.
    ///
    /// # Shapes
    /// `[…, classes]` → `[…, count]` of u32.
    ///
    /// # Numerics
    /// With replacement, u times the sum of the weights is searched in their running sums. Without, the classes have waiting
    /// times with their weights as rates, and the earliest are drawn; it takes some launches for each of them.
    ///
    /// # Errors
    /// If the elements are not f32, there are no axes or no classes, or more draws than classes without replacement.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let weights = Tensor::from_slice(&Device::cpu(), &[0f32, 3.0, 0.0, 1.0], &[4])?;
    /// let drawn = weights.multinomial(100, true, 1, 0)?.to_vec::<u32>()?;
    /// assert!(drawn.iter().all(|class| [1, 3].contains(class)));
    /// let mut both = weights.multinomial(2, false, 1, 0)?.to_vec::<u32>()?;
    /// both.sort_unstable();
    /// assert_eq!(both, [1, 3]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn multinomial(&self, count: usize, replacement: bool, seed: u64, stream: u64) -> Result<Self> {
        let op = "multinomial";
        expect_dtype(op, self, DType::F32)?;
        let Some((&classes, outer)) = self.shape().split_last() else {
            return Err(Error::Rank { op, expected: "at least 1 dimension", shape: Vec::new() });
        };
        if classes == 0 {
            return Err(refusal(op, "shape", format!("{:?}", self.shape()), "of one class at least"));
        }
        if !replacement && count > classes {
            return Err(refusal(op, "count", count.to_string(), "at most the number of classes, without replacement"));
        }
        let shape = [outer, &[count]].concat();
        crate::shape::element_count(op, &shape)?;
        if !replacement && count > 0 && !self.is_empty() {
            return self.earliest(count, seed, stream);
        }
        let drawn = Self::uninitialized(self.device(), DType::U32, &shape)?;
        if drawn.is_empty() {
            return Ok(drawn);
        }
        let params = Params {
            rows: (drawn.len() / count) as u32,
            classes: classes as u32,
            count: count as u32,
            seed: [seed as u32, (seed >> 32) as u32],
            stream: [stream as u32, (stream >> 32) as u32],
        };
        Launch::new(&MULTINOMIAL, params)
            .bind(&self.cumsum(-1)?)
            .bind(&drawn)
            .workgroups(drawn.len().div_ceil(64))
            .run(self.device())?;
        Ok(drawn)
    }

    /// The classes with the shortest waiting times (Efraimidis, Spirakis: Weighted random sampling, 2006).
    fn earliest(&self, count: usize, seed: u64, stream: u64) -> Result<Self> {
        let number = |value: f32| Self::scalar(self.device(), value);
        let times = Self::exponential(self.device(), seed, stream, 1.0, self.shape())?.maximum(&number(1e-30)?)?;
        let weightless = self.le(&number(0.0)?)?;
        let weights = self.maximum(&number(0.0)?)?.add(&weightless)?;
        let own = times.div(&weights)?.minimum(&number(0.9 * NO_WEIGHT)?)?;
        let mut keys = own.maximum(&weightless.affine(NO_WEIGHT, 0.0)?)?;
        let mut drawn = Vec::new();
        for _ in 0..count {
            let class = keys.argmin(-1, false)?;
            keys = keys.maximum(&class.one_hot(self.shape()[self.rank() - 1])?.affine(DRAWN, 0.0)?)?;
            drawn.push(class.unsqueeze(-1)?);
        }
        Self::concatenate(&drawn, -1)
    }

    /// Returns the numbers from 0 to n - 1 in random order, of u32. It is PyTorch's `randperm`.
    ///
    /// They are sorted by random keys of 64 bits on the host, so the order is the same on every device, and a recording
    /// repeats it.
    ///
    /// # Errors
    /// If n is too large.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let mut order = Tensor::permutation(&Device::cpu(), 1, 0, 5)?.to_vec::<u32>()?;
    /// order.sort_unstable();
    /// assert_eq!(order, [0, 1, 2, 3, 4]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn permutation(device: &Device, seed: u64, stream: u64, n: usize) -> Result<Self> {
        crate::shape::element_count("permutation", &[n])?;
        let key = |i: u32| {
            let counter = [i, 0, stream as u32, (stream >> 32) as u32];
            let words = philox(counter, [seed as u32, (seed >> 32) as u32]);
            (u64::from(words[0]) << 32 | u64::from(words[1]), i)
        };
        let mut keys: Vec<(u64, u32)> = (0..n as u32).map(key).collect();
        keys.sort_unstable();
        Self::from_slice(device, &keys.into_iter().map(|(_, i)| i).collect::<Vec<_>>(), &[n])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: usize = 20_000;

    /// The largest difference between the share of numbers below one of them and its probability: above 2 / √n in one of
    /// fifteen hundred samples of the distribution.
    fn hold(what: &str, x: &Tensor, probability: impl Fn(f64) -> f64) {
        let mut x = x.to_vec::<f32>().unwrap();
        x.sort_by(f32::total_cmp);
        let n = x.len() as f64;
        let worst = x
            .iter()
            .enumerate()
            .fold(0.0, |worst: f64, (i, &x)| worst.max((probability(f64::from(x)) - (i as f64 + 0.5) / n).abs()));
        assert!(worst < 2.0 / n.sqrt(), "{what}: {worst}");
    }

    #[test]
    fn waiting_times_are_exponential() {
        for rate in [0.25, 1.0, 30.0] {
            let x = Tensor::exponential(&Device::cpu(), 3, 1, rate, &[COUNT]).unwrap();
            assert!(x.min().unwrap().item::<f32>().unwrap() >= 0.0);
            hold("exponential", &x, |x| 1.0 - (-f64::from(rate) * x).exp());
        }
        for rate in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-45] {
            assert!(Tensor::exponential(&Device::cpu(), 3, 1, rate, &[2]).is_err(), "{rate}");
        }
    }

    #[test]
    fn truncated_numbers_have_the_distribution_between_their_bounds() {
        let infinity = f32::INFINITY;
        for (mean, deviation, low, high) in [
            (0.0, 1.0, -infinity, infinity),
            (1.0, 2.0, -1.0, 2.5),
            (0.0, 1.0, 2.0, 3.0),
            (-3.0, 0.5, -5.0, -4.0),
            (0.0, 1.0, 3.5, infinity),
            (0.5, 0.1, 0.49, 0.52),
        ] {
            let what = format!("mean {mean}, deviation {deviation}, from {low} to {high}");
            let x = Tensor::truncated_normal(&Device::cpu(), 5, 2, mean, deviation, [low, high], &[COUNT]).unwrap();
            let (least, most) = (x.min().unwrap().item::<f32>().unwrap(), x.max().unwrap().item::<f32>().unwrap());
            assert!(least >= low && most <= high, "{what}: {least} {most}");
            // By the lower tail, as a share of the interval.
            let turn = if (low - mean) + (high - mean) > 0.0 { -1.0 } else { 1.0 };
            let cdf = |x: f32| f64::from(normal_cdf(turn * (x - mean) / deviation));
            let (a, b) = (cdf(low), cdf(high));
            hold(&what, &x, |x| (cdf(x as f32) - a) / (b - a));
        }
        for (mean, deviation, bounds) in [
            (f32::NAN, 1.0, [0.0, 1.0]),
            (0.0, 0.0, [0.0, 1.0]),
            (0.0, 1.0, [1.0, 0.0]),
            (0.0, 1.0, [8.0, 9.0]),
            (0.0, 1.0, [f32::NAN, 1.0]),
        ] {
            assert!(Tensor::truncated_normal(&Device::cpu(), 5, 2, mean, deviation, bounds, &[2]).is_err());
        }
    }

    /// Five standard deviations of a share.
    fn is_near(drawn: usize, count: usize, probability: f64) -> bool {
        let n = count as f64;
        (drawn as f64 / n - probability).abs() <= 5.0 * (probability * (1.0 - probability) / n).sqrt()
    }

    #[test]
    fn truths_and_classes_have_their_probabilities() {
        let p = Tensor::from_slice(&Device::cpu(), &[0.0f32, 1.0, 0.3, -1.0, 2.0, f32::NAN], &[6, 1]).unwrap();
        let ones = p.broadcast_to(&[6, COUNT]).unwrap().bernoulli(9, 4).unwrap().to_vec::<f32>().unwrap();
        for (row, p) in ones.chunks(COUNT).zip([0.0, 1.0, 0.3, 0.0, 1.0, 0.0]) {
            let count = row.iter().filter(|one| **one == 1.0).count();
            assert!(is_near(count, COUNT, p), "{count} of {p}");
        }
        let weights = Tensor::from_slice(&Device::cpu(), &[0.0f32, 1.0, 5.0, 0.0, 2.0, 0.0], &[1, 6]).unwrap();
        let count = |drawn: &[u32], class: u32| drawn.iter().filter(|&&drawn| drawn == class).count();
        let drawn = weights.multinomial(COUNT, true, 2, 3).unwrap().to_vec::<u32>().unwrap();
        for (class, p) in [0.0, 0.125, 0.625, 0.0, 0.25, 0.0].into_iter().enumerate() {
            assert!(is_near(count(&drawn, class as u32), COUNT, p), "class {class}");
        }
        // The first draw has the same shares, the second the shares among the rest.
        let pairs = weights.broadcast_to(&[COUNT, 6]).unwrap().multinomial(4, false, 2, 3).unwrap();
        let column = |i| pairs.select(1, i).unwrap().to_vec::<u32>().unwrap();
        let (first, second) = (column(0), column(1));
        let of_second = 1.0 / 8.0 * 5.0 / 7.0 + 2.0 / 8.0 * 5.0 / 6.0;
        assert!(is_near(count(&first, 2), COUNT, 0.625) && is_near(count(&second, 2), COUNT, of_second));
        assert!(first.iter().zip(&second).all(|(a, b)| a != b));
        // All with a weight come first.
        assert!(column(3).iter().all(|class| [0, 3, 5].contains(class)));
    }

    #[test]
    fn misuse_of_classes_is_refused_and_edges_are_fine() {
        let device = Device::cpu();
        let ones = Tensor::full(&device, 1f32, &[2, 3]).unwrap();
        assert!(ones.multinomial(4, false, 0, 0).is_err());
        assert!(Tensor::scalar(&device, 1f32).unwrap().multinomial(1, true, 0, 0).is_err());
        assert!(Tensor::zeros(&device, DType::F32, &[2, 0]).unwrap().multinomial(1, true, 0, 0).is_err());
        for replacement in [false, true] {
            assert_eq!(ones.multinomial(0, replacement, 0, 0).unwrap().shape(), [2, 0]);
            let none = Tensor::zeros(&device, DType::F32, &[0, 3]).unwrap();
            assert_eq!(none.multinomial(2, replacement, 0, 0).unwrap().shape(), [0, 2]);
            let zeros = Tensor::zeros(&device, DType::F32, &[3]).unwrap().multinomial(2, replacement, 0, 0).unwrap();
            assert!(zeros.to_vec::<u32>().unwrap().iter().all(|class| *class < 3));
        }
    }

    #[test]
    fn orders_are_permutations_and_differ() {
        let order =
            |seed, stream, n| Tensor::permutation(&Device::cpu(), seed, stream, n).unwrap().to_vec::<u32>().unwrap();
        for n in [0, 1, 2, 1000] {
            let mut all = order(1, 2, n);
            assert_eq!(all, order(1, 2, n));
            assert!(n < 1000 || all != order(1, 3, n) && all != order(2, 2, n) && !all.is_sorted());
            all.sort_unstable();
            assert!(all.into_iter().eq(0..n as u32));
        }
        // Each of the six orders of three has the same chance.
        let mut counts = std::collections::HashMap::new();
        (0..6000).for_each(|stream| *counts.entry(order(1, stream, 3)).or_insert(0) += 1);
        assert!(counts.len() == 6 && counts.values().all(|count| is_near(*count, 6000, 1.0 / 6.0)), "{counts:?}");
    }
}
