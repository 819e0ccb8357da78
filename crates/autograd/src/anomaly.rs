//! The search for the first operation whose output or gradient is not finite.

use thalweg_tensor::{DType, Origin, Pass, Tensor};

use crate::{Error, Result, Tape};

impl Tape {
    /// Sets whether the tape checks the result of every operation, and in backward passes every gradient, for NaN and
    /// infinity. The first operation with such a value fails with [`Error::NotFinite`], which contains its name and
    /// its module.
    ///
    /// It is for debugging: every value is read from the device, with a wait each time. The bits are the same as
    /// without it. An operation that returns infinity on purpose is reported too. The default is off.
    ///
    /// ```
    /// use thalweg_autograd::Tape;
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_autograd::Result<()> {
    /// let tape = Tape::new();
    /// tape.detect_anomaly(true);
    /// let x = tape.input(&Tensor::from_slice(&Device::cpu(), &[1.0, 0.0], &[2])?);
    /// let _scope = tape.scope("head");
    /// let error = x.log().unwrap_err().to_string();
    /// assert!(error.starts_with("head: the output of ") && error.contains("1 of 2 elements, the first at [1]"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn detect_anomaly(&self, on: bool) {
        self.detects_anomalies.set(on);
    }

    /// Checks the value of an operation that is about to be recorded.
    pub(crate) fn check_output(&self, op: &'static str, value: &Tensor, inputs: &[usize]) -> Result<()> {
        // Intermediate values of pullbacks are not checked, only the gradients that they return.
        if !self.detects_anomalies.get() || Origin::current().pass == Pass::Backward {
            return Ok(());
        }
        let Some(found) = find(value)? else { return Ok(()) };
        let mut cause = String::new();
        for (i, &input) in inputs.iter().enumerate() {
            // Results of operations were checked before.
            let (name, value) = {
                let node = &self.nodes.borrow()[input];
                let name = node.parameter.as_ref().map_or_else(|| node.op.to_string(), |p| format!("{:?}", p.name()));
                (name, node.value.clone())
            };
            if find(&value)?.is_some() {
                cause = format!("; its input {i}, {name}, is not finite already");
                break;
            }
        }
        Err(not_finite(op, "output", found + &cause))
    }

    /// Checks the gradient of an operation with respect to an input.
    pub(crate) fn check_gradient(&self, node: usize, input: usize, gradient: &Tensor) -> Result<()> {
        if !self.detects_anomalies.get() {
            return Ok(());
        }
        let Some(found) = find(gradient)? else { return Ok(()) };
        let op = self.nodes.borrow()[node].op;
        let found = format!("{found}, for its input {input}");
        Err(not_finite(op, "gradient", found))
    }
}

fn not_finite(op: &'static str, what: &'static str, found: String) -> Error {
    let path = Origin::current().path.map_or_else(String::new, |path| format!("{path}: "));
    Error::NotFinite { path, what, op, found }
}

/// Describes the values in a tensor that are not finite; `None` if there are none.
fn find(tensor: &Tensor) -> Result<Option<String>> {
    if tensor.dtype() != DType::F32 {
        return Ok(None);
    }
    if thalweg_tensor::is_recording(tensor.device()) {
        let rule = "the search for anomalies reads every value; search in a step that is not recorded";
        return Err(thalweg_tensor::Error::Recording { op: "detect_anomaly", rule }.into());
    }
    let values = tensor.to_vec::<f32>()?;
    let Some(first) = values.iter().position(|value| !value.is_finite()) else { return Ok(None) };
    let count = values.iter().filter(|value| !value.is_finite()).count();
    let mut index = vec![0; tensor.rank()];
    let mut rest = first;
    for (place, &extent) in index.iter_mut().zip(tensor.shape()).rev() {
        (*place, rest) = (rest % extent, rest / extent);
    }
    Ok(Some(format!("{count} of {} elements, the first at {index:?}, {}", values.len(), values[first])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parameter;
    use thalweg_tensor::Device;

    fn parameter(device: &Device, name: &str, values: &[f32]) -> Parameter {
        let parameter = Parameter::declare(name, &[values.len()]);
        let value = Tensor::from_slice(device, values, &[values.len()]).unwrap();
        parameter.bind(value, Tensor::zeros(device, DType::F32, &[values.len()]).unwrap()).unwrap();
        parameter
    }

    #[test]
    fn the_first_operation_that_is_not_finite_is_named_with_its_module() {
        let device = Device::cpu();
        let weight = parameter(&device, "net.weight", &[1.0, f32::NAN, 2.0]);
        let tape = Tape::new();
        let run = |tape: &Tape| -> Result<()> {
            let x = tape.input(&Tensor::from_slice(&device, &[1.0, 2.0, 3.0], &[3])?);
            let y = {
                let _scope = tape.scope("net");
                x.mul(tape.parameter(&weight)?)?
            };
            let _scope = tape.scope("head");
            tape.backward(y.exp()?.sum()?)?;
            Ok(())
        };
        run(&tape).unwrap();
        let tape = Tape::new();
        tape.detect_anomaly(true);
        let text = run(&tape).unwrap_err().to_string();
        assert!(
            text.starts_with("net: the output of ") && text.contains("1 of 3 elements, the first at [1], NaN"),
            "{text}"
        );
        assert!(text.ends_with("; its input 1, \"net.weight\", is not finite already"), "{text}");
    }

    #[test]
    fn the_first_gradient_that_is_not_finite_is_named_with_its_module() {
        let device = Device::cpu();
        let tape = Tape::new();
        tape.detect_anomaly(true);
        let x = tape.input(&Tensor::from_slice(&device, &[4.0, 0.0], &[2]).unwrap());
        let root = {
            let _scope = tape.scope("body.1");
            x.sqrt().unwrap()
        };
        let text = tape.backward(root.sum().unwrap()).unwrap_err().to_string();
        assert!(
            text.starts_with("body.1: the gradient of ") && text.contains("1 of 2 elements, the first at [1], inf"),
            "{text}"
        );
        assert!(text.ends_with("for its input 0"), "{text}");

        // A product writes this gradient directly into the parameter's memory.
        let weight = Parameter::declare("weight", &[1, 2]);
        let zeros = || Tensor::zeros(&device, DType::F32, &[1, 2]).unwrap();
        weight.bind(zeros(), zeros()).unwrap();
        let tape = Tape::new();
        tape.detect_anomaly(true);
        let x = tape.constant(&Tensor::from_slice(&device, &[f32::MAX], &[1, 1]).unwrap());
        let y = x.matmul(tape.parameter(&weight).unwrap()).unwrap().affine(1e9, 0.0).unwrap();
        let text = tape.backward(y.sum().unwrap()).unwrap_err().to_string();
        assert!(text.starts_with("the gradient of matmul is not finite: 2 of 2 elements"), "{text}");
    }

    #[test]
    fn values_that_are_finite_pass_and_a_recording_refuses_the_search() {
        let device = Device::cpu();
        let tape = Tape::new();
        tape.detect_anomaly(true);
        let x = tape.input(&Tensor::from_slice(&device, &[1.0, 2.0], &[2]).unwrap());
        let gradients = tape.backward(x.log().unwrap().sum().unwrap()).unwrap();
        assert_eq!(gradients.get(x).unwrap().to_vec::<f32>().unwrap(), [1.0, 0.5]);
        let text = device.record(|| x.log()).map(drop).unwrap_err().to_string();
        assert!(text.starts_with("detect_anomaly: not while a recording is made"), "{text}");
        tape.detect_anomaly(false);
        assert!(x.affine(0.0, f32::INFINITY).is_ok());
    }
}
