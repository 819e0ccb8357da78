//! Recordings: a replay is the same work on the same memory, to the bit, on the CPU and on a GPU.

use crate::common::{devices, floats, tensor};
use thalweg::autograd::{Tape, Var};
use thalweg::nn::data::{Batches, Dataset, friedman1};
use thalweg::nn::{
    AdamW, Dropout, FitOptions, Linear, Loss, Mlp, MlpConfig, Module, Mse, Optimizer, Params, ParamsBuilder, Schedule,
    Sgd, Trainer, WarmupCosine,
};
use thalweg::tensor::{
    Access, Device, DropoutState, Error, Kernel, Launch, RecordOptions, Recording, Shader, Tensor, ValueLog,
};

/// Two layers with dropout between them, and all state that a step advances on the device.
struct Run {
    layers: (Linear, Dropout, Linear),
    params: Params,
    optimizer: Optimizer,
    batches: Batches,
    losses: ValueLog,
}

const STEPS: usize = 1000;

impl Run {
    fn new(device: &Device) -> Self {
        let (features, targets) = friedman1(160, 1.0, 3);
        let targets: Vec<f32> = targets.iter().map(|y| (y - 14.0) / 5.0).collect();
        let data = Dataset::regression(device, &features, 10, &targets).unwrap();
        let mut builder = ParamsBuilder::new(1);
        let layers = (
            Linear::new(&mut builder, "first", 10, 24).unwrap(),
            Dropout::new(&mut builder, 0.2).unwrap(),
            Linear::new(&mut builder, "second", 24, 1).unwrap(),
        );
        let params = builder.build(device).unwrap();
        let mut optimizer = Optimizer::new(&params, AdamW::new(), 1e-3).unwrap().with_clip_norm(0.5).unwrap();
        optimizer.set_rate(WarmupCosine::new(0.01, 10, STEPS as u64).over(STEPS as u64)).unwrap();
        let mut batches = Batches::new(data, 5).unwrap();
        batches.start_epoch(0).unwrap();
        Self { layers, params, optimizer, batches, losses: ValueLog::new(device, STEPS).unwrap() }
    }

    fn step(&mut self) -> Result<(), thalweg::nn::Error> {
        let (x, y) = self.batches.next(32)?;
        let tape = Tape::new();
        let hidden = self.layers.0.forward(tape.constant(&x))?.tanh()?;
        let output = self.layers.2.forward(self.layers.1.forward(hidden)?)?;
        let loss = Mse.of_logged(output, &y, Some(&self.losses))?;
        self.params.zero_grad();
        tape.backward(loss)?;
        self.optimizer.step()
    }

    fn result(&self) -> (Vec<u32>, Vec<u32>) {
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
        (bits(floats(&self.params.values().pages()[0])), bits(self.losses.take().unwrap()))
    }
}

#[test]
fn replay_equals_eager_to_the_bit_with_schedule_clipping_dropout_and_shuffling() {
    for device in devices() {
        let mut eager = Run::new(&device);
        for step in 0..STEPS {
            if step % 5 == 0 {
                eager.batches.start_epoch(step as u64 / 5).unwrap();
            }
            eager.step().unwrap();
        }
        let mut recorded = Run::new(&device);
        recorded.step().unwrap();
        let (recording, ()) = device.record(|| recorded.step()).unwrap();
        recording.replay(3).unwrap();
        for epoch in 1..STEPS as u64 / 5 {
            // A new order of rows, written by the host between replays.
            recorded.batches.start_epoch(epoch).unwrap();
            recording.replay(5).unwrap();
        }
        let (expected, found) = (eager.result(), recorded.result());
        assert_eq!(expected.1.len(), STEPS, "{device}");
        assert!(expected == found, "{device}");
    }
}

#[test]
fn a_trainer_that_records_gives_the_bits_of_one_that_does_not() {
    for device in devices() {
        let (features, targets) = friedman1(150, 1.0, 4);
        let data = Dataset::regression(&device, &features, 10, &targets).unwrap();
        let run = |recording: bool| {
            let mut builder = ParamsBuilder::new(2);
            let config = MlpConfig { inputs: 10, hidden: vec![16], outputs: 1, dropout: 0.1, ..MlpConfig::default() };
            let model = Mlp::new(&mut builder, &config).unwrap();
            let params = builder.build(&device).unwrap();
            let optimizer = Optimizer::new(&params, AdamW::new(), 1e-3).unwrap().with_clip_norm(1.0).unwrap();
            let mut trainer = Trainer::new(model, optimizer, Mse).with_recording(recording);
            // The last batch of an epoch is shorter: 150 = 4 · 32 + 22.
            let options = FitOptions { epochs: 12, batch_size: 32, seed: 0 };
            let history = trainer.fit(&data, None, &options, |_| ()).unwrap();
            (floats(&params.values().pages()[0]), history.epochs)
        };
        assert!(run(true) == run(false), "{device}");
    }
}

#[test]
fn twenty_runs_give_the_same_bits() {
    for device in devices() {
        let run = || {
            let mut run = Run::new(&device);
            run.step().unwrap();
            let (recording, ()) = device.record(|| run.step()).unwrap();
            recording.replay(10).unwrap();
            run.result()
        };
        let first = run();
        assert!((1..20).all(|_| run() == first), "{device}");
    }
}

#[test]
fn gradients_of_a_replay_count_although_the_host_has_zeroed_them() {
    for device in devices() {
        let mut builder = ParamsBuilder::new(0);
        let layer = Linear::new(&mut builder, "layer", 2, 1).unwrap();
        let params = builder.build(&device).unwrap();
        let mut optimizer = Optimizer::new(&params, AdamW::new(), 0.1).unwrap();
        let x = tensor(&device, &[1.0, 2.0, 3.0, -1.0], &[2, 2]);
        let y = tensor(&device, &[1.0, 0.0], &[2, 1]);
        let backward = || -> Result<(), thalweg::nn::Error> {
            let tape = Tape::new();
            let loss = Mse.of(layer.forward(tape.constant(&x))?, &y)?;
            Ok(tape.backward(loss).map(|_| ())?)
        };
        params.zero_grad();
        let (recording, ()) = device.record(backward).unwrap();
        let expected = floats(layer.weight().grad().unwrap());
        params.zero_grad();
        recording.replay(1).unwrap();
        assert_eq!(floats(layer.weight().grad().unwrap()), expected, "{device}");
        params.zero_grad();
        recording.replay(1).unwrap();
        let before = floats(layer.weight().value().unwrap());
        optimizer.step().unwrap();
        assert_ne!(floats(layer.weight().value().unwrap()), before, "{device}");
    }
}

#[test]
fn a_replay_follows_the_learning_rate() {
    for device in devices() {
        let mut builder = ParamsBuilder::new(0);
        let layer = Linear::new(&mut builder, "layer", 1, 1).unwrap();
        let params = builder.build(&device).unwrap();
        let mut optimizer = Optimizer::new(&params, Sgd::new(), 1.0).unwrap();
        optimizer.set_rate(WarmupCosine::new(0.5, 10, 100).over(100)).unwrap();
        layer.bias().value().unwrap().write(&[0.0f32]).unwrap();
        params.grads().unwrap().get(1).write(&[1.0f32]).unwrap();
        let (recording, ()) = device.record(|| optimizer.step()).unwrap();
        // A table of another length than the recorded one.
        optimizer.set_rate(0.25).unwrap();
        layer.bias().value().unwrap().write(&[0.0f32]).unwrap();
        recording.replay(2).unwrap();
        assert_eq!(floats(layer.bias().value().unwrap()), [-0.5], "{device}");
    }
}

/// Makes a recording of x = 2 x, y = x + 1.
fn doubling(device: &Device) -> (Tensor, Tensor, Recording) {
    let x = tensor(device, &[1.0, 2.0, 3.0], &[3]);
    let y = tensor(device, &[0.0; 3], &[3]);
    let (recording, ()) = device
        .record(|| -> Result<(), Error> {
            x.affine(2.0, 0.0)?.copy_into(&x)?;
            x.affine(1.0, 1.0)?.copy_into(&y)
        })
        .unwrap();
    (x, y, recording)
}

#[test]
fn inputs_may_be_rewritten_between_replays() {
    for device in devices() {
        let (x, y, recording) = doubling(&device);
        // Both functions and both copies.
        assert_eq!(recording.launches(), 1);
        recording.replay(2).unwrap();
        assert_eq!(floats(&y), [9.0, 17.0, 25.0], "{device}");
        x.write(&[10.0f32, 20.0, 30.0]).unwrap();
        recording.replay(1).unwrap();
        assert_eq!(floats(&y), [21.0, 41.0, 61.0], "{device}");
        // Work that is collected before a replay runs before it.
        x.fill(1f32).unwrap();
        recording.replay(1).unwrap();
        x.fill(7f32).unwrap();
        assert_eq!((floats(&y), floats(&x)), (vec![3.0; 3], vec![7.0; 3]), "{device}");
    }
}

#[test]
fn a_recording_owns_what_it_touches() {
    for device in devices() {
        let (x, y, recording) = doubling(&device);
        drop(x);
        // If the memory of x and of the intermediate values were free, these would take it.
        let others: Vec<Tensor> = (0..20).map(|i| Tensor::full(&device, i as f32, &[3]).unwrap()).collect();
        recording.replay(1).unwrap();
        assert_eq!(floats(&y), [5.0, 9.0, 13.0], "{device}");
        for (i, other) in others.iter().enumerate() {
            assert_eq!(floats(other), [i as f32; 3], "{device}");
        }
        recording.replay(100).unwrap();
        drop(recording);
        assert!(floats(&y)[0] > 1e30, "{device}: a replay in flight was lost with its recording");
    }
}

#[test]
fn many_replays_go_into_few_submissions() {
    // A separate device: others submit on the shared one.
    let Some(device) = crate::common::gpu().map(|_| Device::open_new("gpu").unwrap()) else { return };
    let (_, _, recording) = doubling(&device);
    let before = device.counters();
    recording.replay(50).unwrap();
    let done = device.counters() - before;
    assert_eq!((done.launches, done.host_syncs), (50, 0));
    assert!(done.submissions <= 2, "{done:?}");
}

#[test]
fn what_a_recording_cannot_hold_is_refused_by_name_and_harms_nothing() {
    for device in devices() {
        let x = tensor(&device, &[1.0, 2.0], &[2]);
        let (_, _, other) = doubling(&device);
        let refused = |body: &dyn Fn() -> Result<(), Error>, name: &str| {
            let error = device.record(body).unwrap_err();
            assert!(matches!(error, Error::Recording { .. }) && error.to_string().contains(name), "{error}");
        };
        refused(&|| x.to_vec::<f32>().map(|_| ()), "read-back");
        refused(&|| x.write(&[3.0f32, 4.0]), "write");
        refused(&|| device.synchronize(), "synchronize");
        refused(&|| other.replay(1), "replay");
        refused(&|| device.record(|| Ok::<_, Error>(())).map(|_| ()), "record");
        refused(&|| ValueLog::new(&device, 1).map(|_| ()), "value log");
        refused(&|| DropoutState::new(&device, 0, 0).map(|_| ()), "dropout state");
        let rewritten = || {
            let t = Tensor::from_slice(&device, &[1.0f32, 2.0], &[2])?;
            x.mul(&t)?;
            t.write(&[3.0f32, 4.0])
        };
        refused(&rewritten, "write");
        // The error has ended the recording, so all of this works again.
        x.write(&[5.0f32, 6.0]).unwrap();
        assert_eq!(floats(&x), [5.0, 6.0]);
        // A tensor that is made inside is a constant of the recording.
        let (recording, y) = device.record(|| tensor(&device, &[1.0, 1.0], &[2]).add(&x)).unwrap();
        x.write(&[7.0f32, 8.0]).unwrap();
        recording.replay(1).unwrap();
        assert_eq!(floats(&y), [8.0, 9.0], "{device}");
    }
}

/// A replay would not repeat such work.
#[test]
fn work_on_another_device_is_refused_while_a_recording_is_made() {
    let Some(gpu) = crate::common::gpu() else { return };
    for (recorded, other) in [(&gpu, &Device::cpu()), (&Device::cpu(), &gpu)] {
        let (x, y) = (tensor(other, &[1.0], &[1]), tensor(other, &[5.0], &[1]));
        let refused = |body: &dyn Fn() -> Result<(), Error>, name: &str| {
            let error = recorded.record(body).unwrap_err();
            assert!(matches!(error, Error::Recording { .. }) && error.to_string().contains(name), "{error}");
            assert!(error.to_string().contains("another device"), "{error}");
        };
        refused(&|| x.affine(2.0, 0.0).map(drop), "affine");
        refused(&|| x.copy_into(&y), "copy");
        refused(&|| y.fill(1f32), "fill");
        refused(&|| Tensor::zeros(other, thalweg::tensor::DType::F32, &[3]).map(drop), "clear");
        refused(&|| Tensor::from_slice(other, &[1.0f32], &[1]).map(drop), "write");
        refused(&|| y.write(&[3.0f32]), "write");
        // None of it has run, and all of it works again.
        assert_eq!(floats(&y), [5.0]);
        x.copy_into(&y).unwrap();
        assert_eq!(floats(&y), [1.0]);
    }
}

/// A kernel without an entry point, which no device compiles.
static BROKEN: Kernel = Kernel {
    shader: &Shader { name: "broken", path: "broken.wgsl", text: "fn nothing() {}", shared: &[] },
    uniform: 0,
    access: &[Access::Write],
    variants: &[&[]],
    twin: |_| (),
};

#[test]
fn a_launch_that_fails_is_not_recorded() {
    let Some(device) = crate::common::gpu() else { return };
    let x = tensor(&device, &[1.0, 2.0], &[2]);
    let (recording, ()) = device
        .record(|| -> Result<(), Error> {
            let failed = Launch::new(&BROKEN, ()).bind(&x).run(&device);
            assert!(matches!(failed, Err(Error::Kernel { kernel: "broken", .. })), "{failed:?}");
            x.affine(2.0, 0.0)?.copy_into(&x)
        })
        .unwrap();
    recording.replay(2).unwrap();
    assert_eq!(floats(&x), [8.0, 16.0]);
}

/// If two replays interleaved, both would read x before either has written it, and one addition would be lost.
#[test]
fn replays_by_several_threads_do_not_interleave() {
    for device in devices() {
        let (threads, replays) = (3u16, if device.is_cpu() { 20_000u16 } else { 200 });
        let x = tensor(&device, &[0.0], &[1]);
        let options = RecordOptions { fuse: false, ..RecordOptions::default() };
        let (recording, ()) = device.record_with(options, || x.affine(1.0, 1.0)?.copy_into(&x)).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| (0..replays).for_each(|_| recording.replay(1).unwrap()));
            }
        });
        // The first addition is the recording itself; all these numbers are exact in f32.
        assert_eq!(floats(&x), [1.0 + f32::from(threads) * f32::from(replays)], "{device}");
    }
}

#[test]
fn gradients_of_gradients_replay_too() {
    for device in devices() {
        let x = tensor(&device, &[0.5, -1.5], &[2]);
        let work = |x: &Tensor| -> Result<Tensor, thalweg::autograd::Error> {
            let tape = Tape::new();
            let x: Var<'_> = tape.input(x);
            let first = tape.grad(x.powf(3.0)?.sum()?, &[x])?[0];
            Ok(tape.grad(first.sum()?, &[x])?[0].value())
        };
        let (recording, second) = device.record(|| work(&x)).unwrap();
        x.write(&[2.0f32, 3.0]).unwrap();
        recording.replay(1).unwrap();
        assert_eq!(floats(&second), [12.0, 18.0], "{device}");
    }
}
