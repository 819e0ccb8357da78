//! Views, copies and joins.

use thalweg::autograd::{Result, Var};
use thalweg::tensor::{Device, Tensor};

use crate::common::oracle::Case;
use crate::gradients::{hold, place, places};

/// Returns indices that are an input of a case.
fn indices(case: Case<'_>, input: usize, device: &Device) -> Tensor {
    let array = case.array(&format!("in/{input}"));
    Tensor::from_slice(device, &array.u32(), &array.shape).unwrap()
}

#[test]
fn shapes() {
    hold("ops/shape", (44, 8), |case, x| {
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
            "index_select" => {
                let (axis, rows) = (axis("attrs.axis", rank), indices(case, 1, &device));
                along_first(input, axis, |x| x.gather_rows(&rows))
            }
            "index_add" => {
                let (axis, rows) = (axis("attrs.axis", rank), indices(case, 1, &device));
                (|| input.add(along_first(x[2], axis, |x| x.scatter_add_rows(&rows, shape[axis]))?))()
            }
            "index_put_accumulate" => {
                let rows = indices(case, 1, &device);
                (|| input.add(x[2].scatter_add_rows(&rows, shape[0])?))()
            }
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

/// Applies an operation for the first dimension along another one.
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
