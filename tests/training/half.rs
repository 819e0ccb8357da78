//! Training with activations of 16 bits: accuracy on digits, the same bits recorded and eager, and gradients of f32.

use std::path::Path;

use crate::common::{devices, floats};
use thalweg::autograd::Tape;
use thalweg::nn::data::Table;
use thalweg::nn::{
    AdamW, FitOptions, LossScale, MlpConfig, Optimizer, Schedule, TabularData, TabularModel, Trainer, WarmupCosine,
};
use thalweg::tensor::{DType, Device, Tensor};

/// Trains on digits as `thalweg train` does, and returns the accuracy on rows that were held back, and all parameters.
fn train(seed: u64, epochs: u64, dtype: DType, device: &Device, recording: bool) -> (f64, Vec<f32>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/digits.csv.gz");
    let data = TabularData::prepare(&Table::read(path).unwrap(), "label", None, 0.2, seed, device).unwrap();
    let network = MlpConfig { hidden: vec![128, 64], ..MlpConfig::default() };
    let model = TabularModel::new(data.schema.clone(), network, seed, device).unwrap();
    let options = FitOptions { epochs, batch_size: 64, seed };
    let steps = options.epochs * options.steps_per_epoch(data.train.len());
    let mut optimizer = Optimizer::new(model.params(), AdamW::new(), 1e-3).unwrap().with_clip_norm(1.0).unwrap();
    if dtype == DType::F16 {
        optimizer = optimizer.with_loss_scale(LossScale::default()).unwrap();
    }
    optimizer.set_rate(WarmupCosine::new(1e-3, steps / 20, steps).over(steps)).unwrap();
    let mut trainer =
        Trainer::new(model, optimizer, data.schema.loss()).with_autocast(Some(dtype)).with_recording(recording);
    let history = trainer.fit(&data.train, data.test.as_ref(), &options, |_| ()).unwrap();
    let values = trainer.model().params().values().tensors().iter().flat_map(floats).collect();
    (history.epochs.last().unwrap().test.unwrap().accuracy.unwrap(), values)
}

#[test]
fn digits_are_learned_to_97_percent_in_the_mean_of_five_seeds() {
    for dtype in [DType::F16, DType::BF16] {
        let accuracies: Vec<f64> = (0..5).map(|seed| train(seed, 87, dtype, &Device::cpu(), true).0).collect();
        let mean = accuracies.iter().sum::<f64>() / 5.0;
        assert!(mean >= 0.97, "{dtype}: {mean} in the mean of {accuracies:?}");
    }
}

#[test]
fn recorded_steps_have_the_bits_of_eager_ones() {
    for device in devices() {
        for dtype in [DType::F16, DType::BF16] {
            let [recorded, eager] = [true, false].map(|recording| train(1, 1, dtype, &device, recording));
            assert!(recorded.1.iter().all(|value| value.is_finite()));
            assert_eq!(recorded, eager, "{dtype} on {device}");
        }
    }
}

#[test]
fn products_round_to_the_type_and_gradients_are_those_of_rounded_operands() {
    for device in devices() {
        let tape = Tape::new();
        tape.autocast(Some(DType::BF16)).unwrap();
        let x = tape.input(&Tensor::from_slice(&device, &[1.003f32, -2.0], &[1, 2]).unwrap());
        let weight = tape.input(&Tensor::from_slice(&device, &[0.5f32, 1.0], &[2, 1]).unwrap());
        let y = x.matmul(weight).unwrap();
        assert_eq!(y.dtype(), DType::BF16);
        // 1.003 rounds to 1 in bf16.
        let loss = y.to_dtype(DType::F32).unwrap().sum().unwrap();
        assert_eq!(loss.item().unwrap(), -1.5, "{device}");
        let gradients = tape.backward(loss).unwrap();
        assert_eq!(floats(gradients.get(weight).unwrap()), [1.0, -2.0], "{device}");
        assert_eq!(gradients.get(x).unwrap().dtype(), DType::F32);
        // A product with a bias of f32 is f32, as PyTorch promotes types.
        assert_eq!(y.add(loss).unwrap().dtype(), DType::F32);
        assert!(tape.autocast(Some(DType::F32)).is_err());
    }
}
