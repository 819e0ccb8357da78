//! Operations of neural networks against the oracle (PyTorch): their values and their gradients.

use serde_json::Value;
use thalweg::autograd::{Result, Tape, Var};
use thalweg::tensor::{Convolution, ConvolutionTranspose};

use crate::common::oracle::Case;
use crate::ops::{Kind, input, outcome};

/// Returns a setting of a case for each axis: a list, or one number for all of them.
fn setting<const D: usize>(case: Case<'_>, name: &str, default: usize) -> [usize; D] {
    let number = |value: &Value| value.as_u64().unwrap() as usize;
    match case.get(&format!("attrs.{name}")) {
        Value::Null => [default; D],
        Value::Array(values) => std::array::from_fn(|d| number(&values[d])),
        value => [number(value); D],
    }
}

fn convolution<const D: usize>(case: Case<'_>) -> Convolution<D> {
    Convolution {
        stride: setting(case, "stride", 1),
        padding: setting(case, "padding", 0),
        dilation: setting(case, "dilation", 1),
        groups: setting::<1>(case, "groups", 1)[0],
    }
}

fn apply<'t>(case: Case<'_>, x: &[Var<'t>]) -> Option<Result<Var<'t>>> {
    let bias = x.get(2).copied();
    Some(match case.text("op") {
        "conv1d" => x[0].conv1d(x[1], bias, &convolution(case)),
        "conv2d" => x[0].conv2d(x[1], bias, &convolution(case)),
        "conv_transpose2d" => {
            let Convolution { stride, padding, dilation, groups } = convolution(case);
            let output_padding = setting(case, "output_padding", 0);
            x[0].conv_transpose2d(
                x[1],
                bias,
                &ConvolutionTranspose { stride, padding, output_padding, dilation, groups },
            )
        }
        "rnn_tanh_cell" => x[0].rnn_tanh_cell(x[1], x[2], x[3], Some(x[4]), Some(x[5])),
        "gru_cell" => x[0].gru_cell(x[1], x[2], x[3], Some(x[4]), Some(x[5])),
        _ => return None,
    })
}

#[test]
fn values() {
    crate::ops::hold("ops/nn", (15, 0), |device, case| {
        let tape = Tape::new();
        let count = (0..).take_while(|i| case.find(&format!("in/{i}")).is_some()).count();
        let inputs: Vec<Var<'_>> = (0..count).map(|i| tape.constant(&input(device, case, i))).collect();
        Some(outcome(&apply(case, &inputs)?.unwrap().value(), Kind::Arithmetic))
    });
}

#[test]
fn gradients() {
    crate::gradients::hold("ops/nn", (15, 0), apply);
}
