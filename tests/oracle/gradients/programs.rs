//! Random graphs of operations.

use serde_json::Value;
use thalweg::autograd::{Result, Var};
use thalweg::tensor::Tensor;

use crate::common::floats;
use crate::gradients::{hold, place, places};

#[test]
fn programs() {
    hold("ops/programs", (24, 2), |case, leaves| {
        let mut nodes: Vec<Var<'_>> = Vec::new();
        for settings in case.get("attrs.nodes").as_array().unwrap() {
            let inputs = settings["in"].as_array().unwrap();
            let inputs: Vec<Var<'_>> = inputs.iter().map(|i| nodes[i.as_u64().unwrap() as usize]).collect();
            let node = match settings["op"].as_str().unwrap() {
                "leaf" => leaves[settings["attrs"]["index"].as_u64().unwrap() as usize],
                op => match node(op, &settings["attrs"], &inputs) {
                    Ok(node) => node,
                    error => return Some(error),
                },
            };
            nodes.push(node);
        }
        nodes.last().map(|&last| Ok(last))
    });
}

fn node<'t>(op: &str, attributes: &Value, inputs: &[Var<'t>]) -> Result<Var<'t>> {
    let x = inputs[0];
    let (shape, rank) = (x.shape(), x.shape().len());
    let axis = || place(&attributes["axis"], rank);
    let number = |name: &str| attributes[name].as_u64().unwrap() as usize;
    let one_plus_square = |x: Var<'t>| x.square()?.affine(1.0, 1.0);
    let kept = |y: Var<'t>| if attributes["keepdim"] == true { Ok(y) } else { y.squeeze(axis()) };
    match op {
        "add" => x.add(inputs[1]),
        "sub" => x.sub(inputs[1]),
        "mul" => x.mul(inputs[1]),
        "neg" => x.neg(),
        "sin" => x.sin(),
        "cos" => x.cos(),
        "tanh" => x.tanh(),
        "gelu" => x.gelu(),
        "silu" => x.silu(),
        "softplus" => x.softplus(),
        "square" => x.square(),
        "scale" => x.affine(attributes["by"].as_f64().unwrap() as f32, 0.0),
        "exp_neg_square" => x.square()?.neg()?.exp(),
        "log1p_square" => x.square()?.log1p(),
        "sqrt_1p_square" => one_plus_square(x)?.sqrt(),
        "div_1p_square" => x.div(one_plus_square(inputs[1])?),
        "atan" => arc_tangent(x),
        "reshape" => {
            let shape: Vec<usize> = places(&attributes["shape"]).iter().map(|&extent| extent as usize).collect();
            x.reshape(&shape)
        }
        // The last two dimensions.
        "transpose" => x.transpose(rank - 2, rank - 1),
        "flip" => x.flip(axis()),
        "slice" => x.slice(axis(), number("start"), number("start") + number("length")),
        "concat" => Var::concatenate(inputs, axis()),
        "sum" => kept(x.sum_along(axis(), true)?),
        "mean" => kept(x.mean_along(axis(), true)?),
        "softmax" => x.softmax(axis()),
        "log_softmax" => x.log_softmax(axis()),
        "logsumexp" => kept(x.logsumexp_along(axis(), true)?),
        "layer_norm" => x.layer_norm(&shape[rank - 1..], None, None, 1e-3),
        "cumsum" => x.cumsum(axis() as isize),
        "matmul" => matrices(x, inputs[1]),
        // Σ over its inputs of the mean of tanh(x) x
        "objective" => {
            let mut sum = x.tanh()?.mul(x)?.mean()?;
            for x in &inputs[1..] {
                sum = sum.add(x.tanh()?.mul(*x)?.mean()?)?;
            }
            Ok(sum)
        }
        other => panic!("{other} of {shape:?}"),
    }
}

/// Multiplies the matrices in the last two dimensions, one product for each index of the outer dimensions.
fn matrices<'t>(x: Var<'t>, y: Var<'t>) -> Result<Var<'t>> {
    let (left, right) = (x.shape(), y.shape());
    let (rows, inner, columns) = (left[left.len() - 2], left[left.len() - 1], right[right.len() - 1]);
    let outer: Vec<usize> =
        if left.len() > right.len() { &left[..left.len() - 2] } else { &right[..right.len() - 2] }.to_vec();
    let count: usize = outer.iter().product();
    let stretch = |x: Var<'t>, rows: usize, columns: usize| {
        let shape: Vec<usize> = outer.iter().copied().chain([rows, columns]).collect();
        x.broadcast_to(&shape)?.reshape(&[count, rows, columns])
    };
    let (x, y) = (stretch(x, rows, inner)?, stretch(y, inner, columns)?);
    let products = (0..count).map(|i| x.slice(0, i, i + 1)?.squeeze(0)?.matmul(y.slice(0, i, i + 1)?.squeeze(0)?));
    let products = products.map(|z| z?.unsqueeze(0)).collect::<Result<Vec<_>>>()?;
    let shape: Vec<usize> = outer.iter().copied().chain([rows, columns]).collect();
    Var::concatenate(&products, 0)?.reshape(&shape)
}

/// Computes an operation that thalweg does not have, by [`Tape::record`].
fn arc_tangent(x: Var<'_>) -> Result<Var<'_>> {
    let value = x.value();
    let elements: Vec<f32> = floats(&value).iter().map(|x| x.atan()).collect();
    let y = Tensor::from_slice(value.device(), &elements, value.shape())?;
    x.tape()
        .record("atan", y, &[x], |pull| pull.give(0, pull.cotangent()?.div(pull.input(0).square()?.affine(1.0, 1.0)?)?))
}
