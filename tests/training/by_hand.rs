//! The step written by hand, which the benches hold the CPU backend against, computes what the library does.

// Where the program measures it.
#[path = "../../crates/cli/src/bench/by_hand.rs"]
mod step;

use step::{ByHand, MAX_NORM, ROWS, WIDTHS};
use thalweg::autograd::Tape;
use thalweg::nn::{AdamW, CrossEntropy, Loss, Mlp, MlpConfig, Module, Optimizer, ParamsBuilder};
use thalweg::tensor::{DType, Device, Tensor, ValueLog, next_batch};

#[test]
fn its_losses_are_ours() {
    const STEPS: usize = 20;
    let device = Device::cpu();
    let mut by_hand = ByHand::new(64, 1);
    let config =
        MlpConfig { inputs: WIDTHS[0], hidden: WIDTHS[1..3].to_vec(), outputs: WIDTHS[3], ..Default::default() };
    let mut builder = ParamsBuilder::new(0);
    let model = Mlp::new(&mut builder, &config).unwrap();
    let params = builder.build(&device).unwrap();
    for (i, layer) in model.layers().iter().enumerate() {
        let (weight, bias) = by_hand.layer(i);
        layer.weight().value().unwrap().write(&weight).unwrap();
        layer.bias().value().unwrap().write(&bias).unwrap();
    }
    let (features, targets, order) = by_hand.data();
    let features = Tensor::from_slice(&device, features, &[ROWS, WIDTHS[0]]).unwrap();
    let targets = Tensor::from_slice(&device, targets, &[ROWS]).unwrap();
    let order = Tensor::from_slice(&device, order, &[ROWS]).unwrap();
    let cursor = Tensor::zeros(&device, DType::U32, &[2]).unwrap();
    let mut optimizer =
        Optimizer::new(&params, AdamW::new(), 1e-3).unwrap().with_clip_norm(f64::from(MAX_NORM)).unwrap();
    let log = ValueLog::new(&device, STEPS).unwrap();
    for _ in 0..STEPS {
        let (x, y) = next_batch(&features, &targets, &order, &cursor, 64).unwrap();
        let tape = Tape::new();
        let loss = CrossEntropy.of(model.forward(tape.constant(&x)).unwrap(), &y).unwrap();
        params.zero_grad();
        tape.backward(loss).unwrap();
        optimizer.step().unwrap();
        log.push(&loss.value()).unwrap();
    }
    let ours = log.take().unwrap();
    assert!(optimizer.read_clock().unwrap().clipped > 0, "clipping has no part in it");
    // Far enough from where it began for a wrong gradient to show.
    assert!((ours[STEPS - 1] - ours[0]).abs() > 0.1, "{ours:?}");
    for ours in ours {
        approx::assert_relative_eq!(ours, by_hand.step(), max_relative = 2e-4);
    }
}
