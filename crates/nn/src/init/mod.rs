//! [`Init`]: initial values of parameters.

mod matrix;

use thalweg_tensor::{Device, Tensor};

use crate::{Error, Result};

/// An activation, or what else follows a layer: it determines how much larger the layer's weights should be, so that
/// numbers keep their scale from layer to layer. PyTorch's `calculate_gain`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Gain {
    /// Nothing, or a convolution: 1.
    Linear,
    /// The sigmoid: 1.
    Sigmoid,
    /// The hyperbolic tangent: 5 / 3.
    Tanh,
    /// max(x, 0): √2.
    Relu,
    /// x, times this slope where x < 0: √(2 / (1 + slope²)).
    LeakyRelu(f32),
    /// The SELU: 3 / 4.
    Selu,
    /// This number.
    Number(f32),
}

impl Gain {
    /// Returns the factor.
    #[must_use]
    pub fn value(self) -> f64 {
        match self {
            Self::Linear | Self::Sigmoid => 1.0,
            Self::Tanh => 5.0 / 3.0,
            Self::Relu => std::f64::consts::SQRT_2,
            Self::LeakyRelu(slope) => (2.0 / (1.0 + f64::from(slope).powi(2))).sqrt(),
            Self::Selu => 0.75,
            Self::Number(gain) => f64::from(gain),
        }
    }
}

/// The numbers that keep their scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fan {
    /// Those of the forward pass.
    #[default]
    In,
    /// The gradients of the backward pass.
    Out,
}

/// The initial values of a parameter. The fan-in of a matrix `[out, in]` is `in`, its fan-out `out`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// Zero everywhere: biases.
    Zeros,
    /// One everywhere: the weights of normalisations.
    Ones,
    /// One value everywhere.
    Constant(f32),
    /// Uniform in [low, high).
    Uniform {
        /// The lower bound.
        low: f32,
        /// The upper bound.
        high: f32,
    },
    /// Normal.
    Normal {
        /// The mean.
        mean: f32,
        /// The standard deviation.
        deviation: f32,
    },
    /// Uniform in ±1 / √fan_in, as PyTorch initialises linear layers. Smaller than He's, so that a network starts near
    /// a constant; on small tables it gives fewer errors on new rows.
    FanInUniform,
    /// Normal with deviation √(2 / fan_in), for layers before a ReLU (He et al., ICCV 2015).
    HeNormal,
    /// Uniform in ±√(6 / fan_in), for layers before a ReLU (ibid.).
    HeUniform,
    /// Normal with deviation √(2 / (fan_in + fan_out)), for tanh and sigmoid (Glorot, Bengio, AISTATS 2010).
    XavierNormal,
    /// Uniform in ±√(6 / (fan_in + fan_out)), for tanh and sigmoid (ibid.).
    XavierUniform,
    /// Normal with deviation gain · √(2 / (fan_in + fan_out)).
    XavierNormalGain(Gain),
    /// Uniform in ±gain · √(6 / (fan_in + fan_out)).
    XavierUniformGain(Gain),
    /// Normal with deviation gain / √fan. With [`Gain::Relu`] and [`Fan::In`] it is [`HeNormal`](Self::HeNormal).
    KaimingNormal(Gain, Fan),
    /// Uniform in ±gain · √(3 / fan). With [`Gain::Relu`] and [`Fan::In`] it is [`HeUniform`](Self::HeUniform).
    KaimingUniform(Gain, Fan),
    /// Normal, without the numbers outside of [low, high].
    TruncatedNormal {
        /// The mean of the whole distribution.
        mean: f32,
        /// The standard deviation of the whole distribution.
        deviation: f32,
        /// The lower bound.
        low: f32,
        /// The upper bound.
        high: f32,
    },
    /// An orthogonal matrix times a gain: its rows, or columns if there are fewer, are orthogonal (Saxe, McClelland,
    /// Ganguli, ICLR 2014). Further dimensions count as columns.
    Orthogonal(Gain),
    /// Normal with mean 0, and zero for a share of each column of a matrix (Martens, ICML 2010).
    Sparse {
        /// The share of zeros, rounded up to whole elements.
        sparsity: f32,
        /// The standard deviation of the others.
        deviation: f32,
    },
}

/// The stream of the keys of [`Init::Sparse`], beside that of its values.
const KEYS: u64 = 1 << 48;

impl Init {
    /// Returns whether the values depend on fan-in and fan-out.
    fn needs_matrix(self) -> bool {
        match self {
            Self::FanInUniform | Self::HeNormal | Self::HeUniform | Self::XavierNormal | Self::XavierUniform => true,
            Self::XavierNormalGain(_) | Self::XavierUniformGain(_) => true,
            Self::KaimingNormal(..) | Self::KaimingUniform(..) | Self::Orthogonal(_) | Self::Sparse { .. } => true,
            Self::Zeros | Self::Ones | Self::Constant(_) => false,
            Self::Uniform { .. } | Self::Normal { .. } | Self::TruncatedNormal { .. } => false,
        }
    }

    /// Checks that the initialisation fits a shape.
    ///
    /// # Errors
    /// If the shape has no fan-in, or a number of the initialisation is out of range.
    pub(crate) fn validate(self, shape: &[usize]) -> Result<()> {
        if self.needs_matrix() && (shape.len() < 2 || shape.contains(&0)) {
            return Err(Error::Setting {
                field: "init",
                value: format!("{self:?} of shape {shape:?}"),
                rule: "of a matrix or more dimensions, none empty: a vector has no fan-in",
            });
        }
        let error = |rule| Err(Error::Setting { field: "init", value: format!("{self:?} of shape {shape:?}"), rule });
        match self {
            Self::TruncatedNormal { deviation, .. } if !(deviation > 0.0 && deviation.is_finite()) => {
                error("one whose deviation is positive")
            }
            Self::TruncatedNormal { low, high, .. } if low.is_nan() || high.is_nan() || low >= high => {
                error("one whose lower bound is below the upper one")
            }
            Self::Sparse { .. } if shape.len() != 2 => error("of a matrix"),
            Self::Sparse { sparsity, .. } if !(0.0..=1.0).contains(&sparsity) => {
                error("one whose sparsity is between 0 and 1")
            }
            _ => Ok(()),
        }
    }

    /// Returns the values of a parameter. The CPU draws them, so they are the same bits on every device.
    pub(crate) fn draw(self, seed: u64, stream: u64, shape: &[usize]) -> Result<Vec<f32>> {
        let cpu = Device::cpu();
        let count = shape.iter().product();
        let uniform = |bound: f64| Tensor::uniform(&cpu, seed, stream, -bound as f32, bound as f32, shape);
        let normal = |deviation: f64| Tensor::normal(&cpu, seed, stream, 0.0, deviation as f32, shape);
        let (fan_in, fan_out) = fans(shape);
        let of = |fan| if fan == Fan::In { fan_in } else { fan_out };
        let drawn = match self {
            Self::Zeros => return Ok(vec![0.0; count]),
            Self::Ones => return Ok(vec![1.0; count]),
            Self::Constant(value) => return Ok(vec![value; count]),
            Self::Uniform { low, high } => Tensor::uniform(&cpu, seed, stream, low, high, shape),
            Self::Normal { mean, deviation } => Tensor::normal(&cpu, seed, stream, mean, deviation, shape),
            Self::FanInUniform => uniform(1.0 / fan_in.sqrt()),
            Self::HeNormal => normal((2.0 / fan_in).sqrt()),
            Self::HeUniform => uniform((6.0 / fan_in).sqrt()),
            Self::XavierNormal => normal((2.0 / (fan_in + fan_out)).sqrt()),
            Self::XavierUniform => uniform((6.0 / (fan_in + fan_out)).sqrt()),
            Self::XavierNormalGain(gain) => normal(gain.value() * (2.0 / (fan_in + fan_out)).sqrt()),
            Self::XavierUniformGain(gain) => uniform(gain.value() * (6.0 / (fan_in + fan_out)).sqrt()),
            Self::KaimingNormal(gain, fan) => normal(gain.value() / of(fan).sqrt()),
            Self::KaimingUniform(gain, fan) => uniform(gain.value() * (3.0 / of(fan)).sqrt()),
            Self::TruncatedNormal { mean, deviation, low, high } => {
                let numbers = Tensor::uniform(&cpu, seed, stream, 0.0, 1.0, shape)?.to_vec::<f32>()?;
                let [mean, deviation, low, high] = [mean, deviation, low, high].map(f64::from);
                let truncated = |u: f32| matrix::truncated_normal(f64::from(u), mean, deviation, low, high) as f32;
                return Ok(numbers.into_iter().map(truncated).collect());
            }
            Self::Orthogonal(gain) => {
                let drawn = Tensor::normal(&cpu, seed, stream, 0.0, 1.0, shape)?.to_vec::<f32>()?;
                let values = matrix::orthogonal(&drawn, shape[0], shape[1..].iter().product());
                return Ok(values.into_iter().map(|x| (gain.value() * x) as f32).collect());
            }
            Self::Sparse { sparsity, deviation } => {
                let mut values = normal(deviation.into())?.to_vec::<f32>()?;
                let keys = Tensor::uniform(&cpu, seed, KEYS + stream, 0.0, 1.0, shape)?.to_vec::<f32>()?;
                let zeros = (sparsity * shape[0] as f32).ceil() as usize;
                matrix::make_sparse(&mut values, &keys, shape[1], zeros);
                return Ok(values);
            }
        }?;
        Ok(drawn.to_vec()?)
    }
}

/// Returns fan-in and fan-out: the extents of a matrix `[out, in]`, times the receptive field of a convolution.
fn fans(shape: &[usize]) -> (f64, f64) {
    let extent = |d: usize| shape.get(d).copied().unwrap_or(1) as f64;
    let field: f64 = shape.iter().skip(2).map(|&extent| extent as f64).product();
    (extent(1) * field, extent(0) * field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_are_those_of_the_papers() {
        let deviation = |init: Init| {
            let drawn = init.draw(3, 0, &[300, 200]).unwrap();
            (drawn.iter().map(|x| f64::from(x * x)).sum::<f64>() / drawn.len() as f64).sqrt()
        };
        let he = (2.0 / 200.0f64).sqrt();
        let fan_in = (1.0 / 600.0f64).sqrt();
        let xavier = (2.0 / 500.0f64).sqrt();
        // Five standard errors of a deviation of 60,000 numbers.
        for (init, expected) in [
            (Init::FanInUniform, fan_in),
            (Init::HeNormal, he),
            (Init::HeUniform, he),
            (Init::XavierNormal, xavier),
            (Init::XavierUniform, xavier),
            (Init::XavierNormalGain(Gain::Tanh), 5.0 / 3.0 * xavier),
            (Init::XavierUniformGain(Gain::Selu), 0.75 * xavier),
            (Init::KaimingNormal(Gain::Relu, Fan::In), he),
            (Init::KaimingUniform(Gain::LeakyRelu(1.0), Fan::Out), (1.0 / 300.0f64).sqrt()),
            (Init::Orthogonal(Gain::Number(2.0)), 2.0 * (1.0 / 300.0f64).sqrt()),
            (Init::Sparse { sparsity: 0.75, deviation: 3.0 }, 1.5),
        ] {
            assert!((deviation(init) / expected - 1.0).abs() < 0.015, "{init:?}");
        }
        assert!(Init::HeNormal.validate(&[10]).is_err());
    }

    #[test]
    fn gains_and_fans_are_pytorch_s() {
        let names = [Init::KaimingNormal(Gain::Relu, Fan::In), Init::KaimingUniform(Gain::Relu, Fan::In)];
        for (own, he) in names.into_iter().zip([Init::HeNormal, Init::HeUniform]) {
            assert_eq!(own.draw(1, 2, &[20, 3, 5]).unwrap(), he.draw(1, 2, &[20, 3, 5]).unwrap());
        }
        assert_eq!(Gain::LeakyRelu(0.0).value(), Gain::Relu.value());
        assert_eq!(Init::Ones.draw(0, 0, &[2]).unwrap(), [1.0, 1.0]);
    }

    #[test]
    fn an_orthogonal_matrix_keeps_lengths() {
        for shape in [&[7, 7][..], &[9, 4], &[4, 3, 3], &[1, 5]] {
            let values = Init::Orthogonal(Gain::Linear).draw(5, 1, shape).unwrap();
            let (rows, columns) = (shape[0], shape[1..].iter().product::<usize>());
            let of =
                |vector: usize, i: usize| if rows >= columns { i * columns + vector } else { vector * columns + i };
            for (a, b) in (0..rows.min(columns)).flat_map(|a| (0..rows.min(columns)).map(move |b| (a, b))) {
                let product: f64 =
                    (0..rows.max(columns)).map(|i| f64::from(values[of(a, i)]) * f64::from(values[of(b, i)])).sum();
                assert!((product - f64::from(u8::from(a == b))).abs() < 1e-6, "{shape:?}: {a}, {b}: {product}");
            }
        }
    }

    #[test]
    fn truncated_and_sparse_numbers_keep_their_rules() {
        for (low, high) in [(-2.0, 2.0), (0.5, 3.0), (4.0, 6.0), (-8.0, -3.0)] {
            let init = Init::TruncatedNormal { mean: 0.0, deviation: 1.0, low, high };
            let drawn = init.draw(3, 0, &[40_000]).unwrap();
            assert!(drawn.iter().all(|x| (low..=high).contains(x)), "{low} to {high}");
            // The mean by a sum over the density.
            let places: Vec<f64> =
                (0..20_000).map(|i| f64::from(low + (high - low) * (i as f32 + 0.5) / 2e4)).collect();
            let density = |x: f64| (-0.5 * x * x).exp();
            let expected =
                places.iter().map(|&x| x * density(x)).sum::<f64>() / places.iter().map(|&x| density(x)).sum::<f64>();
            let mean = drawn.iter().map(|&x| f64::from(x)).sum::<f64>() / 40_000.0;
            // Five standard errors of a deviation below 0.9.
            assert!((mean - expected).abs() < 0.0225, "{low} to {high}: {mean} and not {expected}");
        }
        let sparse = Init::Sparse { sparsity: 0.3, deviation: 1.0 };
        let drawn = sparse.draw(3, 0, &[10, 4]).unwrap();
        assert!((0..4).all(|column| (0..10).filter(|row| drawn[row * 4 + column] == 0.0).count() == 3));
        assert!(sparse.validate(&[2, 3, 4]).is_err());
        assert!(Init::Sparse { sparsity: 1.5, deviation: 1.0 }.validate(&[2, 3]).is_err());
        let empty = Init::TruncatedNormal { mean: 0.0, deviation: 1.0, low: 1.0, high: 1.0 };
        assert!(empty.validate(&[2]).is_err() && Init::Orthogonal(Gain::Relu).validate(&[2]).is_err());
    }
}
