//! [`check_gradient`]: compares gradients with finite differences.

use std::fmt;

use thalweg_tensor::{Device, Tensor};

use crate::{Result, Tape, Var};

/// The settings of a check. The defaults are from the literature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradientCheck {
    /// The step h, relative to max(1, |x|). Default ε^⅓ = 4.9e-3 for f32, which balances the truncation error h² of
    /// centred differences against the rounding error ε / h (Press et al., Numerical Recipes, section 5.7).
    pub step: f64,
    /// The largest relative error of a right gradient. Default 1e-4 (the course notes of Stanford's CS231n: fine for
    /// objectives with kinks, and achievable in f32).
    pub right: f64,
    /// The smallest relative error of a wrong gradient. Default 1e-2 (ibid.).
    pub wrong: f64,
    /// The seed of the random cotangent for results with more than one element.
    pub seed: u64,
}

impl Default for GradientCheck {
    fn default() -> Self {
        Self { step: f64::from(f32::EPSILON).cbrt(), right: 1e-4, wrong: 1e-2, seed: 0 }
    }
}

/// The verdict of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The relative error is at most [`GradientCheck::right`].
    Right,
    /// The relative error is in between: a kink nearby, cancellation, or a small mistake.
    Doubtful,
    /// The relative error is above [`GradientCheck::wrong`], or NaN.
    Wrong,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Right => "right",
            Self::Doubtful => "doubtful",
            Self::Wrong => "wrong",
        })
    }
}

/// The element with the largest difference between its two gradients.
#[derive(Debug, Clone, PartialEq)]
pub struct WorstElement {
    /// The index of the input.
    pub input: usize,
    /// The index of the element.
    pub index: Vec<usize>,
    /// The gradient from the rules.
    pub analytic: f64,
    /// The gradient from differences.
    pub numeric: f64,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq)]
pub struct GradientReport {
    /// ‖a - n‖ / (‖a‖ + ‖n‖) over all elements of all inputs, where a is from the rules and n from differences; 0 if
    /// both vanish.
    pub relative_error: f64,
    /// The verdict.
    pub verdict: Verdict,
    /// The element with the largest difference; `None` if there are no elements.
    pub worst: Option<WorstElement>,
}

impl fmt::Display for GradientReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gradient {}: relative error {:.2e}", self.verdict, self.relative_error)?;
        if let Some(worst) = &self.worst {
            let WorstElement { input, index, analytic, numeric } = worst;
            write!(
                f,
                "; worst at input {input}, element {index:?}: {analytic:e} by the rules, {numeric:e} by differences"
            )?;
        }
        Ok(())
    }
}

/// Compares the gradients of a function with centred differences.
///
/// ```text
/// n[i] = (F(x + h eᵢ) - F(x - h eᵢ)) / 2h,    relative error = ‖a - n‖ / (‖a‖ + ‖n‖)
/// ```
///
/// If the result has more than one element, F is its product with a random cotangent in [-1, 1). Products and sums
/// are computed in f64 on the host. `function` is called with a tape and the inputs as variables, twice for each
/// element: keep the inputs small, and away from kinks. It must be deterministic (no dropout).
///
/// # Errors
/// If the function fails, or its result depends on no input.
///
/// ```
/// use thalweg_autograd::{GradientCheck, Verdict, check_gradient};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_autograd::Result<()> {
/// let x = Tensor::uniform(&Device::cpu(), 1, 0, 0.5, 2.0, &[3, 4])?;
/// let report = check_gradient(&GradientCheck::default(), &[x], |_, x| x[0].log()?.tanh())?;
/// assert_eq!(report.verdict, Verdict::Right, "{report}");
/// # Ok(())
/// # }
/// ```
pub fn check_gradient<F>(options: &GradientCheck, inputs: &[Tensor], function: F) -> Result<GradientReport>
where
    F: for<'t> Fn(&'t Tape, &[Var<'t>]) -> Result<Var<'t>>,
{
    let tape = Tape::new();
    let variables: Vec<Var<'_>> = inputs.iter().map(|input| tape.input(input)).collect();
    let y = function(&tape, &variables)?;
    let cotangent = if y.value().len() == 1 {
        Tensor::full(&Device::cpu(), 1f32, y.value().shape())?
    } else {
        Tensor::uniform(&Device::cpu(), options.seed, 0, -1.0, 1.0, y.value().shape())?
    };
    let device = y.value().device().clone();
    let on_device = tape.constant(&cotangent.to_device(&device)?);
    // Computed like in a backward pass, including fused kernels, not as variables.
    let gradients = tape.backward(y.mul(on_device)?.sum()?)?;
    let weights: Vec<f32> = cotangent.to_vec()?;
    let objective = |inputs: &[Tensor]| -> Result<f64> {
        let tape = Tape::inference();
        let variables: Vec<Var<'_>> = inputs.iter().map(|input| tape.constant(input)).collect();
        let y = function(&tape, &variables)?.value().to_vec::<f32>()?;
        Ok(y.iter().zip(&weights).map(|(&y, &weight)| f64::from(y) * f64::from(weight)).sum())
    };

    let mut sums = Sums::default();
    for (input, tensor) in inputs.iter().enumerate() {
        let elements = tensor.to_vec::<f32>()?;
        let analytic = match gradients.get(variables[input]) {
            Some(gradient) => gradient.to_vec::<f32>()?,
            None => vec![0.0; elements.len()],
        };
        let mut moved = inputs.to_vec();
        for i in 0..elements.len() {
            let h = options.step * f64::from(elements[i]).abs().max(1.0);
            let mut at = |offset: f64| -> Result<(f64, f64)> {
                let mut elements = elements.clone();
                elements[i] = (f64::from(elements[i]) + offset) as f32;
                moved[input] = Tensor::from_slice(tensor.device(), &elements, tensor.shape())?;
                Ok((f64::from(elements[i]), objective(&moved)?))
            };
            let ((above, f_above), (below, f_below)) = (at(h)?, at(-h)?);
            // Divided by the actual step, after rounding.
            let numeric = (f_above - f_below) / (above - below);
            sums.add(input, i, f64::from(analytic[i]), numeric);
        }
    }
    Ok(sums.report(options, inputs))
}

#[derive(Default)]
struct Sums {
    difference: f64,
    analytic: f64,
    numeric: f64,
    /// Input, element, both gradients and their difference.
    worst: Option<(usize, usize, f64, f64, f64)>,
}

impl Sums {
    fn add(&mut self, input: usize, element: usize, analytic: f64, numeric: f64) {
        let distance = (analytic - numeric).abs();
        self.difference += distance * distance;
        self.analytic += analytic * analytic;
        self.numeric += numeric * numeric;
        let worse = |worst: f64| !worst.is_nan() && (distance.is_nan() || distance > worst);
        if self.worst.is_none_or(|(.., worst)| worse(worst)) {
            self.worst = Some((input, element, analytic, numeric, distance));
        }
    }

    fn report(&self, options: &GradientCheck, inputs: &[Tensor]) -> GradientReport {
        let scale = self.analytic.sqrt() + self.numeric.sqrt();
        let relative_error = if scale == 0.0 { 0.0 } else { self.difference.sqrt() / scale };
        let verdict = if relative_error <= options.right {
            Verdict::Right
        } else if relative_error <= options.wrong {
            Verdict::Doubtful
        } else {
            Verdict::Wrong
        };
        let worst = self.worst.map(|(input, element, analytic, numeric, _)| {
            let mut rest = element;
            let mut index: Vec<usize> = inputs[input]
                .shape()
                .iter()
                .rev()
                .map(|&extent| {
                    let coordinate = rest % extent;
                    rest /= extent;
                    coordinate
                })
                .collect();
            index.reverse();
            WorstElement { input, index, analytic, numeric }
        });
        GradientReport { relative_error, verdict, worst }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_rule_is_found_and_named() {
        let x = Tensor::from_slice(&Device::cpu(), &[1.0f32, 2.0, 3.0, 4.0], &[2, 2]).unwrap();
        // x² with a pullback that omits the 2 where x is large.
        let report = check_gradient(&GradientCheck::default(), &[x], |tape, x| {
            tape.record("wrong", x[0].value().square()?, &[x[0]], |pull| {
                let x = pull.input(0);
                let limit = Tensor::scalar(&pull.device(), 3.5f32)?;
                let factor = pull.constant(&x.value().lt(&limit)?.affine(1.0, 1.0)?);
                pull.give(0, pull.cotangent()?.mul(x)?.mul(factor)?)
            })
        })
        .unwrap();
        assert_eq!(report.verdict, Verdict::Wrong);
        assert_eq!(report.worst.as_ref().map(|worst| worst.index.clone()), Some(vec![1, 1]));
        assert!(report.to_string().contains("worst at input 0, element [1, 1]"), "{report}");
    }

    #[test]
    fn not_a_number_is_wrong() {
        let x = Tensor::from_slice(&Device::cpu(), &[-1.0f32, 1.0], &[2]).unwrap();
        let report = check_gradient(&GradientCheck::default(), &[x], |_, x| x[0].log()).unwrap();
        assert_eq!(report.verdict, Verdict::Wrong);
    }
}
