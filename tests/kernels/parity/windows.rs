//! Windows over the last axes: maxima and the ways back from them, averages and interpolations.

use thalweg::autograd::{Tape, Var};
use thalweg::tensor::{AveragePooling, Device, MaxPooling, Resize, Tensor};

use crate::common::{Tolerance, numbers, tensor};
use crate::parity::{FOLDED, Pair};

/// The extents of planes, and the pooling over them.
const CASES: [([usize; 4], MaxPooling<2>); 6] = [
    ([1, 1, 1, 1], MaxPooling::new([1, 1])),
    ([2, 3, 8, 8], MaxPooling::new([2, 2])),
    ([2, 3, 9, 7], MaxPooling { stride: [2, 2], padding: [1, 1], ..MaxPooling::new([3, 3]) }),
    ([3, 1, 11, 65], MaxPooling { stride: [1, 3], dilation: [3, 2], ceil_mode: true, ..MaxPooling::new([2, 5]) }),
    ([0, 2, 4, 4], MaxPooling::new([2, 2])),
    ([1, 2, 70, 66], MaxPooling { stride: [1, 1], padding: [20, 3], ..MaxPooling::new([40, 7]) }),
];

/// The maxima of a case on a tape, with many equal elements, and their places.
fn maxima(device: &Device, case: usize, of: impl Fn(&Tape, Var<'_>, Var<'_>, Tensor) -> Vec<Tensor>) -> Vec<Tensor> {
    let (shape, settings) = CASES[case];
    let elements = numbers(1, shape.iter().product(), -3.0, 3.0).into_iter().map(f32::round).collect::<Vec<_>>();
    let tape = Tape::new();
    let x = tape.input(&tensor(device, &elements, &shape));
    let (y, places) = x.max_pool2d_with_indices(&settings).unwrap();
    of(&tape, x, y, places)
}

/// Numbers that are whole, so that sums are exact.
fn cotangent(device: &Device, shape: &[usize]) -> Tensor {
    let elements: Vec<f32> = numbers(2, shape.iter().product(), -9.0, 9.0).into_iter().map(f32::round).collect();
    tensor(device, &elements, shape)
}

pub(crate) fn window_max(pair: &Pair) {
    for case in 0..CASES.len() {
        pair.compare_bits(&format!("{:?}", CASES[case]), |device| {
            maxima(device, case, |_, _, y, places| vec![y.value(), places])
        });
    }
    pair.compare_bits("NaN, infinity, views, one axis, adaptive", |device| {
        let mut elements = numbers(3, 6 * 5 * 7, -3.0, 3.0);
        elements.iter_mut().step_by(11).for_each(|x| *x = f32::NAN);
        elements.iter_mut().step_by(3).for_each(|x| *x = f32::NEG_INFINITY);
        let x = tensor(device, &elements, &[6, 5, 7]).permute(&[2, 0, 1]).unwrap();
        let (y, places) = x.max_pool2d_with_indices(&MaxPooling::new([2, 2])).unwrap();
        let (line, at) = x.max_pool1d_with_indices(&MaxPooling::new([3])).unwrap();
        // Windows whose every element is of the padding.
        let gaps = MaxPooling { stride: [1], padding: [2], dilation: [4], ..MaxPooling::new([2]) };
        let (none, nowhere) = x.slice(2, 0, 3).unwrap().max_pool1d_with_indices(&gaps).unwrap();
        vec![
            y,
            places,
            line,
            at,
            none,
            nowhere,
            x.adaptive_max_pool2d([4, 3]).unwrap(),
            x.adaptive_max_pool1d([1]).unwrap(),
        ]
    });
    pair.compare_bits("a folded grid", |device| {
        let x = tensor(device, &numbers(4, 4096, -3.0, 3.0), &[4096, 1]).repeat(&[8 * FOLDED / 1024, 1, 2]).unwrap();
        vec![x.max_pool1d(&MaxPooling::new([1])).unwrap()]
    });
}

pub(crate) fn window_return(pair: &Pair) {
    for case in 0..CASES.len() {
        pair.compare_bits(&format!("{:?}", CASES[case]), |device| {
            maxima(device, case, |tape, x, y, _| {
                let g = tape.constant(&cotangent(device, &y.shape()));
                vec![tape.vector_jacobian_product(y, g, &[x]).unwrap()[0].value()]
            })
        });
    }
}

pub(crate) fn window_pick(pair: &Pair) {
    for case in 0..CASES.len() {
        pair.compare_bits(&format!("{:?}", CASES[case]), |device| {
            maxima(device, case, |tape, x, y, _| {
                // The second derivative of a linear function of g, at places of x.
                let g = tape.input(&cotangent(device, &y.shape()));
                let back = tape.vector_jacobian_product(y, g, &[x]).unwrap()[0];
                let again = tape.constant(&cotangent(device, &x.shape()));
                vec![tape.vector_jacobian_product(back, again, &[g]).unwrap()[0].value()]
            })
        });
    }
}

pub(crate) fn window_sum(pair: &Pair) {
    // Quotients, and products with weights.
    let tolerance = pair.tolerance(Tolerance::EXACT, Tolerance::new(1e-6, 1e-6));
    for (shape, MaxPooling { kernel_size, stride, padding, ceil_mode, .. }) in CASES {
        for count_include_pad in [false, true] {
            let settings =
                AveragePooling { stride, padding, ceil_mode, count_include_pad, ..AveragePooling::new(kernel_size) };
            pair.compare(&format!("{shape:?} {settings:?}"), tolerance, |device| {
                let tape = Tape::new();
                let x = tape.input(&tensor(device, &numbers(1, shape.iter().product(), -3.0, 3.0), &shape));
                let y = x.avg_pool2d(&settings).unwrap();
                let g = tape.constant(&cotangent(device, &y.shape()));
                vec![y.value(), tape.vector_jacobian_product(y, g, &[x]).unwrap()[0].value()]
            });
        }
    }
    pair.compare("interpolations", tolerance, |device| {
        let tape = Tape::new();
        let x = tape.input(&tensor(device, &numbers(1, 2 * 5 * 7, -3.0, 3.0), &[2, 7, 5]).transpose(1, 2).unwrap());
        let mut all = Vec::new();
        for size in
            [Resize::Size([9, 14]), Resize::Size([3, 2]), Resize::Factor([2.5, 0.4]), Resize::Factor([2.0, 3.0])]
        {
            let resized =
                [x.upsample_nearest2d(&size), x.upsample_bilinear2d(&size, false), x.upsample_bilinear2d(&size, true)];
            for y in resized.map(Result::unwrap) {
                let g = tape.constant(&cotangent(device, &y.shape()));
                all.extend([y.value(), tape.vector_jacobian_product(y, g, &[x]).unwrap()[0].value()]);
            }
        }
        all
    });
    // More elements than the loops of a lane have turns, in both directions.
    pair.compare("long windows", tolerance, |device| {
        let tape = Tape::new();
        let x = tape.input(&tensor(device, &numbers(1, 70_001, -3.0, 3.0), &[1, 70_001]));
        let square = x.slice(1, 0, 70_000).unwrap().reshape(&[1, 280, 250]).unwrap();
        let short = x.slice(1, 0, 2).unwrap();
        let all = [
            x.adaptive_avg_pool1d([1]),
            x.adaptive_avg_pool1d([3]),
            square.adaptive_avg_pool2d([1, 1]),
            square.adaptive_avg_pool2d([2, 300]),
            short.upsample_nearest1d(&Resize::Size([70_000])),
        ];
        let mut results = Vec::new();
        for y in all.map(Result::unwrap) {
            let g = tape.constant(&cotangent(device, &y.shape()));
            results.extend([y.value(), tape.vector_jacobian_product(y, g, &[x]).unwrap()[0].value()]);
        }
        results
    });
    pair.compare("a folded grid", tolerance, |device| {
        let x = tensor(device, &[1.0, 2.0, 3.0], &[3]);
        vec![x.upsample_nearest1d(&Resize::Size([64 * FOLDED + 1])).unwrap()]
    });
}
