//! [`Init`]: initial values of parameters.

use thalweg_tensor::{Device, Tensor};

use crate::{Error, Result};

/// The initial values of a parameter. The fan-in of a matrix `[out, in]` is `in`, its fan-out `out`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// Zero everywhere: biases.
    Zeros,
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
    /// Normal with deviation 1, but one row of a table is zero: embeddings with padding.
    PaddedNormal {
        /// The row that is zero, and not beyond the table.
        row: usize,
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
}

impl Init {
    /// Returns whether the values depend on fan-in and fan-out.
    fn needs_matrix(self) -> bool {
        matches!(self, Self::FanInUniform | Self::HeNormal | Self::HeUniform | Self::XavierNormal | Self::XavierUniform)
    }

    /// Checks that the initialisation fits a shape.
    ///
    /// # Errors
    /// If the shape has no fan-in.
    pub(crate) fn validate(self, shape: &[usize]) -> Result<()> {
        if self.needs_matrix() && (shape.len() < 2 || shape.contains(&0)) {
            return Err(Error::Setting {
                field: "init",
                value: format!("{self:?} of shape {shape:?}"),
                rule: "of a matrix or more dimensions, none empty: a vector has no fan-in",
            });
        }
        if let Self::PaddedNormal { row } = self
            && shape.first().is_none_or(|&rows| row >= rows)
        {
            let value = format!("{self:?} of shape {shape:?}");
            return Err(Error::Setting { field: "init", value, rule: "of a table that has the row" });
        }
        Ok(())
    }

    /// Returns the values of a parameter. The CPU draws them, so they are the same bits on every device.
    pub(crate) fn draw(self, seed: u64, stream: u64, shape: &[usize]) -> Result<Vec<f32>> {
        let cpu = Device::cpu();
        let count = shape.iter().product();
        let uniform = |bound: f64| Tensor::uniform(&cpu, seed, stream, -bound as f32, bound as f32, shape);
        let normal = |deviation: f64| Tensor::normal(&cpu, seed, stream, 0.0, deviation as f32, shape);
        let (fan_in, fan_out) = fans(shape);
        let drawn = match self {
            Self::Zeros => return Ok(vec![0.0; count]),
            Self::Constant(value) => return Ok(vec![value; count]),
            Self::Uniform { low, high } => Tensor::uniform(&cpu, seed, stream, low, high, shape),
            Self::Normal { mean, deviation } => Tensor::normal(&cpu, seed, stream, mean, deviation, shape),
            Self::PaddedNormal { row } => {
                let mut drawn = normal(1.0)?.to_vec()?;
                let width: usize = shape[1..].iter().product();
                drawn[row * width..(row + 1) * width].fill(0.0);
                return Ok(drawn);
            }
            Self::FanInUniform => uniform(1.0 / fan_in.sqrt()),
            Self::HeNormal => normal((2.0 / fan_in).sqrt()),
            Self::HeUniform => uniform((6.0 / fan_in).sqrt()),
            Self::XavierNormal => normal((2.0 / (fan_in + fan_out)).sqrt()),
            Self::XavierUniform => uniform((6.0 / (fan_in + fan_out)).sqrt()),
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
        ] {
            assert!((deviation(init) / expected - 1.0).abs() < 0.015, "{init:?}");
        }
        assert!(Init::HeNormal.validate(&[10]).is_err());
        assert!(Init::PaddedNormal { row: 2 }.validate(&[2, 3]).is_err());
    }
}
