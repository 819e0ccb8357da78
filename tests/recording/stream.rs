//! The order of work: host writes between launches, tensors dropped while work is pending, reused memory, thousands of
//! launches, several threads on one device. The bits are the same every time.

use crate::common::{devices, floats, numbers, own_gpu, tensor, words};
use thalweg::nn::{AdamW, Method};
use thalweg::tensor::{Arena, Clip, Clock, DType, Device, DropoutState, StepArguments, Tensor, ValueLog, next_batch};

#[test]
fn a_write_between_launches_is_seen_by_those_after_it_alone() {
    for device in devices() {
        let x = Tensor::full(&device, 1f32, &[300]).unwrap();
        let mut sums = Vec::new();
        for i in 0..100 {
            // Read by a launch that is still collected at the time of the next write.
            sums.push(x.affine(2.0, 0.0).unwrap());
            x.write(&[i as f32; 300]).unwrap();
            sums.push(x.affine(2.0, 0.0).unwrap());
        }
        for (i, sum) in sums.iter().enumerate() {
            let written = (i as f32 / 2.0 + 0.5).floor() - 1.0;
            let expected = if i == 0 { 2.0 } else { 2.0 * written };
            assert_eq!(floats(sum), [expected; 300], "{device}: launch {i}");
        }
    }
}

#[test]
fn a_write_through_one_view_is_seen_through_another() {
    for device in devices() {
        let x = tensor(&device, &numbers(1, 256, -1.0, 1.0), &[256]);
        let (first, last) = (x.slice(0, 0, 64).unwrap(), x.slice(0, 192, 256).unwrap());
        let before = x.neg().unwrap();
        last.write(&[5f32; 64]).unwrap();
        let between = x.neg().unwrap();
        first.fill(7f32).unwrap();
        let after = x.neg().unwrap();
        let (before, between, after) = (floats(&before), floats(&between), floats(&after));
        assert_eq!(before[..192], between[..192]);
        assert_eq!(between[192..], [-5f32; 64]);
        assert_eq!((&after[..64], &after[64..]), (&[-7f32; 64][..], &between[64..]));
    }
}

#[test]
fn a_write_flushes_where_work_uses_the_buffer_and_only_there() {
    let Some(device) = own_gpu() else { return };
    let (used, idle) = (Tensor::full(&device, 1f32, &[8]).unwrap(), Tensor::full(&device, 2f32, &[8]).unwrap());
    device.synchronize().unwrap();
    let submissions = || device.counters().submissions;
    let y = used.neg().unwrap();
    let before = submissions();
    idle.write(&[3f32; 8]).unwrap();
    assert_eq!(submissions(), before, "a write to a buffer that no pending work uses");
    used.write(&[4f32; 8]).unwrap();
    assert_eq!(submissions(), before + 1, "a write to a buffer that pending work reads");
    assert_eq!((floats(&y), floats(&idle), floats(&used)), (vec![-1.0; 8], vec![3.0; 8], vec![4.0; 8]));
}

#[test]
fn tensors_that_go_while_work_is_pending_are_used_to_the_end() {
    for device in devices() {
        let expected: Vec<f32> = numbers(1, 1000, -1.0, 1.0).iter().map(|x| x + 50.0).collect();
        let results: Vec<Tensor> = (0..20)
            .map(|_| {
                // All 50 intermediates are dropped at once; their memory is reused while work is pending.
                let x = tensor(&device, &numbers(1, 1000, -1.0, 1.0), &[1000]);
                (0..50).fold(x, |x, _| x.add(&Tensor::full(&device, 1f32, &[1000]).unwrap()).unwrap())
            })
            .collect();
        for result in results {
            crate::common::assert_close(
                "fifty sums",
                &floats(&result),
                &expected,
                crate::common::Tolerance::new(2e-4, 0.0),
            );
        }
    }
}

#[test]
fn memory_that_was_given_back_is_taken_again() {
    let run = |device: &Device| {
        let steps = || {
            for _ in 0..10 {
                let x = Tensor::full(device, 1f32, &[10_000]).unwrap();
                drop(x.square().unwrap().sqrt().unwrap().sum().unwrap());
            }
            device.synchronize().unwrap();
        };
        steps();
        let held = device.memory().total;
        (0..20).for_each(|_| steps());
        (held, device.memory().total)
    };
    let Some(device) = own_gpu() else { return };
    let (held, later) = run(&device);
    assert!(held > 0);
    assert_eq!(held, later, "every step takes what the one before has left");
    device.release_memory();
    assert_eq!(device.memory().total, 0);
    // Reused memory must be cleared for zeros, too.
    drop(Tensor::full(&device, f32::NAN, &[10_000]).unwrap());
    assert_eq!(floats(&Tensor::zeros(&device, DType::F32, &[10_000]).unwrap()), vec![0.0; 10_000]);
}

#[test]
fn thousands_of_launches_go_out_in_batches() {
    let Some(device) = own_gpu() else { return };
    let mut x = Tensor::zeros(&device, DType::F32, &[100]).unwrap();
    let log = ValueLog::new(&device, 3000).unwrap();
    let before = device.counters();
    for _ in 0..3000 {
        x = x.affine(1.0, 1.0).unwrap();
        log.push(&x.slice(0, 0, 1).unwrap()).unwrap();
    }
    let after = device.counters();
    assert_eq!(after.launches - before.launches, 6000);
    assert_eq!(after.host_syncs, before.host_syncs, "nothing waits");
    let submissions = after.submissions - before.submissions;
    assert!((6000 / 128..=6000 / 16).contains(&submissions), "{submissions} submissions");
    assert_eq!(floats(&x), [3000.0; 100]);
    let values = log.take().unwrap();
    assert!(values.iter().enumerate().all(|(i, &value)| value == i as f32 + 1.0) && values.len() == 3000);
}

/// Does a little of everything, and returns its bits.
fn work(device: &Device, seed: u64) -> Vec<u32> {
    let x = Tensor::normal(device, seed, 0, 0.0, 1.0, &[65, 130]).unwrap();
    let weight = Tensor::uniform(device, seed, 1, -0.1, 0.1, &[33, 130]).unwrap();
    let bias = Tensor::full(device, 0.1f32, &[33]).unwrap();
    let dropout = DropoutState::new(device, seed, 2).unwrap();
    let values = Arena::new(device, &[vec![33, 130], vec![33]]).unwrap();
    let [grads, moment1, moment2] = std::array::from_fn(|_| values.zeros_like().unwrap());
    let moments = [moment1, moment2];
    weight.copy_into(values.get(0)).unwrap();
    bias.copy_into(values.get(1)).unwrap();
    let mut clock = Clock::new(device, 0.01).unwrap();
    let update = AdamW::new().betas((0.9, 0.999)).eps(1e-8).weight_decay(0.01);
    let targets: Vec<u32> = (0..65).map(|i| i % 33).collect();
    let targets = Tensor::from_slice(device, &targets, &[65]).unwrap();
    let mut losses = Vec::new();
    for _ in 0..3 {
        let (dropped, mask) = x.dropout(0.2, &dropout).unwrap();
        let logits = dropped.linear(values.get(0), values.get(1), false).unwrap();
        let (loss, grad) = logits.cross_entropy(&targets, 1.0 / 65.0).unwrap();
        grad.linear_weight_grad_into(&dropped, grads.get(0), grads.get(1), false).unwrap();
        let clip = Clip::Norm(0.5);
        update
            .step(StepArguments { values: &values, grads: &grads, state: &moments, clock: &mut clock, clip })
            .unwrap();
        losses.push(loss.mean().unwrap().item::<f32>().unwrap().to_bits());
        losses.extend(words(&mask.sum_along(0, true).unwrap().softmax(-1).unwrap().argmax(-1, false).unwrap()));
    }
    losses.extend(floats(&values.pages()[0]).iter().map(|x| x.to_bits()));
    losses
}

#[test]
fn the_same_work_gives_the_same_bits() {
    for device in devices() {
        let first = work(&device, 1);
        for run in 1..20 {
            assert!(work(&device, 1) == first, "{device}: run {run} differs");
        }
        assert!(work(&device, 2) != first, "{device}: another seed gives the same");
    }
}

#[test]
fn threads_share_devices() {
    let expected: Vec<Vec<u32>> = (0..6).map(|seed| work(&Device::cpu(), seed)).collect();
    for device in devices() {
        let alone: Vec<Vec<u32>> = (0..6).map(|seed| work(&device, seed)).collect();
        std::thread::scope(|scope| {
            // Both devices at once, each used by several threads.
            for seed in 0..6 {
                let (device, alone, expected) = (&device, &alone, &expected);
                scope.spawn(move || {
                    for _ in 0..3 {
                        assert!(work(device, seed as u64) == alone[seed], "{device}, seed {seed}");
                        assert!(work(&Device::cpu(), seed as u64) == expected[seed], "CPU, seed {seed}");
                    }
                });
            }
        });
    }
}

/// Threads that write one tensor from the host, each its own part, while others compute with it.
#[test]
fn threads_write_and_launch_at_once() {
    for device in devices() {
        let x = Tensor::zeros(&device, DType::F32, &[4 * 64]).unwrap();
        std::thread::scope(|scope| {
            for part in 0..4usize {
                let (x, device) = (&x, &device);
                scope.spawn(move || {
                    let mine = x.slice(0, 64 * part, 64 * (part + 1)).unwrap();
                    for i in 0..50 {
                        mine.write(&[i as f32; 64]).unwrap();
                        let y = mine.affine(3.0, 1.0).unwrap();
                        mine.write(&[-1f32; 64]).unwrap();
                        assert_eq!(floats(&y), [3.0 * i as f32 + 1.0; 64], "{device}, part {part}");
                    }
                });
            }
        });
        assert_eq!(floats(&x), [-1.0; 256]);
    }
}

/// A device outlives its last handle for its tensors: they can still be read.
#[test]
fn tensors_keep_their_device() {
    let Some(device) = own_gpu() else { return };
    let x = Tensor::full(&device, 2f32, &[10]).unwrap().square().unwrap();
    drop(device);
    assert_eq!(floats(&x), [4.0; 10]);
}

/// An error that gives the reason, on both devices.
#[test]
fn launches_that_alias_are_refused() {
    for device in devices() {
        let arena = Arena::new(&device, &[vec![4, 4], vec![4, 4], vec![4]]).unwrap();
        let (a, b) = (arena.get(0), arena.get(1));
        let error = a.matmul_into(a, b, false).unwrap_err().to_string();
        assert!(error.contains("shares its memory"), "{device}: {error}");
        assert!(a.copy_into(b).is_err());
        // Results in one buffer are fine if they do not overlap.
        let x = tensor(&device, &numbers(1, 16, -1.0, 1.0), &[4, 4]);
        x.linear_weight_grad_into(&x, a, arena.get(2), false).unwrap();
        assert!(x.linear_weight_grad_into(&x, a, &a.slice(0, 0, 1).unwrap().reshape(&[4]).unwrap(), false).is_err());
    }
}

#[test]
fn empty_views_at_the_end_of_a_buffer_are_empty() {
    for device in devices() {
        // 64 elements fill their memory to its end.
        let x = tensor(&device, &[1.0; 64], &[64]);
        assert_eq!(floats(&x.slice(0, 64, 64).unwrap().sum().unwrap()), [0.0], "{device}");
        let rows = x.reshape(&[4, 16]).unwrap().slice(0, 4, 4).unwrap();
        assert_eq!(floats(&rows.sum_along(0, true).unwrap()), [0.0; 16], "{device}");
        assert_eq!(floats(&x.sum().unwrap()), [64.0], "{device}");
    }
}

#[test]
fn a_batch_of_rows_that_do_not_exist_is_nan() {
    for device in devices() {
        let features = tensor(&device, &[1.0, 2.0, 3.0, 4.0], &[2, 2]);
        let targets = Tensor::from_slice(&device, &[7u32, 8], &[2]).unwrap();
        let order = Tensor::from_slice(&device, &[1u32, 9], &[2]).unwrap();
        let cursor = Tensor::zeros(&device, DType::U32, &[2]).unwrap();
        let (x, y) = next_batch(&features, &targets, &order, &cursor, 2).unwrap();
        let x = floats(&x);
        assert!(x[..2] == [3.0, 4.0] && x[2..].iter().all(|x| x.is_nan()), "{device}: {x:?}");
        assert_eq!(words(&y), [8, 0x7fc0_0000], "{device}");
    }
}
