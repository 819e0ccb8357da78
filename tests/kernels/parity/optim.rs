//! The fused updates, the norm of the gradients and the clock, over several steps.
//!
//! An update is a fixed sequence of sums, products, quotients and roots, so that software drivers have the CPU's bits.
//! Hardware contracts and divides in its own way: a few ulp a step, over the six steps here below 1e-5 of a parameter.

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

const STEPS: usize = 6;

pub(crate) fn tolerance(pair: &Pair) -> Tolerance {
    pair.tolerance(Tolerance::EXACT, Tolerance::new(1e-5, 1e-5))
}

/// Shapes of tensors in an arena: no element, one, around the alignment and a workgroup's block, a prime.
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

    /// Every fourth tensor as it is, with a learning rate or a weight decay of its own, or frozen; and a schedule of all.
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

    /// Values and state of the tensors that [`set_apart`](Self::set_apart) freezes.
    fn frozen(&self) -> Vec<Vec<f32>> {
        let frozen = |arena: &Arena| arena.tensors().iter().skip(3).step_by(4).map(state).collect::<Vec<_>>();
        self.written().flat_map(frozen).collect()
    }

    /// The arenas that an update writes.
    fn written(&self) -> impl Iterator<Item = &Arena> {
        [&self.values].into_iter().chain(&self.state)
    }

    /// The elements of all pages, padding included.
    pub(crate) fn pages(&self) -> Vec<f32> {
        self.written().flat_map(Arena::pages).flat_map(state).collect()
    }

    /// Elements that are not zero, in the pages and in the tensors: as many, where padding is zero. That of the state
    /// need not be: some methods add an epsilon to it.
    pub(crate) fn assert_padding_is_zero(&self, what: &str) {
        let count = |tensors: &[Tensor]| -> usize {
            tensors.iter().map(|tensor| floats(tensor).iter().filter(|x| x.to_bits() != 0).count()).sum()
        };
        assert_eq!(count(self.values.pages()), count(self.values.tensors()), "{what}: padding is not zero");
    }
}

/// The numbers of an arena's tensor; codes are shares of the largest one.
fn state(tensor: &Tensor) -> Vec<f32> {
    match tensor.dtype() {
        DType::F32 => floats(tensor),
        DType::U32 => {
            words(tensor).iter().flat_map(|word| word.to_le_bytes()).map(|code| f32::from(code) / 255.0).collect()
        }
    }
}

/// Numbers for all tensors of an arena.
pub(crate) fn write(arena: &Arena, seed: u64) {
    for (i, tensor) in arena.tensors().iter().enumerate() {
        tensor.write(&numbers(100 * seed + i as u64, tensor.len(), -1.0, 1.0)).unwrap();
    }
}

/// Some steps on both devices; at the fourth the gradients have a NaN, at the fifth an infinity.
pub(crate) fn hold(pair: &Pair, method: &dyn Method) {
    hold_within(pair, method, tolerance(pair));
}

/// As [`hold`], with a tolerance for parameters and state.
fn hold_within(pair: &Pair, method: &dyn Method, tolerance: Tolerance) {
    // One page; several; in software more workgroups than one; and so few parameters that software shares them out as
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
                    // Without a norm nothing is looked at, so that a NaN would spread.
                    if has_norm && (t == 3 || t == 4) {
                        let last = run.grads.tensors().last().unwrap();
                        let bad = [f32::NAN, f32::INFINITY][t - 3];
                        last.slice(0, last.len() - 1, last.len()).unwrap().write(&[bad]).unwrap();
                    }
                    run.step(method, clip);
                    states.push(run.clock.read().unwrap());
                }
                run.assert_padding_is_zero(&what);
                assert_eq!(run.frozen() == frozen, is_apart, "{what}: what is frozen stays, the rest does not");
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

/// Some steps on both devices of a method that sees parameters as matrices: one page and several, clipped in all ways,
/// parameters set apart; a skipped step changes nothing.
fn hold_matrices(pair: &Pair, method: &dyn Method, tolerance: Tolerance) {
    let few: &[&[usize]] =
        &[&[17, 23], &[23], &[0, 4], &[9, 7], &[300, 5], &[], &[3, 4, 5], &[40, 33], &[1, 9], &[70, 1]];
    let large: &[&[usize]] = &[&[70_001], &[600, 130], &[5], &[12, 2100]];
    hold_shapes(pair, method, tolerance, &[(few, usize::MAX), (few, 2048), (large, usize::MAX)]);
}

/// As [`hold_matrices`], with these shapes on pages of so many elements.
fn hold_shapes(pair: &Pair, method: &dyn Method, tolerance: Tolerance, cases: &[(&[&[usize]], usize)]) {
    for &(shapes, page_elements) in cases {
        let shapes: Vec<Vec<usize>> = shapes.iter().map(|shape| shape.to_vec()).collect();
        for (clip, is_apart) in
            [(Clip::Off, false), (Clip::Norm(1.0), true), (Clip::Norm(1e9), false), (Clip::Value(0.3), true)]
        {
            let what = format!("{method:?}, pages of {page_elements}, {clip:?}, set apart: {is_apart}");
            let run = |device: &Device| {
                let mut run = Run::new(device, method, &shapes, page_elements);
                for (arena, wanted) in run.state.iter_mut().zip(method.state(&shapes)) {
                    if let Some(shapes) = wanted.shapes() {
                        *arena = Arena::with_page_size(device, shapes, page_elements).unwrap();
                    }
                }
                if is_apart {
                    run.set_apart();
                }
                let frozen = run.frozen();
                for t in 0..STEPS {
                    write(&run.grads, 2 + t as u64);
                    if t == 3 && matches!(clip, Clip::Norm(_)) {
                        let before = run.pages();
                        run.grads
                            .get(3)
                            .slice(0, 0, 1)
                            .unwrap()
                            .write(&vec![f32::NAN; run.grads.get(3).shape()[1..].iter().product()])
                            .unwrap();
                        run.step(method, clip);
                        crate::common::assert_same_bits(&format!("{what}, skipped"), &run.pages(), &before);
                        continue;
                    }
                    run.step(method, clip);
                }
                run.assert_padding_is_zero(&what);
                assert_eq!(run.frozen() == frozen, is_apart, "{what}: what is frozen stays, the rest does not");
                run.pages()
            };
            let (expected, got) = (run(&pair.cpu), run(&pair.gpu));
            assert!(expected.iter().all(|x| x.is_finite()), "{what}");
            crate::common::assert_close(&what, &got, &expected, tolerance);
        }
    }
}

/// The power of the step is not the same to the last bit.
const FACTORED: Tolerance = Tolerance::new(4e-6, 4e-6);

const ADAFACTOR: Adafactor = Adafactor::new().beta2_decay(-0.8).eps((1e-7, 1e-3)).d(1.0).weight_decay(0.0);

pub(crate) fn adafactor_sums(pair: &Pair) {
    hold_matrices(pair, &ADAFACTOR, FACTORED);
}

pub(crate) fn adafactor_factors(pair: &Pair) {
    hold_matrices(pair, &ADAFACTOR.beta2_decay(-0.5).eps((1e-3, 0.1)), FACTORED);
}

pub(crate) fn adafactor_squares(pair: &Pair) {
    hold_matrices(pair, &ADAFACTOR.d(1.1).maximize(true), FACTORED);
}

pub(crate) fn adafactor_apply(pair: &Pair) {
    hold_matrices(pair, &ADAFACTOR.d(2.0).weight_decay(0.1), FACTORED);
}

pub(crate) fn sm3_step(pair: &Pair) {
    hold_matrices(pair, &Sm3::new().momentum(0.9).eps(1e-8), tolerance(pair));
}

pub(crate) fn sm3_commit(pair: &Pair) {
    hold_matrices(pair, &Sm3::new().momentum(0.0).eps(1e-3).maximize(true), tolerance(pair));
}

/// Products are summed in another order on the CPU, and eigenvectors amplify what that changes. Of a direction in which the
/// first gradients have nothing but rounding there is no telling the basis; so the sides that have one here are the shorter
/// ones by far.
fn hold_rotated(pair: &Pair, update: &Soap) {
    let few: &[&[usize]] = &[&[40, 12], &[23], &[7, 30], &[20, 5], &[3, 2, 9], &[12, 41], &[], &[1, 50]];
    let large: &[&[usize]] = &[&[200, 33], &[5], &[33, 300], &[2, 100]];
    let tolerance = Tolerance::new(1e-3, 1e-3);
    let with = |max_precondition_dim| update.eps(1e-2).max_precondition_dim(max_precondition_dim);
    hold_shapes(pair, &with(12), tolerance, &[(few, usize::MAX), (few, 2048)]);
    hold_shapes(pair, &with(33), tolerance, &[(large, usize::MAX)]);
}

/// Without bases first: then all is element by element.
const SOAP: Soap = Soap::new()
    .betas((0.9, 0.95))
    .shampoo_beta(Some(0.95))
    .eps(1e-8)
    .weight_decay(0.1)
    .precondition_frequency(2)
    .max_precondition_dim(0);

pub(crate) fn soap_moments(pair: &Pair) {
    hold_matrices(pair, &SOAP, tolerance(pair));
}

pub(crate) fn soap_apply(pair: &Pair) {
    hold_matrices(pair, &SOAP.betas((0.0, 0.0)).weight_decay(0.0), tolerance(pair));
}

pub(crate) fn soap_normalize(pair: &Pair) {
    hold_rotated(pair, &SOAP.precondition_frequency(100));
}

pub(crate) fn soap_average(pair: &Pair) {
    hold_rotated(pair, &SOAP.shampoo_beta(Some(0.5)));
}

pub(crate) fn soap_basis(pair: &Pair) {
    hold_rotated(pair, &SOAP.precondition_frequency(1));
}

/// Products are summed in another order on the CPU, and an orthogonal factor amplifies what that changes.
const ORTHOGONAL: Tolerance = Tolerance::new(2e-4, 1e-4);

const MUON: Muon = Muon::new()
    .momentum(0.9)
    .nesterov(true)
    .weight_decay(0.1)
    .ns_coefficients((3.4445, -4.775, 2.0315))
    .ns_steps(5)
    .eps(1e-7)
    .adjust_lr(MuonScale::Original)
    .adamw_rate(0.5)
    .adamw_betas((0.9, 0.99))
    .adamw_eps(1e-8);

pub(crate) fn muon_momentum(pair: &Pair) {
    let scale = MuonScale::OriginalTransposed;
    hold_matrices(pair, &MUON.bias_correction(true).ns_steps(1).adjust_lr(scale), ORTHOGONAL);
}

pub(crate) fn muon_normalize(pair: &Pair) {
    hold_matrices(pair, &MUON.nesterov(false).ns_steps(1), ORTHOGONAL);
}

pub(crate) fn muon_polynomial(pair: &Pair) {
    hold_matrices(pair, &MUON, ORTHOGONAL);
}

pub(crate) fn muon_apply(pair: &Pair) {
    let scale = MuonScale::MatchRmsAdamw;
    hold_matrices(pair, &MUON.nesterov(false).ns_steps(2).adjust_lr(scale), ORTHOGONAL);
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

pub(crate) fn sgd(pair: &Pair) {
    for (weight_decay, maximize) in [(0.0, false), (0.1, false), (0.1, true)] {
        hold(pair, &Sgd::new().weight_decay(weight_decay).maximize(maximize));
    }
}

pub(crate) fn momentum(pair: &Pair) {
    for (momentum, dampening, weight_decay, nesterov, maximize) in [
        (0.9, 0.0, 0.0, false, false),
        (0.9, 0.5, 0.0, false, false),
        (0.8, 0.0, 0.1, true, false),
        (0.9, 0.0, 0.1, true, true),
    ] {
        hold(
            pair,
            &Sgd::new()
                .momentum(momentum)
                .dampening(dampening)
                .weight_decay(weight_decay)
                .nesterov(nesterov)
                .maximize(maximize),
        );
    }
}

pub(crate) fn adagrad(pair: &Pair) {
    for (lr_decay, initial_accumulator_value, eps, weight_decay, maximize) in
        [(0.0, 0.0, 1e-10, 0.0, false), (0.1, 0.2, 1e-3, 0.1, true)]
    {
        hold(
            pair,
            &Adagrad::new()
                .lr_decay(lr_decay)
                .initial_accumulator_value(initial_accumulator_value)
                .eps(eps)
                .weight_decay(weight_decay)
                .maximize(maximize),
        );
    }
}

pub(crate) fn rmsprop(pair: &Pair) {
    for (momentum, centered, weight_decay, maximize) in
        [(0.0, false, 0.0, false), (0.9, false, 0.1, true), (0.0, true, 0.0, false), (0.8, true, 0.1, false)]
    {
        hold(
            pair,
            &RmsProp::new()
                .alpha(0.9)
                .eps(1e-3)
                .momentum(momentum)
                .centered(centered)
                .weight_decay(weight_decay)
                .maximize(maximize),
        );
    }
}

pub(crate) fn adam(pair: &Pair) {
    for (betas, eps, weight_decay, decoupled, maximize) in ADAMS {
        let adam = Adam::new().betas(betas).eps(eps).weight_decay(weight_decay).maximize(maximize);
        let adamw = AdamW::new().betas(betas).eps(eps).weight_decay(weight_decay).maximize(maximize);
        hold(pair, if decoupled { &adamw } else { &adam });
    }
}

/// Hardware may round a moment to a neighbouring code, a step of a sixteenth at most.
pub(crate) fn adamw8bit(pair: &Pair) {
    let tolerance = pair.tolerance(Tolerance::EXACT, Tolerance::new(2e-2, 1e-1));
    for (betas, eps, weight_decay, _, maximize) in ADAMS {
        hold_within(
            pair,
            &AdamW8bit::new().betas(betas).eps(eps).weight_decay(weight_decay).maximize(maximize),
            tolerance,
        );
    }
}

pub(crate) fn amsgrad(pair: &Pair) {
    for (betas, eps, weight_decay, decoupled, maximize) in ADAMS {
        hold(
            pair,
            &Amsgrad::new().betas(betas).eps(eps).weight_decay(weight_decay).decoupled(decoupled).maximize(maximize),
        );
    }
}

pub(crate) fn adadelta(pair: &Pair) {
    for (rho, eps, weight_decay, maximize) in [(0.9, 1e-6, 0.0, false), (0.95, 1e-3, 0.1, true)] {
        hold(pair, &Adadelta::new().rho(rho).eps(eps).weight_decay(weight_decay).maximize(maximize));
    }
}

pub(crate) fn adamax(pair: &Pair) {
    for (betas, eps, weight_decay, _, maximize) in ADAMS {
        hold(pair, &Adamax::new().betas(betas).eps(eps).weight_decay(weight_decay).maximize(maximize));
    }
}

pub(crate) fn adabelief(pair: &Pair) {
    for (betas, eps, weight_decay, _, maximize) in ADAMS {
        // Lavapipe's compiler takes the difference from the new moment apart, to a rounding more or less.
        let tolerance = pair.tolerance(Tolerance::new(2e-6, 2e-6), Tolerance::new(1e-5, 1e-5));
        let update =
            AdaBelief::new().betas(betas).eps(eps).eps_root(1e-10).weight_decay(weight_decay).maximize(maximize);
        hold_within(pair, &update, tolerance);
    }
}

pub(crate) fn yogi(pair: &Pair) {
    for (betas, eps, weight_decay, _, maximize) in ADAMS {
        hold(
            pair,
            &Yogi::new()
                .betas(betas)
                .eps(eps)
                .initial_accumulator_value(1e-6)
                .weight_decay(weight_decay)
                .maximize(maximize),
        );
    }
}

pub(crate) fn lion(pair: &Pair) {
    for (betas, _, weight_decay, _, maximize) in ADAMS {
        hold(pair, &Lion::new().betas(betas).weight_decay(weight_decay).maximize(maximize));
    }
}

pub(crate) fn sophia(pair: &Pair) {
    for (beta1, gamma, weight_decay, maximize) in [(0.965, 0.01, 0.0, false), (0.8, 0.5, 0.1, true)] {
        let (eps, clip_threshold) = (0.1, 0.9);
        hold(
            pair,
            &Sophia::new()
                .betas((beta1, 0.99))
                .eps(eps)
                .gamma(gamma)
                .clip_threshold(clip_threshold)
                .weight_decay(weight_decay)
                .maximize(maximize),
        );
    }
}

/// The average of the Hessian's diagonal, and the update that goes by it.
pub(crate) fn hessian(pair: &Pair) {
    let update = Sophia::new().betas((0.9, 0.99)).eps(1e-3).gamma(0.5).clip_threshold(1.0).weight_decay(0.1);
    for (curvature, page_elements, is_apart) in [
        (Curvature::Diagonal, usize::MAX, false),
        (Curvature::SampledGradient(64.0), 1024, false),
        (Curvature::Diagonal, 1024, true),
        (Curvature::SampledGradient(3.0), usize::MAX, true),
    ] {
        let what = format!("{curvature:?}, pages of {page_elements}, set apart: {is_apart}");
        let run = |device: &Device| {
            let mut run = Run::new(device, &update, &shapes(), page_elements);
            if is_apart {
                run.set_apart();
            }
            let frozen = run.frozen();
            let mut before = Vec::new();
            for t in 0..STEPS as u64 {
                write(&run.grads, 2 + t);
                run.step(&update, Clip::Off);
                write(&run.grads, 50 + t);
                let last = run.grads.tensors().last().unwrap();
                if t == 3 {
                    // What is not finite is left out.
                    last.slice(0, 7, 9).unwrap().write(&[f32::NAN, f32::NEG_INFINITY]).unwrap();
                    before = floats(&run.state[1].tensors().last().unwrap().slice(0, 7, 9).unwrap());
                }
                run.clock.average_hessian(&run.state[1], &run.grads, 0.9, curvature).unwrap();
                if t == 3 {
                    let after = floats(&run.state[1].tensors().last().unwrap().slice(0, 7, 9).unwrap());
                    assert_eq!(before, after, "{what}");
                }
            }
            run.assert_padding_is_zero(&what);
            assert_eq!(run.frozen() == frozen, is_apart, "{what}: what is frozen stays, the rest does not");
            run.pages()
        };
        crate::common::assert_close(&what, &run(&pair.gpu), &run(&pair.cpu), tolerance(pair));
    }
}

pub(crate) fn rprop(pair: &Pair) {
    for (etas, step_sizes, maximize) in [((0.5, 1.2), (1e-6, 50.0), false), ((0.3, 1.5), (0.08, 0.12), true)] {
        hold(pair, &Rprop::new().first_step(Some(0.1)).etas(etas).step_sizes(step_sizes).maximize(maximize));
    }
}

pub(crate) fn nadam(pair: &Pair) {
    for (betas, eps, weight_decay, decoupled, maximize) in ADAMS {
        let momentum_decay = 4e-3;
        hold(
            pair,
            &NAdam::new()
                .betas(betas)
                .eps(eps)
                .momentum_decay(momentum_decay)
                .weight_decay(weight_decay)
                .decoupled(decoupled)
                .maximize(maximize),
        );
    }
}

pub(crate) fn radam(pair: &Pair) {
    for (betas, eps, weight_decay, decoupled, maximize) in ADAMS {
        hold(
            pair,
            &RAdam::new().betas(betas).eps(eps).weight_decay(weight_decay).decoupled(decoupled).maximize(maximize),
        );
    }
    // Short averages, so that rectification begins within these steps.
    let update = RAdam::new().betas((0.5, 0.7)).eps(1e-8).weight_decay(0.0);
    hold(pair, &update);
}

const PRODIGY: Prodigy = Prodigy::new()
    .betas((0.9, 0.999))
    .beta3(Some(0.99))
    .eps(1e-8)
    .d0(1e-3)
    .d_coef(1.0)
    .growth_rate(None)
    .bias_correction(true)
    .weight_decay(0.0);

pub(crate) fn prodigy(pair: &Pair) {
    for update in [PRODIGY, PRODIGY.weight_decay(0.1).maximize(true).eps(1e-2)] {
        hold(pair, &update);
    }
}

/// The estimate, where its growth is limited.
pub(crate) fn prodigy_estimate(pair: &Pair) {
    for update in [PRODIGY.growth_rate(Some(1.02)).d_coef(3.0), PRODIGY.growth_rate(Some(1.5)).bias_correction(false)] {
        hold(pair, &update);
    }
}

/// The sums, where a warm-up does not spoil them.
pub(crate) fn prodigy_sums(pair: &Pair) {
    hold(pair, &PRODIGY.safeguard_warmup(true).bias_correction(false).beta3(Some(0.5)));
}

pub(crate) fn adan(pair: &Pair) {
    for (betas, weight_decay, maximize) in [((0.98, 0.92, 0.99), 0.0, false), ((0.9, 0.8, 0.95), 0.1, true)] {
        hold(pair, &Adan::new().betas(betas).eps(1e-8).weight_decay(weight_decay).maximize(maximize));
    }
}

/// Its learning rate is an exponential and a logarithm, which devices have of their own.
pub(crate) fn asgd(pair: &Pair) {
    let tolerance = pair.tolerance(Tolerance::new(2e-6, 2e-6), Tolerance::new(1e-5, 1e-5));
    for (lambd, alpha, t0, weight_decay, maximize) in [(1e-4, 0.75, 1e6, 0.0, false), (0.5, 0.5, 1.0, 0.1, true)] {
        hold_within(
            pair,
            &Asgd::new().lambd(lambd).alpha(alpha).t0(t0).weight_decay(weight_decay).maximize(maximize),
            tolerance,
        );
    }
}

pub(crate) fn schedule_free_sgd(pair: &Pair) {
    for (beta1, weight_decay, maximize) in [(0.9, 0.0, false), (0.95, 0.1, true)] {
        hold(pair, &ScheduleFreeSgd::new().beta1(beta1).weight_decay(weight_decay).maximize(maximize));
    }
}

pub(crate) fn schedule_free_adamw(pair: &Pair) {
    for (betas, eps, weight_decay, _, maximize) in ADAMS {
        hold(pair, &ScheduleFreeAdamW::new().betas(betas).eps(eps).weight_decay(weight_decay).maximize(maximize));
    }
}

/// Methods whose kernels have no test of their own here: by their defaults, in their other forms, and climbing with decay.
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

/// Settings of Adam and of its variants: betas, epsilon, weight decay, whether it is decoupled, whether to climb.
type AdamSettings = ((f64, f64), f64, f64, bool, bool);

const ADAMS: [AdamSettings; 4] = [
    ((0.9, 0.999), 1e-8, 0.0, false, false),
    ((0.9, 0.999), 1e-8, 0.1, false, false),
    ((0.9, 0.999), 1e-8, 0.1, true, false),
    ((0.8, 0.95), 1e-2, 0.1, true, true),
];

/// The norm as the clock reports it, of gradients of many sizes and magnitudes.
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
    // Some 8,192 elements make a partial sum; 256 partial sums are the most of a page, reached at 2,097,152.
    let sizes = [1, 64, 1023, 1025, 8191, 8192, 8193, 100_003, 2_097_152 + 5000];
    for size in sizes {
        for (page_elements, scale) in [(usize::MAX, 1.0), (usize::MAX, 1e-12), (1024 * 1024, 1e6), (usize::MAX, 1e25)] {
            if size > 1_000_000 && scale != 1.0 {
                continue;
            }
            let what = format!("{size} gradients of {scale:e}");
            // Two tensors: with the smaller pages they may lie on two.
            let shapes = [vec![size], vec![300]];
            let (expected, grads) = norm(&pair.cpu, &shapes, page_elements, scale);
            let (got, _) = norm(&pair.gpu, &shapes, page_elements, scale);
            assert_same_clock(pair, &what, &got, &expected);
            let exact: f64 = grads.tensors().iter().flat_map(floats).map(|x| f64::from(x) * f64::from(x)).sum();
            let exact = exact.sqrt();
            if exact * exact > f64::from(f32::MAX) {
                // The sum of squares overflows: skipped, and counted.
                assert_eq!((got.step, got.skipped, got.gradient_norm), (0, 1, f32::INFINITY), "{what}");
            } else {
                let error = (f64::from(got.gradient_norm) - exact).abs() / exact;
                assert!(error < 1e-6, "{what}: {} is not {exact}", got.gradient_norm);
            }
        }
    }
    crate::parity::norms::p_norms(pair);
}

/// The clock over more steps than its schedule has, with several norms to clip at.
pub(crate) fn clock(pair: &Pair) {
    let run = |device: &Device| {
        let update = AdamW::new().betas((0.9, 0.999)).eps(1e-8).weight_decay(0.0);
        let mut run = Run::new(device, &update, &[vec![10]], usize::MAX);
        let mut states = Vec::new();
        for t in 0..12 {
            write(&run.grads, t);
            // With and without a norm in turn: whoever advances the clock, the next one goes on from there.
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
