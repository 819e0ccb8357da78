//! The trainer's interfaces: steps and losses from outside, several inputs, wrappers, stopping, and what it refuses.

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

const OPTIONS: FitOptions = FitOptions { epochs: 6, batch_size: 16, seed: 3 };

/// Rows of four features, and a number that depends on them.
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

/// What reports say, without how long it took.
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
            // The first step, and two captures of each kind where debug builds compare them.
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

/// Two layers, of whose parts some are forgotten.
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
        // A step of one's own may use targets of any type.
        let (model, params) = network(&device, 1);
        let mut trainer = Trainer::with_step(model, adam(&params), |context, batch| {
            context.model().forward(context.constant(&batch.inputs[0]))?.square()?.mean()
        });
        trainer.fit(&classes, None, &OPTIONS, |_| ()).unwrap();
    }
}

/// |output - target|, which this library does not have.
#[derive(Debug)]
struct AbsoluteError;

impl Loss for AbsoluteError {
    fn per_row<'t>(&self, output: Var<'t>, targets: Var<'t>) -> thalweg::autograd::Result<Var<'t>> {
        output.sub(targets)?.abs()
    }
}

#[test]
fn a_loss_and_a_step_from_outside_are_trained_in_recorded_steps() {
    for device in devices() {
        let train = data(&device, 100);
        let with_loss = |recording: bool| {
            let (model, params) = network(&device, 1);
            let mut trainer = Trainer::new(model, adam(&params), AbsoluteError).with_recording(recording);
            let history = trainer.fit(&train, Some(&train), &OPTIONS, |_| ()).unwrap();
            assert!(history.epochs[5].train_loss < 0.9 * history.epochs[0].train_loss, "{device}");
            assert_eq!(history.epochs[5].test.unwrap().loss, history.train.loss);
            (bits(&params), reports(&history))
        };
        let with_step = |recording: bool| {
            let (model, params) = network(&device, 1);
            let mut trainer = Trainer::with_step(model, adam(&params), |context, batch| {
                let output = context.model().forward(context.constant(&batch.inputs[0]))?;
                AbsoluteError.of(output, &batch.targets)
            })
            .with_recording(recording);
            let history = trainer.fit(&train, Some(&train), &OPTIONS, |_| ()).unwrap();
            (
                bits(&params),
                history.epochs.iter().map(|report| report.train_loss).collect::<Vec<_>>(),
                history.train.loss,
            )
        };
        assert!(with_loss(true) == with_loss(false), "{device}");
        let (stepped, losses, last) = with_step(true);
        assert!((stepped.clone(), losses, last) == with_step(false), "{device}");
        assert!(stepped == with_loss(true).0, "{device}: the same loss, by a closure");
    }
}

/// Compares two inputs by one layer.
struct Twin {
    layer: Linear,
}

parts!(Twin { layer });

impl Twin {
    fn forward<'t>(&self, left: Var<'t>, right: Var<'t>) -> thalweg::autograd::Result<Var<'t>> {
        self.layer.forward(left)?.sub(self.layer.forward(right)?)
    }
}

#[test]
fn a_model_with_two_inputs_is_trained_and_evaluated() {
    for device in devices() {
        let [left, right] = [4, 5].map(|seed| numbers(seed, 200, -1.0, 1.0));
        let values: Vec<f32> =
            left.chunks(2).zip(right.chunks(2)).map(|(x, y)| 3.0 * (x[0] - y[0]) - (x[1] - y[1])).collect();
        let inputs = vec![tensor(&device, &left, &[100, 2]), tensor(&device, &right, &[100, 2])];
        let train = Dataset::with_inputs(inputs, tensor(&device, &values, &[100, 1])).unwrap();
        let make = || {
            let mut builder = ParamsBuilder::new(0);
            let model = Twin { layer: Linear::new(&mut builder, "layer", 2, 1).unwrap() };
            let params = builder.build(&device).unwrap();
            let sgd = Optimizer::new(&params, Sgd::new(), 0.3).unwrap();
            Trainer::with_forward(model, sgd, Mse, |context, inputs| match inputs {
                [left, right] => context.model().forward(*left, *right),
                _ => Err(Error::Inputs { expected: 2, found: inputs.len() }.into()),
            })
        };
        let mut trainer = make();
        let options = FitOptions { epochs: 30, batch_size: 16, seed: 0 };
        let history = trainer.fit(&train, None, &options, |_| ()).unwrap();
        assert!(history.train.r2.unwrap() > 0.999, "{device}: {:?}", history.train);
        let weight = floats(trainer.model().layer.weight().value().unwrap());
        assert!((weight[0] - 3.0).abs() < 0.05 && (weight[1] + 1.0).abs() < 0.05, "{device}: {weight:?}");
        let error = make().fit(&data(&device, 20), None, &options, |_| ()).unwrap_err().to_string();
        assert_eq!(error, "the model takes 2 inputs, but the data have 1");
    }
}

/// Shifts its input by a running mean, which each step of training takes further.
struct Centred {
    layer: Linear,
    mean: Buffer,
    scale: Parameter,
}

parts!(Centred { layer, mean, scale });

impl Centred {
    fn new(builder: &mut ParamsBuilder) -> Result<Self> {
        Ok(Self {
            layer: Linear::new(builder, "layer", 4, 1)?,
            mean: builder.buffer("mean", &[1, 4], Init::Zeros)?,
            scale: builder.add("scale", &[1, 4], Init::Constant(1.0))?,
        })
    }
}

impl Module for Centred {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg::autograd::Result<Var<'t>> {
        let tape = input.tape();
        let mean = self.mean.value()?.copy()?;
        if tape.is_training() {
            let batch = input.value().mean_along(0)?;
            self.mean.set(&mean.affine(0.75, 0.0)?.add(&batch.affine(0.25, 0.0)?)?)?;
        }
        self.layer.forward(input.sub(tape.constant(&mean))?.mul(tape.parameter(&self.scale)?)?)
    }
}

#[test]
fn buffers_move_in_recorded_steps_and_are_saved_but_not_trained() {
    let folder = tempfile::tempdir().unwrap();
    let [path, stopped] = ["run", "stopped"].map(|name| folder.path().join(name));
    for device in devices() {
        let train = data(&device, 100);
        let make = |recording: bool| {
            let mut builder = ParamsBuilder::new(1);
            let model = Centred::new(&mut builder).unwrap();
            let params = builder.build(&device).unwrap();
            (params.clone(), Trainer::new(model, adam(&params), Mse).with_recording(recording))
        };
        let (params, mut eager) = make(false);
        let history = eager.fit(&train, None, &OPTIONS, |_| ()).unwrap();
        let mean = floats(params.buffers()[0].value().unwrap());
        assert!(mean.iter().all(|&x| x != 0.0) && params.element_count() == 9, "{device}: {mean:?}");
        let host = params.to_host().unwrap();
        assert_eq!(
            host.iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>(),
            ["layer.weight", "layer.bias", "scale", "mean"]
        );

        let (recorded_params, mut recorded) = make(true);
        recorded.set_checkpoints(&path, 1).unwrap();
        let keep = |event: Event<'_>| match event {
            Event::Epoch(report) if report.epoch == 4 => drop(fs::copy(&path, &stopped).unwrap()),
            _ => {}
        };
        assert_eq!(reports(&recorded.fit(&train, None, &OPTIONS, keep).unwrap()), reports(&history));
        assert!(bits(&recorded_params) == bits(&params), "{device}");

        let (resumed_params, mut resumed) = make(true);
        assert_eq!(resumed.resume(&stopped).unwrap(), 3);
        resumed.fit(&train, None, &OPTIONS, |_| ()).unwrap();
        assert!(bits(&resumed_params) == bits(&params), "{device}: the buffer is saved");
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
        // What was stopped between two epochs goes on from its checkpoint as if it had not been.
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

/// Trains by a wrapper: recorded, eagerly, and stopped and resumed, which must give the same bits. Returns them.
fn hold_wrapper<S: Stepper>(what: &str, device: &Device, make: impl Fn(Mlp, Optimizer) -> Trainer<Mlp, S>) -> Vec<u32> {
    let folder = tempfile::tempdir().unwrap();
    let [path, stopped] = ["run", "stopped"].map(|name| folder.path().join(name));
    let train = data(device, 100);
    let new = || {
        let (model, params) = network(device, 1);
        make(model, adam(&params))
    };
    let run = |trainer: &mut Trainer<Mlp, S>| {
        let history = trainer.fit(&train, Some(&train), &OPTIONS, |_| ()).unwrap();
        (bits(trainer.optimizer().params()), reports(&history))
    };
    let eager = run(&mut new().with_recording(false));
    let mut recorded = new();
    recorded.set_checkpoints(&path, 1).unwrap();
    let keep = |event: Event<'_>| match event {
        Event::Epoch(report) if report.epoch == 4 => drop(fs::copy(&path, &stopped).unwrap()),
        _ => {}
    };
    let history = recorded.fit(&train, Some(&train), &OPTIONS, keep).unwrap();
    let params = recorded.optimizer().params().clone();
    assert!((bits(&params), reports(&history)) == eager, "{what} on {device}: recorded");
    let mut resumed = new();
    assert_eq!(resumed.resume(&stopped).unwrap(), 3, "{what} on {device}");
    assert!(run(&mut resumed) == eager, "{what} on {device}: resumed");
    // Neither a plain trainer nor this one takes the checkpoint of the other.
    if what != "plain" {
        let (model, params) = network(device, 1);
        let error = Trainer::new(model, adam(&params), Mse).resume(&stopped).unwrap_err().to_string();
        assert!(error.contains("model: saved was"), "{what}: {error}");
    }
    eager.0
}

#[test]
fn wrappers_train_in_recorded_steps_and_resume_to_the_bit() {
    for device in devices() {
        let plain = hold_wrapper("plain", &device, |model, optimizer| Trainer::new(model, optimizer, Mse));
        let others = [
            hold_wrapper("SAM", &device, |model, optimizer| {
                Trainer::new(model, Sam::new(optimizer, SharpnessAware::sam()).unwrap(), Mse)
            }),
            hold_wrapper("lookahead", &device, |model, optimizer| {
                Trainer::new(model, Lookahead::new(optimizer, LookaheadSettings::default()).unwrap(), Mse)
            }),
            hold_wrapper("accumulation", &device, |model, optimizer| {
                Trainer::new(model, GradientAccumulation::new(optimizer, 3).unwrap(), Mse)
            }),
            hold_wrapper("average", &device, |model, optimizer| {
                Trainer::new(model, optimizer, Mse).with_average(Averaging::Exponential { decay: 0.9 }).unwrap()
            }),
            hold_wrapper("plateau", &device, |model, optimizer| {
                let settings = PlateauSettings { patience: 0, threshold: 0.2, ..PlateauSettings::new(0.01) };
                let schedule = ReduceOnPlateau::new(settings).unwrap();
                Trainer::new(model, optimizer, Mse).with_plateau(schedule, |report| report.train_loss).unwrap()
            }),
            hold_wrapper("chosen at run time", &device, |model, optimizer| {
                let sam: Box<dyn Stepper> = Box::new(Sam::new(optimizer, SharpnessAware::asam()).unwrap());
                let trainer = Trainer::new(model, sam, Mse);
                trainer.with_average(Averaging::Equal).unwrap()
            }),
        ];
        assert!(others.iter().all(|other| *other != plain), "{device}");
    }
}

#[test]
fn accumulation_over_parts_of_any_length_is_the_gradient_of_the_whole_batch() {
    for device in devices() {
        // 100 rows: batches of 48, 48 and 4, in parts of 10, 10, 10, 9 and 9 rows, and of 1, 1, 1, 1 and none.
        let train = data(&device, 100);
        let run = |parts: u32| {
            let mut builder = ParamsBuilder::new(1);
            let config = MlpConfig { inputs: 4, hidden: vec![12], outputs: 1, ..MlpConfig::default() };
            let model = Mlp::new(&mut builder, &config).unwrap();
            let params = builder.build(&device).unwrap();
            let sgd = Optimizer::new(&params, Sgd::new(), 0.1).unwrap();
            let mut trainer = Trainer::new(model, GradientAccumulation::new(sgd, parts).unwrap(), Mse);
            let options = FitOptions { epochs: 3, batch_size: 48, seed: 0 };
            let history = trainer.fit(&train, None, &options, |_| ()).unwrap();
            let losses: Vec<f32> = history.epochs.iter().map(|report| report.train_loss as f32).collect();
            (params.values().tensors().iter().flat_map(floats).collect::<Vec<f32>>(), losses)
        };
        let ((whole, losses), (shared, shared_losses)) = (run(1), run(5));
        // Sums in another order: some roundings of numbers around 1, over nine steps.
        let tolerance = crate::common::Tolerance::new(2e-6, 2e-5);
        crate::common::assert_close(&format!("parameters on {device}"), &shared, &whole, tolerance);
        crate::common::assert_close(&format!("losses on {device}"), &shared_losses, &losses, tolerance);
    }
}

#[test]
fn a_run_ends_with_the_average_of_the_weights_and_goes_on_from_those_that_are_trained() {
    for device in devices() {
        let train = data(&device, 100);
        let options = |epochs| FitOptions { epochs, ..OPTIONS };
        let make = || {
            let (model, params) = network(&device, 1);
            let trainer = Trainer::new(model, adam(&params), Mse);
            (params, trainer.with_average(Averaging::Exponential { decay: 0.9 }).unwrap())
        };
        let (params, mut trainer) = make();
        let history = trainer.fit(&train, Some(&train), &options(3), |_| ()).unwrap();
        let average: Vec<u32> =
            trainer.average().unwrap().averages().tensors().iter().flat_map(floats).map(f32::to_bits).collect();
        assert!(bits(&params) == average, "{device}");
        assert_eq!(history.epochs[2].test.unwrap(), history.train, "{device}");
        assert_eq!(trainer.average().unwrap().updates().unwrap(), 21);
        // A range test leaves no trace in it.
        let test = thalweg::nn::RangeTest { steps: 5, ..thalweg::nn::RangeTest::default() };
        trainer.range_test(&train, &test, &OPTIONS).unwrap();
        assert!(bits(&params) == average && trainer.average().unwrap().updates().unwrap() == 21, "{device}");
        trainer.fit(&train, None, &options(2), |_| ()).unwrap();
        let (twin_params, mut twin) = make();
        twin.fit(&train, None, &options(3), |_| ()).unwrap();
        twin.fit(&train, None, &options(2), |_| ()).unwrap();
        assert!(bits(&params) == bits(&twin_params), "{device}");
    }
}

#[test]
fn the_learning_rate_falls_where_the_metric_does_not() {
    let device = Device::cpu();
    let train = data(&device, 50);
    let (model, params) = network(&device, 1);
    let settings = PlateauSettings { patience: 1, factor: 0.5, ..PlateauSettings::new(0.02) };
    let schedule = ReduceOnPlateau::new(settings).unwrap();
    // A metric that never gets better.
    let mut trainer = Trainer::new(model, adam(&params), Mse).with_plateau(schedule, |_| 1.0).unwrap();
    let history = trainer.fit(&train, None, &OPTIONS, |_| ()).unwrap();
    let rates: Vec<f32> = history.epochs.iter().map(|report| report.lr as f32).collect();
    assert_eq!(rates, [0.02, 0.02, 0.02, 0.01, 0.01, 0.005]);
    assert_eq!(trainer.plateau().unwrap().lr(), 0.005);
}

/// Anomaly detection names the operation and the module, and it changes no bit of a run that stays finite. The error of a
/// diverged run hints at it.
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
        // Dropout moves on by a counter on the device, so that comparing two steps changes no bit.
        let (eager, recorded) = (run(false, false), run(false, true));
        assert!(eager.2 == recorded.2 && recorded.0.unwrap() == 24, "{device}");
    }
}
