//! Memory: its holders, and the memory that a backward pass frees.

use thalweg::autograd::{Error as AutogradError, Tape};
use thalweg::nn::data::Dataset;
use thalweg::nn::{AdamW, Linear, Module, Optimizer, ParamsBuilder};
use thalweg::tensor::{DType, Device, Tensor, hold_as};

#[test]
fn memory_is_counted_by_holder_and_given_back() {
    if crate::common::gpu().is_none() {
        return;
    }
    // A separate device, so that it counts only this test.
    let device = Device::open_new("gpu").unwrap();
    let mut builder = ParamsBuilder::new(0);
    let layer = Linear::new(&mut builder, "layer", 100, 10).unwrap();
    let params = builder.build(&device).unwrap();
    let optimizer = Optimizer::new(&params, AdamW::new(), 1e-3).unwrap();
    let data = Dataset::regression(&device, &vec![0.5; 6400], 100, &[1.0; 64]).unwrap();
    let memory = device.memory();
    // 1,000 weights and 10 biases, the page padded to 2,048 elements.
    assert_eq!((memory.held_by("parameters"), memory.held_by("gradients")), (8192, 8192));
    assert!(memory.held_by("optimizer state") >= 2 * 8192, "{memory}");
    assert!(memory.held_by("data") >= 4 * 6464, "{memory}");
    assert_eq!(memory.held_by("recordings") + memory.held_by("tensors"), 0, "{memory}");

    let (recording, output) = device
        .record(|| -> Result<_, thalweg::nn::Error> {
            let tape = Tape::new();
            Ok(layer.forward(tape.constant(data.features()))?.value())
        })
        .unwrap();
    assert!(device.memory().held_by("recordings") >= 4 * 640, "{}", device.memory());
    drop((recording, output));
    assert_eq!(device.memory().held_by("recordings"), 0);
    let named = hold_as("mine", || Tensor::zeros(&device, DType::U32, &[64])).unwrap();
    assert_eq!(device.memory().held_by("mine"), 256);
    let memory = device.memory();
    assert_eq!(memory.held.iter().map(|held| held.bytes).sum::<u64>() + memory.idle, memory.total, "{memory}");
    drop((named, layer, params, optimizer, data));
    let memory = device.memory();
    assert!(memory.held.is_empty() && memory.idle == memory.total, "{memory}");
    device.release_memory();
    assert_eq!(device.memory().total, 0);
}

/// Returns the bytes that the tape of 30 layers holds after its gradients are computed, and the gradient of the first
/// weight.
fn deep_pass(free: bool) -> (u64, Vec<f32>) {
    let device = Device::open_new("gpu").unwrap();
    let mut builder = ParamsBuilder::new(3);
    let layers: Vec<Linear> =
        (0..30).map(|i| Linear::new(&mut builder, format!("layer{i}"), 16, 16).unwrap()).collect();
    let params = builder.build(&device).unwrap();
    let x = Tensor::uniform(&device, 1, 1, -1.0, 1.0, &[512, 16]).unwrap();
    let tape = Tape::new();
    let mut hidden = tape.constant(&x);
    for layer in &layers {
        hidden = layer.forward(hidden).unwrap().tanh().unwrap();
    }
    let loss = hidden.square().unwrap().mean().unwrap();
    params.zero_grad();
    if free {
        tape.backward_and_free(loss).unwrap();
        let spent = [tape.backward(loss).map(|_| ()), tape.grad(loss, &[]).map(|_| ())];
        assert!(spent.iter().all(|pass| matches!(pass, Err(AutogradError::Freed { .. }))), "{spent:?}");
        assert!(hidden.value().is_empty() && loss.item().unwrap() > 0.0);
    } else {
        tape.backward(loss).unwrap();
        tape.backward(loss).unwrap();
        assert_eq!(hidden.value().shape(), [512, 16]);
        params.zero_grad();
        tape.backward(loss).unwrap();
    }
    (device.memory().held_by("tensors"), params.grads().unwrap().get(0).to_vec().unwrap())
}

#[test]
fn a_backward_pass_lets_go_of_what_it_has_passed() {
    if crate::common::gpu().is_none() {
        return;
    }
    let ((kept, expected), (freed, gradient)) = (deep_pass(false), deep_pass(true));
    assert_eq!(gradient, expected);
    // 60 values of 32 KiB compared with the input, the loss and freed values.
    assert!(kept >= 60 << 15, "{kept} bytes");
    assert!(freed <= (1 << 15) + 1024, "{freed} bytes with freeing, {kept} without");
}
