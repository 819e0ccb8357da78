//! [`Bilinear`].

use std::fmt;

use thalweg_autograd::{Parameter, Var};
use thalweg_tensor::Error as TensorError;

use crate::setting::check;
use crate::{Init, ParamsBuilder, Result, parts};

/// A bilinear layer: y_k = x Wₖ zᵀ + bₖ for each output k.
///
/// # Shapes
/// x `[…, inputs1]`, z `[…, inputs2]` with the same first extents, weight `[outputs, inputs1, inputs2]`, bias `[outputs]` →
/// `[…, outputs]`.
///
/// Weights and biases start uniform in ±1 / √inputs1, as PyTorch's `Bilinear`. It has two inputs, so it is no
/// [`Module`](crate::Module).
#[derive(Debug, Clone)]
pub struct Bilinear {
    weight: Parameter,
    bias: Parameter,
}

parts!(Bilinear { weight, bias });

impl Bilinear {
    /// Makes a layer whose parameters are `name.weight` and `name.bias`.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if a number of features is 0, or the name is taken.
    pub fn new(
        builder: &mut ParamsBuilder,
        name: impl fmt::Display,
        [inputs1, inputs2]: [usize; 2],
        outputs: usize,
    ) -> Result<Self> {
        for (field, value) in [("inputs1", inputs1), ("inputs2", inputs2), ("outputs", outputs)] {
            check(field, value, value > 0, "at least 1")?;
        }
        let mut builder = builder.path(name);
        let bound = (1.0 / (inputs1 as f64).sqrt()) as f32;
        let init = Init::Uniform { low: -bound, high: bound };
        Ok(Self {
            weight: builder.add("weight", &[outputs, inputs1, inputs2], init)?,
            bias: builder.add("bias", &[outputs], init)?,
        })
    }

    /// Returns the weight, `[outputs, inputs1, inputs2]`.
    #[must_use]
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }

    /// Returns the bias, `[outputs]`.
    #[must_use]
    pub fn bias(&self) -> &Parameter {
        &self.bias
    }

    /// Computes the layer.
    ///
    /// # Errors
    /// If the shapes do not fit, the elements are not f32, the devices or the tapes differ, or the parameters have no
    /// memory yet.
    pub fn forward<'t>(&self, x: Var<'t>, z: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        let (tape, name) = (x.tape(), self.weight.name());
        let _scope = tape.scope(name.strip_suffix(".weight").unwrap_or(name));
        let &[outputs, inputs1, inputs2] = self.weight.shape() else { unreachable!("a weight has three axes") };
        let (left, right) = (x.shape(), z.shape());
        let outer = match (left.split_last(), right.split_last()) {
            (Some((&a, first)), Some((&b, second))) if (a, b) == (inputs1, inputs2) && first == second => first,
            _ => {
                let rule = "the inputs must end with the features of the weight, and be alike before them";
                return Err(TensorError::Shape { op: "bilinear", rule, left, right }.into());
            }
        };
        let rows = outer.iter().product();
        let weight = tape.parameter(&self.weight)?.permute(&[1, 0, 2])?.reshape(&[inputs1, outputs * inputs2])?;
        let products = x.reshape(&[rows, inputs1])?.matmul(weight)?.reshape(&[rows, outputs, inputs2])?;
        let y = products.mul(z.reshape(&[rows, 1, inputs2])?)?.sum_along(-1, false)?;
        y.add(tape.parameter(&self.bias)?)?.reshape(&[outer, &[outputs]].concat())
    }
}

#[cfg(test)]
mod tests {
    use thalweg_autograd::Tape;
    use thalweg_tensor::Tensor;

    use super::*;
    use crate::testing::devices;

    #[test]
    fn outputs_are_those_of_the_formula() {
        for device in devices() {
            let mut builder = ParamsBuilder::new(1);
            let layer = Bilinear::new(&mut builder, "pair", [2, 3], 2).unwrap();
            let _params = builder.build(&device).unwrap();
            let weight: Vec<f32> = layer.weight().value().unwrap().to_vec().unwrap();
            let bias: Vec<f32> = layer.bias().value().unwrap().to_vec().unwrap();
            assert!(weight.iter().chain(&bias).all(|w| w.abs() <= 0.708));
            let (x, z) = ([0.5f32, -1.0, 2.0, 1.5], [1.0f32, 2.0, -0.5, 0.25, -1.0, 3.0]);
            let tape = Tape::new();
            let of = |values: &[f32], shape: &[usize]| tape.input(&Tensor::from_slice(&device, values, shape).unwrap());
            let y = layer.forward(of(&x, &[2, 1, 2]), of(&z, &[2, 1, 3])).unwrap();
            assert_eq!(y.shape(), [2, 1, 2]);
            for (i, y) in y.value().to_vec::<f32>().unwrap().into_iter().enumerate() {
                let (row, k) = (i / 2, i % 2);
                let mut expected = bias[k];
                for a in 0..2 {
                    for b in 0..3 {
                        expected += x[2 * row + a] * weight[(k * 2 + a) * 3 + b] * z[3 * row + b];
                    }
                }
                assert!((y - expected).abs() < 1e-5, "{device}: {y} and not {expected}");
            }
            assert!(layer.forward(of(&x, &[2, 2]), of(&z, &[3, 2])).is_err());
        }
    }
}
