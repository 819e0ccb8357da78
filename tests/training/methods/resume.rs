//! Every method that is saved during a run and loaded into a new one continues to the bit. A state that does not fit is
//! an error and changes nothing.

use std::fs;
use std::path::Path;

use thalweg::nn::schedule::{Curve, PlateauSettings};
use thalweg::nn::{
    AdamW, Chain, Checkpoint, Constant, Cosine, Cyclic, Error, Exponential, Init, Interpolated, InverseSqrt,
    InverseTime, Join, LinearRamp, Method, MultiStep, NonFinite, OneCycle, OneMinusSqrt, Optimizer, ParameterGroup,
    Params, ParamsBuilder, PiecewiseConstant, Polynomial, ReduceOnPlateau, Result, Scaled, Schedule, Sgd, StateArena,
    Step, Values, WarmRestarts, Warmup, WarmupCosine, WarmupStableDecay,
};
use thalweg::tensor::{Arena, Clip, Device, StepArguments};

use super::{TURN, forms, params};
use crate::common::{devices, numbers};

const STEPS: usize = 50;

/// The gradients of all steps take turns.
const GRADIENTS: usize = 7;

/// The settings of a run besides its method.
type SetUp<'a> = &'a dyn Fn(Optimizer) -> Optimizer;

struct Run {
    params: Params,
    optimizer: Optimizer,
    gradients: Vec<Arena>,
    step: usize,
}

impl Run {
    fn new(params: Params, method: Box<dyn Method>, set_up: SetUp<'_>) -> Self {
        let gradients = (0..GRADIENTS)
            .map(|number| {
                let arena = params.values().zeros_like().unwrap();
                for (i, tensor) in arena.tensors().iter().enumerate() {
                    tensor.write(&numbers((100 * number + i) as u64, tensor.len(), -1.0, 1.0)).unwrap();
                }
                arena
            })
            .collect();
        let optimizer = set_up(Optimizer::new(&params, method, 0.01).unwrap());
        Self { params, optimizer, gradients, step: 0 }
    }

    fn go_on(&mut self, steps: usize) {
        for _ in 0..steps {
            self.params.grads().unwrap().copy_from(&self.gradients[self.step % GRADIENTS]).unwrap();
            self.optimizer.step().unwrap();
            self.step += 1;
        }
    }

    /// Parameters and state together.
    fn save(&self, path: &Path) {
        let mut saved = self.optimizer.state_dict().unwrap();
        saved.tensors.extend(self.params.to_host().unwrap());
        saved.save(path).unwrap();
    }

    fn load(&mut self, path: &Path) {
        let saved = Checkpoint::load(path).unwrap();
        self.params.load(&saved.tensors).unwrap();
        self.optimizer.load_state_dict(&saved).unwrap();
    }
}

/// Compares an interrupted run with one without interruption.
fn hold(what: &str, make_params: impl Fn() -> Params, make: &dyn Fn() -> Box<dyn Method>, set_up: SetUp<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let [whole, middle, end] = ["whole", "middle", "end"].map(|name| folder.path().join(name));
    let mut run = Run::new(make_params(), make(), set_up);
    run.go_on(STEPS / 2);
    run.save(&middle);
    run.go_on(STEPS - STEPS / 2);
    run.save(&whole);

    let mut fresh = Run::new(make_params(), make(), set_up);
    // In another state before, so that everything must be loaded.
    fresh.go_on(3);
    fresh.load(&middle);
    fresh.step = STEPS / 2;
    fresh.go_on(STEPS - STEPS / 2);
    fresh.save(&end);
    let bytes = [&middle, &whole, &end].map(|path| fs::read(path).unwrap());
    assert!(bytes[0] != bytes[1], "{what}: nothing has changed");
    assert!(bytes[1] == bytes[2], "{what}: the run does not go on as it would have");
    let clock = fresh.optimizer.read_clock().unwrap();
    assert_eq!((clock.step + clock.skipped) as usize, STEPS, "{what}");
}

/// Sets clipping, groups, and schedules of everything that the method has.
fn with_everything(optimizer: Optimizer) -> Optimizer {
    let method = optimizer.method();
    let capabilities = method.capabilities();
    let (has_weight_decay, has_momentum) = (capabilities.weight_decay, capabilities.momentum);
    let name = |i: usize| optimizer.params().parameters()[i].name();
    let groups = [
        ParameterGroup { lr_scale: Some(0.5), ..ParameterGroup::of(name(0)) },
        ParameterGroup { weight_decay: has_weight_decay.then_some(0.2), ..ParameterGroup::of(name(1)) },
        ParameterGroup { frozen: true, ..ParameterGroup::of(name(2)) },
    ];
    let mut optimizer = optimizer.with_clip_norm(5.0).unwrap().with_groups(&groups).unwrap();
    let steps = STEPS as u64;
    optimizer.set_rate(WarmupCosine::new(0.01, 5, steps).over(steps)).unwrap();
    if has_weight_decay {
        optimizer.set_weight_decay(Cosine { lr: 0.1, min_lr: 0.01, steps }.over(steps)).unwrap();
    }
    if has_momentum {
        optimizer.set_momentum(Cosine { lr: 0.9, min_lr: 0.7, steps }.over(steps)).unwrap();
    }
    optimizer
}

#[test]
fn every_method_goes_on_from_a_file() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for device in devices() {
        for form in forms() {
            let (name, make) = (&form.name, &*form.make);
            let plain: SetUp<'_> = &|optimizer| optimizer;
            hold(&format!("{name} on {device}"), || params(&device), make, plain);
            hold(&format!("{name} with everything on {device}"), || params(&device), make, &with_everything);
        }
    }
}

#[test]
fn every_schedule_goes_on_from_a_file() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let steps = STEPS as u64;
    let lr = 0.02;
    let cosine = || Cosine { lr, min_lr: 0.001, steps: steps - 5 };
    let points = vec![(0, lr), (26, 0.1 * lr), (40, lr)];
    let schedules: Vec<Box<dyn Schedule>> = vec![
        Box::new(Constant { lr }),
        Box::new(Step { lr, step_size: 7, gamma: 0.3 }),
        Box::new(MultiStep { lr, milestones: vec![10, 24, 40], gamma: 0.5 }),
        Box::new(Exponential { lr, min_lr: 1e-4, gamma: 0.1, decay_steps: steps }),
        Box::new(InverseTime { lr, decay_rate: 0.1 }),
        Box::new(Polynomial { lr, min_lr: 0.0, power: 2.0, steps }),
        Box::new(OneMinusSqrt { lr, min_lr: 0.001, steps }),
        Box::new(LinearRamp { initial_lr: lr, final_lr: 0.0, steps }),
        Box::new(cosine()),
        Box::new(WarmRestarts { lr, min_lr: 0.0, cycle_steps: 8, cycle_factor: 2 }),
        Box::new(WarmupCosine::new(lr, 30, steps)),
        Box::new(Warmup::linear(cosine(), 30)),
        Box::new(Warmup::exponential(cosine(), 1e-5, 30)),
        Box::new(InverseSqrt { lr, warmup_steps: 20 }),
        Box::new(WarmupStableDecay::new(lr, 10, steps)),
        Box::new(Cyclic::new(0.1 * lr, lr, 7)),
        Box::new(OneCycle::new(lr, steps)),
        Box::new(PiecewiseConstant { points: points.clone() }),
        Box::new(Interpolated { points, curve: Curve::Linear }),
        Box::new(Join::new(Constant { lr }).then(24, cosine())),
        Box::new(Chain::new(cosine()).times(Step { lr: 1.0, step_size: 12, gamma: 0.5 })),
        Box::new(Scaled::new(0.5, cosine())),
    ];
    for device in devices() {
        for schedule in &schedules {
            let set_up = |mut optimizer: Optimizer| {
                optimizer.set_rate(schedule.over(steps)).unwrap();
                optimizer
            };
            hold(&format!("{schedule:?} on {device}"), || params(&device), &|| Box::new(AdamW::new()), &set_up);
        }
        // The saved schedule replaces any other.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let mut run = Run::new(params(&device), Box::new(AdamW::new()), &with_everything);
        run.go_on(5);
        run.save(&path);
        let groups = |optimizer: Optimizer| {
            let mut optimizer = with_everything(optimizer);
            optimizer.set_rate(7.0).unwrap();
            optimizer
        };
        let mut other = Run::new(params(&device), Box::new(AdamW::new()), &groups);
        other.load(&path);
        run.go_on(1);
        other.step = 5;
        other.go_on(1);
        assert_eq!(run.optimizer.read_clock().unwrap(), other.optimizer.read_clock().unwrap());
    }
}

/// Clipping in all ways, gradients that are not finite, and statistics.
#[test]
fn every_way_of_clipping_goes_on_from_a_file() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for device in devices() {
        for clip in [
            Clip::Off,
            Clip::Norm(1.0),
            Clip::Value(0.5),
            Clip::PNorm { max_norm: 2.0, p: f64::INFINITY },
            Clip::TensorNorm(0.5),
            Clip::TensorRms(0.3),
        ] {
            let set_up = |optimizer: Optimizer| {
                optimizer
                    .with_clip(clip)
                    .unwrap()
                    .with_adaptive_clip(0.1, 1e-3)
                    .unwrap()
                    .with_non_finite(NonFinite::Skip)
                    .with_statistics()
                    .unwrap()
            };
            hold(&format!("{clip:?} on {device}"), || params(&device), &|| Box::new(AdamW::new()), &set_up);
        }
    }
}

/// The schedule with its own state, which is saved with the optimizer's.
#[test]
fn reduce_on_plateau_goes_on_from_a_file() {
    let settings = PlateauSettings { patience: 2, factor: 0.5, cooldown: 1, ..PlateauSettings::new(0.1) };
    let metric = |step: usize| f64::from(numbers(step as u64, 1, 1.0, 2.0)[0]);
    let go_on = |run: &mut Run, schedule: &mut ReduceOnPlateau, steps: usize| {
        for _ in 0..steps {
            let lr = schedule.observe(metric(run.step));
            run.optimizer.set_rate(lr).unwrap();
            run.go_on(1);
        }
    };
    for device in devices() {
        let new = || Run::new(params(&device), Box::new(AdamW::new()), &|optimizer| optimizer);
        let mut schedule = ReduceOnPlateau::new(settings).unwrap();
        let mut whole = new();
        go_on(&mut whole, &mut schedule, STEPS / 2);
        let mut saved = whole.optimizer.state_dict().unwrap();
        saved.metadata["plateau"] = serde_json::to_value(schedule.state()).unwrap();
        saved.tensors.extend(whole.params.to_host().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        saved.save(&path).unwrap();
        go_on(&mut whole, &mut schedule, STEPS / 2);

        let saved = Checkpoint::load(&path).unwrap();
        let state = serde_json::from_value(saved.metadata["plateau"].clone()).unwrap();
        let mut again = ReduceOnPlateau::from_state(settings, state).unwrap();
        let mut rest = new();
        rest.load(&path);
        rest.step = STEPS / 2;
        go_on(&mut rest, &mut again, STEPS / 2);
        assert_eq!(again, schedule);
        assert_eq!(rest.optimizer.state_dict().unwrap(), whole.optimizer.state_dict().unwrap(), "{device}");
        assert_eq!(rest.params.to_host().unwrap(), whole.params.to_host().unwrap(), "{device}");
        assert!(whole.optimizer.read_clock().unwrap().learning_rate < 0.05, "it has fallen");
    }
}

/// A method whose state has other shapes than its parameters: a tensor for each, and some for all together.
#[derive(Debug)]
struct Odd;

impl Method for Odd {
    fn name(&self) -> &'static str {
        "odd"
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!({})
    }

    fn validate(&self) -> Result<()> {
        Ok(())
    }

    fn state(&self, parameters: &[Vec<usize>]) -> Vec<StateArena> {
        let rows = parameters.iter().map(|shape| vec![shape[0]]).collect();
        vec![
            StateArena::of_shapes("row_norms", rows).filled(1.0),
            StateArena::of_shapes("factors", vec![vec![2, 3], vec![], vec![5]]).filled(1.0),
        ]
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        step.state[0].scale(0.9)?;
        step.state[1].scale(1.1)?;
        Sgd::new().step(StepArguments { state: &[], ..step })
    }
}

/// Makes two matrices.
fn matrices(device: &Device, shapes: [[usize; 2]; 2]) -> Params {
    let mut builder = ParamsBuilder::new(3);
    for (name, shape) in ["first.weight", "second.weight"].into_iter().zip(shapes) {
        builder.add(name, &shape, Init::Normal { mean: 0.0, deviation: 1.0 }).unwrap();
    }
    builder.build(device).unwrap()
}

const SHAPES: [[usize; 2]; 2] = [[4, 3], [2, 5]];

#[test]
fn state_of_other_shapes_has_names_and_goes_on() {
    for device in devices() {
        hold("odd", || matrices(&device, SHAPES), &|| Box::new(Odd), &|optimizer| optimizer);
        let run = Run::new(matrices(&device, SHAPES), Box::new(Odd), &|optimizer| optimizer);
        let saved = run.optimizer.state_dict().unwrap();
        let names: Vec<(&str, &[usize])> =
            saved.tensors.iter().map(|tensor| (tensor.name.as_str(), &*tensor.shape)).collect();
        let expected: [(&str, &[usize]); 7] = [
            ("state.first.weight.row_norms", &[4]),
            ("state.second.weight.row_norms", &[2]),
            ("state.factors.0", &[2, 3]),
            ("state.factors.1", &[]),
            ("state.factors.2", &[5]),
            ("state.step", &[]),
            ("state.schedule.learning_rate", &[1]),
        ];
        assert_eq!(names, expected);
    }
}

#[test]
fn what_does_not_fit_is_named_and_changes_nothing() {
    let device = Device::cpu();
    let adamw = || -> Box<dyn Method> { Box::new(AdamW::new()) };
    let plain: SetUp<'_> = &|optimizer| optimizer;
    let mut saved = Run::new(matrices(&device, SHAPES), adamw(), plain);
    saved.go_on(4);
    let saved = saved.optimizer.state_dict().unwrap();

    let refused = |method: Box<dyn Method>, params: Params, set_up: SetUp<'_>, saved: &Checkpoint| {
        let mut run = Run::new(params, method, set_up);
        run.go_on(2);
        let before = run.optimizer.state_dict().unwrap();
        let error = run.optimizer.load_state_dict(saved).unwrap_err();
        assert!(matches!(error, Error::State { .. }) && error.is_user_error(), "{error:?}");
        assert_eq!(run.optimizer.state_dict().unwrap(), before, "{error}");
        assert!(!error.to_string().contains('\n'));
        error.to_string()
    };
    let own = || matrices(&device, SHAPES);
    assert_eq!(
        refused(Box::new(Sgd::new()), own(), plain, &saved),
        "optimizer method: saved was adamw, but here it is sgd"
    );
    let text = refused(Box::new(AdamW::new().eps(1e-6)), own(), plain, &saved);
    assert_eq!(text, "optimizer settings: saved was eps = 1e-8, but here it is 1e-6");
    let clipped: SetUp<'_> = &|optimizer| optimizer.with_clip(Clip::Value(2.0)).unwrap();
    assert_eq!(refused(adamw(), own(), clipped, &saved), "optimizer clip: saved was Off, but here it is Value(2.0)");
    let careful: SetUp<'_> =
        &|optimizer| optimizer.with_adaptive_clip(0.5, 0.25).unwrap().with_non_finite(NonFinite::Skip);
    assert_eq!(
        refused(adamw(), own(), careful, &saved),
        "optimizer clip: saved was Off, but here it is Off, adaptive (0.5, 0.25), non-finite Skip"
    );
    let grouped: SetUp<'_> = &|optimizer| {
        let group = ParameterGroup { lr_scale: Some(0.5), ..ParameterGroup::of("second*") };
        optimizer.with_groups(&[group]).unwrap()
    };
    let text = refused(adamw(), own(), grouped, &saved);
    assert!(text.starts_with("second.weight: saved was the group") && text.contains("lr_scale: 0.5"), "{text}");
    let other = matrices(&device, [[4, 3], [5, 2]]);
    assert_eq!(
        refused(adamw(), other, plain, &saved),
        "second.weight: the saved state is of shape [2, 5], but must be [5, 2]"
    );

    let altered = |alter: &dyn Fn(&mut Checkpoint)| {
        let mut saved = saved.clone();
        alter(&mut saved);
        refused(adamw(), own(), plain, &saved)
    };
    let name = "state.second.weight.exp_avg_sq";
    let find = |saved: &mut Checkpoint| saved.tensors.iter().position(|tensor| tensor.name == name).unwrap();
    let text = altered(&|saved| {
        let i = find(saved);
        saved.tensors.remove(i);
    });
    assert_eq!(text, "state.second.weight.exp_avg_sq: the tensor is missing");
    let text = altered(&|saved| {
        let i = find(saved);
        saved.tensors[i].shape = vec![10];
    });
    assert_eq!(text, "state.second.weight.exp_avg_sq: it has shape [10], but must have [2, 5]");
    let text = altered(&|saved| {
        let i = find(saved);
        saved.tensors[i].values = Values::U32(vec![0; 10]);
    });
    assert!(text.contains("elements of type U32, but must have 10 of F32"), "{text}");
    let text = altered(&|saved| saved.metadata["optimizer"]["clock"] = serde_json::json!([1, 2]));
    assert!(text.starts_with("optimizer: the clock has 2 words"), "{text}");
    let text = altered(&|saved| saved.metadata = serde_json::Value::Null);
    assert_eq!(text, "optimizer: there is no such state in the file");
    let text = altered(&|saved| {
        let schedule = saved.tensors.iter_mut().find(|tensor| tensor.name == "state.schedule.learning_rate").unwrap();
        schedule.values = Values::F64(vec![-1.0]);
    });
    assert!(text.starts_with("state.schedule: "), "{text}");

    // The same for parameters.
    let params = own();
    let mut tensors = params.to_host().unwrap();
    tensors[1].shape = vec![10];
    let before = params.to_host().unwrap();
    tensors[0].values = Values::F32(vec![9.0; 12]);
    let text = params.load(&tensors).unwrap_err().to_string();
    assert_eq!(text, "second.weight: it has shape [10], but must have [2, 5]");
    tensors.remove(1);
    assert_eq!(params.load(&tensors).unwrap_err().to_string(), "second.weight: the tensor is missing");
    assert_eq!(params.to_host().unwrap(), before);
}

/// A saved file, read by its bytes only: eight of them for the length of a JSON header, which has the names, types and
/// shapes; then the elements.
#[test]
fn any_reader_of_safetensors_finds_the_state() {
    let device = Device::cpu();
    let mut run = Run::new(matrices(&device, SHAPES), Box::new(AdamW::new()), &|optimizer| optimizer);
    run.go_on(3);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    run.save(&path);
    let bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let floats = |name: &str| -> Vec<f32> {
        assert_eq!(header[name]["dtype"], "F32", "{name}");
        let [start, end] = [0, 1].map(|i| 8 + length + header[name]["data_offsets"][i].as_u64().unwrap() as usize);
        bytes[start..end].as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let (_, exp_avg) = run.optimizer.state().next().unwrap();
    assert_eq!(floats("state.second.weight.exp_avg"), crate::common::floats(exp_avg.get(1)));
    assert_eq!(header["state.second.weight.exp_avg"]["shape"], serde_json::json!([2, 5]));
    assert_eq!(floats("second.weight"), crate::common::floats(run.params.values().get(1)));
    assert_eq!(floats("state.step"), [3.0]);
    let text = header["__metadata__"]["thalweg"].as_str().unwrap();
    let manifest: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(manifest["metadata"]["optimizer"]["method"], "adamw");
}
