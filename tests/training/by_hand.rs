//! The hand-written steps, with which the benches compare the library, compute the same as the library.

// From the program, which measures them.
#[allow(clippy::module_inception, reason = "the other file finds it beside itself by this name")]
#[path = "../../crates/cli/src/bench/by_hand.rs"]
mod by_hand;
#[path = "../../crates/cli/src/bench/by_hand_gpu.rs"]
mod by_hand_gpu;

use by_hand::{ByHand, MAX_NORM, ROWS, WIDTHS};
use by_hand_gpu::ByHandGpu;
use thalweg::autograd::Tape;
use thalweg::nn::{AdamW, CrossEntropy, Loss, Mlp, MlpConfig, Module, Optimizer, ParamsBuilder};
use thalweg::tensor::{DType, Device, Tensor, ValueLog, next_batch};

const STEPS: usize = 20;

/// Returns the losses of the library's steps from the same parameters and data.
fn losses_of_the_library(device: &Device, by_hand: &ByHand, batch: usize) -> Vec<f32> {
    let config =
        MlpConfig { inputs: WIDTHS[0], hidden: WIDTHS[1..3].to_vec(), outputs: WIDTHS[3], ..Default::default() };
    let mut builder = ParamsBuilder::new(0);
    let model = Mlp::new(&mut builder, &config).unwrap();
    let params = builder.build(device).unwrap();
    for (i, layer) in model.layers().iter().enumerate() {
        let (weight, bias) = by_hand.layer(i);
        layer.weight().value().unwrap().write(&weight).unwrap();
        layer.bias().value().unwrap().write(&bias).unwrap();
    }
    let (features, targets, order) = by_hand.data();
    let features = Tensor::from_slice(device, features, &[ROWS, WIDTHS[0]]).unwrap();
    let targets = Tensor::from_slice(device, targets, &[ROWS]).unwrap();
    let order = Tensor::from_slice(device, order, &[ROWS]).unwrap();
    let cursor = Tensor::zeros(device, DType::U32, &[2]).unwrap();
    let mut optimizer =
        Optimizer::new(&params, AdamW::new(), 1e-3).unwrap().with_clip_norm(f64::from(MAX_NORM)).unwrap();
    let log = ValueLog::new(device, STEPS).unwrap();
    for _ in 0..STEPS {
        let (x, y) = next_batch(&features, &targets, &order, &cursor, batch).unwrap();
        let tape = Tape::new();
        let loss = CrossEntropy.of(model.forward(tape.constant(&x)).unwrap(), &y).unwrap();
        params.zero_grad();
        tape.backward(loss).unwrap();
        optimizer.step().unwrap();
        log.push(&loss.value()).unwrap();
    }
    let losses = log.take().unwrap();
    assert!(optimizer.read_clock().unwrap().clipped > 0, "clipping has no part in it");
    // Far enough from the start for a wrong gradient to show.
    assert!((losses[STEPS - 1] - losses[0]).abs() > 0.1, "{losses:?}");
    losses
}

#[test]
fn its_losses_are_ours() {
    let mut by_hand = ByHand::new(64, 1);
    for ours in losses_of_the_library(&Device::cpu(), &by_hand, 64) {
        approx::assert_relative_eq!(ours, by_hand.step(), max_relative = 2e-4);
    }
}

#[test]
fn losses_of_the_step_in_wgpu_are_ours() {
    let Some(device) = crate::common::gpu() else { return };
    // A batch of whole tiles, and one whose last rows are padding.
    for batch in [64, 50] {
        let by_hand = ByHand::new(batch, 1);
        let Some(on_gpu) = ByHandGpu::open(&device.info(), &by_hand).unwrap() else {
            return crate::common::skip("its part on an adapter with subgroups of one size");
        };
        on_gpu.step(1);
        on_gpu.step(STEPS - 1);
        let losses = on_gpu.losses(STEPS).unwrap();
        let ours = losses_of_the_library(&device, &by_hand, batch);
        for (step, (ours, theirs)) in ours.iter().zip(&losses).enumerate() {
            // Sums of up to 784 products round in another order, and the optimizer accumulates the differences.
            assert!((ours - theirs).abs() <= 2e-4 * ours.abs(), "step {step} of batch {batch}: {ours} and {theirs}");
        }
        assert!(on_gpu.dispatches() <= 12);
    }
}
