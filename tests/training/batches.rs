//! Batches are the same on the GPU and on the CPU.

use thalweg::Result;
use thalweg::nn::data::{Batches, Dataset};
use thalweg::tensor::Device;

use crate::common::devices;

/// Returns the samples of two epochs in batches of 8, the last of which continues into the first.
fn samples(device: &Device) -> Result<(Vec<f32>, Vec<u32>)> {
    let features: Vec<f32> = (0..3 * 101).map(|i| i as f32 * 0.5).collect();
    let classes: Vec<u32> = (0..101).map(|i| i % 7).collect();
    let mut batches = Batches::new(Dataset::classification(device, &features, 3, &classes, 7)?, 11)?;
    let (mut xs, mut ys) = (Vec::new(), Vec::new());
    for epoch in [4, 5] {
        batches.start_epoch(epoch)?;
        // Gathered before any is read, so that the next epoch starts while work is pending.
        for _ in 0..13 {
            let (x, y) = batches.next(8)?;
            xs.push(x);
            ys.push(y);
        }
    }
    let xs = xs.iter().map(|x| x.to_vec::<f32>()).collect::<Result<Vec<_>, _>>()?;
    let ys = ys.iter().map(|y| y.to_vec::<u32>()).collect::<Result<Vec<_>, _>>()?;
    Ok((xs.concat(), ys.concat()))
}

#[test]
fn gpu_and_cpu_give_the_same_batches() {
    let expected = samples(&Device::cpu()).unwrap();
    assert_eq!(expected.1.len(), 2 * 13 * 8);
    for device in devices() {
        assert_eq!(samples(&device).unwrap(), expected, "{device}");
    }
}
