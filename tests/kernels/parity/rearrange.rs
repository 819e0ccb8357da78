//! Copies in another order, padding and joins.

use thalweg::tensor::{DType, Device, PadMode, Result, Tensor};

use crate::parity::{FOLDED, Pair, SIZES};

/// Every rearrangement of a tensor of three axes with at least three elements each.
fn rearranged(x: &Tensor) -> Result<Vec<Tensor>> {
    let turned = x.permute(&[2, 0, 1])?;
    Ok(vec![
        x.flip(1)?,
        turned.flip(..)?,
        x.roll(&[2, -1], &[0, -1])?,
        turned.roll(&[1], &[1])?,
        x.repeat(&[2, 1, 3, 2])?,
        turned.tile(&[3])?,
        x.repeat_interleave(3, 0)?,
        turned.repeat_interleave(2, -1)?,
        x.pad(&[(1, 0), (0, 3)], PadMode::Constant(7.0))?,
        turned.pad(&[(-1, 2), (1, 1), (0, -2)], PadMode::Constant(7.0))?,
        x.pad(&[(2, 1), (1, 2)], PadMode::Reflect)?,
        turned.pad(&[(5, 1), (1, 0), (0, 2)], PadMode::Replicate)?,
        x.pad(&[(3, 3), (-1, 2)], PadMode::Circular)?,
        x.tril(1)?,
        turned.triu(-1)?,
        x.select(0, 1)?.diag_embed(1)?,
        turned.select(1, -1)?.diag_embed(-2)?,
        turned.slice_step(0, 1, None, 2)?.flip(0)?,
        x.unfold(1, 2, 1)?.flip(-1)?,
    ])
}

/// Joins along every axis.
fn joined(x: &Tensor) -> Result<Vec<Tensor>> {
    let mut all = Vec::new();
    for axis in 0..3 {
        let (end, last) = (x.shape()[axis], x.rank() - 1);
        let (one, none) = (x.slice(axis, 1, 2)?, x.slice(axis, 0, 0)?);
        all.push(Tensor::concatenate(&[one.clone(), none, x.flip(last)?, x.slice(axis, 1, end)?], axis)?);
        all.push(Tensor::concatenate(&[one.clone(), one.clone(), one], axis)?.copy()?);
        all.push(Tensor::stack(&[x.clone(), x.roll(&[1], &[axis])?], axis)?.copy()?);
    }
    Ok(all)
}

pub(crate) fn remap(pair: &Pair) {
    for shape in [[3, 4, 5], [3, 3, 64], [7, 65, 3]] {
        let elements: Vec<u32> = (0..shape.iter().product::<usize>() as u32).collect();
        pair.compare_bits(&format!("{shape:?}"), |device| {
            let x = Tensor::from_slice(device, &elements, &shape).unwrap();
            [rearranged(&x).unwrap(), joined(&x).unwrap()].concat()
        });
    }
    let ranks = [2, 3, 1, 2, 3, 2, 1, 2];
    let elements: Vec<u32> = (0..ranks.iter().product::<usize>() as u32).collect();
    pair.compare_bits("eight axes", |device| {
        let x = Tensor::from_slice(device, &elements, &ranks).unwrap();
        vec![
            x.flip([0, 2, 4, 6]).unwrap(),
            x.repeat(&[1, 2, 1, 2, 1, 2, 1, 2]).unwrap(),
            x.pad(&[(1, 1); 8], PadMode::Replicate).unwrap(),
            x.triu(0).unwrap(),
            Tensor::concatenate(&[x.clone(), x.clone()], 4).unwrap(),
        ]
    });
    for size in SIZES {
        let elements: Vec<u32> = (0..size as u32).collect();
        pair.compare_bits(&format!("{size} elements"), |device| {
            let x = Tensor::from_slice(device, &elements, &[size]).unwrap();
            vec![
                x.flip(0).unwrap(),
                x.roll(&[-3], &[0]).unwrap(),
                x.repeat(&[2]).unwrap(),
                x.pad(&[(1, 2)], PadMode::Constant(3.0)).unwrap(),
            ]
        });
    }
    pair.compare_bits("floats that are none", |device| {
        let x = Tensor::from_slice(device, &[f32::NAN, -0.0, f32::INFINITY, 1e-40], &[2, 2]).unwrap();
        vec![x.flip(0).unwrap(), x.tril(0).unwrap(), x.pad(&[(1, 1)], PadMode::Constant(f32::NAN)).unwrap()]
    });
    pair.compare_bits("identities", |device| {
        vec![
            Tensor::eye(device, 5, 3).unwrap(),
            Tensor::eye(device, 64, 65).unwrap(),
            Tensor::eye(device, 0, 3).unwrap(),
        ]
    });
    pair.compare_bits("a folded grid", |device| {
        let x = Tensor::from_slice(device, &[1u32, 2, 3], &[3, 1]).unwrap();
        vec![x.repeat(&[1, 22 * FOLDED]).unwrap().roll(&[5], &[1]).unwrap()]
    });
}

/// Rearrangements of elements of 16 bits, as those of f32.
fn halves(device: &Device, of: fn(&Tensor) -> Result<Vec<Tensor>>) {
    for shape in [[3, 4, 5], [3, 3, 3], [5, 3, 64]] {
        let count: usize = shape.iter().product();
        let wide: Vec<f32> = (0..count).map(|i| (i % 250) as f32).collect();
        let wide = Tensor::from_slice(device, &wide, &shape).unwrap();
        for dtype in [DType::F16, DType::BF16] {
            let expected = of(&wide).unwrap();
            let got = of(&wide.to_dtype(dtype).unwrap()).unwrap();
            for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
                assert_eq!((got.dtype(), got.shape()), (dtype, expected.shape()), "{i}");
                let got = got.to_dtype(expected.dtype()).unwrap();
                let name = format!("result {i} of {shape:?} of {dtype} on {device}");
                assert_eq!(crate::common::floats(&got), crate::common::floats(expected), "{name}");
            }
        }
    }
}

pub(crate) fn remap_halves(_: &Pair) {
    for device in crate::common::devices() {
        halves(&device, rearranged);
        halves(&device, joined);
    }
}

pub(crate) fn one_hot(pair: &Pair) {
    for size in SIZES {
        let indices: Vec<u32> = (0..size as u32).map(|i| i * 7 % 11).collect();
        pair.compare_bits(&format!("{size} indices"), |device| {
            let x = Tensor::from_slice(device, &indices, &[size]).unwrap();
            vec![x.one_hot(10).unwrap(), x.flip(0).unwrap().one_hot(1).unwrap()]
        });
    }
    pair.compare_bits("a folded grid", |device| {
        let x = Tensor::from_slice(device, &[3u32, u32::MAX, 0], &[3]).unwrap();
        vec![x.one_hot(22 * FOLDED).unwrap()]
    });
}
