//! Kinds of clipping, gradients that are not finite, and statistics: launches, replays, reports.

use std::sync::{Mutex, PoisonError};

use crate::common::{devices, floats, numbers, own_devices};
use thalweg::nn::data::Dataset;
use thalweg::nn::{
    AdamW, Clip, ClockState, Error, FitOptions, Init, Lamb, Mlp, MlpConfig, Mse, NonFinite, Optimizer, ParameterGroup,
    Params, ParamsBuilder, Sgd, Trainer,
};
use thalweg::tensor::Device;

/// Profiles include the work of all threads on a GPU, so tests that count take turns.
static TURN: Mutex<()> = Mutex::new(());

/// Makes a model of `tensors` tensors of several sizes.
fn params(device: &Device, tensors: usize) -> Params {
    let mut builder = ParamsBuilder::new(7);
    for i in 0..tensors {
        let shape: &[usize] = [&[1][..], &[5], &[8, 8], &[3, 100]][i % 4];
        builder.add(i.to_string(), shape, Init::Normal { mean: 0.0, deviation: 1.0 }).unwrap();
    }
    builder.build(device).unwrap()
}

/// Writes the gradients of a step.
fn set_grads(params: &Params, step: u64) {
    for (i, grad) in params.grads().unwrap().tensors().iter().enumerate() {
        grad.write(&numbers(100 * step + i as u64, grad.len(), -1.0, 1.0)).unwrap();
    }
}

fn bits(params: &Params) -> Vec<u32> {
    params.values().pages().iter().flat_map(floats).map(f32::to_bits).collect()
}

/// The settings of an optimizer besides its method.
type Setup = fn(Optimizer) -> Optimizer;

/// Setups, and the launches that they add to a step.
const SETUPS: &[(&str, Setup, usize)] = &[
    ("nothing", |optimizer| optimizer, 0),
    ("value", |optimizer| optimizer.with_clip(Clip::Value(0.1)).unwrap(), 0),
    ("norm", |optimizer| optimizer.with_clip_norm(0.5).unwrap(), 2),
    ("1-norm", |optimizer| optimizer.with_clip(Clip::PNorm { max_norm: 0.5, p: 1.0 }).unwrap(), 2),
    ("largest", |optimizer| optimizer.with_clip(Clip::PNorm { max_norm: 0.5, p: f64::INFINITY }).unwrap(), 2),
    ("norms of tensors", |optimizer| optimizer.with_clip(Clip::TensorNorm(0.5)).unwrap(), 3),
    ("root mean squares of tensors", |optimizer| optimizer.with_clip(Clip::TensorRms(0.1)).unwrap(), 3),
    ("adaptive", |optimizer| optimizer.with_adaptive_clip(0.01, 1e-3).unwrap(), 1),
    ("adaptive, then norm", |o| o.with_adaptive_clip(0.01, 1e-3).unwrap().with_clip_norm(0.1).unwrap(), 3),
    ("skip", |optimizer| optimizer.with_non_finite(NonFinite::Skip), 2),
    ("ignore", |optimizer| optimizer.with_non_finite(NonFinite::Ignore), 0),
    // The copy of the parameters is no kernel.
    ("statistics", |optimizer| optimizer.with_statistics().unwrap(), 4),
    ("statistics and norm", |o| o.with_clip_norm(0.5).unwrap().with_statistics().unwrap(), 4),
];

fn optimizer(params: &Params, is_lamb: bool) -> Optimizer {
    if is_lamb {
        Optimizer::new(params, Lamb::new(), 0.01).unwrap()
    } else {
        Optimizer::new(params, AdamW::new(), 0.01).unwrap()
    }
}

#[test]
fn launches_do_not_depend_on_the_number_of_tensors() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for device in own_devices() {
        for (name, setup, added) in SETUPS {
            for (tensors, is_lamb) in [(4, false), (200, false), (40, true)] {
                let params = params(&device, tensors);
                let mut optimizer = setup(optimizer(&params, is_lamb));
                set_grads(&params, 1);
                let (profile, ()) = device.profile(|| optimizer.step()).unwrap();
                let kernels: Vec<&str> =
                    profile.launches().iter().map(|launch| launch.kernel).filter(|name| *name != "copy").collect();
                let expected = added + if is_lamb { 3 } else { 1 };
                assert_eq!(kernels.len(), expected, "{name}, {tensors} tensors on {device}: {kernels:?}");
            }
        }
    }
}

#[test]
fn replayed_steps_have_the_bits_of_eager_ones_however_they_clip() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    const STEPS: u64 = 6;
    for device in devices() {
        for (name, setup, _) in SETUPS {
            for is_lamb in [false, true] {
                let eager = params(&device, 20);
                let mut eager_optimizer = setup(optimizer(&eager, is_lamb));
                for t in 1..=STEPS {
                    set_grads(&eager, t);
                    eager_optimizer.step().unwrap();
                }
                let replayed = params(&device, 20);
                let mut optimizer = setup(optimizer(&replayed, is_lamb));
                set_grads(&replayed, 1);
                let (recording, ()) = device.record(|| optimizer.step()).unwrap();
                for t in 2..=STEPS {
                    set_grads(&replayed, t);
                    recording.replay(1).unwrap();
                }
                assert!(bits(&eager) == bits(&replayed), "{name} on {device}: the bits differ");
                let clock = optimizer.read_clock().unwrap();
                assert_eq!(clock, eager_optimizer.read_clock().unwrap(), "{name} on {device}");
                let is_clipped = !matches!(*name, "nothing" | "value" | "adaptive" | "skip" | "ignore" | "statistics");
                assert_eq!(clock.clipped > 0, is_clipped, "{name}");
            }
        }
    }
}

#[test]
fn tensors_are_clipped_by_themselves_and_groups_hold() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for device in devices() {
        let params = params(&device, 8);
        params.values().clear().unwrap();
        let mut optimizer = Optimizer::new(&params, Sgd::new(), 1.0)
            .unwrap()
            .with_groups(&[
                ParameterGroup { lr_scale: Some(0.5), ..ParameterGroup::of("3") },
                ParameterGroup { frozen: true, ..ParameterGroup::of("7") },
            ])
            .unwrap()
            .with_clip(Clip::TensorNorm(2.0))
            .unwrap();
        set_grads(&params, 1);
        optimizer.step().unwrap();
        for (i, (value, grad)) in params.values().tensors().iter().zip(params.grads().unwrap().tensors()).enumerate() {
            let norm = |x: &[f32]| x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            let (value, grad) = (norm(&floats(value)), norm(&floats(grad)));
            let scale = [1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 0.0][i];
            let expected = scale * grad.min(2.0);
            assert!((value - expected).abs() < 1e-5, "tensor {i} on {device}: {value} is not {expected}");
        }
    }
}

/// Runs three steps with a NaN in the gradients of the second. Returns the parameters after it, and the clock.
fn run_with_nan(device: &Device, setup: Setup) -> (Vec<f32>, Result<ClockState, Error>) {
    let params = params(device, 5);
    let mut optimizer = setup(optimizer(&params, false));
    for t in 1..=3 {
        set_grads(&params, t);
        if t == 2 {
            params.grads().unwrap().get(3).slice(0, 1, 2).unwrap().write(&[f32::NAN; 100]).unwrap();
        }
        optimizer.step().unwrap();
    }
    let mut pending = optimizer.read_clock_later().unwrap();
    device.synchronize().unwrap();
    let later = pending.poll().map(|state| state.unwrap());
    let clock = optimizer.read_clock();
    match (&later, &clock) {
        // As text: a NaN is not equal to itself.
        (Ok(later), Ok(clock)) => assert_eq!(format!("{later:?}"), format!("{clock:?}")),
        // An error is reported once.
        (Err(_), Ok(clock)) => assert_eq!((clock.step, clock.skipped, clock.first_skipped), (2, 1, None)),
        other => panic!("{other:?}"),
    }
    (params.values().tensors().iter().flat_map(floats).collect(), later.map_err(Error::from))
}

#[test]
fn gradients_that_are_not_finite_are_skipped_or_refused_or_spread() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for device in devices() {
        // By default they are checked if there is a norm.
        let skipping: [Setup; 4] = [
            |o| o.with_clip_norm(1.0).unwrap(),
            |o| o.with_clip(Clip::TensorNorm(1.0)).unwrap(),
            |o| o.with_non_finite(NonFinite::Skip),
            |o| o.with_clip(Clip::Value(0.5)).unwrap().with_non_finite(NonFinite::Skip),
        ];
        for setup in skipping {
            let (values, clock) = run_with_nan(&device, setup);
            let clock = clock.unwrap();
            assert_eq!((clock.step, clock.skipped, clock.first_skipped), (2, 1, Some(2)), "{device}");
            assert!(values.iter().all(|x| x.is_finite()), "{device}");
        }
        let spreading: [Setup; 4] = [
            |o| o,
            |o| o.with_clip_norm(1.0).unwrap().with_non_finite(NonFinite::Ignore),
            |o| o.with_clip(Clip::TensorNorm(1.0)).unwrap().with_non_finite(NonFinite::Ignore),
            |o| o.with_statistics().unwrap(),
        ];
        for setup in spreading {
            let (values, clock) = run_with_nan(&device, setup);
            let clock = clock.unwrap();
            assert_eq!((clock.step, clock.skipped, clock.first_skipped), (3, 0, None), "{device}");
            assert!(values.iter().any(|x| x.is_nan()), "{device}");
        }
        let (values, clock) = run_with_nan(&device, |o| o.with_non_finite(NonFinite::Error));
        let error = clock.unwrap_err();
        assert!(error.to_string().starts_with("step 2: the norm of the gradients is not finite"), "{error}");
        assert!(error.is_user_error() && values.iter().all(|x| x.is_finite()), "{device}");
    }
}

#[test]
fn a_step_that_is_not_finite_is_reported_once_and_the_run_goes_on() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for device in devices() {
        let params = params(&device, 5);
        let mut optimizer = optimizer(&params, false).with_non_finite(NonFinite::Error);
        let step = |optimizer: &mut Optimizer, number: u64, is_good: bool| {
            set_grads(&params, number);
            if !is_good {
                params.grads().unwrap().get(1).write(&[f32::NAN; 5]).unwrap();
            }
            optimizer.step().unwrap();
        };
        step(&mut optimizer, 1, true);
        step(&mut optimizer, 2, false);
        step(&mut optimizer, 3, false);
        // Two reads in flight see the same step; one of them reports it.
        let mut pending = [optimizer.read_clock_later().unwrap(), optimizer.read_clock_later().unwrap()];
        device.synchronize().unwrap();
        let reports = pending.each_mut().map(|pending| pending.poll().err().map(|error| error.to_string()));
        assert!(reports[0].as_ref().unwrap().starts_with("step 2: the norm"), "{device}: {reports:?}");
        assert_eq!(reports[1], None, "{device}");
        for number in 4..7 {
            step(&mut optimizer, number, true);
            let clock = optimizer.read_clock().unwrap();
            assert_eq!((clock.step, clock.skipped, clock.first_skipped), (number as u32 - 2, 2, None), "{device}");
        }
        // The next one is reported with its own number, also by a clock that was loaded.
        let saved = optimizer.state_dict().unwrap();
        for _ in 0..2 {
            step(&mut optimizer, 7, false);
            let error = optimizer.read_clock().unwrap_err().to_string();
            assert!(error.starts_with("step 7: the norm"), "{device}: {error}");
            assert_eq!(optimizer.read_clock().unwrap().skipped, 3);
            optimizer.load_state_dict(&saved).unwrap();
        }
    }
}

#[test]
fn statistics_are_those_of_the_step_and_change_nothing() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for device in devices() {
        let (plain, measured) = (params(&device, 12), params(&device, 12));
        let mut without = optimizer(&plain, false).with_clip_norm(1.0).unwrap();
        let mut with = optimizer(&measured, false).with_clip_norm(1.0).unwrap().with_statistics().unwrap();
        for t in 1..=4 {
            let before: Vec<f32> = measured.values().tensors().iter().flat_map(floats).collect();
            for (params, optimizer) in [(&plain, &mut without), (&measured, &mut with)] {
                set_grads(params, t);
                optimizer.step().unwrap();
            }
            let mut pending = with.read_clock_later().unwrap();
            let after: Vec<f32> = measured.values().tensors().iter().flat_map(floats).collect();
            let state = pending.poll().unwrap().unwrap();
            let norm = |terms: Vec<f64>| terms.iter().map(|x| x * x).sum::<f64>().sqrt();
            let update = norm(before.iter().zip(&after).map(|(x, y)| f64::from(*y) - f64::from(*x)).collect());
            let weight = norm(before.iter().map(|x| f64::from(*x)).collect());
            let ratio = state.update_to_weight_ratio().unwrap();
            assert!((ratio - update / weight).abs() < 1e-6 * ratio, "{ratio} is not {}", update / weight);
            assert_eq!(state.clipped_share(), 1.0);
            assert!(state.gradient_norm > 1.0);
        }
        assert!(bits(&plain) == bits(&measured), "{device}: measuring changes the run");
        assert_eq!(without.read_clock().unwrap().update_to_weight_ratio(), None);
    }
}

#[test]
fn a_trainer_ends_with_the_step_whose_gradients_are_not_finite() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for device in devices() {
        let rows = 640;
        let mut features = numbers(1, rows * 3, -1.0, 1.0);
        features[1234] = f32::NAN;
        let targets = numbers(2, rows, -1.0, 1.0);
        let data = Dataset::regression(&device, &features, 3, &targets).unwrap();
        let mut builder = ParamsBuilder::new(0);
        let config = MlpConfig { inputs: 3, hidden: vec![4], outputs: 1, ..MlpConfig::default() };
        let model = Mlp::new(&mut builder, &config).unwrap();
        let params = builder.build(&device).unwrap();
        let optimizer = Optimizer::new(&params, Sgd::new(), 1e-2).unwrap().with_non_finite(NonFinite::Error);
        let options = FitOptions { epochs: 1, batch_size: 2, seed: 0 };
        let error = Trainer::new(model, optimizer, Mse).fit(&data, None, &options, |_| ()).unwrap_err();
        assert!(error.to_string().contains("the norm of the gradients is not finite"), "{device}: {error}");
        let step: u64 = error.to_string().split([' ', ':']).nth(1).unwrap().parse().unwrap();
        assert!((1..=320).contains(&step), "{step}");
        assert!(params.values().tensors().iter().flat_map(floats).all(|x| x.is_finite()));
    }
}

#[test]
fn wrong_limits_are_refused_by_name() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let params = params(&Device::cpu(), 1);
    let optimizer = || Optimizer::new(&params, Sgd::new(), 1e-2).unwrap();
    let infinite = f64::INFINITY;
    for (clip, field) in [
        (Clip::Norm(0.0), "clip_norm"),
        (Clip::Value(-1.0), "clip_value"),
        (Clip::PNorm { max_norm: 1.0, p: 0.0 }, "p"),
        (Clip::PNorm { max_norm: 1.0, p: f64::NAN }, "p"),
        (Clip::PNorm { max_norm: infinite, p: 3.0 }, "max_norm"),
        (Clip::TensorNorm(f64::NAN), "clip_tensor_norm"),
        (Clip::TensorRms(1e-60), "clip_tensor_rms"),
    ] {
        match optimizer().with_clip(clip).unwrap_err() {
            Error::Setting { field: found, .. } => assert_eq!(found, field),
            other => panic!("{clip:?}: {other}"),
        }
    }
    assert!(optimizer().with_adaptive_clip(0.0, 1e-3).unwrap_err().to_string().starts_with("clipping = 0"));
    assert!(optimizer().with_adaptive_clip(0.1, -1.0).unwrap_err().to_string().starts_with("eps = -1"));
}
