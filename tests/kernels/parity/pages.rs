//! Launches over an arena other than updates: averages, swaps, Lookahead, SAM's ascent.

use thalweg::nn::{Method, Sgd};
use thalweg::tensor::{
    Arena, Averaging, Clip, Clock, Device, RunningAverage, SegmentSettings, SharpnessAscent, StepArguments, Tensor,
};

use crate::common::{Tolerance, floats, numbers};
use crate::parity::Pair;

/// Tensors around the alignment and a workgroup's block, in one page and in several; and more workgroups than one.
const LAYOUTS: [(&[usize], usize); 3] = [
    (&[0, 1, 63, 64, 65, 255, 256, 257, 511, 512, 513, 1009], usize::MAX),
    (&[0, 1, 63, 64, 65, 255, 256, 257, 511, 512, 513, 1009], 1024),
    (&[300_001, 77, 5], usize::MAX),
];

fn arena(device: &Device, (shapes, page_elements): (&[usize], usize), seed: u64) -> Arena {
    let shapes: Vec<Vec<usize>> = shapes.iter().map(|&length| vec![length]).collect();
    let arena = Arena::with_page_size(device, &shapes, page_elements).unwrap();
    write(&arena, seed);
    arena
}

fn write(arena: &Arena, seed: u64) {
    for (i, tensor) in arena.tensors().iter().enumerate() {
        tensor.write(&numbers(100 * seed + i as u64, tensor.len(), -1.0, 1.0)).unwrap();
    }
}

fn pages(arenas: &[&Arena]) -> Vec<Tensor> {
    arenas.iter().flat_map(|arena| arena.pages()).cloned().collect()
}

/// Returns the tolerance for sums, products and quotients: software drivers have the CPU's bits.
fn tolerance(pair: &Pair) -> Tolerance {
    pair.tolerance(Tolerance::EXACT, Tolerance::new(1e-6, 1e-5))
}

pub(crate) fn scale(pair: &Pair) {
    for layout in LAYOUTS {
        pair.compare(&format!("{layout:?}"), Tolerance::EXACT, |device| {
            let values = arena(device, layout, 1);
            values.scale(1.0 / 3.0).unwrap();
            let expected: Vec<f32> = numbers(102, 63, -1.0, 1.0).iter().map(|x| x * (1.0 / 3.0)).collect();
            assert!(layout.0.len() < 5 || floats(values.get(2)) == expected, "{device}");
            pages(&[&values])
        });
    }
}

pub(crate) fn average(pair: &Pair) {
    for layout in LAYOUTS {
        for averaging in [Averaging::Equal, Averaging::Exponential { decay: 0.9 }, Averaging::Debiased { decay: 0.99 }]
        {
            pair.compare(&format!("{layout:?} {averaging:?}"), tolerance(pair), |device| {
                let values = arena(device, layout, 0);
                let average = RunningAverage::new(&values, averaging).unwrap();
                for step in 1..=5 {
                    write(&values, step);
                    average.update(&values).unwrap();
                    // The first update copies the parameters.
                    let same = floats(average.averages().get(0)) == floats(values.get(0));
                    assert!(same || step > 1, "{device}");
                }
                assert_eq!(average.save().unwrap()[0], 5, "{device}");
                pages(&[average.averages()])
            });
        }
    }
}

pub(crate) fn swap_in(pair: &Pair) {
    for layout in LAYOUTS {
        for (weight, is_apart) in [(1.0, false), (-0.25, true), (0.5, false)] {
            pair.compare(&format!("{layout:?} {weight} {is_apart}"), tolerance(pair), |device| {
                let (values, others) = (arena(device, layout, 1), arena(device, layout, 2));
                let kept = values.zeros_like().unwrap();
                let mut clock = Clock::new(device, 0.0).unwrap();
                let frozen = |i: usize| is_apart && i % 2 == 1;
                if is_apart {
                    let settings: Vec<SegmentSettings> = (0..values.len())
                        .map(|i| SegmentSettings { frozen: frozen(i), ..SegmentSettings::default() })
                        .collect();
                    clock.set_segments(&values, &settings).unwrap();
                }
                let before: Vec<Vec<f32>> = values.tensors().iter().map(floats).collect();
                let swap = |clock: &Clock| clock.swap_in(&values, &others, weight, &kept).unwrap();
                // Before the first step nothing is swapped.
                swap(&clock);
                let now: Vec<Vec<f32>> = values.tensors().iter().map(floats).collect();
                assert!(now == before, "{device}");
                let grads = values.zeros_like().unwrap();
                let step =
                    StepArguments { values: &values, grads: &grads, state: &[], clock: &mut clock, clip: Clip::Off };
                Sgd::new().weight_decay(0.0).step(step).unwrap();
                swap(&clock);
                for (i, before) in before.iter().enumerate() {
                    assert!(&floats(kept.get(i)) == before, "{device}: kept");
                    let expected = match (frozen(i), weight == 1.0) {
                        (true, _) => Some(before.clone()),
                        (false, true) => Some(floats(others.get(i))),
                        (false, false) => None,
                    };
                    assert!(expected.is_none_or(|expected| floats(values.get(i)) == expected), "{device}: tensor {i}");
                }
                let result = pages(&[&values]).iter().map(|page| page.copy().unwrap()).collect();
                values.copy_from(&kept).unwrap();
                assert!(values.tensors().iter().map(floats).eq(before), "{device}: and back");
                result
            });
        }
    }
}

pub(crate) fn lookahead(pair: &Pair) {
    for (layout, is_apart) in LAYOUTS.into_iter().flat_map(|layout| [(layout, false), (layout, true)]) {
        pair.compare(&format!("{layout:?}, set apart: {is_apart}"), tolerance(pair), |device| {
            let (values, grads, slow) = (arena(device, layout, 1), arena(device, layout, 2), arena(device, layout, 1));
            let mut clock = Clock::new(device, 0.1).unwrap();
            if is_apart {
                // The slow weights of frozen parameters differ from them, and neither of them moves.
                let settings: Vec<_> = (0..values.len())
                    .map(|i| SegmentSettings { frozen: i % 2 == 0, ..SegmentSettings::default() })
                    .collect();
                clock.set_segments(&values, &settings).unwrap();
                (0..values.len()).step_by(2).for_each(|i| slow.get(i).fill(0.5f32).unwrap());
            }
            let before = [floats(values.get(0)), floats(slow.get(0))];
            for step in 1..=5 {
                let clip = Clip::Off;
                let arguments = StepArguments { values: &values, grads: &grads, state: &[], clock: &mut clock, clip };
                Sgd::new().weight_decay(0.0).step(arguments).unwrap();
                clock.look_ahead(&values, &slow, 3, 0.5).unwrap();
                let is_same = floats(values.get(1)) == floats(slow.get(1));
                assert_eq!(is_same, step == 3, "{device}, step {step}");
            }
            let after = [floats(values.get(0)), floats(slow.get(0))];
            assert_eq!(before == after, is_apart || layout.0[0] == 0, "{device}");
            pages(&[&values, &slow])
        });
    }
}

/// Both kinds of ascent; then with a norm that is not finite, which changes nothing.
pub(crate) fn sharpness(pair: &Pair) {
    let large: (&[usize], usize) = (&[2_500_000], usize::MAX);
    for layout in LAYOUTS.into_iter().chain([large]) {
        for eta in [None, Some(0.01)] {
            pair.compare(&format!("{layout:?} {eta:?}"), tolerance(pair), |device| {
                let (values, grads) = (arena(device, layout, 1), arena(device, layout, 2));
                let before: Vec<Vec<f32>> = values.tensors().iter().map(floats).collect();
                let ascent = SharpnessAscent::new(&values, 0.5, eta).unwrap();
                ascent.step(&values, &grads).unwrap();
                assert!(ascent.kept().tensors().iter().map(floats).eq(before.clone()), "{device}: kept");
                // The step's length if t is 1: rho.
                let t = |x: f32| eta.map_or(1.0, |eta| f64::from(x).abs() + eta);
                let moved = values.tensors().iter().zip(&before).flat_map(|(tensor, before)| {
                    let now = floats(tensor);
                    now.into_iter()
                        .zip(before)
                        .map(|(x, &y)| ((f64::from(x) - f64::from(y)) / t(y)).powi(2))
                        .collect::<Vec<_>>()
                });
                let length = moved.sum::<f64>().sqrt();
                assert!((length - 0.5).abs() < 2e-3, "{device}: {length}");
                let result: Vec<Tensor> = pages(&[&values]).iter().map(|page| page.copy().unwrap()).collect();
                values.copy_from(ascent.kept()).unwrap();
                grads.get(0).fill(f32::NAN).unwrap();
                grads.get(2 % grads.len()).fill(f32::INFINITY).unwrap();
                ascent.step(&values, &grads).unwrap();
                assert!(values.tensors().iter().map(floats).eq(before), "{device}: not finite");
                result
            });
        }
    }
}
