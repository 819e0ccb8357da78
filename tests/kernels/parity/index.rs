//! Kernels that work with indices: gathers, scatters, masks and sorts.

use thalweg::autograd::Tape;
use thalweg::tensor::{Device, Error, Tensor};

use crate::common::{Tolerance, devices, floats, numbers, own_devices, tensor, words};
use crate::parity::{FOLDED, Pair, SIZES};

/// Sums run in the same order on both devices; hardware may still put two additions together in another way.
fn sums(pair: &Pair) -> Tolerance {
    pair.tolerance(Tolerance::EXACT, Tolerance::new(1e-4, 1e-6))
}

/// Repeated indices.
fn indices(device: &Device, extent: usize, shape: &[usize]) -> Tensor {
    let of = |i: u32| i.wrapping_mul(i).wrapping_mul(31) % extent as u32;
    let indices: Vec<u32> = (0..shape.iter().product::<usize>() as u32).map(of).collect();
    Tensor::from_slice(device, &indices, shape).unwrap()
}

/// Shapes of three dimensions, and numbers of indices along the middle one.
const LINES: [([usize; 3], usize); 8] = [
    ([1, 1, 1], 1),
    ([1, 7, 1], 65),
    ([3, 5, 1], 4),
    ([2, 5, 3], 9),
    ([1, 4, 65], 3),
    ([4, 3, 2], 0),
    ([0, 3, 2], 2),
    ([5, 64, 7], 33),
];

pub(crate) fn gather(pair: &Pair) {
    for (shape, count) in LINES {
        let x = numbers(1, shape.iter().product(), -3.0, 3.0);
        pair.compare_bits(&format!("{count} of {shape:?}"), |device| {
            let x = tensor(device, &x, &shape);
            let own = indices(device, shape[1], &[shape[0], count, shape[2]]);
            let shared = indices(device, shape[1], &[count]);
            vec![
                x.gather(1, &own).unwrap(),
                x.gather_last(1, &own).unwrap(),
                x.index_select(1, &shared).unwrap(),
                x.transpose(0, 1).unwrap().gather(0, &own.transpose(0, 1).unwrap()).unwrap(),
                x.transpose(1, 2).unwrap().index_select(-1, &shared).unwrap(),
            ]
        });
    }
    pair.compare_bits("u32, six dimensions, fewer lines than the tensor has", |device| {
        let elements: Vec<u32> = (0..2 * 3 * 2 * 5 * 3 * 2).collect();
        let x = Tensor::from_slice(device, &elements, &[2, 3, 2, 5, 3, 2]).unwrap();
        vec![
            x.gather(-3, &indices(device, 5, &[1, 3, 2, 8, 2, 1])).unwrap(),
            x.permute(&[5, 3, 1, 0, 2, 4]).unwrap().gather(1, &indices(device, 5, &[2, 6, 3, 1, 2, 3])).unwrap(),
        ]
    });
    let x = numbers(2, 64 * 10, -3.0, 3.0);
    pair.compare_bits("a folded grid", |device| {
        vec![tensor(device, &x, &[10, 64]).gather(0, &indices(device, 10, &[FOLDED, 64])).unwrap()]
    });
}

pub(crate) fn scatter(pair: &Pair) {
    for (shape, count) in LINES {
        let (x, source) =
            (numbers(1, shape.iter().product(), -3.0, 3.0), numbers(2, shape[0] * count * shape[2], -3.0, 3.0));
        pair.compare_bits(&format!("{count} into {shape:?}"), |device| {
            let of_source = [shape[0], count, shape[2]];
            let (x, source) = (tensor(device, &x, &shape), tensor(device, &source, &of_source));
            let own = indices(device, shape[1], &of_source);
            let y = x.scatter(1, &own, &source).unwrap();
            // In order, the last one overwrites those before it.
            let mut expected = floats(&x);
            let own = words(&own);
            for (i, &source) in floats(&source).iter().enumerate() {
                let (outer, inner, index) = (i / shape[2] / count, i % shape[2], own[i] as usize);
                if index < shape[1] {
                    expected[(outer * shape[1] + index) * shape[2] + inner] = source;
                }
            }
            assert_eq!(floats(&y), expected, "{device}");
            vec![y]
        });
    }
    let (x, source) = (numbers(1, 2 * 3 * 4, -3.0, 3.0), numbers(2, 30, -3.0, 3.0));
    pair.compare_bits("fewer lines than the tensor has", |device| {
        let (x, own) = (tensor(device, &x, &[2, 3, 4]), indices(device, 3, &[1, 5, 2]));
        let source = tensor(device, &source, &[3, 5, 2]).slice(0, 1, 2).unwrap();
        let added = x.scatter_add(1, &own, &source).unwrap();
        vec![x.scatter(1, &own, &source).unwrap(), added]
    });
}

pub(crate) fn scatter_add(pair: &Pair) {
    for (shape, count) in LINES {
        let (x, source) =
            (numbers(1, shape.iter().product(), -3.0, 3.0), numbers(2, shape[0] * count * shape[2], -3.0, 3.0));
        pair.compare(&format!("{count} into {shape:?}"), sums(pair), |device| {
            let of_source = [shape[0], count, shape[2]];
            let (x, source) = (tensor(device, &x, &shape), tensor(device, &source, &of_source));
            vec![
                x.scatter_add(1, &indices(device, shape[1], &of_source), &source).unwrap(),
                x.index_add(1, &indices(device, shape[1], &[count]), &source).unwrap(),
            ]
        });
    }
}

/// Lists above 256 are sorted. All elements of one place, and many places.
pub(crate) fn scatter_sorted(pair: &Pair) {
    for (shape, count) in
        [([2, 3, 5], 257), ([1, 1, 1], 5000), ([1, 4000, 1], 3001), ([2, 7, 2], 1025), ([1, 5, 70], 300)]
    {
        let (x, source) =
            (numbers(1, shape.iter().product(), -3.0, 3.0), numbers(2, shape[0] * count * shape[2], -3.0, 3.0));
        pair.compare(&format!("{count} into {shape:?}"), sums(pair), |device| {
            let of_source = [shape[0], count, shape[2]];
            let (x, source) = (tensor(device, &x, &shape), tensor(device, &source, &of_source));
            let own = indices(device, shape[1], &of_source);
            let y = x.scatter_add(1, &own, &source).unwrap();
            let mut expected: Vec<f64> = floats(&x).into_iter().map(f64::from).collect();
            let own = words(&own);
            for (i, &source) in floats(&source).iter().enumerate() {
                let (outer, inner, index) = (i / shape[2] / count, i % shape[2], own[i] as usize);
                if index < shape[1] {
                    expected[(outer * shape[1] + index) * shape[2] + inner] += f64::from(source);
                }
            }
            let expected: Vec<f32> = expected.into_iter().map(|x| x as f32).collect();
            crate::common::assert_close(&format!("{shape:?}"), &floats(&y), &expected, Tolerance::new(1e-3, 1e-5));
            vec![y, x.index_add(1, &indices(device, shape[1], &[count]), &source).unwrap()]
        });
    }
}

pub(crate) fn masks(pair: &Pair) {
    for size in SIZES.into_iter().chain([3000]) {
        let x: Vec<f32> = numbers(1, size, -2.0, 2.0).into_iter().map(f32::round).collect();
        pair.compare_bits(&format!("{size} elements"), |device| {
            let x = tensor(device, &x, &[size]);
            let (mask, plain) = (x.abs().unwrap(), floats(&x));
            let places: Vec<u32> = (0..size as u32).filter(|&i| plain[i as usize] != 0.0).collect();
            let nonzero = x.nonzero().unwrap();
            assert_eq!((words(&nonzero), nonzero.shape()), (places.clone(), &[places.len(), 1][..]));
            vec![nonzero, x.masked_select(&mask).unwrap(), x.masked_fill(&mask, 0.5).unwrap()]
        });
    }
    pair.compare_bits("broadcasts, NaN and zeros of both signs", |device| {
        let mask = tensor(device, &[f32::NAN, -0.0, 0.0, f32::INFINITY], &[4]);
        let x = tensor(device, &numbers(1, 12, -1.0, 1.0), &[4, 3]).t().unwrap();
        let flags = Tensor::from_slice(device, &[0x8000_0000u32, 0, 1], &[3, 1]).unwrap();
        let number = tensor(device, &[2.0], &[]);
        assert_eq!(words(&mask.nonzero().unwrap()), [0, 3]);
        assert_eq!(number.nonzero().unwrap().shape(), [1, 0]);
        let (selected, by_flags) = (x.masked_select(&mask).unwrap(), x.masked_select(&flags).unwrap());
        assert_eq!((selected.shape(), by_flags.shape()), (&[6][..], &[8][..]));
        vec![
            selected,
            by_flags,
            x.masked_fill(&mask, f32::NEG_INFINITY).unwrap(),
            x.gt(&x.slice(0, 0, 1).unwrap()).unwrap().nonzero().unwrap(),
        ]
    });
}

/// Whole numbers, so that many are equal, with zeros of both signs, infinities and NaN.
fn hard_numbers(count: usize) -> Vec<f32> {
    let special = [f32::NAN, -0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN, 1e-40, -1e-40];
    let whole = numbers(1, count, -9.0, 9.0).into_iter().map(f32::round).enumerate();
    whole.map(|(i, x)| if i % 5 == 3 { special[i / 5 % 8] } else { x }).collect()
}

/// Sorts by comparing, NaN as the largest.
fn hold_sorted(device: &Device, x: &[f32], rows: usize, length: usize) -> Vec<Tensor> {
    let place = |x: f32| if x.is_nan() { f32::INFINITY } else { x };
    let before = |x: f32, y: f32| place(x).partial_cmp(&place(y)).unwrap().then(x.is_nan().cmp(&y.is_nan()));
    let tensor = tensor(device, x, &[rows, length]);
    let mut results = Vec::new();
    for is_descending in [false, true] {
        let mut expected = Vec::new();
        for row in x.chunks(length.max(1)) {
            let mut places: Vec<u32> = (0..length as u32).collect();
            let at = |i: &u32| row[*i as usize];
            places.sort_by(|i, j| if is_descending { before(at(j), at(i)) } else { before(at(i), at(j)) });
            expected.extend(places);
        }
        let (values, indices) = tensor.sort(1, is_descending).unwrap();
        assert_eq!(words(&indices), expected, "{rows} rows of {length} on {device}");
        results.extend([values, indices]);
    }
    results
}

pub(crate) fn sort_blocks(pair: &Pair) {
    for length in SIZES.into_iter().chain([2, 7, 8, 31, 33, 1000, 1023, 1024]) {
        for rows in [0, 1, 3, 70] {
            let x = hard_numbers(rows * length);
            pair.compare_bits(&format!("{rows} rows of {length}"), |device| hold_sorted(device, &x, rows, length));
        }
    }
    let x = hard_numbers(FOLDED * 2);
    pair.compare_bits("many rows", |device| hold_sorted(device, &x, FOLDED, 2));
    pair.compare_bits("other axes, u32, a number", |device| {
        let x = tensor(device, &hard_numbers(5 * 6 * 7), &[5, 6, 7]);
        let words = Tensor::from_slice(device, &[5u32, u32::MAX, 0, 5, 1 << 31, 7], &[2, 3]).unwrap();
        let number = tensor(device, &[2.0], &[]);
        let mut results = Vec::new();
        for (values, indices) in [
            x.sort(0, false),
            x.sort(-2, true),
            x.permute(&[2, 0, 1]).unwrap().topk(3, 0, true),
            x.topk(2, 1, false),
            x.topk(0, 1, false),
            words.sort(1, false),
            words.sort(0, true),
            number.sort(0, false),
            number.topk(1, -1, true),
        ]
        .into_iter()
        .map(|result| result.unwrap())
        {
            assert_eq!(values.shape(), indices.shape());
            results.extend([values, indices]);
        }
        results.push(x.argsort(1, true).unwrap());
        results
    });
}

pub(crate) fn sort_merge(pair: &Pair) {
    for (rows, length) in [(2, 1025), (3, 2048), (1, 5000), (2, 40_001)] {
        let x = hard_numbers(rows * length);
        pair.compare_bits(&format!("{rows} rows of {length}"), |device| hold_sorted(device, &x, rows, length));
    }
    let x = numbers(3, 1 << 20, -3.0, 3.0);
    pair.compare_bits("a row of 2^20", |device| hold_sorted(device, &x, 1, 1 << 20));
}

pub(crate) fn median(pair: &Pair) {
    for length in SIZES.into_iter().chain([2, 8, 1500]).filter(|&length| length > 0) {
        let x: Vec<f32> = numbers(1, 3 * length, -9.0, 9.0).into_iter().map(f32::round).collect();
        let mut with_nan = x.clone();
        with_nan[length / 2] = f32::NAN;
        pair.compare_bits(&format!("rows of {length}"), |device| {
            let (median, index) = tensor(device, &x, &[3, length]).median(1, false).unwrap();
            for (row, median) in x.chunks(length).zip(floats(&median)) {
                let mut row = row.to_vec();
                row.sort_by(f32::total_cmp);
                assert_eq!(median, row[(length - 1) / 2]);
            }
            let (of_nan, place) = tensor(device, &with_nan, &[3, length]).median(-1, true).unwrap();
            assert_eq!((words(&place)[0] as usize, floats(&of_nan)[0].is_nan()), (length / 2, true));
            let (number, nought) = tensor(device, &[3.0], &[]).median(0, true).unwrap();
            assert_eq!((number.shape(), words(&nought)), (&[][..], vec![0]));
            vec![median, index, of_nan, place]
        });
    }
    let x = tensor(&pair.gpu, &[], &[2, 0]);
    assert!(x.median(1, false).is_err() && x.topk(1, 1, false).is_err());
}

#[test]
fn misuse_of_indices_is_an_error_that_says_what() {
    for device in devices() {
        let (x, own) = (tensor(&device, &[1.0; 6], &[2, 3]), indices(&device, 2, &[2, 3]));
        let list = indices(&device, 2, &[4]);
        let message = |result: Result<Tensor, Error>| result.unwrap_err().to_string();
        assert!(message(x.gather(2, &own)).contains("2 of shape [2, 3]"));
        assert!(message(x.gather(1, &list)).starts_with("gather: the indices have another rank"));
        assert!(message(x.gather(0, &indices(&device, 2, &[2, 4]))).contains("are larger along an axis"));
        assert!(message(x.gather(0, &x)).contains("needs elements of type u32, got f32"));
        assert!(message(x.index_select(0, &own)).contains("needs a list of indices"));
        assert!(message(x.scatter(0, &own, &x.t().unwrap())).contains("one index per element of the source"));
        assert!(message(x.scatter_add(0, &own, &own)).contains("needs elements of type f32, got u32"));
        assert!(message(x.index_add(0, &list, &x)).contains("one index per part"));
        assert!(message(x.topk(4, 1, true).map(|(values, _)| values)).contains("k = 4"));
        assert!(x.masked_fill(&tensor(&device, &[1.0; 2], &[2]), 0.0).is_err());
        let waits = device.record(|| x.nonzero());
        assert!(waits.unwrap_err().to_string().starts_with("nonzero: not while a recording is made"));
    }
}

/// A gather, a scatter and an embedding with indices that occur often, of more than are added in order.
#[test]
fn gradients_of_indices_have_the_same_bits_in_every_run() {
    for device in devices() {
        let (x, table) = (tensor(&device, &numbers(1, 40 * 5, -1.0, 1.0), &[40, 5]), numbers(2, 50 * 33, -1.0, 1.0));
        let table = tensor(&device, &table, &[50, 33]);
        let (own, rows) = (indices(&device, 40, &[900, 5]), indices(&device, 50, &[2000]));
        let run = || {
            let tape = Tape::new();
            let (x, table) = (tape.input(&x), tape.input(&table));
            let picked = x.sin().unwrap().gather(0, &own).unwrap();
            let spread = x.square().unwrap().scatter(0, &own, picked.mul(picked).unwrap()).unwrap();
            let added = x.scatter_add(0, &own, picked).unwrap();
            let embedded = table.gather_rows(&rows).unwrap().square().unwrap();
            let embedded = embedded.sum().unwrap();
            let loss = spread.mul(added).unwrap().sum().unwrap().add(embedded).unwrap();
            let gradients = tape.backward(loss).unwrap();
            let mut bits: Vec<u32> = Vec::new();
            for input in [x, table] {
                bits.extend(floats(gradients.get(input).unwrap()).into_iter().map(f32::to_bits));
            }
            bits
        };
        let first = run();
        assert!(first.iter().all(|&bits| f32::from_bits(bits).is_finite()), "{device}");
        for _ in 1..20 {
            assert!(run() == first, "{device}");
        }
    }
}

/// Index operations with a bad index, on a table of four rows: the operation, and its result without it.
type Bad = (&'static str, fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor, Error>, [f32; 4]);

const BAD: [Bad; 8] = [
    ("gather", |x, indices, _| x.gather(0, indices), [4.0, f32::NAN, 2.0, 4.0]),
    ("gather_last", |x, indices, _| x.gather_last(0, indices), [0.0, 0.0, 2.0, 4.0]),
    ("gather_rows", |x, indices, _| x.gather_rows(indices), [4.0, f32::NAN, 2.0, 4.0]),
    ("index_select", |x, indices, _| x.unsqueeze(0)?.index_select(1, indices)?.squeeze(0), [4.0, f32::NAN, 2.0, 4.0]),
    ("scatter", |x, indices, source| x.scatter(0, indices, source), [1.0, 30.0, 3.0, 40.0]),
    ("scatter_add", |x, indices, source| x.scatter_add(0, indices, source), [1.0, 32.0, 3.0, 54.0]),
    ("index_add", |x, indices, source| x.index_add(0, indices, source), [1.0, 32.0, 3.0, 54.0]),
    (
        "scatter_add_rows",
        |x, indices, source| {
            let sums = x.copy()?;
            source.scatter_add_rows_into(indices, &sums)?;
            Ok(sums)
        },
        [1.0, 32.0, 3.0, 54.0],
    ),
];

/// The next read-back returns a bad index, once; the results are as if it were not there.
#[test]
fn an_index_out_of_range_is_an_error_of_the_next_read() {
    // The fault must not reach the reads of other tests.
    for device in own_devices() {
        let x = tensor(&device, &[1.0, 2.0, 3.0, 4.0], &[4]);
        let source = tensor(&device, &[10.0, 20.0, 30.0, 40.0], &[4]);
        let bad = Tensor::from_slice(&device, &[3u32, 9, 1, 3], &[4]).unwrap();
        let is_bad = |name: &str, error: Error| {
            assert_eq!(error.to_string(), format!("{name}: index 9 is out of the range 0..4"), "{device}");
        };
        for (name, apply, expected) in BAD {
            let y = apply(&x, &bad, &source).unwrap();
            is_bad(name, x.to_vec::<f32>().unwrap_err());
            crate::common::assert_same_bits(name, &y.to_vec::<f32>().unwrap(), &expected);
        }
        // A list that is sorted; the noted index is any of the bad ones.
        for (name, apply, _) in &BAD[5..] {
            let long: Vec<u32> = (0..1000).map(|i| if i == 700 { 9 } else { i % 4 }).collect();
            let (long, ones) =
                (Tensor::from_slice(&device, &long, &[1000]).unwrap(), Tensor::full(&device, 1f32, &[1000]).unwrap());
            let y = apply(&x, &long, &ones).unwrap();
            let mut pending = y.read_later::<f32>();
            let error = loop {
                match pending.as_mut().map(|pending| pending.poll()) {
                    Err(error) => break error.clone(),
                    Ok(Err(error)) => break error,
                    Ok(Ok(None)) => std::thread::yield_now(),
                    Ok(Ok(Some(_))) => panic!("{name}: no error"),
                }
            };
            is_bad(name, error);
            assert_eq!(y.to_vec::<f32>().unwrap(), [250.0, 252.0, 253.0, 254.0], "{name} on {device}");
        }
        // In a recording, and by its replays.
        let (recording, y) = device.record(|| x.gather(0, &bad)).unwrap();
        assert!(matches!(y.to_vec::<f32>(), Err(Error::Index { op: "gather", index: 9, bound: 4 })));
        bad.write(&[0u32, 1, 2, 3]).unwrap();
        recording.replay(2).unwrap();
        assert_eq!(y.to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0]);
        bad.write(&[0u32, 1, 2, 4]).unwrap();
        recording.replay(2).unwrap();
        assert!(matches!(source.to_vec::<f32>(), Err(Error::Index { op: "gather", index: 4, bound: 4 })));
        assert_eq!(source.to_vec::<f32>().unwrap()[0], 10.0);
    }
}
