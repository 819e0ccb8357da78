//! The training step that is measured: a small network on random data, with everything that a step of a trainer does.

use thalweg::Result;
use thalweg::autograd::Tape;
use thalweg::nn::data::{Batches, Dataset};
use thalweg::nn::{AdamW, Loss, Mlp, MlpConfig, Module, Optimizer, ParamsBuilder};
use thalweg::tensor::{Device, Recording, Tensor, ValueLog};

/// Units of the layers: the usual small network for pictures of 28 × 28 of ten classes.
pub(crate) const WIDTHS: [usize; 4] = [784, 256, 128, 10];

/// Rows of the random data set that batches are gathered from.
const ROWS: usize = 4096;

/// The global norm that gradients are clipped to.
const MAX_NORM: f64 = 1.0;

/// A network in training.
pub(crate) struct TrainingStep {
    device: Device,
    model: Mlp,
    optimizer: Optimizer,
    batches: Batches,
    batch: usize,
    losses: ValueLog,
}

impl TrainingStep {
    /// A perceptron with ReLU, these units and this batch; cross-entropy, AdamW, gradients clipped by their global norm.
    pub(crate) fn new(device: &Device, widths: &[usize], batch: usize) -> Result<Self> {
        let &[inputs, ref hidden @ .., outputs] = widths else { unreachable!("a network has inputs and outputs") };
        let mut builder = ParamsBuilder::new(0);
        let config = MlpConfig { inputs, hidden: hidden.to_vec(), outputs, ..MlpConfig::default() };
        let model = Mlp::new(&mut builder, &config)?;
        let params = builder.build(device)?;
        let optimizer = Optimizer::new(&params, AdamW::default())?.with_clip_norm(MAX_NORM)?;
        let features = Tensor::uniform(device, 0, 0, 0.0, 1.0, &[ROWS, inputs])?;
        let classes: Vec<u32> = (0..ROWS).map(|row| (row % outputs) as u32).collect();
        let data = Dataset::new(features, Tensor::from_slice(device, &classes, &[ROWS])?)?;
        Ok(Self {
            device: device.clone(),
            model,
            optimizer,
            batches: Batches::new(data, 0)?,
            batch,
            losses: ValueLog::new(device, 1024)?,
        })
    }

    /// Collects one step: a batch, forward, backward, update, and the loss kept on the device.
    pub(crate) fn step(&mut self) -> Result<()> {
        let (features, targets) = self.batches.next(self.batch)?;
        let tape = Tape::new();
        let loss = Loss::CrossEntropy.of(self.model.forward(tape.constant(&features))?, &targets)?;
        self.optimizer.params().zero_grad();
        tape.backward(loss)?;
        self.optimizer.step()?;
        Ok(self.losses.push(&loss.value())?)
    }

    /// Records a step, behind a first one that makes what steps keep.
    pub(crate) fn record(&mut self) -> Result<Recording> {
        self.step()?;
        let device = self.device.clone();
        Ok(device.record(|| self.step())?.0)
    }
}
