//! Norms of tensors and of units: the methods that use them, clipping, statistics.
//!
//! The order of the sums is the same on all devices, so software drivers have the CPU's bits.

use thalweg::nn::{CautiousAdamW, Lamb, Lars, Method, NovoGrad, Sgd};
use thalweg::tensor::{AdaptiveClip, Arena, Clip, Clock, Device, Launch, Tensor, UpdateNorms};

use crate::common::{Tolerance, assert_close, floats, numbers, tensor, words};
use crate::parity::Pair;
use crate::parity::optim::{Run, assert_same_clock, hold, tolerance, write};

const LAMB: Lamb = Lamb::new().betas((0.9, 0.99)).eps(1e-6).weight_decay(0.1);
const LARS: Lars = Lars::new().momentum(0.9).weight_decay(0.1).trust_coefficient(0.01).eps(1e-6);
const NOVOGRAD: NovoGrad = NovoGrad::new().betas((0.9, 0.5)).eps(1e-6).weight_decay(0.01);
const SGD: Sgd = Sgd::new().weight_decay(0.0);

pub(crate) fn lamb(pair: &Pair) {
    hold(pair, &LAMB);
    hold(pair, &LAMB.weight_decay(0.0).maximize(true));
}

pub(crate) fn lars(pair: &Pair) {
    hold(pair, &LARS);
    hold(pair, &LARS.weight_decay(0.0).eps(0.0).nesterov(true).maximize(true));
}

pub(crate) fn novograd(pair: &Pair) {
    hold(pair, &NOVOGRAD);
    hold(pair, &NOVOGRAD.weight_decay(0.0).maximize(true));
}

/// Two steps with tensors of these sizes on both devices, on pages of `page_elements` elements.
fn steps(pair: &Pair, method: &dyn Method, clip: Clip, sizes: &[usize], page_elements: usize) {
    let shapes: Vec<Vec<usize>> = sizes.iter().map(|n| vec![*n]).collect();
    let what = format!("{method:?}, {clip:?}, {} tensors, pages of {page_elements}", sizes.len());
    let run = |device: &Device| {
        let mut run = Run::new(device, method, &shapes, page_elements);
        for t in 0..2 {
            write(&run.grads, 2 + t);
            run.step(method, clip);
        }
        run.assert_padding_is_zero(&what);
        (run.pages(), run.clock.read().unwrap())
    };
    let ((expected, expected_clock), (got, got_clock)) = (run(&pair.cpu), run(&pair.gpu));
    assert_close(&what, &got, &expected, tolerance(pair));
    assert!(expected.iter().all(|x| x.is_finite()), "{what}");
    assert_same_clock(pair, &what, &got_clock, &expected_clock);
    assert_eq!((got_clock.step, got_clock.skipped), (2, 0), "{what}");
}

/// A thousand tensors of ten elements, on one page and on many, with a grid of one workgroup each.
pub(crate) fn trust_ratio(pair: &Pair) {
    for page_elements in [usize::MAX, 16 << 10] {
        steps(pair, &LARS, Clip::Off, &[10; 1000], page_elements);
    }
}

pub(crate) fn novograd_moment(pair: &Pair) {
    for page_elements in [usize::MAX, 16 << 10] {
        steps(pair, &NOVOGRAD, Clip::Off, &[10; 1000], page_elements);
    }
}

/// The same for the shares of a mask; and tensors of several chunks, one without elements.
pub(crate) fn cautious_scale(pair: &Pair) {
    let cautious = CautiousAdamW::new().betas((0.9, 0.99)).weight_decay(0.1);
    for page_elements in [usize::MAX, 16 << 10] {
        steps(pair, &cautious, Clip::Off, &[10; 1000], page_elements);
    }
    for page_elements in [usize::MAX, 200 << 10] {
        let sizes = [4095, 4096, 4097, 64, 0, 1, 8192, 100_001, 200_000];
        steps(pair, &cautious, Clip::Norm(1.0), &sizes, page_elements);
    }
}

/// Chunks that end with a tensor, within a vector, and one element after it.
pub(crate) fn lamb_moments(pair: &Pair) {
    for page_elements in [usize::MAX, 200 << 10] {
        let sizes = [4095, 4096, 4097, 64, 0, 1, 8192, 100_001, 200_000];
        steps(pair, &LAMB, Clip::Norm(1.0), &sizes, page_elements);
    }
}

/// A tensor of 16 Mi elements and a small one: their norms compared with sums in f64.
pub(crate) fn parameter_norms(pair: &Pair) {
    let (size, learning_rate) = (16 << 20, 0.5);
    let values: Vec<f32> = numbers(1, size, -1.0, 1.0);
    let grads: Vec<f32> = numbers(2, size, -1.0, 1.0);
    let norm = |x: &[f32]| x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    let scale = learning_rate * LARS.trust_coefficient * norm(&values) / norm(&grads);
    let lars = LARS.weight_decay(0.0).eps(0.0);
    for device in [&pair.cpu, &pair.gpu] {
        let mut run = Run::new(device, &lars, &[vec![10], vec![size]], usize::MAX);
        run.clock = Clock::new(device, learning_rate).unwrap();
        run.values.get(1).write(&values).unwrap();
        run.grads.get(0).fill(1f32).unwrap();
        run.grads.get(1).write(&grads).unwrap();
        run.step(&lars, Clip::Off);
        let moments = floats(run.state[0].get(1));
        for i in (0..size).step_by(99_991) {
            let expected = scale * f64::from(grads[i]);
            let error = (f64::from(moments[i]) - expected).abs();
            assert!(error <= 1e-6 * expected.abs(), "{i} on {device}: {} is not {expected}", moments[i]);
        }
    }
}

/// Norms with other exponents than 2 compared with sums in f64, and a NaN that is not lost.
pub(crate) fn p_norms(pair: &Pair) {
    for p in [1.0, 3.0, 3.5, 0.5, f64::INFINITY] {
        for sizes in [&[10usize][..], &[300_001, 77, 5]] {
            let shapes: Vec<Vec<usize>> = sizes.iter().map(|n| vec![*n]).collect();
            let clip = Clip::PNorm { max_norm: 1.0, p };
            let run = |device: &Device| {
                let mut run = Run::new(device, &SGD, &shapes, usize::MAX);
                write(&run.grads, 3);
                run.step(&SGD, clip);
                let state = run.clock.read().unwrap();
                run.grads.get(0).slice(0, 3, 4).unwrap().write(&[f32::NAN]).unwrap();
                run.step(&SGD, clip);
                let skipped = run.clock.read().unwrap();
                assert_eq!((skipped.step, skipped.skipped, skipped.first_skipped), (1, 1, Some(2)), "{clip:?}");
                assert!(skipped.gradient_norm.is_nan(), "{clip:?} on {device}");
                (state, run.grads)
            };
            let ((expected, _), (got, grads)) = (run(&pair.cpu), run(&pair.gpu));
            // Including the element that has become NaN.
            let lost = numbers(300, sizes[0], -1.0, 1.0)[3];
            let magnitudes = grads.tensors().iter().flat_map(floats).filter(|x| !x.is_nan()).chain([lost]);
            let magnitudes = magnitudes.map(|x| f64::from(x.abs()));
            let exact = if p.is_finite() {
                magnitudes.map(|x| x.powf(p)).sum::<f64>().powf(1.0 / p)
            } else {
                magnitudes.fold(0.0, f64::max)
            };
            for state in [expected, got] {
                let error = (f64::from(state.gradient_norm) - exact).abs() / exact;
                assert!(error < 3e-6, "{clip:?}, {sizes:?}: {} is not {exact}", state.gradient_norm);
                assert_eq!((state.step, state.skipped), (1, 0), "{clip:?}");
            }
        }
    }
}

pub(crate) fn tensor_norms(pair: &Pair) {
    for clip in [Clip::TensorNorm(0.5), Clip::TensorNorm(10.0)] {
        steps(pair, &SGD, clip, &[10; 1000], usize::MAX);
        steps(pair, &SGD, clip, &[4095, 4096, 4097, 64, 0, 1, 8192, 100_001], 120 << 10);
    }
}

/// The factors of tensors: SGD from zero leaves them in the parameters.
pub(crate) fn tensor_clip(pair: &Pair) {
    let sizes = [5000, 3, 0, 700];
    let shapes: Vec<Vec<usize>> = sizes.iter().map(|n| vec![*n]).collect();
    for (clip, by_rms) in [(Clip::TensorNorm(2.0), false), (Clip::TensorRms(0.5), true)] {
        for device in [&pair.cpu, &pair.gpu] {
            let mut run = Run::new(device, &SGD, &shapes, usize::MAX);
            run.clock = Clock::new(device, 1.0).unwrap();
            run.values.clear().unwrap();
            write(&run.grads, 3);
            run.step(&SGD, clip);
            for (value, grad) in run.values.tensors().iter().zip(run.grads.tensors()) {
                let (value, grad) = (floats(value), floats(grad));
                let norm = grad.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                let rms = norm / (grad.len().max(1) as f64).sqrt();
                let factor = if by_rms { (0.5 / rms).min(1.0) } else { (2.0 / (norm + 1e-6)).min(1.0) };
                let expected: Vec<f32> = grad.iter().map(|x| (-factor * f64::from(*x)) as f32).collect();
                assert_close(&format!("{clip:?} on {device}"), &value, &expected, Tolerance::new(1e-7, 1e-6));
            }
            assert_eq!(run.clock.read().unwrap().clipped, 1);
            // Another kind of clipping discards the factors of this one.
            run.values.clear().unwrap();
            run.step(&SGD, Clip::Off);
            let grads: Vec<f32> = run.grads.pages().iter().flat_map(floats).map(|x| -x).collect();
            let values: Vec<f32> = run.values.pages().iter().flat_map(floats).collect();
            assert_close("afterwards", &values, &grads, Tolerance::EXACT);
        }
        steps(pair, &SGD, clip, &[10, 5000, 64], usize::MAX);
    }
}

pub(crate) fn scale_rows(pair: &Pair) {
    for (clip_factor, vectors) in [(0.5f32, 64u32), (-1.0, 64), (1.0, 1008)] {
        let rows = vectors as usize / 16 + 3;
        let run = |device: &Device| {
            let grads = tensor(device, &numbers(1, 4 * vectors as usize, -1.0, 1.0), &[4 * vectors as usize]);
            let table = tensor(device, &numbers(2, 4 * rows, 0.0, 1.0), &[4 * rows]);
            let mut words = [0; Clock::SAVED_WORDS];
            words[3] = clip_factor.to_bits();
            let clock = Tensor::from_slice(device, &words, &[Clock::SAVED_WORDS]);
            Launch::new(crate::parity::kernel("scale_rows"), [vectors, 2])
                .bind(&grads)
                .bind(&table)
                .bind(&clock.unwrap())
                .workgroups(vectors.div_ceil(64) as usize)
                .run(device)
                .unwrap();
            [floats(&grads), floats(&table)].concat()
        };
        let (expected, got) = (run(&pair.cpu), run(&pair.gpu));
        assert_close(&format!("factor {clip_factor}, {vectors} vectors"), &got, &expected, Tolerance::EXACT);
        let factors = numbers(2, 4 * rows, 0.0, 1.0);
        let before = numbers(1, 4 * vectors as usize, -1.0, 1.0);
        let place = before.len() - 1;
        let factor = if clip_factor < 0.0 { 1.0 } else { factors[4 * (2 + place / 64) + 2] };
        assert_eq!(expected[place], before[place] * factor);
        // The factors are consumed, and the neighbouring rows stay.
        let mut table = factors.clone();
        if clip_factor >= 0.0 {
            table[8..][..vectors as usize / 4].iter_mut().skip(2).step_by(4).for_each(|factor| *factor = 1.0);
        }
        assert_eq!(expected[before.len()..], table);
    }
}

/// Units of all shapes, on pages of one tensor each and on one page.
pub(crate) fn adaptive_clip(pair: &Pair) {
    let shapes = [vec![7, 5], vec![5], vec![], vec![0, 3], vec![3, 0], vec![2, 3, 40], vec![3, 1000], vec![2000]];
    for page_elements in [usize::MAX, 4096] {
        let run = |device: &Device| {
            let values = Arena::with_page_size(device, &shapes, page_elements).unwrap();
            let grads = values.zeros_like().unwrap();
            write(&values, 1);
            write(&grads, 2);
            AdaptiveClip::new(&values, 0.3, 1e-3).unwrap().clip(&values, &grads).unwrap();
            (values, grads)
        };
        let ((values, expected), (_, got)) = (run(&pair.cpu), run(&pair.gpu));
        for (i, shape) in shapes.iter().enumerate() {
            let (value, expected) = (floats(values.get(i)), floats(expected.get(i)));
            assert_close(&format!("{shape:?}"), &floats(got.get(i)), &expected, tolerance(pair));
            let rows = if shape.len() < 2 { 1 } else { shape[0] };
            let norm = |x: &[f32]| x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            let length = (value.len() / rows.max(1)).max(1);
            for (value, grad) in value.chunks(length).zip(expected.chunks(length)) {
                assert!(norm(grad) <= 0.3 * norm(value).max(1e-3) * (1.0 + 1e-6), "{shape:?}: a unit is too long");
            }
        }
        for (expected, got) in expected.pages().iter().zip(got.pages()) {
            assert_close("padding", &floats(got), &floats(expected), tolerance(pair));
        }
    }
    let values = Arena::new(&pair.cpu, &[vec![3]]).unwrap();
    for (clipping, eps) in [(0.0, 1e-3), (f64::NAN, 1e-3), (0.1, 0.0), (0.1, 1e-60)] {
        let error = AdaptiveClip::new(&values, clipping, eps).unwrap_err().to_string();
        assert!(error.contains("finite and greater than 0"), "{error}");
    }
}

/// The norms of two arenas, on both devices and in f64.
fn measured(pair: &Pair, shapes: &[Vec<usize>], page_elements: usize) {
    let run = |device: &Device| {
        let values = Arena::with_page_size(device, shapes, page_elements).unwrap();
        write(&values, 1);
        let norms = UpdateNorms::new(&values).unwrap();
        norms.begin(&values).unwrap();
        let before: Vec<f32> = values.tensors().iter().flat_map(floats).collect();
        write(&values, 2);
        let clock = Clock::new(device, 0.1).unwrap();
        norms.end(&values, &clock).unwrap();
        let after: Vec<f32> = values.tensors().iter().flat_map(floats).collect();
        (clock.read().unwrap(), before, after)
    };
    let ((expected, before, after), (got, ..)) = (run(&pair.cpu), run(&pair.gpu));
    let norms = |state: thalweg::tensor::ClockState| [state.update_norm, state.weight_norm];
    assert_close(&format!("pages of {page_elements}"), &norms(got), &norms(expected), tolerance(pair));
    let norm = |terms: &mut dyn Iterator<Item = f64>| terms.map(|x| x * x).sum::<f64>().sqrt();
    let weight = norm(&mut before.iter().map(|x| f64::from(*x)));
    let update = norm(&mut before.iter().zip(&after).map(|(x, y)| f64::from(*y) - f64::from(*x)));
    let ratio = got.update_to_weight_ratio().unwrap();
    assert!((ratio - update / weight).abs() <= 1e-6 * ratio, "{ratio} is not {}", update / weight);
}

pub(crate) fn update_norms(pair: &Pair) {
    measured(pair, &[vec![300_001], vec![77], vec![0], vec![130]], usize::MAX);
    measured(pair, &[vec![1000], vec![77], vec![1009]], 1024);
}

/// More partial sums than the lanes of a workgroup, and a clock whose other words stay.
pub(crate) fn statistics(pair: &Pair) {
    measured(pair, &[vec![2_000_003]], usize::MAX);
    for device in [&pair.cpu, &pair.gpu] {
        let partials = tensor(device, &[4.0, 9.0, 5.0, 7.0], &[4]);
        let mut expected: Vec<u32> = (0..).take(Clock::SAVED_WORDS).collect();
        let clock = Tensor::from_slice(device, &expected, &[Clock::SAVED_WORDS]).unwrap();
        Launch::new(crate::parity::kernel("statistics"), 2u32).bind(&partials).bind(&clock).run(device).unwrap();
        expected[18..20].copy_from_slice(&[3f32.to_bits(), 4f32.to_bits()]);
        assert_eq!(words(&clock), expected, "{device}");
    }
}
