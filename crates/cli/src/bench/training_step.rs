//! The measured training step: a small network on random data, with all work of a step of a trainer.

use thalweg::Result;
use thalweg::autograd::Tape;
use thalweg::nn::data::{Batches, Dataset};
use thalweg::nn::{AdamW, CrossEntropy, Loss, LossScale, Mlp, MlpConfig, Module, Optimizer, ParamsBuilder};
use thalweg::tensor::{Device, DeviceProducts, MatmulPrecision, Recording, Tensor, ValueLog};

/// The units of the layers: the usual small network for pictures of 28 × 28 of ten classes.
pub(crate) const WIDTHS: [usize; 4] = [784, 256, 128, 10];

/// The rows of the random data set of the batches, and its maximum number of features in total.
const ROWS: usize = 4096;
const FEATURES: usize = 1 << 23;

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
    /// Makes a perceptron with ReLU, these units, at least two of them, and this batch; cross-entropy, AdamW, gradients
    /// clipped by their global norm.
    pub(crate) fn new(device: &Device, widths: &[usize], batch: usize) -> Result<Self> {
        let mut builder = ParamsBuilder::new(0);
        let (inputs, outputs) = (widths[0], widths[widths.len() - 1]);
        let hidden = widths[1..widths.len() - 1].to_vec();
        let config = MlpConfig { inputs, hidden, outputs, ..MlpConfig::default() };
        let model = Mlp::new(&mut builder, &config)?;
        let params = builder.build(device)?;
        let mut optimizer = Optimizer::new(&params, AdamW::new(), 1e-3)?.with_clip_norm(MAX_NORM)?;
        if device.matmul_precision() == MatmulPrecision::F16 {
            optimizer = optimizer.with_loss_scale(LossScale::default())?;
        }
        let rows = ROWS.min(FEATURES / inputs).max(1);
        let features = Tensor::uniform(device, 0, 0, 0.0, 1.0, &[rows, inputs])?;
        let classes: Vec<u32> = (0..rows).map(|row| (row % outputs) as u32).collect();
        let data = Dataset::new(features, Tensor::from_slice(device, &classes, &[rows])?)?;
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
        let logits = self.model.forward(tape.constant(&features))?;
        let loss = CrossEntropy.of_logged(logits, &targets, Some(&self.losses))?;
        self.optimizer.params().zero_grad();
        tape.backward_and_free(self.optimizer.scale_loss(loss)?)?;
        self.optimizer.step()
    }

    /// Records a step, after a first one that creates the state of all steps.
    pub(crate) fn record(&mut self) -> Result<Recording> {
        self.step()?;
        let device = self.device.clone();
        Ok(device.record(|| self.step())?.0)
    }
}
