//! Training as users do it: the results of networks, repetition to the bit, the device work of a step, and special
//! cases: NaN in the data, dropout, accumulation, parameters that are unused or used twice.

use std::path::Path;

use crate::common::{Tolerance, assert_close, assert_same_bits, devices, floats, numbers, tensor};
use thalweg::autograd::Tape;
use thalweg::nn::data::{Batches, Dataset, Table};
use thalweg::nn::{
    Activation, AdamW, CrossEntropy, Dropout, Event, FitOptions, History, Init, Linear, Loss, Mlp, MlpConfig, Module,
    Optimizer,
};
use thalweg::nn::{Params, ParamsBuilder, Predictions, Sgd, TabularData, TabularModel, Trainer};
use thalweg::tensor::{Device, Tensor};

/// Returns the default network of the command line.
fn default_network() -> MlpConfig {
    MlpConfig { inputs: 0, hidden: vec![128, 64], outputs: 0, activation: Activation::Relu, dropout: 0.0 }
}

/// Reads a table of the examples.
fn table(name: &str) -> Table {
    Table::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data").join(name)).unwrap()
}

/// Prepares a table, with its last column as the target.
pub(crate) fn prepare(name: &str, device: &Device) -> TabularData {
    let table = table(name);
    let target = table.column_names().last().unwrap().clone();
    TabularData::prepare(&table, &target, None, 0.2, 0, device).unwrap()
}

/// Trains a network with AdamW and clipping.
fn train(data: &TabularData, network: MlpConfig, lr: f64, epochs: u64) -> (TabularModel, History) {
    let device = data.train.device();
    let model = TabularModel::new(data.schema.clone(), network, 0, device).unwrap();
    let optimizer = Optimizer::new(model.params(), AdamW::new(), lr).unwrap().with_clip_norm(1.0).unwrap();
    let mut trainer = Trainer::new(model, optimizer, data.schema.loss());
    let options = FitOptions { epochs, batch_size: 64, seed: 0 };
    let history = trainer.fit(&data.train, data.test.as_ref(), &options, |_| ()).unwrap();
    (trainer.into_parts().0, history)
}

/// Returns the values of all parameters, concatenated.
fn values(params: &Params) -> Vec<f32> {
    params.parameters().iter().flat_map(|p| floats(p.value().unwrap())).collect()
}

/// Returns the gradients of all parameters, concatenated.
fn grads(params: &Params) -> Vec<f32> {
    params.parameters().iter().flat_map(|p| floats(p.grad().unwrap())).collect()
}

#[test]
fn small_tables_are_learned_on_every_device() {
    for device in devices() {
        let of_test = |history: &History| history.epochs.last().unwrap().test.unwrap();
        let (_, history) = train(&prepare("iris.csv", &device), default_network(), 1e-2, 50);
        let accuracy = of_test(&history).accuracy.unwrap();
        assert!(accuracy >= 0.9, "iris on {device}: {accuracy}");
        let (_, history) = train(&prepare("digits.csv.gz", &device), default_network(), 3e-3, 6);
        let accuracy = of_test(&history).accuracy.unwrap();
        assert!(accuracy >= 0.95, "digits on {device}: {accuracy}");
        let first = history.epochs[0].train_loss;
        let last = history.epochs[5].train_loss;
        assert!(last < 0.1 * first, "digits on {device}: the loss fell from {first} to {last}");
        let (_, history) = train(&prepare("friedman.csv", &device), default_network(), 3e-3, 40);
        let r2 = of_test(&history).r2.unwrap();
        assert!(r2 >= 0.88, "Friedman on {device}: {r2}");
    }
}

/// Returns the losses of the first epoch, step by step.
fn first_losses(device: &Device, name: &str) -> Vec<f32> {
    let data = prepare(name, device);
    let model = TabularModel::new(data.schema.clone(), default_network(), 0, device).unwrap();
    let mut optimizer = Optimizer::new(model.params(), AdamW::new(), 1e-3).unwrap().with_clip_norm(1.0).unwrap();
    let steps = data.train.len() / 64;
    let mut batches = Batches::new(data.train.clone(), 0).unwrap();
    batches.start_epoch(0).unwrap();
    let losses = (0..steps).map(|_| {
        let (features, targets) = batches.next(64).unwrap();
        let tape = Tape::new();
        let loss = data.schema.loss().of(model.forward(tape.constant(&features)).unwrap(), &targets).unwrap();
        model.params().zero_grad();
        tape.backward(loss).unwrap();
        optimizer.step().unwrap();
        loss.value()
    });
    losses.collect::<Vec<Tensor>>().iter().map(|loss| loss.item().unwrap()).collect()
}

#[test]
fn cpu_and_gpu_agree_in_the_first_epoch() {
    let Some(gpu) = crate::common::gpu() else { return };
    for name in ["digits.csv.gz", "friedman.csv"] {
        let expected = first_losses(&Device::cpu(), name);
        assert!(expected.len() > 10);
        assert_close(name, &first_losses(&gpu, name), &expected, Tolerance::new(0.0, 1e-3));
    }
}

#[test]
fn a_run_repeats_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let network = || MlpConfig { hidden: vec![16], dropout: 0.2, ..default_network() };
    for device in devices() {
        for name in ["iris.csv", "friedman.csv"] {
            let file = |run: usize| {
                let path = folder.path().join(format!("{run}.safetensors"));
                train(&prepare(name, &device), network(), 1e-3, 4).0.save(&path).unwrap();
                std::fs::read(path).unwrap()
            };
            assert!(file(0) == file(1), "{name} on {device}: two runs gave different files");
        }
    }
}

#[test]
fn a_step_is_few_launches_and_waits_for_nothing() {
    // A separate device, so that its counters include only this test.
    if crate::common::gpu().is_none() {
        return;
    }
    let device = Device::open_new("gpu").unwrap();
    for name in ["digits.csv.gz", "friedman.csv"] {
        let (_, history) = train(&prepare(name, &device), default_network(), 1e-3, 2);
        let (counters, steps) = (history.counters, history.steps);
        assert_eq!(history.epochs[1].skipped, 0);
        assert!(counters.launches > 10 * steps, "{name}: {counters:?} of {steps} steps cannot be all");
        assert!(counters.launches <= 13 * steps, "{name}: {counters:?} of {steps} steps");
        assert_eq!(counters.host_syncs, 0, "{name}: {counters:?}");
        assert!(2 * counters.submissions <= steps, "{name}: {counters:?} of {steps} steps");
    }
}

#[test]
fn nan_in_a_batch_skips_its_step_and_training_goes_on() {
    for device in devices() {
        let clean = prepare("iris.csv", &device);
        let mut features = floats(clean.train.features());
        features[4 * 7 + 2] = f32::NAN;
        let rows = clean.train.len();
        let features = tensor(&device, &features, &[rows, 4]);
        let dirty = Dataset::new(features, clean.train.targets().clone()).unwrap();
        let network = MlpConfig { hidden: vec![32], ..default_network() };
        let model = TabularModel::new(clean.schema.clone(), network, 0, &device).unwrap();
        let optimizer = Optimizer::new(model.params(), AdamW::new(), 1e-2).unwrap().with_clip_norm(1.0).unwrap();
        let mut trainer = Trainer::new(model, optimizer, CrossEntropy);
        let options = FitOptions { epochs: 10, batch_size: 16, seed: 0 };
        let (mut skipped, mut steps) = (Vec::new(), 0);
        // The loss over all rows is NaN, because the row is among them; fit may return this error at its end.
        let _ = trainer.fit(&dirty, None, &options, |event| match event {
            Event::Epoch(report) => skipped.push(report.skipped),
            Event::Step { step, .. } => steps = step,
            _ => {}
        });
        // One step of each epoch has the row.
        assert_eq!(skipped, (1..=10).collect::<Vec<_>>(), "{device}");
        let clock = trainer.optimizer().read_clock().unwrap();
        assert_eq!(u64::from(clock.step + clock.skipped), steps);
        assert_eq!(steps, 10 * rows.div_ceil(16) as u64);
        assert!(values(trainer.model().params()).iter().all(|x| x.is_finite()), "{device}");
        let accuracy = trainer.evaluate(&clean.train).unwrap().accuracy.unwrap();
        assert!(accuracy > 0.9, "{device}: {accuracy}");
    }
}

#[test]
fn losses_arrive_during_an_epoch_each_once_and_in_order() {
    // A separate device, so that its counters include only this test.
    let own = crate::common::gpu().map(|_| Device::open_new("gpu").unwrap());
    for device in [Device::cpu()].into_iter().chain(own) {
        let data = prepare("digits.csv.gz", &device);
        let model = TabularModel::new(data.schema.clone(), default_network(), 0, &device).unwrap();
        let optimizer = Optimizer::new(model.params(), AdamW::new(), 1e-3).unwrap();
        let mut trainer = Trainer::new(model, optimizer, CrossEntropy);
        // 359 steps per epoch, all batches but the last of 4 rows.
        let options = FitOptions { epochs: 3, batch_size: 4, seed: 0 };
        let (mut losses, mut pieces, mut reports) = (Vec::new(), Vec::new(), Vec::new());
        let history = trainer.fit(&data.train, None, &options, |event| match event {
            Event::Losses { first_step, losses: arrived } => {
                assert_eq!(first_step, losses.len() as u64 + 1, "{device}");
                pieces.push(arrived.len());
                losses.extend_from_slice(arrived);
            }
            Event::Epoch(report) => reports.push((losses.len(), report.train_loss)),
            _ => {}
        });
        let history = history.unwrap();
        assert_eq!(losses.len() as u64, history.steps, "{device}");
        assert!(device.is_cpu() || history.counters.host_syncs == 0, "{device}: {:?}", history.counters);
        assert!(pieces.len() > 3, "{device}: nothing arrived before the end of an epoch: {pieces:?}");
        let steps = options.steps_per_epoch(data.train.len()) as usize;
        for (epoch, (seen, train_loss)) in reports.into_iter().enumerate() {
            assert_eq!(seen, (epoch + 1) * steps, "{device}");
            let rows = |step: usize| 4.min(data.train.len() - 4 * step) as f64;
            let of_epoch = losses[epoch * steps..][..steps].iter().enumerate();
            let sum: f64 = of_epoch.map(|(step, &loss)| f64::from(loss) * rows(step)).sum();
            approx::assert_relative_eq!(sum / data.train.len() as f64, train_loss, max_relative = 1e-12);
        }
    }
}

#[test]
fn dropout_drops_in_training_alone() {
    for device in devices() {
        let data = prepare("iris.csv", &device);
        let network = MlpConfig { hidden: vec![64], dropout: 0.5, ..default_network() };
        let model = TabularModel::new(data.schema.clone(), network.clone(), 0, &device).unwrap();
        let losses_of = |tape: &Tape| {
            let logits = model.forward(tape.constant(data.train.features())).unwrap();
            data.schema.loss().of(logits, data.train.targets()).unwrap().item().unwrap()
        };
        assert_ne!(losses_of(&Tape::new()), losses_of(&Tape::new()), "{device}: two passes of training");
        assert_eq!(losses_of(&Tape::inference()), losses_of(&Tape::inference()), "{device}: two passes of inference");
        let (model, history) = train(&data, network, 1e-2, 60);
        let accuracy = history.train.accuracy.unwrap();
        assert!(accuracy > 0.93, "{device}: {accuracy}");
        let rows = [5.1, 3.5, 1.4, 0.2, 6.3, 3.3, 6.0, 2.5];
        assert_eq!(model.predict(&rows).unwrap(), model.predict(&rows).unwrap());
    }
}

#[test]
fn dropout_layers_draw_numbers_of_their_own() {
    for device in devices() {
        let mut builder = ParamsBuilder::new(0);
        let layers = [0.25, 0.25].map(|probability| Dropout::new(&mut builder, probability).unwrap());
        let ones = Tensor::full(&device, 1f32, &[10_000]).unwrap();
        let tape = Tape::new();
        let x = tape.input(&ones);
        let outputs = [&layers[0], &layers[1], &layers[0]].map(|layer| layer.forward(x).unwrap());
        let values = outputs.map(|y| floats(&y.value()));
        for (i, (y, values)) in outputs.iter().zip(&values).enumerate() {
            let dropped = values.iter().filter(|&&y| y == 0.0).count();
            // Three standard deviations of the number.
            assert!((2370..2630).contains(&dropped), "{device}: {dropped} of 10000 dropped");
            assert!(values.iter().all(|&y| y == 0.0 || (y - 4.0 / 3.0).abs() < 1e-6));
            // The gradient uses the same mask.
            let gradient = tape.grad(y.sum().unwrap(), &[x]).unwrap()[0];
            assert_same_bits(&format!("gradient {i} on {device}"), &floats(&gradient.value()), values);
        }
        assert!(values[0] != values[1] && values[0] != values[2] && values[1] != values[2], "{device}");
    }
}

/// The product with the weights may also mask the gradient of a hidden layer that ends with a ReLU, but only if nothing
/// else reads the layer.
#[test]
fn a_hidden_layer_that_is_read_twice_masks_both_gradients() {
    for device in devices() {
        let value =
            |seed: u64, shape: &[usize]| tensor(&device, &numbers(seed, shape.iter().product(), -1.0, 1.0), shape);
        let tape = Tape::new();
        let x = tape.input(&value(1, &[6, 4]));
        let constant = |seed: u64, shape: &[usize]| tape.constant(&value(seed, shape));
        for is_second_first in [false, true] {
            let hidden = x.linear(constant(2, &[5, 4]), constant(3, &[5]), true).unwrap();
            assert!(floats(&hidden.value()).contains(&0.0), "some are masked");
            let other = || hidden.mul(constant(4, &[6, 5])).unwrap().sum().unwrap();
            let early = is_second_first.then(other);
            let y = hidden.linear(constant(5, &[2, 5]), constant(6, &[2]), false).unwrap().square().unwrap();
            let y = y.sum().unwrap().add(early.unwrap_or_else(other)).unwrap();
            // One rule for each operation, none of them fused.
            let expected = tape.grad(y, &[x]).unwrap()[0];
            let gradients = tape.backward(y).unwrap();
            let name = format!("read first by another: {is_second_first}, on {device}");
            let (got, expected) = (floats(gradients.get(x).unwrap()), floats(&expected.value()));
            assert_close(&name, &got, &expected, Tolerance::new(1e-6, 1e-5));
        }
    }
}

/// Makes a layer, features and targets for the tests of gradients.
fn line(device: &Device) -> (Linear, Params, Tensor, Tensor) {
    let mut builder = ParamsBuilder::new(1);
    let layer = Linear::with_init(&mut builder, "line", 5, 3, Init::XavierUniform).unwrap();
    let params = builder.build(device).unwrap();
    let x = tensor(device, &numbers(1, 40, -1.0, 1.0), &[8, 5]);
    let y = tensor(device, &numbers(2, 24, -1.0, 1.0), &[8, 3]);
    (layer, params, x, y)
}

#[test]
fn gradients_of_two_halves_add_up_to_that_of_the_whole() {
    for device in devices() {
        let (layer, params, x, y) = line(&device);
        let pass = |start: usize, end: usize| {
            let tape = Tape::new();
            let rows = tape.constant(&x.slice(0, start, end).unwrap());
            let loss = layer.forward(rows).unwrap().mse(&y.slice(0, start, end).unwrap()).unwrap();
            tape.backward(loss.affine((end - start) as f32 / 8.0, 0.0).unwrap()).unwrap();
        };
        pass(0, 8);
        let whole = grads(&params);
        params.zero_grad();
        pass(0, 3);
        pass(3, 8);
        assert_close(&format!("{device}"), &grads(&params), &whole, Tolerance::new(1e-7, 1e-5));
        // Without zero_grad in between, they accumulate.
        pass(0, 8);
        let twice: Vec<f32> = whole.iter().map(|g| 2.0 * g).collect();
        assert_close(&format!("{device}, again"), &grads(&params), &twice, Tolerance::new(1e-7, 1e-5));
    }
}

#[test]
fn a_parameter_that_a_step_does_not_use_stays_what_it_is() {
    for device in devices() {
        let mut builder = ParamsBuilder::new(0);
        let used = Linear::new(&mut builder, "used", 4, 2).unwrap();
        let idle = Linear::new(&mut builder, "idle", 4, 2).unwrap();
        let params = builder.build(&device).unwrap();
        let mut optimizer = Optimizer::new(&params, Sgd::new(), 0.1).unwrap();
        let x = tensor(&device, &numbers(1, 24, -1.0, 1.0), &[6, 4]);
        let mut step = |with_both: bool| {
            let tape = Tape::new();
            let mut y = used.forward(tape.constant(&x)).unwrap();
            if with_both {
                y = y.add(idle.forward(tape.constant(&x)).unwrap()).unwrap();
            }
            params.zero_grad();
            tape.backward(y.square().unwrap().mean().unwrap()).unwrap();
            optimizer.step().unwrap();
        };
        let of = |layer: &Linear| floats(layer.weight().value().unwrap());
        let start = of(&idle);
        step(true);
        let (used_before, idle_before) = (of(&used), of(&idle));
        assert_ne!(idle_before, start, "{device}: the first step uses both");
        step(false);
        assert_ne!(of(&used), used_before);
        assert_same_bits("the idle weight", &of(&idle), &idle_before);
        assert_same_bits("its gradient", &floats(idle.weight().grad().unwrap()), &[0.0; 8]);
    }
}

#[test]
fn a_parameter_that_is_used_twice_gets_the_sum_of_its_gradients() {
    for device in devices() {
        let mut builder = ParamsBuilder::new(3);
        let layer = Linear::with_init(&mut builder, "tied", 4, 4, Init::XavierUniform).unwrap();
        let params = builder.build(&device).unwrap();
        let x = tensor(&device, &numbers(1, 24, -1.0, 1.0), &[6, 4]);

        // The same with separate variables, and operations that are not fused.
        let tape = Tape::new();
        let (weight, bias) = (layer.weight().value().unwrap(), layer.bias().value().unwrap());
        let [first, second, third] = [tape.input(weight), tape.input(weight), tape.input(weight)];
        let [first_bias, second_bias] = [tape.input(bias), tape.input(bias)];
        let hidden = tape.constant(&x).matmul(first.t().unwrap()).unwrap().add(first_bias).unwrap().tanh().unwrap();
        let y = hidden.matmul(second.t().unwrap()).unwrap().add(second_bias).unwrap().square().unwrap().sum().unwrap();
        let gradients = tape.backward(y.add(third.square().unwrap().sum().unwrap()).unwrap()).unwrap();
        let gradient = |of| floats(gradients.get(of).unwrap());
        let sum = |parts: &[Vec<f32>]| -> Vec<f32> {
            (0..parts[0].len()).map(|i| parts.iter().map(|p| p[i]).sum()).collect()
        };
        let weights = sum(&[gradient(first), gradient(second), gradient(third)]);
        let biases = sum(&[gradient(first_bias), gradient(second_bias)]);

        // The penalty reaches the weight before, between or after the layers.
        for order in 0..3 {
            let tape = Tape::new();
            let penalty = || tape.parameter(layer.weight()).unwrap().square().unwrap().sum().unwrap();
            let early = (order == 0).then(penalty);
            let hidden = layer.forward(tape.constant(&x)).unwrap().tanh().unwrap();
            let between = (order == 1).then(penalty);
            let y = layer.forward(hidden).unwrap().square().unwrap().sum().unwrap();
            let penalty = early.or(between).unwrap_or_else(penalty);
            params.zero_grad();
            tape.backward(y.add(penalty).unwrap()).unwrap();
            let name = format!("penalty {order} on {device}");
            assert_close(&name, &floats(layer.weight().grad().unwrap()), &weights, Tolerance::new(1e-5, 1e-5));
            assert_close(&name, &floats(layer.bias().grad().unwrap()), &biases, Tolerance::new(1e-5, 1e-5));
        }
    }
}

#[test]
fn two_models_on_one_device_do_not_disturb_each_other() {
    for device in devices() {
        let make = |seed: u64| {
            let mut builder = ParamsBuilder::new(seed);
            let config = MlpConfig { inputs: 5, hidden: vec![9], outputs: 3, dropout: 0.1, ..default_network() };
            let model = Mlp::new(&mut builder, &config).unwrap();
            let params = builder.build(&device).unwrap();
            let optimizer = Optimizer::new(&params, AdamW::new(), 1e-3).unwrap().with_clip_norm(0.5).unwrap();
            (model, optimizer)
        };
        let (_, _, x, y) = line(&device);
        let step = |(model, optimizer): &mut (Mlp, Optimizer)| {
            let tape = Tape::new();
            let loss = model.forward(tape.constant(&x)).unwrap().mse(&y).unwrap();
            optimizer.params().zero_grad();
            tape.backward(loss).unwrap();
            optimizer.step().unwrap();
        };
        let mut alone = [make(1), make(2)];
        for pair in &mut alone {
            (0..20).for_each(|_| step(pair));
        }
        let mut together = [make(1), make(2)];
        for _ in 0..20 {
            together.iter_mut().for_each(&step);
        }
        for (alone, together) in alone.iter().zip(&together) {
            assert_same_bits(&format!("{device}"), &values(together.1.params()), &values(alone.1.params()));
        }
        assert_ne!(values(alone[0].1.params()), values(alone[1].1.params()));
    }
}

#[test]
fn a_model_predicts_the_same_from_its_file_on_every_device() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["iris.csv", "friedman.csv"] {
        for device in devices() {
            let network = MlpConfig { hidden: vec![16], ..default_network() };
            let (model, _) = train(&prepare(name, &device), network, 1e-2, 5);
            let path = folder.path().join("model.safetensors");
            model.save(&path).unwrap();
            let features = &model.schema().features;
            let rows = table(name).numeric_columns(features).unwrap();
            let expected = model.predict(&rows).unwrap();
            assert_eq!(TabularModel::load(&path, &device).unwrap().predict(&rows).unwrap(), expected, "{name}");
            for other in devices() {
                let what = format!("{name} from {device} to {other}");
                let close = |got: &[f32], expected: &[f32]| {
                    assert_close(&what, got, expected, Tolerance::new(1e-4, 1e-4));
                };
                match (TabularModel::load(&path, &other).unwrap().predict(&rows).unwrap(), &expected) {
                    (
                        Predictions::Classes { probabilities, .. },
                        Predictions::Classes { probabilities: expected, .. },
                    ) => {
                        close(&probabilities, expected);
                    }
                    (Predictions::Values(values), Predictions::Values(expected)) => {
                        let [values, expected] = [&values, expected]
                            .map(|values| values.iter().map(|&value| value as f32).collect::<Vec<_>>());
                        close(&values, &expected);
                    }
                    other => panic!("{what}: {other:?}"),
                }
            }
        }
    }
}
