//! A long run takes no more memory than a short one. It has its own program, because it measures the whole process.

#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

mod common;

use common::devices;
use thalweg::autograd::Tape;
use thalweg::nn::data::{Batches, Dataset, friedman1};
use thalweg::nn::{AdamW, Linear, Loss, Module, Mse, Optimizer, ParamsBuilder};
use thalweg::tensor::ValueLog;

/// Returns the memory of this process, in pages, or none if the system does not report it.
fn resident_pages() -> Option<u64> {
    std::fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_hundred_thousand_replays_take_no_more_memory_than_a_thousand() {
    for device in devices() {
        let (features, targets) = friedman1(64, 1.0, 3);
        let mut builder = ParamsBuilder::new(1);
        let layer = Linear::new(&mut builder, "layer", 10, 1).unwrap();
        let params = builder.build(&device).unwrap();
        let mut optimizer = Optimizer::new(&params, AdamW::new(), 1e-3).unwrap().with_clip_norm(1.0).unwrap();
        let mut batches = Batches::new(Dataset::regression(&device, &features, 10, &targets).unwrap(), 5).unwrap();
        let losses = ValueLog::new(&device, 100).unwrap();
        let mut step = || -> Result<(), thalweg::nn::Error> {
            let (x, y) = batches.next(16)?;
            let tape = Tape::new();
            let loss = Mse.of_logged(layer.forward(tape.constant(&x))?, &y, Some(&losses))?;
            params.zero_grad();
            tape.backward_and_free(loss)?;
            optimizer.step()
        };
        step().unwrap();
        let (recording, ()) = device.record(&mut step).unwrap();
        // A copy or a clear among the launches would end their pass.
        assert!(format!("{recording:?}").contains(" 0 copies and clears"), "{recording:?}");
        let replay = |times: u64| {
            (0..times / 100).try_for_each(|_| recording.replay(100)).unwrap();
            device.synchronize().unwrap();
            (device.memory(), resident_pages())
        };
        let (pool, start) = replay(1_000);
        let (_, middle) = replay(49_000);
        let (pool_at_end, end) = replay(50_000);
        assert_eq!(pool_at_end.held_by("recordings"), pool.held_by("recordings"), "{device}");
        let clock = optimizer.read_clock().unwrap();
        assert_eq!((clock.step, clock.skipped), (100_002, 0), "{device}");
        if let (Some(start), Some(middle), Some(end)) = (start, middle, end) {
            // A driver may allocate memory for itself, once; a leak shows in both halves. Half a mebibyte in one of
            // them is allowed: a step that leaks eleven bytes would pass.
            let growth = [middle.saturating_sub(start), end.saturating_sub(middle)];
            assert!(growth[0].min(growth[1]) < 128, "{device}: {start}, {middle} and {end} pages");
            assert!(growth[0] + growth[1] < 2048, "{device}: {start}, {middle} and {end} pages");
        }
    }
}
