//! Views, copies and joins.

use thalweg::autograd::{Tape, Var};
use thalweg::tensor::{Device, PadMode, Tensor};

use crate::common::oracle::{Case, Oracle};
use crate::common::{devices, floats};
use crate::gradients::{attribute, hold, hold_gradient, place, places, upload};

/// Returns indices that are an input of a case.
fn indices(case: Case<'_>, input: usize, device: &Device) -> Tensor {
    let array = case.array(&format!("in/{input}"));
    Tensor::from_slice(device, &array.u32(), &array.shape).unwrap()
}

/// The axis of a case, as it is.
fn signed_axis(case: Case<'_>) -> isize {
    case.get("attrs.axis").as_i64().unwrap() as isize
}

/// Rows of a table, and the padding, which has no gradient.
#[test]
fn embeddings() {
    hold("ops/nn", (5, 0), |case, x| {
        if case.text("op") != "embedding" {
            return None;
        }
        let device = x[0].value().device().clone();
        let indices = indices(case, 1, &device);
        let shape = [indices.shape(), &x[0].shape()[1..]].concat();
        let list = indices.reshape(&[indices.len()]).unwrap();
        Some((|| {
            let y = x[0].gather_rows(&list)?.reshape(&shape)?;
            let Some(padding) = case.get("attrs.padding_idx").as_f64() else { return Ok(y) };
            let is_padding: Vec<f32> = case.array("in/1").values.iter().map(|&i| f32::from(i == padding)).collect();
            let mask = Tensor::from_slice(&device, &is_padding, &[is_padding.len(), 1])?;
            y.masked_fill(&mask, 0.0)
        })())
    });
}

#[test]
fn shapes() {
    hold("ops/shape", (74, 8), |case, x| {
        let input = x[0];
        let (shape, rank) = (input.shape(), input.shape().len());
        let device = input.value().device().clone();
        let axis = |name: &str, rank: usize| place(case.get(name), rank);
        // A shape with one unknown extent.
        let complete = |name: &str| -> Vec<usize> {
            let given = places(case.get(name));
            let known: i64 = given.iter().filter(|&&extent| extent >= 0).product();
            let count = input.value().len() as i64;
            given.iter().map(|&extent| if extent < 0 { count / known } else { extent } as usize).collect()
        };
        let sequence = |name: &str| -> Vec<usize> { places(case.get(name)).iter().map(|&i| i as usize).collect() };
        let signed = |name: &str| -> Vec<isize> { places(case.get(name)).iter().map(|&i| i as isize).collect() };
        let number = |name: &str| case.get(name).as_i64().unwrap() as isize;
        Some(match case.text("op") {
            "reshape" => input.reshape(&complete("attrs.shape")),
            "reshape_of_permuted" => {
                (|| input.permute(&sequence("attrs.permutation"))?.reshape(&complete("attrs.shape")))()
            }
            "permute" => input.permute(&sequence("attrs.permutation")),
            "transpose" => {
                let axes = sequence("attrs.axes");
                input.transpose(axes[0], axes[1])
            }
            "expand" => input.expand(&signed("attrs.shape")),
            "squeeze" if case.get("attrs.axis").is_null() => input.squeeze_all(),
            "unsqueeze" => input.unsqueeze(axis("attrs.axis", rank + 1)),
            "slice" => match case.text("attrs.python_index") {
                "0:4:2,1:5,0:6:3" => {
                    (|| input.slice_step(0, 0, 4, 2)?.slice_step(1, 1, 5, 1)?.slice_step(2, 0, 6, 3))()
                }
                ":, -3:-1" => input.slice_step(1, -3, -1, 1),
                "1" => input.select(0, 1),
                "..., 2" => input.select(-1, 2),
                "2:2" => input.slice_step(0, 2, 2, 1),
                ":, None, 0" => (|| input.select(1, 0)?.unsqueeze(1))(),
                _ => return None,
            },
            "concat" => Var::concatenate(x, axis("attrs.axis", rank)),
            "stack" => Var::stack(x, number("attrs.axis")),
            "index_select" => input.index_select(signed_axis(case), &indices(case, 1, &device)),
            "index_add" => input.index_add(signed_axis(case), &indices(case, 1, &device), x[2]),
            "index_put_accumulate" => input.index_add(0, &indices(case, 1, &device), x[2]),
            "gather" => input.gather(signed_axis(case), &indices(case, 1, &device)),
            "scatter" => input.scatter(signed_axis(case), &indices(case, 1, &device), x[2]),
            "scatter_add" => input.scatter_add(signed_axis(case), &indices(case, 1, &device), x[2]),
            "take_along_rows" => {
                (|| input.gather(1, &indices(case, 1, &device).reshape(&[shape[0], 1])?)?.squeeze(1))()
            }
            "masked_fill" => input.masked_fill(&x[1].value(), attribute(case, "value", f64::NEG_INFINITY)),
            "topk" => {
                let k = case.get("attrs.k").as_u64().unwrap() as usize;
                input.topk(k, signed_axis(case), true).map(|(values, _)| values)
            }
            "pad" => input.pad(&widths(case), pad_mode(case)),
            "flip" => input.flip(&sequence("attrs.axes")),
            "roll" => input.roll(&signed("attrs.shifts"), &sequence("attrs.axes")),
            "tile" => input.repeat(&sequence("attrs.repeats")),
            "repeat_interleave" => {
                input.repeat_interleave(number("attrs.repeats").unsigned_abs(), axis("attrs.axis", rank))
            }
            "tril" => input.tril(number("attrs.diagonal")),
            "triu" => input.triu(number("attrs.diagonal")),
            "diagonal" => input.diagonal(number("attrs.offset"), 0, 1),
            "trace" => input.trace(),
            "sort" => input.sort(signed_axis(case), case.is("attrs.descending")).map(|(values, _)| values),
            _ => return None,
        })
    });
}

/// The widths of a case of padding, in the order of the axes.
pub(crate) fn widths(case: Case<'_>) -> Vec<(isize, isize)> {
    let flat = places(case.get("attrs.pad"));
    flat.chunks(2).rev().map(|pair| (pair[0] as isize, pair[1] as isize)).collect()
}

pub(crate) fn pad_mode(case: Case<'_>) -> PadMode {
    match case.get("attrs.mode").as_str() {
        None => PadMode::Constant(case.number("attrs.value") as f32),
        Some("reflect") => PadMode::Reflect,
        Some("replicate") => PadMode::Replicate,
        Some("circular") => PadMode::Circular,
        Some(other) => panic!("{other}"),
    }
}

/// Splits and chunks have several outputs, each with a cotangent: the gradient is that of the sum of their products.
#[test]
fn splits() {
    let oracle = Oracle::open("ops/shape");
    let mut run = 0;
    for case in oracle.cases().into_iter().filter(|case| matches!(case.text("op"), "split" | "chunk")) {
        for device in devices() {
            let tape = Tape::new();
            let array = case.array("in/0");
            let x = tape.input(&upload(&device, &array));
            let axis = place(case.get("attrs.axis"), array.shape.len());
            let parts = match case.text("op") {
                "split" => {
                    let sizes: Vec<usize> = places(case.get("attrs.sizes")).iter().map(|&size| size as usize).collect();
                    x.split_sizes(axis, &sizes).unwrap()
                }
                _ => x.chunk(axis, case.number("attrs.chunks") as usize).unwrap(),
            };
            let mut sum: Option<Var<'_>> = None;
            for (i, part) in parts.iter().enumerate() {
                let name = case.name(&format!("part {i} on {device}"));
                let expected = case.array(&format!("out/f64/{i}"));
                assert_eq!((part.shape(), floats(&part.value())), (expected.shape.clone(), expected.f32()), "{name}");
                let cotangent = tape.constant(&upload(&device, &case.array(&format!("cot/{i}"))));
                let product = part.mul(cotangent).unwrap().sum().unwrap();
                sum = Some(sum.map_or(product, |sum| sum.add(product).unwrap()));
            }
            assert!(case.find(&format!("out/f64/{}", parts.len())).is_none());
            let gradients = tape.backward(sum.unwrap()).unwrap();
            let name = case.name(&format!("on {device}"));
            let inputs = [array];
            hold_gradient(&name, case, 0, &floats(gradients.get(x).unwrap()), &inputs, &device);
        }
        run += 1;
    }
    assert!(run >= if oracle.is_whole { 2 } else { 0 }, "{run} cases ran");
}
