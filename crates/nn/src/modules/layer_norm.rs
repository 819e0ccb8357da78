//! [`LayerNorm`].

use std::fmt;

use thalweg_autograd::{Parameter, Var};
use thalweg_tensor::Error as TensorError;

use crate::setting::check;
use crate::{Init, Module, ParamsBuilder, Parts, Result, Visitor};

/// Layer normalisation: normalises each row along the last dimension to mean 0 and variance 1, then scales and shifts
/// each feature by learned numbers.
///
/// ```text
/// y = (x - mean(x)) / √(var(x) + eps) · weight + bias,    var(x) = mean((x - mean(x))²)
/// ```
///
/// # Shapes
/// x `[…, features]`, weight and bias `[features]` → `[…, features]`.
///
/// The weight starts at 1, the bias at 0, and eps is 1e-5. The mean is subtracted before squaring, so that large means
/// cost no digits. In a recorded step the element-wise operations between the two means are fused into few launches.
///
/// PyTorch's `LayerNorm` (Ba, Kiros, Hinton, 2016), with its names.
///
/// # Errors
/// [`forward`](Module::forward) fails if the last dimension of the input is not `features` long, or if the input is not
/// f32 or is on another device. It also fails if the parameters have no memory yet.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{LayerNorm, Module, ParamsBuilder};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let mut builder = ParamsBuilder::new(0);
/// let norm = LayerNorm::new(&mut builder, "norm", 2)?;
/// let params = builder.build(&Device::cpu())?;
/// let tape = Tape::inference();
/// let x = tape.constant(&Tensor::from_slice(params.device(), &[1.0, 5.0, -3.0, 3.0], &[2, 2])?);
/// let y = norm.forward(x)?.value().to_vec::<f32>()?;
/// assert!(y.iter().zip([-1.0, 1.0, -1.0, 1.0]).all(|(y, expected)| (y - expected).abs() < 1e-5));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Parameter,
    bias: Parameter,
    eps: f32,
}

impl Parts for LayerNorm {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.part("weight", &self.weight);
        visitor.part("bias", &self.bias);
        visitor.setting("eps", &self.eps);
    }
}

impl LayerNorm {
    /// Makes a layer whose parameters are `name.weight` and `name.bias`.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if the number of features is 0, or the name is taken.
    pub fn new(builder: &mut ParamsBuilder, name: impl fmt::Display, features: usize) -> Result<Self> {
        check("features", features, features > 0, "at least 1")?;
        let mut builder = builder.path(name);
        Ok(Self {
            weight: builder.add("weight", &[features], Init::Constant(1.0))?,
            bias: builder.add("bias", &[features], Init::Zeros)?,
            eps: 1e-5,
        })
    }

    /// Sets the number that is added to the variance. Default 1e-5.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if it is negative or not finite.
    pub fn with_eps(self, eps: f32) -> Result<Self> {
        check("eps", eps, eps >= 0.0 && eps.is_finite(), "a finite number of at least 0")?;
        Ok(Self { eps, ..self })
    }

    /// Returns the weight, `[features]`.
    #[must_use]
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }

    /// Returns the bias, `[features]`.
    #[must_use]
    pub fn bias(&self) -> &Parameter {
        &self.bias
    }
}

impl Module for LayerNorm {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        let (shape, features) = (input.shape(), self.weight.shape());
        if shape.last() != features.last() {
            let rule = "the last dimension must be as long as the weight";
            let right = features.to_vec();
            return Err(TensorError::Shape { op: "layer_norm", rule, left: shape, right }.into());
        }
        let tape = input.tape();
        let name = self.weight.name();
        let _scope = tape.scope(name.strip_suffix(".weight").unwrap_or(name));
        let last = shape.len() - 1;
        let centred = input.sub(input.mean_along(last, true)?)?;
        let variance = centred.square()?.mean_along(last, true)?;
        let normal = centred.div(variance.affine(1.0, self.eps)?.sqrt()?)?;
        normal.mul(tape.parameter(&self.weight)?)?.add(tape.parameter(&self.bias)?)
    }
}

#[cfg(test)]
mod tests {
    use thalweg_autograd::{GradientCheck, Tape, Verdict, check_gradient};
    use thalweg_tensor::{Device, Tensor};

    use super::*;
    use crate::testing::devices;
    use crate::{Params, Sgd};

    const FEATURES: usize = 5;

    /// Returns numbers that differ from row to row, the last row far from zero.
    fn rows() -> Vec<f32> {
        let number = |i: u32| ((i * 37 % 23) as f32 - 11.0) / 4.0;
        (0..3 * FEATURES as u32).map(|i| number(i) + if i >= 2 * FEATURES as u32 { 300.0 } else { 0.0 }).collect()
    }

    fn weights() -> (Vec<f32>, Vec<f32>) {
        ((0..FEATURES).map(|i| 0.5 + 0.25 * i as f32).collect(), (0..FEATURES).map(|i| i as f32 - 2.0).collect())
    }

    fn cotangent() -> Vec<f32> {
        (0..3 * FEATURES as u32).map(|i| ((i * 5 % 7) as f32 - 3.0) / 2.0).collect()
    }

    fn layer(device: &Device) -> (LayerNorm, Params) {
        let mut builder = ParamsBuilder::new(0);
        let norm = LayerNorm::new(&mut builder, "norm", FEATURES).unwrap();
        let params = builder.build(device).unwrap();
        let (weight, bias) = weights();
        norm.weight().value().unwrap().write(&weight).unwrap();
        norm.bias().value().unwrap().write(&bias).unwrap();
        (norm, params)
    }

    fn assert_close(what: &str, got: &[f32], expected: &[f64], tolerance: f64) {
        assert_eq!(got.len(), expected.len(), "{what}");
        for (i, (&got, expected)) in got.iter().zip(expected).enumerate() {
            assert!((f64::from(got) - expected).abs() <= tolerance, "{what} [{i}]: {got} and not {expected}");
        }
    }

    /// Returns the output, and the gradients of the input, the weight and the bias for a gradient of the output, in
    /// f64, by the formulas of PyTorch's `native_layer_norm_backward`:
    ///
    /// ```text
    /// dx = (w g - mean(w g) - n mean(w g n)) / σ,    dw = Σ g n,    db = Σ g,    n = (x - mean(x)) / σ
    /// ```
    fn expected(eps: f64) -> [Vec<f64>; 4] {
        let (x, g, (w, b)) = (rows(), cotangent(), weights());
        let (mut y, mut dx, mut dw, mut db) = (Vec::new(), Vec::new(), vec![0.0; FEATURES], vec![0.0; FEATURES]);
        for (x, g) in x.chunks(FEATURES).zip(g.chunks(FEATURES)) {
            let mean = |values: &[f64]| values.iter().sum::<f64>() / FEATURES as f64;
            let x: Vec<f64> = x.iter().copied().map(f64::from).collect();
            let m = mean(&x);
            let deviation = (mean(&x.iter().map(|x| (x - m) * (x - m)).collect::<Vec<_>>()) + eps).sqrt();
            let n: Vec<f64> = x.iter().map(|x| (x - m) / deviation).collect();
            let wg: Vec<f64> = g.iter().zip(&w).map(|(&g, &w)| f64::from(g) * f64::from(w)).collect();
            let of_normal = mean(&wg.iter().zip(&n).map(|(wg, n)| wg * n).collect::<Vec<_>>());
            for i in 0..FEATURES {
                y.push(n[i] * f64::from(w[i]) + f64::from(b[i]));
                dx.push((wg[i] - mean(&wg) - n[i] * of_normal) / deviation);
                dw[i] += f64::from(g[i]) * n[i];
                db[i] += f64::from(g[i]);
            }
        }
        [y, dx, dw, db]
    }

    #[test]
    fn outputs_and_gradients_are_those_of_the_formulas_on_every_device() {
        for device in devices() {
            for eps in [1e-5f32, 0.5] {
                let (norm, _params) = layer(&device);
                let norm = norm.with_eps(eps).unwrap();
                let tape = Tape::new();
                let x = tape.input(&Tensor::from_slice(&device, &rows(), &[3, 1, FEATURES]).unwrap());
                let y = norm.forward(x).unwrap();
                assert_eq!(y.shape(), [3, 1, FEATURES]);
                let g = tape.constant(&Tensor::from_slice(&device, &cotangent(), &[3, 1, FEATURES]).unwrap());
                let gradients = tape.backward(y.mul(g).unwrap().sum().unwrap()).unwrap();
                let dx: Vec<f32> = gradients.get(x).unwrap().to_vec().unwrap();
                let [weight, bias] = [norm.weight(), norm.bias()].map(|p| p.grad().unwrap().to_vec::<f32>().unwrap());
                let [y_expected, dx_expected, dw, db] = expected(f64::from(eps));
                let y: Vec<f32> = y.value().to_vec().unwrap();
                let what = |name: &str| format!("{name} with eps {eps} on {device}");
                // Numbers around 300 have half an ulp of 1.5e-5, which the deviations of around 1.7 keep.
                assert_close(&what("output"), &y, &y_expected, 1e-4);
                assert_close(&what("gradient of the input"), &dx, &dx_expected, 1e-4);
                assert_close(&what("gradient of the weight"), &weight, &dw, 2e-4);
                assert_close(&what("gradient of the bias"), &bias, &db, 1e-6);
            }
        }
    }

    #[test]
    fn gradients_are_those_of_differences() {
        for device in devices() {
            let (norm, _params) = layer(&device);
            let x = Tensor::uniform(&device, 1, 0, -1.0, 1.0, &[3, FEATURES]).unwrap();
            let report = check_gradient(&GradientCheck::default(), &[x], |_, x| norm.forward(x[0])).unwrap();
            assert_ne!(report.verdict, Verdict::Wrong, "{device}: {report}");
            assert!(report.relative_error < 1e-3, "{device}: {report}");
        }
    }

    #[test]
    fn a_recorded_step_has_the_bits_of_eager_ones_and_the_devices_agree() {
        let mut ends: Vec<Vec<f32>> = Vec::new();
        for device in devices() {
            let run = |recorded: bool| {
                let (norm, params) = layer(&device);
                let mut optimizer = crate::Optimizer::new(&params, Sgd::new(), 0.05).unwrap();
                let x = Tensor::from_slice(&device, &rows(), &[3, FEATURES]).unwrap();
                let mut step = || -> crate::Result<()> {
                    let tape = Tape::new();
                    let loss = norm.forward(tape.constant(&x))?.square()?.mean()?;
                    params.zero_grad();
                    tape.backward(loss)?;
                    optimizer.step()
                };
                step().unwrap();
                if recorded {
                    device.record(&mut step).unwrap().0.replay(8).unwrap();
                } else {
                    (0..9).for_each(|_| step().unwrap());
                }
                params.values().tensors().iter().flat_map(|tensor| tensor.to_vec::<f32>().unwrap()).collect::<Vec<_>>()
            };
            let (eager, recorded) = (run(false), run(true));
            assert_eq!(eager, recorded, "{device}");
            assert_ne!(eager[0], 0.5, "{device}: nothing was learned");
            ends.push(eager);
        }
        for other in &ends[1..] {
            // The rounding of the row around 300, of 1e-5, over ten steps.
            let close = ends[0].iter().zip(other).all(|(x, y)| (x - y).abs() < 1e-4);
            assert!(close, "{:?} and {other:?}", ends[0]);
        }
    }

    #[test]
    fn inputs_of_another_width_and_wrong_settings_are_refused() {
        let device = Device::cpu();
        let (norm, _params) = layer(&device);
        for shape in [&[3, 1][..], &[FEATURES, 2], &[]] {
            let tape = Tape::new();
            let x = tape.constant(&Tensor::full(&device, 1f32, shape).unwrap());
            let error = norm.forward(x).unwrap_err().to_string();
            assert!(error.contains("the last dimension must be as long as the weight"), "{shape:?}: {error}");
        }
        let mut builder = ParamsBuilder::new(0);
        assert!(LayerNorm::new(&mut builder, "none", 0).is_err());
        assert!(norm.clone().with_eps(-1.0).is_err() && norm.clone().with_eps(f32::NAN).is_err());
        let names: Vec<String> = norm.named_parameters().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["weight", "bias"]);
        assert_eq!(norm.weight().name(), "norm.weight");
        assert_eq!(norm.settings(), "eps 0.00001");
    }
}
