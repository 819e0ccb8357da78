//! Kernels that reduce rows or columns: sums, running sums, extremes, products and places.

use thalweg::tensor::Tensor;

use crate::common::{Tolerance, numbers, tensor};
use crate::parity::rows::{SHORT_AND_LONG, hold_short, sums};
use crate::parity::{FOLDED, Pair, SIZES};

fn all_reductions(x: &Tensor, dimension: usize) -> Vec<Tensor> {
    vec![
        x.sum_along(dimension, true).unwrap(),
        x.mean_along(dimension, true).unwrap(),
        x.max_along(dimension, true).unwrap(),
        x.min_along(dimension, true).unwrap(),
        x.affine(0.1, 1.0).unwrap().prod_along(dimension, true).unwrap(),
    ]
}

/// Operations that are composed of reductions and of element-wise functions.
fn composed(x: &Tensor, axis: usize) -> Vec<Tensor> {
    let results = [
        x.var_along(axis, 0.0, false),
        x.std_along(axis, 0.0, true),
        x.logsumexp_along(axis, false),
        x.norm_along(2.0, axis, true),
        x.norm_along(3.0, axis, false),
        x.norm_along(f32::NEG_INFINITY, axis, false),
        x.normalize(2.0, axis, 1e-12),
        x.cosine_similarity(&x.affine(1.0, 1.0).unwrap(), axis, 1e-8),
        x.all_along(axis, true),
        x.any_along(axis, false),
        x.count_nonzero_along(axis, false),
    ];
    results.into_iter().map(|result| result.unwrap()).collect()
}

pub(crate) fn reduce_rows(pair: &Pair) {
    for length in [0, 1, 5, 33, 257, 4097] {
        // Whole numbers, so that some are zero.
        let x: Vec<f32> = numbers(6, 6 * length, -3.0, 3.0).into_iter().map(f32::round).collect();
        pair.compare(&format!("composed, {length} elements"), Tolerance::new(2e-6, 2e-6), |device| {
            let x = tensor(device, &x, &[2, length, 3]);
            [composed(&x, 1), composed(&x.transpose(1, 2).unwrap(), 2)].concat()
        });
    }
    // A row of 4,097 or more elements needs several stages; 16,777,217 elements need three.
    for length in SIZES.into_iter().chain(SHORT_AND_LONG).chain([4095, 4096, 4097, 10_007]) {
        for rows in [0, 1, 3] {
            let x = numbers(1, rows * length, -3.0, 3.0);
            pair.compare(&format!("{rows} rows of {length}"), sums(pair), |device| {
                all_reductions(&tensor(device, &x, &[rows, length]), 1)
            });
        }
    }
    for (rows, length) in [(FOLDED, 2), (1, 4096 * 4096 + 1)] {
        let x = numbers(2, rows * length, -1.0, 1.0);
        pair.compare(&format!("{rows} rows of {length}"), sums(pair), |device| {
            let x = tensor(device, &x, &[rows, length]);
            vec![x.sum_along(1, true).unwrap(), x.max_along(1, true).unwrap()]
        });
    }
    hold_special(pair, |x| all_reductions(&x.t().unwrap(), 1));
    // Short parts of the same rows, one of each kind of special value.
    for (start, end) in [(0, 32), (48, 72), (95, 100)] {
        hold_special(pair, |x| all_reductions(&x.slice(0, start, end).unwrap().t().unwrap(), 1));
    }
    hold_short(pair, 0.0, |x| vec![x.sum_along(1, true).unwrap()]);
    hold_short(pair, f32::NEG_INFINITY, |x| vec![x.max_along(1, true).unwrap()]);
    hold_short(pair, 1.0, |x| vec![x.prod_along(1, true).unwrap()]);
    let x = numbers(3, 30 * 40, -3.0, 3.0);
    pair.compare("everything of views", sums(pair), |device| {
        let x = tensor(device, &x, &[30, 40]);
        let views = [x.t(), x.slice(1, 3, 20), x.slice(0, 5, 6), x.slice(0, 2, 3).unwrap().broadcast_to(&[100, 40])];
        views
            .into_iter()
            .flat_map(|view| view.map(|v| [v.sum(), v.mean(), v.max(), v.min()]).unwrap())
            .map(|result| result.unwrap())
            .collect()
    });
}

pub(crate) fn reduce_columns(pair: &Pair) {
    for extent in [0, 1, 2, 63, 64, 65, 255, 256, 257, 1009] {
        for (outer, inner) in [(1, 2), (1, 65), (2, 3), (3, 64), (0, 4)] {
            let x = numbers(1, outer * extent * inner, -3.0, 3.0);
            pair.compare(&format!("[{outer}, {extent}, {inner}]"), sums(pair), |device| {
                all_reductions(&tensor(device, &x, &[outer, extent, inner]), 1)
            });
        }
    }
    // 70,000 elements of a column need three stages; 2,099,232 columns fold the grid.
    for (outer, extent, inner) in [(1, 70_000, 3), (FOLDED, 1, 64)] {
        let x = numbers(2, outer * extent * inner, -1.0, 1.0);
        pair.compare(&format!("[{outer}, {extent}, {inner}]"), sums(pair), |device| {
            all_reductions(&tensor(device, &x, &[outer, extent, inner]), 1)
        });
    }
    hold_special(pair, |x| all_reductions(x, 0));
}

/// Columns with a NaN, with infinities of one and of both signs, with zeros of both signs.
fn hold_special(pair: &Pair, compute: impl Fn(&Tensor) -> Vec<Tensor>) {
    let mut x = numbers(4, 100 * 5, -3.0, 3.0);
    let mut set = |row: usize, column: usize, value: f32| x[row * 5 + column] = value;
    set(57, 0, f32::NAN);
    set(3, 1, f32::INFINITY);
    set(99, 2, f32::NEG_INFINITY);
    set(0, 3, f32::INFINITY);
    set(70, 3, f32::NEG_INFINITY);
    (0..100).for_each(|row| set(row, 4, if row % 2 == 0 { 0.0 } else { -0.0 }));
    pair.compare("special values", sums(pair), |device| compute(&tensor(device, &x, &[100, 5])));
}

fn running_sums(x: &Tensor, axis: isize) -> Vec<Tensor> {
    vec![x.cumsum(axis).unwrap(), x.cumsum_reversed(axis).unwrap()]
}

/// A running sum adds in the same order on both devices, and only adds: nothing can be contracted. The sums of segments
/// that go before it are reductions.
pub(crate) fn cumsum_rows(pair: &Pair) {
    // From 1,025 elements on a row has several segments, and from 1,048,577 on their sums have.
    for length in SIZES.into_iter().chain(SHORT_AND_LONG).chain([1023, 1024, 1025, 10_007]) {
        for rows in [0, 1, 3] {
            let x = numbers(1, rows * length, -3.0, 3.0);
            pair.compare(&format!("{rows} rows of {length}"), sums(pair), |device| {
                running_sums(&tensor(device, &x, &[rows, length]), 1)
            });
        }
    }
    for (rows, length) in [(FOLDED, 2), (FOLDED, 33), (2, 1 << 20), (1, (1 << 20) + 1)] {
        let x = numbers(2, rows * length, -1.0, 1.0);
        pair.compare(&format!("{rows} rows of {length}"), running(pair, length), |device| {
            running_sums(&tensor(device, &x, &[rows, length]), -1)
        });
    }
    // A short row has the bits of the start of a longer one.
    hold_short(pair, 0.0, |x| vec![x.cumsum(1).unwrap()]);
    hold_special(pair, |x| running_sums(&x.t().unwrap(), 1));
    for (start, end) in [(0, 32), (48, 72), (95, 100)] {
        hold_special(pair, |x| running_sums(&x.slice(0, start, end).unwrap().t().unwrap(), 1));
    }
    let x = numbers(3, 30 * 40, -3.0, 3.0);
    pair.compare("views and a number", sums(pair), |device| {
        let x = tensor(device, &x, &[30, 40]);
        let views = [x.t(), x.slice(1, 3, 20), x.slice(0, 2, 3).unwrap().broadcast_to(&[100, 40]), x.reshape(&[1200])];
        let number = x.slice(0, 1, 2).unwrap().slice(1, 5, 6).unwrap().reshape(&[]);
        views.into_iter().chain([number]).flat_map(|view| running_sums(&view.unwrap(), -1)).collect()
    });
}

/// Of two thousand segments and more, hardware that puts two additions together in another way is off by some 1e-7 of the
/// largest sum, which a walk of steps up to 1 has near the root of its length.
fn running(pair: &Pair, length: usize) -> Tolerance {
    pair.tolerance(Tolerance::EXACT, Tolerance::new(1e-4 + 1e-6 * (length as f32).sqrt(), 1e-6))
}

pub(crate) fn cumsum_columns(pair: &Pair) {
    for extent in [0, 1, 2, 63, 64, 65, 255, 256, 257, 1009] {
        for (outer, inner) in [(1, 2), (1, 65), (2, 3), (3, 64), (0, 4), (2, 0)] {
            let x = numbers(1, outer * extent * inner, -3.0, 3.0);
            pair.compare(&format!("[{outer}, {extent}, {inner}]"), sums(pair), |device| {
                running_sums(&tensor(device, &x, &[outer, extent, inner]), 1)
            });
        }
    }
    // 70,000 elements of a column have sums of segments with segments of their own; 4,194,304 columns fold the grid.
    for (outer, extent, inner) in [(1, 70_000, 3), (FOLDED, 1, 64)] {
        let x = numbers(2, outer * extent * inner, -1.0, 1.0);
        pair.compare(&format!("[{outer}, {extent}, {inner}]"), running(pair, extent), |device| {
            running_sums(&tensor(device, &x, &[outer, extent, inner]), 1)
        });
    }
    hold_special(pair, |x| running_sums(x, 0));
    let x = numbers(3, 2 * 3 * 2 * 5 * 3 * 2, -3.0, 3.0);
    pair.compare("six dimensions, in order and not", sums(pair), |device| {
        let x = tensor(device, &x, &[2, 3, 2, 5, 3, 2]);
        let permuted = x.permute(&[3, 0, 5, 2, 4, 1]).unwrap();
        (-6..6).flat_map(|axis| [&x, &permuted].map(|x| running_sums(x, axis))).flatten().collect()
    });
}

/// The places of the largest and the smallest along the middle one of three dimensions.
fn places(x: &Tensor) -> Vec<Tensor> {
    vec![x.argmax(1, false).unwrap(), x.argmin(1, true).unwrap()]
}

pub(crate) fn argmax(pair: &Pair) {
    // From 4,097 elements on a row takes several launches, and from 1,025 on a column is copied.
    for length in SIZES.into_iter().chain(SHORT_AND_LONG).chain([1024, 1025, 4097, 10_007]).filter(|&n| n > 0) {
        for (outer, inner) in [(0, 1), (1, 1), (5, 1), (2, 3), (1, 65), (2, 0)] {
            // Whole numbers, so that many are equal.
            let x: Vec<f32> = numbers(1, outer * length * inner, -4.0, 4.0).into_iter().map(f32::round).collect();
            pair.compare(&format!("[{outer}, {length}, {inner}]"), Tolerance::EXACT, |device| {
                places(&tensor(device, &x, &[outer, length, inner]))
            });
        }
    }
    // More than the turns that a lane may take, if a workgroup took the whole row.
    let length = 65_536 * 64 + 1;
    let mut x = vec![0.0; length];
    (x[length - 2], x[length - 1]) = (1.0, -1.0);
    pair.compare("a long row", Tolerance::EXACT, |device| {
        let x = tensor(device, &x, &[length]);
        let places = vec![x.argmax_all().unwrap(), x.argmin_all().unwrap()];
        let words: Vec<u32> = places.iter().map(|place| place.item().unwrap()).collect();
        assert_eq!(words, [length as u32 - 2, length as u32 - 1], "on {device}");
        places
    });
    let x = numbers(2, 2 * FOLDED * 64, -1.0, 1.0);
    pair.compare("folded grids", Tolerance::EXACT, |device| {
        let x = tensor(device, &x, &[FOLDED, 2, 64]);
        [places(&x), places(&x.reshape(&[2 * FOLDED, 64, 1]).unwrap())].concat()
    });
    let mut x = vec![f32::NEG_INFINITY; 6 * 70];
    x[70 + 65] = f32::MIN;
    x[2 * 70 + 3] = f32::INFINITY;
    x[2 * 70 + 68] = f32::NAN;
    x[3 * 70 + 66] = f32::NAN;
    x[3 * 70 + 2] = f32::NAN;
    x[4 * 70 + 69] = f32::INFINITY;
    x[5 * 70..].fill(f32::NAN);
    pair.compare("NaN and infinities", Tolerance::EXACT, |device| {
        let rows = tensor(device, &x, &[6, 70]);
        let columns = rows.t().unwrap().copy().unwrap();
        let y = vec![rows.argmax(1, false), rows.neg().unwrap().argmin(1, false), columns.argmax(0, false)];
        let y: Vec<Tensor> = y.into_iter().map(|places| places.unwrap()).collect();
        for places in &y {
            assert_eq!(places.to_vec::<u32>().unwrap(), [0, 65, 68, 2, 69, 0], "on {device}");
        }
        y
    });
}
