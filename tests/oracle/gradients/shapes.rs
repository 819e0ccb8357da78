//! Views, copies and joins.

use thalweg::autograd::{Result, Var};
use thalweg::tensor::{Device, Tensor};

use crate::common::oracle::Case;
use crate::gradients::{attribute, hold, place, places};

/// Indices that are an input of a case.
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
    hold("ops/shape", (55, 8), |case, x| {
        let input = x[0];
        let (shape, rank) = (input.shape(), input.shape().len());
        let device = input.value().device().clone();
        let axis = |name: &str, rank: usize| place(case.get(name), rank);
        // A shape with one extent to be found out.
        let complete = |name: &str| -> Vec<usize> {
            let given = places(case.get(name));
            let known: i64 = given.iter().filter(|&&extent| extent >= 0).product();
            let count = input.value().len() as i64;
            given.iter().map(|&extent| if extent < 0 { count / known } else { extent } as usize).collect()
        };
        let sequence = |name: &str| -> Vec<usize> { places(case.get(name)).iter().map(|&i| i as usize).collect() };
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
            "expand" => input.broadcast_to(&sequence("attrs.shape")),
            "squeeze" if case.get("attrs.axis").is_null() => {
                let kept: Vec<usize> = shape.iter().copied().filter(|&extent| extent != 1).collect();
                input.reshape(&kept)
            }
            "unsqueeze" => input.unsqueeze(axis("attrs.axis", rank + 1)),
            "slice" => match case.text("attrs.python_index") {
                ":, -3:-1" => input.slice(1, shape[1] - 3, shape[1] - 1),
                "1" => (|| input.slice(0, 1, 2)?.squeeze(0))(),
                "..., 2" => (|| input.slice(rank - 1, 2, 3)?.squeeze(rank - 1))(),
                "2:2" => input.slice(0, 2, 2),
                ":, None, 0" => (|| input.slice(1, 0, 1)?.squeeze(1)?.unsqueeze(1))(),
                _ => return None,
            },
            "concat" => concatenate(x, axis("attrs.axis", rank)),
            "stack" => (|| {
                let axis = axis("attrs.axis", rank + 1);
                let parts = x.iter().map(|part| part.unsqueeze(axis)).collect::<Result<Vec<_>>>()?;
                concatenate(&parts, axis)
            })(),
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
            "sort" => input.sort(signed_axis(case), case.is("attrs.descending")).map(|(values, _)| values),
            "flip" => sequence("attrs.axes").iter().try_fold(input, |y, &axis| flip(y, axis)),
            // [a, b] → [2 a, b 3] and [a, b] → [a, 3 b], by views of more dimensions.
            "tile" => (|| {
                let (repeats, [a, b]) = (sequence("attrs.repeats"), [shape[0], shape[1]]);
                let copies = input.reshape(&[1, 1, a, 1, b])?;
                let copies = copies.broadcast_to(&[repeats[0], repeats[1], a, repeats[2], b])?;
                copies.reshape(&[repeats[0], repeats[1] * a, repeats[2] * b])
            })(),
            "repeat_interleave" => (|| {
                let repeats = case.get("attrs.repeats").as_u64().unwrap() as usize;
                let [a, b] = [shape[0], shape[1]];
                input.reshape(&[a, b, 1])?.broadcast_to(&[a, b, repeats])?.reshape(&[a, b * repeats])
            })(),
            _ => return None,
        })
    });
}

/// An operation along the first dimension, along another one.
fn along_first<'t>(x: Var<'t>, axis: usize, op: impl Fn(Var<'t>) -> Result<Var<'t>>) -> Result<Var<'t>> {
    op(x.transpose(0, axis)?)?.transpose(0, axis)
}

pub(crate) fn concatenate<'t>(parts: &[Var<'t>], axis: usize) -> Result<Var<'t>> {
    let parts = parts.iter().map(|part| part.transpose(0, axis)).collect::<Result<Vec<_>>>()?;
    Var::concatenate(&parts)?.transpose(0, axis)
}

pub(crate) fn flip(x: Var<'_>, axis: usize) -> Result<Var<'_>> {
    let extent = x.shape()[axis];
    let backwards: Vec<u32> = (0..extent as u32).rev().collect();
    let backwards = Tensor::from_slice(x.value().device(), &backwards, &[extent])?;
    along_first(x, axis, |x| x.gather_rows(&backwards))
}
