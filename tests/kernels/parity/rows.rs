//! Kernels that work on rows: reductions, softmax, losses, gathers, batches, the log of values.

use thalweg::tensor::{DType, Device, Launch, Tensor, ValueLog, next_batch};

use crate::common::{Tolerance, assert_close, assert_same_bits, floats, numbers, tensor};
use crate::parity::{FOLDED, Pair, SIZES, kernel};

/// Sums have the same order on both devices; hardware may still combine two additions differently.
pub(super) fn sums(pair: &Pair) -> Tolerance {
    pair.tolerance(Tolerance::EXACT, Tolerance::new(1e-4, 1e-6))
}

/// Up to 32 elements a lane takes a row, and from 33 on a workgroup; below 8, 16 and 24 a lane adds in fewer folds.
pub(super) const SHORT_AND_LONG: [usize; 8] = [7, 8, 9, 16, 17, 31, 32, 33];

/// Short rows have the bits of longer ones with neutral elements appended, which a workgroup computes.
pub(super) fn hold_short(pair: &Pair, filler: f32, compute: impl Fn(&Tensor) -> Vec<Tensor>) {
    const WIDE: usize = 40;
    for length in [1, 3, 8, 20, 32] {
        let x = numbers(7, 9 * length, -3.0, 3.0);
        let filled: Vec<f32> =
            x.chunks(length).flat_map(|row| (0..WIDE).map(|i| row.get(i).copied().unwrap_or(filler))).collect();
        let narrow = compute(&tensor(&pair.gpu, &x, &[9, length]));
        let wide = compute(&tensor(&pair.gpu, &filled, &[9, WIDE]));
        for (narrow, wide) in narrow.iter().zip(&wide) {
            let wide = if wide.shape() == [9, WIDE] { wide.slice(1, 0, length).unwrap() } else { wide.clone() };
            assert_same_bits(&format!("rows of {length}"), &floats(&wide), &floats(narrow));
        }
    }
}

/// e^x has an error of some 2 ulp, and so have their sum and the quotient.
const SOFTMAX: Tolerance = Tolerance::new(1e-6, 1e-6);

pub(crate) fn advance(pair: &Pair) {
    for (amount, modulus, rate) in [(1, 0, 0.0), (16, 250, 0.0), (3, 7, 0.0), (u32::MAX, 0, 0.0), (1, 0, 0.01f32)] {
        pair.compare_bits(&format!("{amount}, {modulus}, {rate}"), |device| {
            let words = Tensor::from_slice(device, &[5u32, 0, 0.25f32.to_bits(), 0], &[4]).unwrap();
            let params = [amount, modulus, rate.to_bits()];
            Launch::new(kernel("advance"), params).bind(&words).run(device).unwrap();
            vec![words]
        });
    }
}

/// Returns difficult rows of logits: large ones, masked ones, one that is entirely masked, NaN, infinity.
fn hard_logits() -> Vec<f32> {
    let (n, inf) = (f32::NAN, f32::INFINITY);
    vec![
        1000.0, 999.0, -1000.0, 0.0, //
        -inf, 1.0, -inf, 2.0, //
        -inf, -inf, -inf, -inf, //
        1.0, n, 2.0, 3.0, //
        1.0, inf, 2.0, 3.0, //
        3e38, -3e38, 3e38, 0.0, //
        -90.0, 0.0, -104.5, -87.4,
    ]
}

pub(crate) fn softmax(pair: &Pair) {
    for length in SIZES.into_iter().chain(SHORT_AND_LONG) {
        for rows in [0, 1, 5] {
            let x = numbers(1, rows * length, -5.0, 5.0);
            pair.compare(&format!("{rows} rows of {length}"), SOFTMAX, |device| {
                let x = tensor(device, &x, &[rows, length]);
                vec![x.softmax(-1).unwrap(), x.log_softmax(-1).unwrap()]
            });
        }
    }
    hold_short(pair, f32::NEG_INFINITY, |x| vec![x.softmax(-1).unwrap(), x.log_softmax(-1).unwrap()]);
    let x = numbers(2, 2 * FOLDED, -5.0, 5.0);
    pair.compare("a folded grid", SOFTMAX, |device| vec![tensor(device, &x, &[FOLDED, 2]).softmax(-1).unwrap()]);
    // Up to 1,024 elements a lane takes a column; longer ones are copied.
    for (outer, extent, inner) in
        [(1, 2, 3), (3, 33, 5), (2, 257, 64), (1, 1024, 7), (2, 1025, 3), (2, 0, 3), (0, 3, 2)]
    {
        let x = numbers(3, outer * extent * inner, -5.0, 5.0);
        pair.compare(&format!("[{outer}, {extent}, {inner}]"), SOFTMAX, |device| {
            let x = tensor(device, &x, &[outer, extent, inner]);
            vec![x.softmax(1).unwrap(), x.log_softmax(1).unwrap()]
        });
    }
    pair.compare("hard rows", SOFTMAX, |device| {
        let x = tensor(device, &hard_logits(), &[7, 4]);
        let columns = x.t().unwrap().copy().unwrap();
        vec![
            x.softmax(-1).unwrap(),
            x.log_softmax(-1).unwrap(),
            x.softmax(0).unwrap(),
            columns.softmax(0).unwrap(),
            columns.log_softmax(0).unwrap(),
        ]
    });
}

pub(crate) fn cross_entropy(pair: &Pair) {
    for classes in [1, 2, 10, 63, 64, 65, 257, 1000].into_iter().chain(SHORT_AND_LONG) {
        for rows in [0, 1, 7] {
            let x = numbers(1, rows * classes, -5.0, 5.0);
            let targets: Vec<u32> = (0..rows as u32).map(|i| (i * 37 + 5) % classes as u32).collect();
            pair.compare(&format!("{rows} rows of {classes} classes"), SOFTMAX, |device| {
                let targets = Tensor::from_slice(device, &targets, &[rows]).unwrap();
                let (losses, grad) = tensor(device, &x, &[rows, classes]).cross_entropy(&targets, 0.25).unwrap();
                vec![losses, grad]
            });
        }
    }
    hold_short(pair, f32::NEG_INFINITY, |x| {
        let (losses, grad) = x.cross_entropy(&Tensor::full(x.device(), 0u32, &[9]).unwrap(), 0.25).unwrap();
        vec![losses, grad]
    });
    pair.compare("hard rows, and targets that are no class", SOFTMAX, |device| {
        let x = tensor(device, &hard_logits(), &[7, 4]);
        let mut results = Vec::new();
        for targets in [[0u32, 1, 2, 3, 1, 0, 2], [4, u32::MAX, 5, 1, 0, 7, 0]] {
            let targets = Tensor::from_slice(device, &targets, &[7]).unwrap();
            let (losses, grad) = x.cross_entropy(&targets, 1.0).unwrap();
            results.extend([losses, grad]);
        }
        results
    });
    let x = numbers(2, 2 * FOLDED, -5.0, 5.0);
    pair.compare("a folded grid", SOFTMAX, |device| {
        let targets = Tensor::full(device, 1u32, &[FOLDED]).unwrap();
        let (losses, grad) = tensor(device, &x, &[FOLDED, 2]).cross_entropy(&targets, 1.0).unwrap();
        vec![losses, grad]
    });
}

/// A mean with its gradient, once without a log and twice with one; the log equals the means.
fn logged_mean(device: &Device, compute: impl Fn(Option<&ValueLog>) -> (Tensor, Tensor)) -> Vec<Tensor> {
    let log = ValueLog::new(device, 3).unwrap();
    let ((plain, grad), (first, _), (second, same_grad)) = (compute(None), compute(Some(&log)), compute(Some(&log)));
    let logged = log.take().unwrap();
    for (mean, entry) in [(&first, logged[0]), (&second, logged[1])] {
        assert_eq!(mean.item::<f32>().unwrap().to_bits(), entry.to_bits());
        assert_eq!(plain.item::<f32>().unwrap().to_bits(), entry.to_bits());
    }
    assert_eq!((logged.len(), plain.shape()), (2, &[][..]));
    assert_same_bits("gradients", &floats(&same_grad), &floats(&grad));
    vec![plain, grad]
}

pub(crate) fn cross_entropy_mean(pair: &Pair) {
    // The last two use the kernel with a workgroup per row.
    for (rows, classes) in [(1, 1), (7, 2), (63, 10), (64, 10), (65, 10), (512, 10), (256, 64), (9, 65), (257, 64)] {
        let x = numbers(1, rows * classes, -5.0, 5.0);
        let targets: Vec<u32> = (0..rows as u32).map(|i| (i * 37 + 5) % classes as u32).collect();
        let compute = |device: &Device| {
            let (x, targets) = (tensor(device, &x, &[rows, classes]), Tensor::from_slice(device, &targets, &[rows]));
            let (x, targets) = (x, targets.unwrap());
            let results = logged_mean(device, |log| x.cross_entropy_mean(&targets, log).unwrap());
            // The same numbers as row by row, except for the order of the sums.
            let (losses, grad) = x.cross_entropy(&targets, 1.0 / rows as f32).unwrap();
            let what = format!("{rows} rows of {classes} classes, row by row, on {device}");
            assert_close(&what, &floats(&results[0]), &floats(&losses.mean().unwrap()), SOFTMAX);
            assert_close(&what, &floats(&results[1]), &floats(&grad), SOFTMAX);
            results
        };
        pair.compare(&format!("{rows} rows of {classes} classes"), SOFTMAX, compute);
    }
    pair.compare("hard rows", SOFTMAX, |device| {
        let x = tensor(device, &hard_logits(), &[7, 4]);
        let targets = Tensor::from_slice(device, &[0u32, 1, 2, 3, 1, 0, 2], &[7]).unwrap();
        logged_mean(device, |log| x.cross_entropy_mean(&targets, log).unwrap())
    });
    pair.compare("a target that is no class, a transposed view, and no row", SOFTMAX, |device| {
        let x = tensor(device, &numbers(3, 12, -1.0, 1.0), &[4, 3]).t().unwrap();
        let targets = Tensor::from_slice(device, &[1u32, 4, 3], &[3]).unwrap();
        let (mean, grad) = x.cross_entropy_mean(&targets, None).unwrap();
        assert!(floats(&mean)[0].is_nan() && floats(&grad)[4].is_nan() && floats(&grad)[0].is_finite());
        let none = Tensor::zeros(device, DType::F32, &[0, 4]).unwrap();
        let (of_none, _) = none.cross_entropy_mean(&targets.slice(0, 0, 0).unwrap(), None).unwrap();
        vec![mean, grad, of_none]
    });
}

pub(crate) fn mse_mean(pair: &Pair) {
    // The last one is more than one workgroup takes.
    for size in [0, 1, 3, 63, 64, 65, 1009, 16 << 10, (16 << 10) + 1] {
        let (x, y) = (numbers(1, size, -3.0, 3.0), numbers(2, size, -3.0, 3.0));
        // Products, sums in a fixed order, one scale: hardware may contract a product and a sum.
        pair.compare(&format!("{size} elements"), sums(pair), |device| {
            let (x, y) = (tensor(device, &x, &[size]), tensor(device, &y, &[size]));
            logged_mean(device, |log| x.squared_error_mean(&y, log).unwrap())
        });
    }
    pair.compare("special values and views", Tolerance::EXACT, |device| {
        let x = tensor(device, &[f32::NAN, f32::INFINITY, 1.0, f32::INFINITY, 3e38, -0.0], &[2, 3]);
        let y = tensor(device, &[1.0, 1.0, f32::NEG_INFINITY, f32::INFINITY, -3e38, 0.0], &[2, 3]);
        let (mean, grad) = x.t().unwrap().squared_error_mean(&y.t().unwrap(), None).unwrap();
        vec![mean, grad]
    });
}

pub(crate) fn mse(pair: &Pair) {
    for size in SIZES {
        let (x, y) = (numbers(1, size, -3.0, 3.0), numbers(2, size, -3.0, 3.0));
        // One subtraction, one product each: correctly rounded on every device.
        pair.compare(&format!("{size} elements"), Tolerance::EXACT, |device| {
            let (x, y) = (tensor(device, &x, &[size]), tensor(device, &y, &[size]));
            let (losses, grad) = x.squared_error(&y, 0.3).unwrap();
            vec![losses, grad]
        });
    }
    pair.compare("special values and views", Tolerance::EXACT, |device| {
        let x = tensor(device, &[f32::NAN, f32::INFINITY, 1.0, f32::INFINITY, 3e38, -0.0], &[2, 3]);
        let y = tensor(device, &[1.0, 1.0, f32::NEG_INFINITY, f32::INFINITY, -3e38, 0.0], &[2, 3]);
        let (losses, grad) = x.t().unwrap().squared_error(&y.t().unwrap(), 1.0).unwrap();
        vec![losses, grad]
    });
    let x = numbers(3, 64 * FOLDED, -3.0, 3.0);
    pair.compare("a folded grid", Tolerance::EXACT, |device| {
        let x = tensor(device, &x, &[x.len()]);
        let (losses, grad) = x.squared_error(&x.neg().unwrap(), 1.0).unwrap();
        vec![losses, grad]
    });
}

/// Returns repeated rows, and numbers that are no row.
fn indices(device: &Device, rows: usize, count: usize) -> Tensor {
    let indices: Vec<u32> =
        (0..count as u32).map(|i| i.wrapping_mul(i).wrapping_mul(31) % rows.max(1) as u32).collect();
    Tensor::from_slice(device, &indices, &[count]).unwrap()
}

pub(crate) fn gather_rows(pair: &Pair) {
    for (rows, columns) in [(1, 1), (10, 1), (10, 2), (10, 3), (6, 4), (5, 64), (7, 65), (3, 68), (5, 1012), (4, 0)] {
        for count in [0, 1, 63, 64, 65, 257] {
            let x = numbers(1, rows * columns, -3.0, 3.0);
            pair.compare_bits(&format!("{count} of [{rows}, {columns}]"), |device| {
                let table = tensor(device, &x, &[rows, columns]);
                vec![table.gather_rows(&indices(device, rows, count)).unwrap()]
            });
        }
    }
    pair.compare_bits("u32, more dimensions, one, views", |device| {
        let elements: Vec<u32> = (0..5 * 2 * 3).collect();
        let table = Tensor::from_slice(device, &elements, &[5, 2, 3]).unwrap();
        let list = Tensor::from_slice(device, &elements, &[30]).unwrap();
        let [indices, few] = [5, 3].map(|rows| indices(device, rows, 20).slice(0, 3, 20).unwrap());
        vec![
            table.gather_rows(&indices).unwrap(),
            table.transpose(0, 2).unwrap().gather_rows(&few).unwrap(),
            list.gather_rows(&indices).unwrap(),
        ]
    });
    // For any number of lanes per row, as on devices of other kinds.
    let (rows, columns, count) = (6, 196, 21usize);
    let x = numbers(3, rows * columns, -3.0, 3.0);
    for lanes in [1, 4, 13, 16, 49] {
        pair.compare_bits(&format!("{lanes} lanes of a row"), |device| {
            let y = Tensor::zeros(device, DType::F32, &[count, columns]).unwrap();
            let (faults, operation) = device.faults("gather_rows").unwrap();
            let params = [rows as u32, columns as u32, count as u32, lanes as u32, operation];
            Launch::new(kernel("gather_rows"), params)
                .constant("BY_FOUR", true)
                .bind(&tensor(device, &x, &[rows, columns]))
                .bind(&indices(device, rows, count))
                .bind(&y)
                .bind(&faults)
                .workgroups((count * lanes).div_ceil(64))
                .run(device)
                .unwrap();
            vec![y]
        });
    }
    let x = numbers(2, 10 * 64, -3.0, 3.0);
    pair.compare_bits("a folded grid", |device| {
        vec![tensor(device, &x, &[10, 64]).gather_rows(&indices(device, 10, FOLDED)).unwrap()]
    });
}

pub(crate) fn class_weights(pair: &Pair) {
    for (classes, ignored) in [(1, None), (10, Some(3)), (10, Some(u32::MAX)), (0, None), (1009, Some(0))] {
        let weights = numbers(1, classes, 0.0, 3.0);
        for count in SIZES {
            pair.compare_bits(&format!("{count} of {classes} classes"), |device| {
                let (labels, weights) = (indices(device, classes, count), tensor(device, &weights, &[classes]));
                let weighted = labels.class_weights(classes, Some(&weights), ignored, classes).unwrap();
                let plain = labels.class_weights(classes, None, ignored, 0).unwrap();
                vec![weighted.0, weighted.1, plain.0, plain.1]
            });
        }
    }
    pair.compare_bits("a view, and a folded grid", |device| {
        let labels = indices(device, 10, 64 * FOLDED + 3).slice(0, 3, 64 * FOLDED + 3);
        let (places, weights) = labels.unwrap().class_weights(10, None, Some(9), 10).unwrap();
        vec![places, weights]
    });
}

pub(crate) fn scatter_add_rows(pair: &Pair) {
    for (rows, columns) in [(1, 1), (10, 1), (10, 3), (5, 64), (7, 65), (3, 1009), (4, 0)] {
        // The last one is more than the iterations of lavapipe's loops.
        for count in [0, 1, 64, 65, 257, 70_001].into_iter().filter(|count| count * columns < 500_000) {
            let (x, table) = (numbers(1, count * columns, -3.0, 3.0), numbers(2, rows * columns, -3.0, 3.0));
            pair.compare(&format!("{count} into [{rows}, {columns}]"), sums(pair), |device| {
                // The elements after the table in its buffer show whether it is left alone.
                let whole = tensor(device, &[&table[..], &[1.0; 70]].concat(), &[table.len() + 70]);
                let table = whole.slice(0, 0, table.len()).unwrap().reshape(&[rows, columns]).unwrap();
                let indices = indices(device, rows, count);
                tensor(device, &x, &[count, columns]).scatter_add_rows_into(&indices, &table).unwrap();
                vec![whole]
            });
        }
    }
}

pub(crate) fn batch(pair: &Pair) {
    for (rows, width, target_width, count) in [
        (1, 1, 1, 1),
        (10, 4, 1, 3),
        (10, 4, 3, 10),
        (7, 65, 2, 64),
        (5, 3, 1, 17),
        (100, 8, 1, 0),
        (300, 64, 1, 257),
        (30, 784, 10, 64),
        (3, 1012, 4, 7),
    ] {
        let features = numbers(1, rows * width, -3.0, 3.0);
        let targets: Vec<u32> = (0..(rows * target_width) as u32).collect();
        let order: Vec<u32> = (0..rows as u32).rev().collect();
        let what = format!("{count} of {rows} rows of {width} and {target_width}");
        pair.compare_bits(&what, |device| {
            let features = tensor(device, &features, &[rows, width]);
            let targets = Tensor::from_slice(device, &targets, &[rows, target_width]).unwrap();
            let order = Tensor::from_slice(device, &order, &[rows]).unwrap();
            let cursor = Tensor::zeros(device, DType::U32, &[2]).unwrap();
            let mut results = Vec::new();
            for _ in 0..4 {
                let (x, y) = next_batch(&features, &targets, &order, &cursor, count).unwrap();
                results.extend([x, y]);
            }
            let expected = (4 * count % rows) as u32;
            assert_eq!(cursor.to_vec::<u32>().unwrap(), [expected, 0], "on {device}");
            results.push(cursor);
            results
        });
    }
    // For any number of lanes per row, as on devices of other kinds.
    let (rows, width, count) = (6, 196, 21usize);
    let x = numbers(3, rows * width, -3.0, 3.0);
    for lanes in [1, 4, 13, 16, 49] {
        pair.compare_bits(&format!("{lanes} lanes of a row"), |device| {
            let groups = (count * lanes).div_ceil(64);
            let zeros = |dtype, shape: &[usize]| Tensor::zeros(device, dtype, shape).unwrap();
            let (cursor, x_batch, y) =
                (zeros(DType::U32, &[2]), zeros(DType::F32, &[count, width]), zeros(DType::F32, &[count]));
            let order: Vec<u32> = (0..rows as u32).rev().collect();
            let params = [rows, width, 1, count, lanes, groups, 0].map(|number| number as u32);
            Launch::new(kernel("batch"), params)
                .constant("BY_FOUR", true)
                .constant("COUNTED", true)
                .bind(&tensor(device, &x, &[rows, width]))
                .bind(&tensor(device, &x[..rows], &[rows]))
                .bind(&Tensor::from_slice(device, &order, &[rows]).unwrap())
                .bind(&cursor)
                .bind(&x_batch)
                .bind(&y)
                .workgroups(groups + 1)
                .run(device)
                .unwrap();
            vec![x_batch, y, cursor]
        });
    }
    pair.compare_bits("a folded grid", |device| {
        let features = Tensor::uniform(device, 1, 1, 0.0, 1.0, &[100, 63]).unwrap();
        let targets = Tensor::full(device, 3f32, &[100]).unwrap();
        let order: Vec<u32> = (0..100).map(|i| i * 7 % 100).collect();
        let order = Tensor::from_slice(device, &order, &[100]).unwrap();
        let cursor = Tensor::zeros(device, DType::U32, &[2]).unwrap();
        let (x, y) = next_batch(&features, &targets, &order, &cursor, FOLDED).unwrap();
        vec![x, y, cursor]
    });
}

pub(crate) fn record_value(pair: &Pair) {
    for (length, count) in [(1, 1), (1, 5), (5, 0), (5, 4), (5, 5), (5, 6), (7, 23)] {
        let logged = |device: &Device| {
            let log = ValueLog::new(device, length).unwrap();
            for i in 0..count {
                log.push(&Tensor::scalar(device, i as f32).unwrap().square().unwrap()).unwrap();
            }
            let first = log.take().unwrap();
            log.push(&tensor(device, &[1.0, -1.0], &[2]).slice(0, 1, 2).unwrap()).unwrap();
            (first, log.take().unwrap())
        };
        let (expected, got) = (logged(&pair.cpu), logged(&pair.gpu));
        assert_eq!(got, expected, "{count} in a log of {length}");
        assert_eq!(got.1, [-1.0]);
        assert_eq!(got.0.len(), count.min(length));
    }
    let special = |device: &Device| {
        let log = ValueLog::new(device, 2).unwrap();
        log.push(&Tensor::scalar(device, f32::NAN).unwrap()).unwrap();
        floats(&tensor(device, &log.take().unwrap(), &[1]))
    };
    assert!(special(&pair.gpu)[0].is_nan() && special(&pair.cpu)[0].is_nan());
}
