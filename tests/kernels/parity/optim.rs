//! The fused updates, the norm of the gradients and the clock, over several steps.
//!
//! An update is a fixed sequence of sums, products, quotients and roots, so software drivers have the CPU's bits.
//! Hardware contracts and divides in its own way: a few ulp per step, over the six steps here below 1e-5 of a
//! parameter.

mod matrices;
mod methods;

use thalweg::nn::{
    AdaBelief, Adadelta, Adafactor, Adagrad, Adam, AdamW, AdamW8bit, Adamax, Adan, Amsgrad, Asgd, Lion, METHODS,
    Method, Muon, MuonScale, NAdam, Prodigy, RAdam, RmsProp, Rprop, ScheduleFreeAdamW, ScheduleFreeSgd, Sgd, Sm3, Soap,
    Sophia, Yogi,
};
use thalweg::tensor::{
    Arena, Clip, Clock, ClockState, Curvature, DType, Device, ScheduleTable, SegmentSettings, StepArguments, Tensor,
};

use crate::common::{Tolerance, floats, numbers, words};
use crate::parity::Pair;
use matrices::hold_matrices;
pub(crate) use matrices::*;
pub(crate) use methods::*;

const STEPS: usize = 6;

pub(crate) fn tolerance(pair: &Pair) -> Tolerance {
    pair.tolerance(Tolerance::EXACT, Tolerance::new(1e-5, 1e-5))
}

/// Returns shapes of tensors in an arena: no element, one, around the alignment and a workgroup's block, a prime.
pub(crate) fn shapes() -> Vec<Vec<usize>> {
    [0, 1, 63, 64, 65, 255, 256, 257, 511, 512, 513, 1009].into_iter().map(|n| vec![n]).collect()
}

/// The values, the gradients, the state, and the clock of a training run.
pub(crate) struct Run {
    pub(crate) values: Arena,
    pub(crate) grads: Arena,
    pub(crate) state: Vec<Arena>,
    pub(crate) clock: Clock,
}

impl Run {
    pub(crate) fn new(device: &Device, method: &dyn Method, shapes: &[Vec<usize>], page_elements: usize) -> Self {
        let values = Arena::with_page_size(device, shapes, page_elements).unwrap();
        let grads = values.zeros_like().unwrap();
        write(&values, 1);
        let state = method.state(shapes).iter().map(|arena| arena.make(&values, 0.1).unwrap()).collect();
        let mut clock = Clock::new(device, 0.1).unwrap();
        // A schedule that ends before the run does.
        clock.set_learning_rates(&[0.1, 0.2, 0.05, 0.01, 0.03]).unwrap();
        Self { values, grads, state, clock }
    }

    pub(crate) fn step(&mut self, method: &dyn Method, clip: Clip) {
        let Self { values, grads, state, clock } = self;
        method.step(StepArguments { values, grads, state, clock, clip }).unwrap();
    }

    /// Gives every fourth tensor its own learning rate or weight decay, or freezes it; and sets a schedule for all.
    pub(crate) fn set_apart(&mut self) {
        let settings: Vec<SegmentSettings> = (0..self.values.len())
            .map(|i| SegmentSettings {
                lr_scale: if i % 4 == 1 { 0.5 } else { 1.0 },
                weight_decay: (i % 4 == 2).then_some(0.3),
                frozen: i % 4 == 3,
            })
            .collect();
        self.clock.set_segments(&self.values, &settings).unwrap();
        let schedule = ScheduleTable {
            learning_rates: vec![0.1, 0.2, 0.05, 0.01, 0.03],
            weight_decays: vec![0.2, 0.0, 0.1],
            momentums: vec![0.5, 0.8, 0.75],
        };
        self.clock.set_schedule(schedule).unwrap();
    }

    /// Returns values and state of the tensors that [`set_apart`](Self::set_apart) freezes.
    fn frozen(&self) -> Vec<Vec<f32>> {
        let frozen = |arena: &Arena| arena.tensors().iter().skip(3).step_by(4).map(state).collect::<Vec<_>>();
        self.written().flat_map(frozen).collect()
    }

    /// Returns the arenas that an update writes.
    fn written(&self) -> impl Iterator<Item = &Arena> {
        [&self.values].into_iter().chain(&self.state)
    }

    /// Returns the elements of all pages, including padding.
    pub(crate) fn pages(&self) -> Vec<f32> {
        self.written().flat_map(Arena::pages).flat_map(state).collect()
    }

    /// Checks that pages and tensors have the same number of elements other than zero, so that padding is zero. The
    /// padding of state need not be zero: some methods add an epsilon to it.
    pub(crate) fn assert_padding_is_zero(&self, what: &str) {
        let count = |tensors: &[Tensor]| -> usize {
            tensors.iter().map(|tensor| floats(tensor).iter().filter(|x| x.to_bits() != 0).count()).sum()
        };
        assert_eq!(count(self.values.pages()), count(self.values.tensors()), "{what}: padding is not zero");
    }
}

/// Returns the numbers of an arena's tensor; codes as shares of the largest one.
fn state(tensor: &Tensor) -> Vec<f32> {
    match tensor.dtype() {
        DType::F32 => floats(tensor),
        _ => words(tensor).iter().flat_map(|word| word.to_le_bytes()).map(|code| f32::from(code) / 255.0).collect(),
    }
}

/// Writes numbers to all tensors of an arena.
pub(crate) fn write(arena: &Arena, seed: u64) {
    for (i, tensor) in arena.tensors().iter().enumerate() {
        tensor.write(&numbers(100 * seed + i as u64, tensor.len(), -1.0, 1.0)).unwrap();
    }
}

/// Some steps on both devices; at the fourth the gradients have a NaN, at the fifth an infinity.
pub(crate) fn hold(pair: &Pair, method: &dyn Method) {
    hold_within(pair, method, tolerance(pair));
}

/// Checks as [`hold`] does, with a tolerance for parameters and state.
fn hold_within(pair: &Pair, method: &dyn Method, tolerance: Tolerance) {
    // One page; several; in software more workgroups than one; and so few parameters that software divides them as
    // hardware does.
    let large = vec![vec![300_001], vec![77], vec![5], vec![130]];
    let small = vec![vec![700], vec![77], vec![5], vec![130]];
    let layouts = [(shapes(), usize::MAX), (shapes(), 1024), (large, usize::MAX), (small, usize::MAX)];
    for (shapes, page_elements) in layouts {
        for (clip, is_apart) in [
            (Clip::Off, false),
            (Clip::Norm(1.0), false),
            (Clip::Norm(1e9), true),
            (Clip::Value(0.3), false),
            (Clip::Value(0.6), true),
            (Clip::TensorNorm(1.0), true),
        ] {
            let has_norm = matches!(clip, Clip::Norm(_) | Clip::TensorNorm(_));
            let what = format!("{method:?}, pages of {page_elements}, {clip:?}, set apart: {is_apart}");
            let run = |device: &Device| {
                let mut run = Run::new(device, method, &shapes, page_elements);
                if is_apart {
                    run.set_apart();
                }
                let frozen = run.frozen();
                let mut states = Vec::new();
                for t in 0..STEPS {
                    write(&run.grads, 2 + t as u64);
                    // Without a norm nothing is checked, so a NaN would spread.
                    if has_norm && (t == 3 || t == 4) {
                        let last = run.grads.tensors().last().unwrap();
                        let bad = [f32::NAN, f32::INFINITY][t - 3];
                        last.slice(0, last.len() - 1, last.len()).unwrap().write(&[bad]).unwrap();
                    }
                    run.step(method, clip);
                    states.push(run.clock.read().unwrap());
                }
                run.assert_padding_is_zero(&what);
                assert_eq!(run.frozen() == frozen, is_apart, "{what}: only frozen parameters keep their values");
                (run.pages(), states)
            };
            let ((expected, expected_states), (got, got_states)) = (run(&pair.cpu), run(&pair.gpu));
            crate::common::assert_close(&what, &got, &expected, tolerance);
            assert!(expected.iter().all(|x| x.is_finite()), "{what}");
            for (got, expected) in got_states.iter().zip(&expected_states) {
                assert_same_clock(pair, &what, got, expected);
            }
            let last = got_states.last().unwrap();
            let (step, skipped) = if has_norm { (4, 2) } else { (6, 0) };
            assert_eq!((last.step, last.skipped), (step, skipped), "{what}");
            assert_eq!(
                last.clipped,
                if clip == Clip::Norm(1.0) || clip == Clip::TensorNorm(1.0) { 4 } else { 0 },
                "{what}"
            );
        }
    }
}

pub(crate) fn assert_same_clock(pair: &Pair, what: &str, got: &ClockState, expected: &ClockState) {
    assert_eq!(
        (got.step, got.skipped, got.clipped, got.learning_rate),
        (expected.step, expected.skipped, expected.clipped, expected.learning_rate),
        "{what}"
    );
    crate::common::assert_close(
        &format!("{what}, norms"),
        &[got.gradient_norm, got.gradient_norm_sum],
        &[expected.gradient_norm, expected.gradient_norm_sum],
        tolerance(pair),
    );
}

/// Methods whose kernels have no test here: with their defaults, in their other forms, and ascending with decay.
/// Hardware and software round as for the other methods.
pub(crate) fn other_methods(pair: &Pair, covered: &[&str]) {
    for entry in METHODS {
        if entry.kernels.iter().all(|kernel| covered.contains(&kernel.name())) {
            continue;
        }
        let climbing = ["maximize", "weight_decay"].into_iter().filter(|name| entry.setting(name).is_some());
        let climbing =
            climbing.map(|name| (name.to_string(), if name == "maximize" { true.into() } else { 0.1.into() }));
        let climbing = entry.with(&climbing.collect::<serde_json::Map<_, _>>().into()).unwrap();
        let forms = entry.forms.iter().map(|(_, make)| make());
        for method in [entry.method(), climbing].into_iter().chain(forms) {
            hold(pair, &*method);
            hold_matrices(pair, &*method, tolerance(pair));
        }
    }
}

/// The norm in the clock, for gradients of many sizes and magnitudes.
pub(crate) fn grad_norm(pair: &Pair) {
    let norm = |device: &Device, shapes: &[Vec<usize>], page_elements: usize, scale: f32| {
        let update = Sgd::new().weight_decay(0.0);
        let mut run = Run::new(device, &update, shapes, page_elements);
        for (i, tensor) in run.grads.tensors().iter().enumerate() {
            let elements: Vec<f32> =
                numbers(i as u64, tensor.len(), -1.0, 1.0).into_iter().map(|x| x * scale).collect();
            tensor.write(&elements).unwrap();
        }
        run.step(&update, Clip::Norm(1.0));
        (run.clock.read().unwrap(), run.grads)
    };
    // A partial sum has some 8,192 elements; a page has at most 256 partial sums, reached at 2,097,152.
    let sizes = [1, 64, 1023, 1025, 8191, 8192, 8193, 100_003, 2_097_152 + 5000];
    for size in sizes {
        for (page_elements, scale) in [(usize::MAX, 1.0), (usize::MAX, 1e-12), (1024 * 1024, 1e6), (usize::MAX, 1e25)] {
            if size > 1_000_000 && scale != 1.0 {
                continue;
            }
            let what = format!("{size} gradients of {scale:e}");
            // Two tensors: with the smaller pages they may be on two.
            let shapes = [vec![size], vec![300]];
            let (expected, grads) = norm(&pair.cpu, &shapes, page_elements, scale);
            let (got, _) = norm(&pair.gpu, &shapes, page_elements, scale);
            assert_same_clock(pair, &what, &got, &expected);
            let exact: f64 = grads.tensors().iter().flat_map(floats).map(|x| f64::from(x) * f64::from(x)).sum();
            let exact = exact.sqrt();
            if exact * exact > f64::from(f32::MAX) {
                // The sum of squares overflows: the step is skipped and counted.
                assert_eq!((got.step, got.skipped, got.gradient_norm), (0, 1, f32::INFINITY), "{what}");
            } else {
                let error = (f64::from(got.gradient_norm) - exact).abs() / exact;
                assert!(error < 1e-6, "{what}: {} is not {exact}", got.gradient_norm);
            }
        }
    }
    crate::parity::norms::p_norms(pair);
}

/// The clock over more steps than its schedule has, with several norms to clip to.
pub(crate) fn clock(pair: &Pair) {
    let run = |device: &Device| {
        let update = AdamW::new().betas((0.9, 0.999)).eps(1e-8).weight_decay(0.0);
        let mut run = Run::new(device, &update, &[vec![10]], usize::MAX);
        let mut states = Vec::new();
        for t in 0..12 {
            write(&run.grads, t);
            // Alternately with and without a norm: every way to advance the clock continues from the others.
            let clip = [Clip::Norm(0.5), Clip::Off, Clip::Norm(100.0)][t as usize % 3];
            run.step(&update, clip);
            states.push(run.clock.read().unwrap());
        }
        states
    };
    let (expected, got) = (run(&pair.cpu), run(&pair.gpu));
    for (t, (got, expected)) in got.iter().zip(&expected).enumerate() {
        assert_same_clock(pair, &format!("step {t}"), got, expected);
        assert_eq!(got.step as usize, t + 1);
        assert_eq!(got.learning_rate, [0.1, 0.2, 0.05, 0.01, 0.03][t.min(4)]);
    }
    assert_eq!(got[11].clipped, 4);
}
