//! The trainer's interfaces: custom steps and losses, several inputs, wrappers, stopping, and errors.

mod interfaces;
mod wrappers;

use std::fs;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{devices, floats, numbers, tensor};
use thalweg::autograd::{Parameter, Var};
use thalweg::nn::data::Dataset;
use thalweg::nn::schedule::{PlateauSettings, ReduceOnPlateau};
use thalweg::nn::{
    Adam, Averaging, Buffer, CrossEntropy, EpochReport, Error, Event, FitOptions, GradientAccumulation, History, Init,
    Linear, Lookahead, LookaheadSettings, Loss, Mlp, MlpConfig, Module, Mse, Optimizer, Params, ParamsBuilder, Parts,
    Result, Sam, Sgd, SharpnessAware, Stepper, Trainer, Visitor, parts,
};
use thalweg::tensor::{DType, Device, Tensor};

use interfaces::AbsoluteError;

const OPTIONS: FitOptions = FitOptions { epochs: 6, batch_size: 16, seed: 3 };

/// Makes rows of four features, and a number that depends on them.
fn data(device: &Device, rows: usize) -> Dataset {
    let features = numbers(1, 4 * rows, -1.0, 1.0);
    let values: Vec<f32> = features.chunks(4).map(|x| x[0] - 2.0 * x[1] * x[2]).collect();
    Dataset::regression(device, &features, 4, &values).unwrap()
}

fn classes(device: &Device, rows: usize, classes: &[u32]) -> Dataset {
    let labels: Vec<u32> = (0..rows).map(|i| classes[i % classes.len()]).collect();
    let features = tensor(device, &numbers(2, 4 * rows, -1.0, 1.0), &[rows, 4]);
    Dataset::new(features, Tensor::from_slice(device, &labels, &[rows]).unwrap()).unwrap()
}

fn network(device: &Device, outputs: usize) -> (Mlp, Params) {
    let mut builder = ParamsBuilder::new(1);
    let config = MlpConfig { inputs: 4, hidden: vec![12], outputs, dropout: 0.1, ..MlpConfig::default() };
    let model = Mlp::new(&mut builder, &config).unwrap();
    (model, builder.build(device).unwrap())
}

fn adam(params: &Params) -> Optimizer {
    Optimizer::new(params, Adam::new(), 0.01).unwrap()
}

fn bits(params: &Params) -> Vec<u32> {
    let buffers = params.buffers().iter().map(|buffer| buffer.value().unwrap());
    params.values().tensors().iter().chain(buffers).flat_map(floats).map(f32::to_bits).collect()
}

/// Returns the reports, without the duration.
fn reports(history: &History) -> String {
    format!("{:?} {:?}", history.epochs, history.train)
}

/// A module that counts its forward passes of training.
struct Counted {
    inner: Mlp,
    passes: Arc<AtomicUsize>,
}

parts!(Counted { inner });

impl Module for Counted {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg::autograd::Result<Var<'t>> {
        self.passes.fetch_add(usize::from(input.tape().is_training()), Ordering::Relaxed);
        self.inner.forward(input)
    }
}

#[test]
fn steps_of_every_length_are_recorded_and_give_the_bits_of_eager_ones() {
    for device in devices() {
        // Two lengths in turn; one length, of all rows; a last batch of a single row.
        for (rows, batch_size, kinds) in [(120, 64, 2), (50, 64, 1), (65, 64, 2)] {
            let train = data(&device, rows);
            let run = |recording: bool| {
                let (inner, params) = network(&device, 1);
                let passes = Arc::new(AtomicUsize::new(0));
                let model = Counted { inner, passes: passes.clone() };
                let mut trainer = Trainer::new(model, adam(&params), Mse).with_recording(recording);
                let options = FitOptions { epochs: 20, batch_size, seed: 0 };
                let history = trainer.fit(&train, None, &options, |_| ()).unwrap();
                assert_eq!(history.steps, 20 * options.steps_per_epoch(rows));
                (bits(&params), reports(&history), passes.load(Ordering::Relaxed))
            };
            let (eager, recorded) = (run(false), run(true));
            assert!(eager.0 == recorded.0 && eager.1 == recorded.1, "{rows} rows on {device}");
            // The first step, and two captures of each kind if debug builds compare them.
            assert!(recorded.2 <= 1 + 2 * kinds, "{rows} rows on {device}: {} steps were done anew", recorded.2);
            assert_eq!(eager.2 as u64, 20 * rows.div_ceil(batch_size) as u64);
        }
    }
}

#[test]
fn a_trainer_refuses_the_optimizer_of_another_model() {
    let device = Device::cpu();
    let train = data(&device, 20);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    {
        let (model, params) = network(&device, 1);
        let mut trainer = Trainer::new(model, adam(&params), Mse);
        trainer.set_checkpoints(&path, 1).unwrap();
        trainer.fit(&train, None, &OPTIONS, |_| ()).unwrap();
    }
    let (model, own) = network(&device, 1);
    let (_, other) = network(&device, 1);
    let before = (bits(&own), bits(&other));
    let mut trainer = Trainer::new(model, adam(&other), Mse);
    for error in [trainer.fit(&train, None, &OPTIONS, |_| ()).unwrap_err(), trainer.resume(&path).unwrap_err()] {
        assert!(error.is_user_error());
        let text = error.to_string();
        assert!(text.starts_with("layers.0.weight: the model has this tensor, but the optimizer's"), "{text}");
    }
    assert!(before == (bits(&own), bits(&other)), "nothing is changed");
}

/// Two layers, some of whose parts are missing.
struct Forgetful {
    first: Linear,
    second: Linear,
    mean: Buffer,
    forgets: fn(&Self, &mut Visitor<'_>),
}

impl Parts for Forgetful {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        (self.forgets)(self, visitor);
    }
}

impl Module for Forgetful {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg::autograd::Result<Var<'t>> {
        self.second.forward(self.first.forward(input)?)
    }
}

#[test]
fn a_module_that_leaves_out_a_part_is_refused_by_its_name() {
    let device = Device::cpu();
    let train = data(&device, 20);
    let message = |forgets: fn(&Forgetful, &mut Visitor<'_>)| {
        let mut builder = ParamsBuilder::new(0);
        let first = Linear::new(&mut builder, "first", 4, 3).unwrap();
        let second = Linear::new(&mut builder, "second", 3, 1).unwrap();
        let mean = builder.buffer("mean", &[1], Init::Zeros).unwrap();
        let params = builder.build(&device).unwrap();
        let model = Forgetful { first, second, mean, forgets };
        let mut trainer = Trainer::new(model, adam(&params), Mse);
        trainer.fit(&train, None, &OPTIONS, |_| ()).map_or_else(|error| error.to_string(), |_| "trained".to_string())
    };
    let text = message(|_, _| ());
    assert!(text.starts_with("first.weight: the builder declared this tensor, but the model's visit"), "{text}");
    let text = message(|model, visitor| {
        visitor.part("first", &model.first);
        visitor.part("mean", &model.mean);
    });
    assert!(text.starts_with("second.weight: the builder declared"), "{text}");
    let text = message(|model, visitor| {
        visitor.part("first", &model.first);
        visitor.part("second", &model.second);
    });
    assert!(text.starts_with("mean: the builder declared"), "{text}");
    let whole = |model: &Forgetful, visitor: &mut Visitor<'_>| {
        visitor.part("first", &model.first);
        visitor.part("second", &model.second);
        visitor.part("mean", &model.mean);
    };
    assert_eq!(message(whole), "trained");
}

#[test]
fn a_class_without_an_output_is_named_before_the_first_step() {
    for device in devices() {
        let (good, bad) = (classes(&device, 30, &[0, 1, 2]), classes(&device, 30, &[1, 2, 3]));
        for (train, test) in [(&bad, None), (&good, Some(&bad))] {
            let (model, params) = network(&device, 3);
            let before = bits(&params);
            let mut trainer = Trainer::new(model, adam(&params), CrossEntropy);
            let mut events = 0;
            let error = trainer.fit(train, test, &OPTIONS, |_| events += 1).unwrap_err();
            assert!(error.to_string().starts_with("class 3 has no output: the model has 3"), "{error}");
            assert!(error.is_user_error() && events == 0 && bits(&params) == before, "{device}");
            assert!(matches!(trainer.evaluate(&bad), Err(Error::Class { class: 3, outputs: 3 })));
            assert!(trainer.evaluate(&good).is_ok());
        }
    }
}

#[test]
fn targets_of_a_type_that_the_loss_does_not_take_are_refused_before_the_first_step() {
    for device in devices() {
        let (values, classes) = (data(&device, 30), classes(&device, 30, &[0, 1, 2]));
        let losses: [fn() -> Box<dyn Loss>; 3] =
            [|| Box::new(CrossEntropy), || Box::new(Mse), || Box::new(AbsoluteError)];
        for loss in losses {
            let of_classes = loss().target_type() == DType::U32;
            let (good, bad) = if of_classes { (&classes, &values) } else { (&values, &classes) };
            for (train, test) in [(bad, None), (good, Some(bad))] {
                let (model, params) = network(&device, if of_classes { 3 } else { 1 });
                let before = bits(&params);
                let mut trainer = Trainer::new(model, adam(&params), loss());
                let mut events = 0;
                let error = trainer.fit(train, test, &OPTIONS, |_| events += 1).unwrap_err();
                let text = error.to_string();
                let expected = if of_classes {
                    "classes of u32, but the data's targets are values of f32"
                } else {
                    "values of f32, but the data's targets are classes of u32"
                };
                assert!(text.starts_with(&format!("the loss takes {expected}")), "{text}");
                assert!(error.is_user_error() && events == 0 && bits(&params) == before, "{device}");
                assert!(matches!(trainer.evaluate(bad), Err(Error::Targets { .. })));
                assert!(trainer.evaluate(good).is_ok());
            }
        }
        // A custom step may use targets of any type.
        let (model, params) = network(&device, 1);
        let mut trainer = Trainer::with_step(model, adam(&params), |context, batch| {
            context.model().forward(context.constant(&batch.inputs[0]))?.square()?.mean()
        });
        trainer.fit(&classes, None, &OPTIONS, |_| ()).unwrap();
    }
}

#[test]
fn an_observer_ends_a_run_at_an_epoch_and_in_the_midst_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    for device in devices() {
        let train = data(&device, 100);
        let (model, whole_params) = network(&device, 1);
        let mut whole = Trainer::new(model, adam(&whole_params), Mse);
        let history = whole.fit(&train, None, &OPTIONS, |_| ControlFlow::Continue(())).unwrap();
        assert!(!history.stopped && history.steps == 42);

        let (model, params) = network(&device, 1);
        let mut trainer = Trainer::new(model, adam(&params), Mse);
        trainer.set_checkpoints(&path, 5).unwrap();
        let stopped = trainer.fit(&train, None, &OPTIONS, |event| match event {
            Event::Epoch(EpochReport { epoch: 2, .. }) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        let stopped = stopped.unwrap();
        assert!(stopped.stopped && stopped.steps == 14 && stopped.epochs == history.epochs[..2], "{device}");
        // A run that was stopped between two epochs continues from its checkpoint as if it had not been.
        let (model, params) = network(&device, 1);
        let mut again = Trainer::new(model, adam(&params), Mse);
        assert_eq!(again.resume(&path).unwrap(), 2);
        let rest = again.fit(&train, None, &OPTIONS, |_| ()).unwrap();
        assert_eq!(reports(&rest), reports(&history), "{device}");
        assert!(bits(&params) == bits(&whole_params));

        let (model, params) = network(&device, 1);
        let mut trainer = Trainer::new(model, adam(&params), Mse);
        let mut later = 0;
        let stopped = trainer.fit(&train, None, &OPTIONS, |event| match event {
            Event::Step { step, .. } if step >= 10 => {
                later += 1;
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        });
        let stopped = stopped.unwrap();
        assert_eq!((stopped.epochs.len(), stopped.stopped, later), (1, true, 1), "{device}");
        assert!((10..14).contains(&stopped.steps));
        assert_eq!(u64::from(trainer.optimizer().read_clock().unwrap().step), stopped.steps);
    }
}

#[test]
fn the_learning_rate_falls_where_the_metric_does_not() {
    let device = Device::cpu();
    let train = data(&device, 50);
    let (model, params) = network(&device, 1);
    let settings = PlateauSettings { patience: 1, factor: 0.5, ..PlateauSettings::new(0.02) };
    let schedule = ReduceOnPlateau::new(settings).unwrap();
    // A metric that never improves.
    let mut trainer = Trainer::new(model, adam(&params), Mse).with_plateau(schedule, |_| 1.0).unwrap();
    let history = trainer.fit(&train, None, &OPTIONS, |_| ()).unwrap();
    let rates: Vec<f32> = history.epochs.iter().map(|report| report.lr as f32).collect();
    assert_eq!(rates, [0.02, 0.02, 0.02, 0.01, 0.01, 0.005]);
    assert_eq!(trainer.plateau().unwrap().lr(), 0.005);
}

/// Anomaly detection names the operation and the module, and it changes no bit of a run that stays finite. The error of a
/// diverged run mentions it.
#[test]
fn a_run_that_diverges_can_be_searched_for_its_first_operation() {
    for device in devices() {
        let data = data(&device, 64);
        let run = |lr: f64, searches: bool| {
            let (model, params) = network(&device, 1);
            let optimizer = Optimizer::new(&params, Sgd::new(), lr).unwrap();
            let mut trainer = Trainer::new(model, optimizer, Mse).with_anomaly_detection(searches);
            let done = trainer.fit(&data, None, &OPTIONS, |_| ()).map(drop);
            (done, bits(&params))
        };
        let (diverged, _) = run(1e30, false);
        let diverged = diverged.unwrap_err().to_string();
        assert!(diverged.ends_with("or find the first operation with Trainer::with_anomaly_detection"), "{diverged}");
        let (found, _) = run(1e30, true);
        let found = found.unwrap_err();
        let text = found.to_string();
        assert!(text.starts_with("layers.") && text.contains(" of linear is not finite: "), "{device}: {text}");
        assert!(found.is_user_error());
        let [(plain, expected), (searched, same)] = [run(0.01, false), run(0.01, true)];
        plain.and(searched).unwrap();
        assert!(same == expected, "{device}: the search changes a run");
    }
}

/// A module that multiplies by a number of the host, which grows with every forward pass of training.
struct Warming {
    inner: Mlp,
    passes: Arc<AtomicUsize>,
    grows: bool,
}

parts!(Warming { inner });

impl Module for Warming {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg::autograd::Result<Var<'t>> {
        let passes = self.passes.fetch_add(usize::from(self.grows && input.tape().is_training()), Ordering::Relaxed);
        let _scope = input.tape().scope("warming");
        self.inner.forward(input)?.affine(1.0 + passes as f32 / 8.0, 0.0)
    }
}

#[test]
fn host_state_that_a_replay_would_freeze_is_found_in_debug_builds() {
    for device in devices() {
        let data = data(&device, 64);
        let run = |grows: bool, recording: bool| {
            let (inner, params) = network(&device, 1);
            let passes = Arc::new(AtomicUsize::new(0));
            let model = Warming { inner, passes: passes.clone(), grows };
            let mut trainer = Trainer::new(model, adam(&params), Mse).with_recording(recording);
            let done = trainer.fit(&data, None, &OPTIONS, |_| ()).map(|history| history.steps);
            (done, passes.load(Ordering::Relaxed), bits(&params))
        };
        let (done, passes, _) = run(true, true);
        if cfg!(debug_assertions) {
            // The first step, and the two that are compared.
            assert_eq!(passes, 3, "{device}");
            let error = done.unwrap_err();
            assert!(matches!(error, Error::HostState { .. }) && !error.is_user_error(), "{device}: {error}");
            let text = error.to_string();
            for part in [" in warming: its parameters differ: ", " is 1.125 and 1.25", "Trainer::with_recording(false)"]
            {
                assert!(text.contains(part), "{device}: {part:?} is not in {text}");
            }
        } else {
            assert_eq!((done.unwrap(), passes), (24, 2));
        }
        assert_eq!(run(true, false).0.unwrap(), 24);
        // Dropout advances by a counter on the device, so the comparison of two steps changes no bit.
        let (eager, recorded) = (run(false, false), run(false, true));
        assert!(eager.2 == recorded.2 && recorded.0.unwrap() == 24, "{device}");
    }
}
