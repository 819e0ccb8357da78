//! The functions, composed of differentiable operations.

use std::fmt;

use thalweg::autograd::{Result, Tape, Var};
use thalweg::tensor::{Device, Tensor};

use crate::contour::{Grid, Line};

/// A function of two numbers, element-wise.
type Value = for<'t> fn(Var<'t>, Var<'t>) -> Result<Var<'t>>;

/// Its second derivatives with respect to each of these numbers.
type Curvature = for<'t> fn(Var<'t>, Var<'t>) -> Result<[Var<'t>; 2]>;

pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) value: Value,
    /// The diagonal of the Hessian, for methods that use it.
    pub(crate) curvature: Curvature,
    pub(crate) start: [f64; 2],
    /// The point where it is 0.
    pub(crate) minimum: [f64; 2],
    /// The drawn part: from the smallest to the largest value of each coordinate.
    pub(crate) view: [[f64; 2]; 2],
    /// Powers of ten of the lowest and the highest contour line; there are two lines per decade.
    pub(crate) levels: [i32; 2],
}

/// Rosenbrock, An automatic method for finding the greatest or least value of a function, 1960; Beale, On an iterative
/// method for finding a local minimum of a function of more than one variable, 1958.
pub(crate) const FUNCTIONS: [Function; 2] = [
    Function {
        name: "Rosenbrock",
        value: rosenbrock,
        curvature: rosenbrock_curvature,
        start: [-1.2, 1.0],
        minimum: [1.0, 1.0],
        view: [[-1.7, 1.7], [-0.6, 1.9]],
        levels: [-1, 3],
    },
    Function {
        name: "Beale",
        value: beale,
        curvature: beale_curvature,
        start: [1.0, 1.0],
        minimum: [3.0, 0.5],
        view: [[0.0, 4.2], [-1.3, 1.4]],
        levels: [-2, 4],
    },
];

/// Returns (1 - x)² + 100 (y - x²)².
fn rosenbrock<'t>(x: Var<'t>, y: Var<'t>) -> Result<Var<'t>> {
    let valley = y.sub(x.square()?)?.square()?.affine(100.0, 0.0)?;
    x.affine(-1.0, 1.0)?.square()?.add(valley)
}

/// Returns 2 - 400 y + 1200 x², and 200.
fn rosenbrock_curvature<'t>(x: Var<'t>, y: Var<'t>) -> Result<[Var<'t>; 2]> {
    let by_x = x.square()?.affine(1200.0, 2.0)?.sub(y.affine(400.0, 0.0)?)?;
    Ok([by_x, y.affine(0.0, 200.0)?])
}

/// Returns (1.5 - x + x y)² + (2.25 - x + x y²)² + (2.625 - x + x y³)².
fn beale<'t>(x: Var<'t>, y: Var<'t>) -> Result<Var<'t>> {
    let square = y.square()?;
    let term = |c, power| x.mul(power)?.sub(x)?.affine(1.0, c)?.square();
    term(1.5, y)?.add(term(2.25, square)?)?.add(term(2.625, square.mul(y)?)?)
}

/// Returns 2 Σ (yᵏ - 1)², and 2 Σ (k x yᵏ⁻¹)² + (k - 1) k x yᵏ⁻² (c - x + x yᵏ), with the terms' c and k.
fn beale_curvature<'t>(x: Var<'t>, y: Var<'t>) -> Result<[Var<'t>; 2]> {
    let (square, cube) = (y.square()?, y.square()?.mul(y)?);
    let side = |power: Var<'t>| power.affine(1.0, -1.0)?.square();
    let by_x = side(y)?.add(side(square)?)?.add(side(cube)?)?.affine(2.0, 0.0)?;
    let term = |c, power| x.mul(power)?.sub(x)?.affine(1.0, c);
    let slopes = x.square()?.add(x.mul(y)?.square()?.affine(4.0, 0.0)?)?;
    let slopes = slopes.add(x.mul(square)?.square()?.affine(9.0, 0.0)?)?;
    let bends = x.mul(term(2.25, square)?)?.affine(2.0, 0.0)?;
    let bends = bends.add(x.mul(y)?.mul(term(2.625, cube)?)?.affine(6.0, 0.0)?)?;
    Ok([by_x, slopes.add(bends)?.affine(2.0, 0.0)?])
}

impl Function {
    /// Returns whether a point is in the drawn part.
    pub(crate) fn is_in_view(&self, point: [f64; 2]) -> bool {
        self.view.iter().zip(point).all(|(&[least, most], x)| (least..=most).contains(&x))
    }

    /// Returns the contour lines of the view.
    pub(crate) fn contours(&self) -> thalweg::Result<Vec<Line>> {
        let grid = Grid { columns: 600, rows: 440, view: self.view };
        let device = Device::cpu();
        let tape = Tape::inference();
        let upload = |coordinate: usize| -> thalweg::Result<_> {
            let values: Vec<f32> = grid.points().map(|point| point[coordinate] as f32).collect();
            Ok(tape.constant(&Tensor::from_slice(&device, &values, &[values.len()])?))
        };
        let values = (self.value)(upload(0)?, upload(1)?)?.value().to_vec::<f32>()?;
        let level = |half: i32| 10f64.powf(f64::from(half) / 2.0);
        Ok((2 * self.levels[0]..=2 * self.levels[1]).flat_map(|half| grid.contour(&values, level(half))).collect())
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from ({}, {})", self.name, self.start[0], self.start[1])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

    use super::*;

    #[test]
    fn functions_have_their_textbook_values() {
        let tape = Tape::inference();
        for (function, at_start) in FUNCTIONS.iter().zip([24.2f32, 14.203125]) {
            let at = |point: [f64; 2]| {
                let [x, y] =
                    point.map(|x| tape.constant(&Tensor::from_slice(&Device::cpu(), &[x as f32], &[1]).unwrap()));
                (function.value)(x, y).unwrap().item().unwrap()
            };
            assert!((at(function.start) - at_start).abs() < 1e-4, "{function}: {}", at(function.start));
            assert_eq!(at(function.minimum), 0.0, "{function}");
        }
    }

    #[test]
    fn curvatures_are_those_of_central_differences() {
        let (tape, device, step) = (Tape::inference(), Device::cpu(), 0.03125f32);
        for function in &FUNCTIONS {
            for point in [[-1.25f32, 1.0], [1.0, 1.0], [0.5, -0.75], [2.5, 0.25]] {
                let vars =
                    |point: [f32; 2]| point.map(|x| tape.constant(&Tensor::from_slice(&device, &[x], &[1]).unwrap()));
                let value = |[x, y]: [Var<'_>; 2]| f64::from((function.value)(x, y).unwrap().item().unwrap());
                let [x, y] = vars(point);
                for (i, curvature) in (function.curvature)(x, y).unwrap().into_iter().enumerate() {
                    let moved = |by: f32| {
                        let mut point = point;
                        point[i] += by;
                        value(vars(point))
                    };
                    let by_differences = (moved(step) - 2.0 * moved(0.0) + moved(-step)) / f64::from(step).powi(2);
                    let curvature = f64::from(curvature.item().unwrap());
                    let error = (curvature - by_differences).abs() / by_differences.abs().max(20.0);
                    assert!(error < 0.02, "{function} at {point:?}: {curvature} is not {by_differences}");
                }
            }
        }
    }
}
