//! One method on one function.

use thalweg::nn::Method;
use thalweg::prelude::*;

use crate::function::Function;

/// The results of a method.
pub(crate) struct Run {
    /// Its points: before the first step, after it, and so on.
    pub(crate) path: Vec<[f64; 2]>,
    /// The function's values at these points.
    pub(crate) values: Vec<f64>,
}

impl Run {
    /// Runs `steps` steps of a method, from the function's start.
    pub(crate) fn new(
        device: &Device,
        function: &Function,
        method: Box<dyn Method>,
        rate: f64,
        steps: usize,
    ) -> thalweg::Result<Self> {
        let mut builder = ParamsBuilder::new(0);
        // A row of a matrix: for methods without matrices it makes no difference.
        let point = builder.add("point", &[1, 2], Init::Zeros)?;
        let params = builder.build(device)?;
        point.value()?.write(&function.start.map(|x| x as f32))?;
        let mut optimizer = Optimizer::new(&params, method, rate)?;
        let diagonal = optimizer.hessian_interval().map(|_| params.values().zeros_like()).transpose()?;
        // x, y and the value, step by step: kept on the device, and read at the end.
        let log = ValueLog::new(device, 3 * (steps + 1))?;

        let mut step = || {
            let tape = Tape::new();
            let point = tape.parameter(&point)?;
            let (x, y) = (point.slice(1, 0, 1)?, point.slice(1, 1, 2)?);
            let value = (function.value)(x, y)?.sum()?;
            for var in [x, y, value] {
                log.push(&var.value())?;
            }
            if let Some(diagonal) = &diagonal {
                let tape = Tape::inference();
                let curvature = (function.curvature)(tape.constant(&x.value()), tape.constant(&y.value()))?;
                Tensor::concatenate(&curvature.map(|by| by.value()), 0)?
                    .reshape(&[1, 2])?
                    .copy_into(diagonal.get(0))?;
                optimizer.update_hessian(diagonal)?;
            }
            params.zero_grad();
            tape.backward(value)?;
            optimizer.step()
        };
        // The first step creates the state of all steps; the second is recorded and then replayed. One more than
        // `steps`, because a step logs its start.
        step()?;
        if steps > 0 {
            let (recording, ()) = device.record(&mut step)?;
            recording.replay(steps - 1)?;
        }
        let log = log.take()?;
        let path = log.chunks(3).map(|at| [at[0], at[1]].map(f64::from)).collect();
        Ok(Self { path, values: log.chunks(3).map(|at| at[2].into()).collect() })
    }

    /// Returns the value at the end.
    pub(crate) fn end(&self) -> f64 {
        self.values[self.values.len() - 1]
    }

    /// Returns the number of steps until the value has fallen below a bound and stays there.
    pub(crate) fn steps_to(&self, bound: f64) -> Option<usize> {
        let steps = self.values.iter().rposition(|&value| value >= bound || value.is_nan()).map_or(0, |last| last + 1);
        (steps < self.values.len()).then_some(steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_counts_from_where_it_is_kept() {
        let run = |values: &[f64]| Run { path: Vec::new(), values: values.to_vec() };
        assert_eq!(run(&[5.0, 0.5, 2.0, 0.5, 0.1]).steps_to(1.0), Some(3));
        assert_eq!(run(&[0.5, 0.1]).steps_to(1.0), Some(0));
        assert_eq!(run(&[0.5, 2.0]).steps_to(1.0), None);
        assert_eq!(run(&[0.5, f64::NAN]).steps_to(1.0), None);
    }
}
