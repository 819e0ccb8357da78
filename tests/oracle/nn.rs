//! Operations of neural networks against the oracle (PyTorch): their values and their gradients.

use serde_json::Value;
use thalweg::autograd::{Result, Tape, Var};
use thalweg::tensor::{AveragePooling, Convolution, ConvolutionTranspose, MaxPooling, Resize, Tensor};

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

fn max_pooling<const D: usize>(case: Case<'_>) -> MaxPooling<D> {
    let kernel_size = setting(case, "kernel_size", 0);
    let whole = MaxPooling::new(kernel_size);
    let stride = if case.get("attrs.stride").is_null() { kernel_size } else { setting(case, "stride", 0) };
    MaxPooling {
        stride,
        padding: setting(case, "padding", 0),
        dilation: setting(case, "dilation", 1),
        ceil_mode: case.is("attrs.ceil_mode"),
        ..whole
    }
}

fn average_pooling(case: Case<'_>) -> AveragePooling<2> {
    let MaxPooling { kernel_size, stride, padding, ceil_mode, .. } = max_pooling(case);
    let count_include_pad = case.is("attrs.count_include_pad");
    AveragePooling { stride, padding, ceil_mode, count_include_pad, ..AveragePooling::new(kernel_size) }
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
        "max_pool1d" => x[0].max_pool1d(&max_pooling(case)),
        "max_pool2d" => x[0].max_pool2d(&max_pooling(case)),
        "avg_pool2d" => x[0].avg_pool2d(&average_pooling(case)),
        "adaptive_avg_pool2d" => x[0].adaptive_avg_pool2d(setting(case, "output_size", 0)),
        "global_avg_pool2d" => {
            let all = x[0].shape()[..2].to_vec();
            x[0].adaptive_avg_pool2d([1, 1]).and_then(|y| y.reshape(&all))
        }
        "upsample_nearest" => {
            let factor = setting::<2>(case, "scale_factor", 1);
            x[0].upsample_nearest2d(&Resize::Factor(factor.map(|factor| factor as f64)))
        }
        "unfold" => x[0].unfold2d(setting(case, "kernel_size", 0), &convolution(case)),
        "embedding" => {
            let padding = case.get("attrs.padding_idx").as_u64().map(|row| row as usize);
            let of = x[1].value();
            let indices: Vec<u32> = of.to_vec::<f32>().unwrap().into_iter().map(|row| row as u32).collect();
            x[0].embedding(&Tensor::from_slice(of.device(), &indices, of.shape()).unwrap(), padding)
        }
        "rnn_tanh_cell" => x[0].rnn_tanh_cell(x[1], x[2], x[3], Some(x[4]), Some(x[5])),
        "gru_cell" => x[0].gru_cell(x[1], x[2], x[3], Some(x[4]), Some(x[5])),
        _ => return None,
    })
}

#[test]
fn values() {
    crate::ops::hold("ops/nn", (37, 11), |device, case| {
        let tape = Tape::new();
        let count = (0..).take_while(|i| case.find(&format!("in/{i}")).is_some()).count();
        let inputs: Vec<Var<'_>> = (0..count).map(|i| tape.constant(&input(device, case, i))).collect();
        Some(outcome(&apply(case, &inputs)?.unwrap().value(), Kind::Arithmetic))
    });
}

#[test]
fn gradients() {
    crate::gradients::hold("ops/nn", (37, 11), apply);
}
