//! Temporaries of a recording share memory; values that outlive a replay keep their own.

use thalweg::tensor::{Device, RecordOptions, Recording, Result, Tensor};

/// Records a chain of operations on 1,000 elements; returns its last value.
fn chain(device: &Device, x: &Tensor, plan: bool) -> (Recording, Tensor) {
    let body = || -> Result<Tensor> {
        let mut y = x.sum_along(0, true)?;
        for _ in 0..8 {
            y = y.broadcast_to(&[10, 100])?.contiguous()?.sum_along(0, true)?;
        }
        Ok(y)
    };
    device.record_with(RecordOptions { fuse: false, plan }, body).unwrap()
}

#[test]
fn values_of_a_chain_take_turns() {
    let device = Device::cpu();
    let x = Tensor::full(&device, 1f32, &[3, 100]).unwrap();
    let ((planned, y), (plain, z)) = (chain(&device, &x, true), chain(&device, &x, false));
    // Eight times 1,024 and eight and one times 128 words, the last of them the result.
    assert_eq!(plain.memory_bytes(), 4 * (8 * 1024 + 9 * 128));
    // One large value, one small one, and the result.
    assert_eq!(planned.memory_bytes(), 4 * (1024 + 128 + 128), "{planned:?}");
    x.fill(2f32).unwrap();
    for recording in [&planned, &plain] {
        recording.replay(2).unwrap();
    }
    assert_eq!(y.to_vec::<f32>().unwrap(), z.to_vec::<f32>().unwrap());
    assert_eq!(y.to_vec::<f32>().unwrap()[0], 6e8);
}

#[test]
fn what_outlives_a_replay_keeps_its_memory() {
    let device = Device::cpu();
    let x = Tensor::full(&device, 1f32, &[100]).unwrap();
    let (recording, (kept, first)) = device
        .record(|| -> Result<_> {
            let constant = Tensor::from_slice(&device, &[2f32; 100], &[100])?;
            let kept = x.add(&constant)?.sum_along(0, true)?;
            let first = kept.broadcast_to(&[100])?.contiguous()?.slice(0, 0, 1)?;
            // Nothing has written the rest of it: it is no worse than before, and no better.
            Ok((kept, first))
        })
        .unwrap();
    recording.replay(3).unwrap();
    assert_eq!((kept.item::<f32>().unwrap(), first.item::<f32>().unwrap()), (300.0, 300.0));
}
