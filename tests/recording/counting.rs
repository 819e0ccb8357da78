//! Kernels that count their workgroups to advance state, and small launches that do not count: the same bits.

use crate::common::{is_software, own_devices};
use thalweg::Result;
use thalweg::autograd::Tape;
use thalweg::nn::data::{Batches, Dataset, friedman1};
use thalweg::nn::schedule::{Cosine, Schedule};
use thalweg::nn::{
    AdamW, Averaging, Dropout, Linear, Loss, Module, Mse, Optimizer, Params, ParamsBuilder, WeightAverage,
};
use thalweg::tensor::{Device, Tensor};

/// A run in which a batch, dropout, the optimizer and an average advance by their own counters.
struct Run {
    device: Device,
    layers: [Linear; 2],
    dropout: Dropout,
    params: Params,
    optimizer: Optimizer,
    average: WeightAverage,
    batches: Batches,
}

impl Run {
    fn new(device: &Device, hidden: usize) -> Self {
        let (features, targets) = friedman1(250, 1.0, 3);
        let mut builder = ParamsBuilder::new(1);
        let layers = [("first", 10, hidden), ("second", hidden, 1)]
            .map(|(name, inputs, outputs)| Linear::new(&mut builder, name, inputs, outputs).unwrap());
        let dropout = Dropout::new(&mut builder, 0.25).unwrap();
        let params = builder.build(device).unwrap();
        let mut optimizer = Optimizer::new(&params, AdamW::new(), 1e-3).unwrap();
        optimizer.set_rate(Cosine { lr: 1e-3, min_lr: 1e-5, steps: 300 }.over(300)).unwrap();
        let average = WeightAverage::new(&params, Averaging::Debiased { decay: 0.99 }).unwrap();
        let dataset = Dataset::regression(device, &features, 10, &targets).unwrap();
        let batches = Batches::new(dataset, 5).unwrap();
        Self { device: device.clone(), layers, dropout, params, optimizer, average, batches }
    }

    fn step(&mut self) -> Result<()> {
        let (x, y) = self.batches.next(16)?;
        let tape = Tape::new();
        let hidden = self.dropout.forward(self.layers[0].forward(tape.constant(&x))?)?;
        let loss = Mse.of(self.layers[1].forward(hidden)?, &y)?;
        self.params.zero_grad();
        tape.backward_and_free(loss)?;
        self.optimizer.step()?;
        self.average.update()
    }

    /// Returns the bits of parameters, moments and averages, and the counts, after some steps, all but two of them
    /// replayed.
    fn bits_after(mut self, steps: usize) -> (Vec<Vec<u32>>, u32, u32) {
        self.step().unwrap();
        let device = self.device.clone();
        let (recording, ()) = device.record(|| self.step()).unwrap();
        recording.replay(steps - 2).unwrap();
        let arenas = [self.params.values(), self.average.averages()];
        let bits = |tensor: &Tensor| tensor.to_vec::<f32>().unwrap().iter().map(|x| x.to_bits()).collect();
        let mut all: Vec<Vec<u32>> = arenas.iter().flat_map(|arena| arena.tensors()).map(bits).collect();
        all.extend(self.batches.next(16).map(|(x, y)| [bits(&x), bits(&y)]).unwrap());
        (all, self.optimizer.read_clock().unwrap().step, self.average.updates().unwrap())
    }
}

/// Many workgroups and steps on hardware; on software and the CPU as many as take a second or two.
#[test]
fn long_runs_have_the_same_bits_with_and_without_counting() {
    for device in own_devices() {
        let (hidden, steps) = if device.is_cpu() || is_software(&device) { (1000, 600) } else { (100_000, 20_000) };
        let [counted, launched] = [true, false].map(|counts| {
            device.set_workgroup_counting(counts);
            Run::new(&device, hidden).bits_after(steps)
        });
        assert_eq!((counted.1, counted.2), (steps as u32, steps as u32), "{device}");
        assert!(counted == launched, "the bits differ on {device}");
    }
}

#[test]
fn without_counting_what_goes_on_takes_a_launch_more() {
    for device in own_devices() {
        let launches = [true, false].map(|counts| {
            device.set_workgroup_counting(counts);
            assert_eq!(device.counts_workgroups(), counts);
            let mut run = Run::new(&device, 64);
            // The accessor zeroes gradients that no backward pass has written, and they count as written.
            run.params.grads().unwrap();
            let x = Tensor::full(&device, 1f32, &[4, 4]).unwrap();
            let mut of = |work: &mut dyn FnMut(&mut Run)| {
                // The first time may create lasting state.
                work(&mut run);
                let before = device.counters().launches;
                work(&mut run);
                device.counters().launches - before
            };
            [
                of(&mut |run| drop(run.batches.next(16).unwrap())),
                of(&mut |run| {
                    let tape = Tape::new();
                    run.dropout.forward(tape.constant(&x)).unwrap();
                }),
                of(&mut |run| run.optimizer.step().unwrap()),
                of(&mut |run| run.average.update().unwrap()),
            ]
        });
        assert_eq!(launches, [[1; 4], [2; 4]], "on {device}");
    }
}
