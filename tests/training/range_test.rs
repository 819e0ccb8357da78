//! A learning-rate range test changes nothing: the state is restored, and the next run has the bits of a run without
//! the test.

use crate::common::{devices, numbers};
use thalweg::nn::data::Dataset;
use thalweg::nn::{
    Activation, AdamW, AdamW8bit, Asgd, Checkpoint, CrossEntropy, FitOptions, Lamb, Method, Mlp, MlpConfig, OneCycle,
    Optimizer, ParamsBuilder, Prodigy, Ramp, RangeTest, Schedule, ScheduleFreeAdamW, Sgd, Sophia, Trainer,
};
use thalweg::tensor::Device;

const ROWS: usize = 100;
const OPTIONS: FitOptions = FitOptions { epochs: 2, batch_size: 16, seed: 5 };

fn data(device: &Device) -> Dataset {
    let classes: Vec<u32> = (0..ROWS as u32).map(|i| i * 7 % 3).collect();
    let mut features = numbers(1, 6 * ROWS, -1.0, 1.0);
    features.iter_mut().enumerate().for_each(|(i, x)| *x += classes[i / 6] as f32 * (i % 3) as f32 * 0.5);
    Dataset::classification(device, &features, 6, &classes, 3).unwrap()
}

fn trainer(device: &Device, method: Box<dyn Method>) -> Trainer<Mlp> {
    let mut builder = ParamsBuilder::new(2);
    let config = MlpConfig { inputs: 6, hidden: vec![12], outputs: 3, activation: Activation::Relu, dropout: 0.2 };
    let model = Mlp::new(&mut builder, &config).unwrap();
    let params = builder.build(device).unwrap();
    let one_cycle = OneCycle::new(0.02, 60);
    let mut optimizer = Optimizer::new(&params, method, one_cycle.over(60)).unwrap().with_clip_norm(1.0).unwrap();
    if optimizer.method().capabilities().momentum {
        optimizer.set_momentum(one_cycle.momentum().over(60)).unwrap();
    }
    Trainer::new(model, optimizer, CrossEntropy)
}

/// Everything that determines the rest of a run, bit by bit.
#[derive(PartialEq)]
struct State {
    optimizer: Checkpoint,
    parameters: Vec<Vec<u32>>,
    random_counters: Vec<u32>,
    is_evaluating: bool,
}

fn state(trainer: &mut Trainer<Mlp>) -> State {
    let optimizer = trainer.optimizer_mut();
    let bits = |optimizer: &Optimizer| {
        let params = optimizer.params().to_host().unwrap();
        params.iter().map(|tensor| tensor.values.f32().unwrap().iter().map(|x| x.to_bits()).collect()).collect()
    };
    let (is_evaluating, mut parameters): (bool, Vec<Vec<u32>>) = (optimizer.is_evaluating(), bits(optimizer));
    optimizer.train().unwrap();
    parameters.extend(bits(optimizer));
    let random_counters = optimizer.params().random_counters().unwrap();
    let saved = State { optimizer: optimizer.state_dict().unwrap(), parameters, random_counters, is_evaluating };
    if is_evaluating {
        optimizer.eval().unwrap();
    }
    saved
}

fn methods() -> Vec<fn() -> Box<dyn Method>> {
    vec![
        || Box::new(Sgd::new().momentum(0.9)),
        || Box::new(AdamW::new()),
        || Box::new(AdamW8bit::new()),
        || Box::new(Asgd::new()),
        || Box::new(ScheduleFreeAdamW::new()),
        || Box::new(Sophia::new()),
        || Box::new(Prodigy::new()),
        || Box::new(Lamb::new()),
    ]
}

#[test]
fn nothing_tells_that_there_was_a_test() {
    let test = RangeTest { from_lr: 1e-5, steps: 30, ..RangeTest::default() };
    for device in devices() {
        let data = data(&device);
        for make in methods() {
            let mut runs = [trainer(&device, make()), trainer(&device, make())];
            let name = format!("{} on {device}", runs[0].optimizer().method().name());
            let [plain, tested] = &mut runs;
            // Before the first step, and in the middle of a run, where averages may replace the parameters.
            for part in ["at the start", "between", "at the end"] {
                assert!(state(plain) == state(tested), "{name}, {part}: the runs differ");
                let report = tested.range_test(&data, &test, &OPTIONS).unwrap();
                assert!(report.points.len() > 5 && report.points[0].loss.is_finite(), "{name}, {part}");
                assert!(state(plain) == state(tested), "{name}, {part}: the test has left a trace");
                let fit = |trainer: &mut Trainer<Mlp>| trainer.fit(&data, None, &OPTIONS, |_| ()).unwrap().epochs;
                let (expected, got) = (fit(plain), fit(tested));
                assert!(expected == got, "{name}, {part}: other reports");
            }
            assert!(state(plain) == state(tested), "{name}: the runs differ in the end");
        }
    }
}

#[test]
fn a_test_that_fails_leaves_no_trace_either() {
    let device = Device::cpu();
    let data = data(&device);
    let mut trainer = trainer(&device, Box::new(AdamW::new()));
    trainer.fit(&data, None, &OPTIONS, |_| ()).unwrap();
    let before = state(&mut trainer);
    let wrong = Dataset::regression(&device, &[0.0; 60], 6, &[0.0; 10]).unwrap();
    assert!(trainer.range_test(&wrong, &RangeTest::default(), &OPTIONS).is_err());
    let backwards = RangeTest { to_lr: 1e-9, ..RangeTest::default() };
    let error = trainer.range_test(&data, &backwards, &OPTIONS).unwrap_err();
    assert!(error.to_string().starts_with("to_lr = "), "{error}");
    assert!(before == state(&mut trainer));
}

#[test]
fn what_it_suggests_learns() {
    let device = Device::cpu();
    let data = data(&device);
    let loss = |lr: f64| {
        let mut trainer = trainer(&device, Box::new(Sgd::new()));
        trainer.optimizer_mut().set_rate(lr).unwrap();
        trainer
            .fit(&data, None, &FitOptions { epochs: 10, ..OPTIONS }, |_| ())
            .map_or(f64::INFINITY, |run| run.train.loss)
    };
    for (ramp, to_lr) in [(Ramp::Exponential, 100.0), (Ramp::Linear, 2.0)] {
        let test = RangeTest { from_lr: 1e-4, to_lr, ramp, ..RangeTest::default() };
        let report = trainer(&device, Box::new(Sgd::new())).range_test(&data, &test, &OPTIONS).unwrap();
        assert!((0..report.points.len()).all(|i| report.points[i].lr == test.at(i as u64)));
        assert!(report.plot().unwrap().contains("steepest"));
        let suggested = report.steepest.unwrap();
        assert!((test.from_lr..=to_lr).contains(&suggested));
        if ramp == Ramp::Exponential {
            let (there, far_below) = (loss(suggested), loss(suggested / 1000.0));
            assert!(there < 0.9 * far_below, "{there} at {suggested}, {far_below} far below");
        }
    }
}
