//! A convolutional network on images of digits, as LeCun's of 1998 but smaller.

use crate::common::{devices, floats, tensor};
use thalweg::autograd::Tape;
use thalweg::nn::data::{Batches, Dataset};
use thalweg::nn::{
    Activation, AdamW, Conv2d, CrossEntropy, Error, Flatten, Linear, Loss, MaxPool2d, Module, Optimizer, Params,
    ParamsBuilder, Sequential,
};
use thalweg::tensor::{Convolution, Device, Recording};

const BATCH: usize = 64;

fn network(builder: &mut ParamsBuilder) -> Result<Sequential, Error> {
    let same = Convolution { padding: [1, 1], ..Convolution::default() };
    Ok(Sequential::new()
        .then(Conv2d::new(builder, 0, 1, 8, [3, 3], same)?)
        .then(Activation::Relu)
        .then(MaxPool2d::new([2, 2]))
        .then(Conv2d::new(builder, 3, 8, 16, [3, 3], same)?)
        .then(Activation::Relu)
        .then(MaxPool2d::new([2, 2]))
        .then(Flatten::default())
        .then(Linear::new(builder, 7, 64, 64)?)
        .then(Activation::Relu)
        .then(Linear::new(builder, 9, 64, 10)?))
}

/// Rows for training and for testing, as images whose pixels are in [0, 1].
fn images(device: &Device) -> [Dataset; 2] {
    let data = crate::network::prepare("digits.csv.gz", device);
    [data.train, data.test.unwrap()].map(|rows| {
        let pixels = data.schema.feature_scale.invert(&floats(rows.features())).unwrap();
        let pixels: Vec<f32> = pixels.into_iter().map(|pixel| (pixel / 16.0) as f32).collect();
        Dataset::new(tensor(device, &pixels, &[rows.len(), 1, 8, 8]), rows.targets().clone()).unwrap()
    })
}

/// A model in training.
struct Run {
    model: Sequential,
    params: Params,
    recording: Option<Recording>,
}

/// Trains so many steps, in a recorded step or one after the other.
fn train(data: &Dataset, device: &Device, steps: usize, is_recorded: bool) -> Run {
    let mut builder = ParamsBuilder::new(1);
    let model = network(&mut builder).unwrap();
    let params = builder.build(device).unwrap();
    let mut optimizer = Optimizer::new(&params, AdamW::new(), 1e-2).unwrap();
    let mut batches = Batches::new(data.clone(), 0).unwrap();
    batches.start_epoch(0).unwrap();
    let mut step = || -> Result<(), Error> {
        let (images, classes) = batches.next(BATCH)?;
        let tape = Tape::new();
        let loss = CrossEntropy.of(model.forward(tape.constant(&images))?, &classes)?;
        params.zero_grad();
        tape.backward(loss)?;
        optimizer.step()
    };
    step().unwrap();
    let recording = is_recorded.then(|| device.record(&mut step).unwrap().0);
    match &recording {
        Some(recording) => recording.replay(steps - 2).unwrap(),
        None => (1..steps).for_each(|_| step().unwrap()),
    }
    Run { model, params, recording }
}

impl Run {
    fn values(&self) -> Vec<f32> {
        self.params.parameters().iter().flat_map(|parameter| floats(parameter.value().unwrap())).collect()
    }

    /// The share of the rows that are classified right.
    fn accuracy(&self, test: &Dataset) -> f64 {
        let tape = Tape::inference();
        let logits = self.model.forward(tape.constant(test.features())).unwrap().value();
        let (found, classes) = (logits.argmax(-1, false).unwrap(), test.targets());
        let (found, classes): (Vec<u32>, Vec<u32>) = (found.to_vec().unwrap(), classes.to_vec().unwrap());
        found.iter().zip(&classes).filter(|(x, y)| x == y).count() as f64 / classes.len() as f64
    }
}

#[test]
fn digits_are_learned_by_convolutions_on_every_device() {
    for device in devices() {
        let [data, test] = images(&device);
        let (eager, recorded) = (train(&data, &device, 30, false), train(&data, &device, 30, true));
        crate::common::assert_same_bits("a recorded step", &recorded.values(), &eager.values());
        let recording = recorded.recording.as_ref().unwrap();
        recording.replay(570).unwrap();
        let accuracy = recorded.accuracy(&test);
        assert!(accuracy >= 0.95, "{device}: {accuracy}");
        let launches = recording.launches();
        assert!(launches <= 32, "{device}: {launches} launches of a step");
    }
}
