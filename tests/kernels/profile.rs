//! Profiles: the launches of eager work and of replays with their times, on both kinds of device. They do not change
//! the results.

use std::time::{Duration, Instant};

use crate::common::{devices, floats, numbers, tensor};
use thalweg::autograd::Tape;
use thalweg::nn::{Activation, AdamW, Loss, Mlp, MlpConfig, Module, Mse, Optimizer, ParamsBuilder};
use thalweg::tensor::{Device, Error, Pass, Profile, Result, Tensor, TimeSource};

/// Opens a new device if it is a GPU, because profiles of one device do not nest; on the CPU threads are separate.
fn own_devices() -> Vec<Device> {
    devices()
        .into_iter()
        .map(|device| if device.is_cpu() { device } else { Device::open_new("gpu").unwrap() })
        .collect()
}

/// Computes y = (x W)² summed up: four launches, two of them of one kernel.
fn work(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let y = x.matmul(weight)?.square()?;
    y.add(&y.square()?)
}

fn operands(device: &Device) -> (Tensor, Tensor) {
    let x = tensor(device, &numbers(1, 32 * 48, -1.0, 1.0), &[32, 48]);
    (x, tensor(device, &numbers(2, 48 * 16, -1.0, 1.0), &[48, 16]))
}

/// Returns the kernels' names. Products have the name of the operation: the device chooses the kernel.
fn names(profile: &Profile) -> Vec<&str> {
    let name = |kernel: &'static str| if kernel.starts_with("matmul") { "matmul" } else { kernel };
    profile.launches().iter().map(|launch| name(launch.kernel)).collect()
}

#[test]
fn every_launch_is_there_with_name_workgroups_cost_and_time() {
    for device in own_devices() {
        let (x, weight) = operands(&device);
        let expected = floats(&work(&x, &weight).unwrap());
        let outside = Instant::now();
        let (profile, y) = device.profile(|| work(&x, &weight)).unwrap();
        let outside = outside.elapsed();
        assert_eq!(floats(&y), expected, "{device}: a profile changes no bits");
        assert_eq!(names(&profile), ["matmul", "square", "square", "add"], "{device}");
        let costs: Vec<_> =
            profile.launches().iter().map(|l| (l.cost.bytes_read, l.cost.bytes_written, l.cost.operations)).collect();
        let (matrix, product) = (4 * (32 * 48 + 48 * 16), 4 * 32 * 16);
        let element_wise = (product, product, 0);
        assert_eq!(
            costs,
            [(matrix, product, 2 * 32 * 16 * 48), element_wise, element_wise, (2 * product, product, 0)],
            "{device}"
        );
        let mut end = Duration::ZERO;
        for launch in profile.launches() {
            assert!(launch.workgroups > 0 && launch.duration > Duration::ZERO, "{device}: {launch:?}");
            assert!(launch.start >= end, "{device}: one behind the other, {launch:?}");
            end = launch.start + launch.duration;
        }
        assert!(profile.kernel_time() <= outside, "{device}: {profile:?}");
        assert_eq!(profile.source() == TimeSource::Twins, device.is_cpu());
        let kernels = profile.by_kernel();
        assert_eq!(kernels.iter().map(|kernel| kernel.launches).sum::<u64>(), 4);
        assert_eq!(kernels.iter().map(|kernel| kernel.duration).sum::<Duration>(), profile.kernel_time());
        assert!(kernels.windows(2).all(|pair| pair[0].duration >= pair[1].duration));
    }
}

#[test]
fn replays_copies_and_many_submissions_are_timed_in_order() {
    for device in own_devices() {
        let (x, weight) = operands(&device);
        let run = || {
            let y = work(&x, &weight)?;
            // A copy by the driver between the launches.
            y.slice(0, 0, 16)?.reshape(&[16, 16])?.matmul(&y.slice(0, 16, 32)?)
        };
        let (recording, y) = device.record(run).unwrap();
        let expected = floats(&y);
        let times = 500;
        let (profile, ()) = device.profile(|| recording.replay(times)).unwrap();
        assert_eq!(profile.launches().len(), times * recording.launches(), "{device}");
        assert_eq!(profile.omitted(), 0);
        let pattern = names(&profile)[..recording.launches()].to_vec();
        assert!(names(&profile).chunks(pattern.len()).all(|names| names == pattern), "{device}");
        assert_eq!(floats(&y), expected, "{device}");
        assert!(
            profile.launches().windows(2).all(|pair| pair[0].start + pair[0].duration <= pair[1].start),
            "{device}"
        );
    }
}

#[test]
fn what_was_collected_before_is_left_out_and_what_comes_after_is_not_timed() {
    for device in own_devices() {
        let (x, weight) = operands(&device);
        let before = work(&x, &weight).unwrap();
        let (profile, y) = device.profile(|| before.square()).unwrap();
        let after = y.sqrt().unwrap();
        assert_eq!(names(&profile), ["square"], "{device}");
        let (profile, ()) = device.profile(|| Ok::<(), Error>(())).unwrap();
        assert!(profile.launches().is_empty() && profile.kernel_time() == Duration::ZERO);
        assert_eq!(floats(&after), floats(&before.abs().unwrap()), "{device}");
    }
}

#[test]
fn a_profile_keeps_so_many_launches_and_counts_the_others() {
    for device in own_devices() {
        let x = tensor(&device, &[1.0, 2.0], &[2]);
        let (recording, _) = device.record(|| x.neg()).unwrap();
        let (profile, ()) = device.profile(|| recording.replay(65_536 + 10)).unwrap();
        assert_eq!((profile.launches().len(), profile.omitted()), (65_536, 10), "{device}");
    }
}

#[test]
fn profiles_do_not_nest_and_a_failed_one_leaves_nothing_behind() {
    for device in own_devices() {
        let x = tensor(&device, &[1.0, 2.0], &[2]);
        let nested = device.profile(|| device.profile(|| x.neg()).map(|_| ()));
        assert!(matches!(nested, Err(Error::Profile)), "{device}: {nested:?}");
        let refused = device.record(|| device.profile(|| x.neg()).map(|_| ()));
        assert!(matches!(refused, Err(Error::Recording { .. })), "{device}");
        let (profile, _) = device.profile(|| x.neg()).unwrap();
        assert_eq!(names(&profile), ["neg"], "{device}");
    }
}

#[test]
fn without_timestamps_launches_are_waited_for_one_by_one() {
    let Some(expected) = crate::common::gpu() else { return };
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    let name = expected.info().name;
    let adapter = adapters.into_iter().find(|adapter| adapter.get_info().name == name).unwrap();
    let required_limits = adapter.limits();
    let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    let device = Device::from_wgpu(device, queue).unwrap();
    let (x, weight) = operands(&device);
    let (recording, recorded) = device.record(|| work(&x, &weight)).unwrap();
    let expected = floats(&recorded);
    let (profile, y) = device.profile(|| work(&x, &weight)).unwrap();
    assert_eq!(profile.source(), TimeSource::Waits);
    assert_eq!(names(&profile), ["matmul", "square", "square", "add"]);
    assert!(profile.launches().iter().all(|launch| launch.duration > Duration::ZERO));
    assert_eq!(floats(&y), expected);
    let (profile, ()) = device.profile(|| recording.replay(2)).unwrap();
    assert_eq!(profile.launches().len(), 2 * recording.launches());
    assert_eq!(floats(&recorded), expected);
}

#[test]
fn the_adapter_that_computes_nothing_runs_everything_and_is_none_of_the_adapters() {
    let noop = Device::noop().unwrap();
    let (x, weight) = operands(&noop);
    let (recording, y) = noop.record(|| work(&x, &weight)).unwrap();
    recording.replay(3).unwrap();
    let (profile, ()) = noop.profile(|| recording.replay(2)).unwrap();
    assert_eq!((profile.launches().len(), profile.kernel_time()), (2 * recording.launches(), Duration::ZERO));
    assert_eq!(y.to_vec::<f32>().unwrap().len(), 32 * 16);
    assert_eq!(noop.counters().launches, 4 + 5 * recording.launches() as u64);
    assert_eq!(noop.info().backend, "noop");
    assert!(Device::list_gpus().iter().all(|gpu| gpu.backend != "noop") && Device::best() != noop);
    assert!(matches!(Device::open("noop"), Err(Error::NoAdapter { .. })));
}

/// The launches of a training step by module: kernel names do not distinguish the layers.
#[test]
fn launches_carry_the_module_and_the_pass_that_they_belong_to() {
    for device in own_devices() {
        let mut builder = ParamsBuilder::new(0);
        let config = MlpConfig { inputs: 6, hidden: vec![16], outputs: 3, activation: Activation::Tanh, dropout: 0.5 };
        let model = Mlp::new(&mut builder, &config).unwrap();
        let params = builder.build(&device).unwrap();
        let mut optimizer = Optimizer::new(&params, AdamW::new(), 1e-3).unwrap().with_clip_norm(1.0).unwrap();
        let (x, y) = (
            tensor(&device, &numbers(1, 8 * 6, -1.0, 1.0), &[8, 6]),
            tensor(&device, &numbers(2, 8 * 3, -1.0, 1.0), &[8, 3]),
        );
        let mut step = || -> thalweg::Result<()> {
            let tape = Tape::new();
            let loss = Mse.of(model.forward(tape.constant(&x))?, &y)?;
            params.zero_grad();
            tape.backward_and_free(loss)?;
            optimizer.step()
        };
        let (eager, ()) = device.profile(&mut step).unwrap();
        let (recording, ()) = device.record(&mut step).unwrap();
        let (replayed, ()) = device.profile(|| recording.replay(1)).unwrap();
        for (profile, how) in [(eager, "eager"), (replayed, "replayed")] {
            let counts: Vec<_> = profile
                .by_layer()
                .iter()
                .map(|layer| {
                    let launches = [layer.forward, layer.backward, layer.update].map(|sum| sum.launches);
                    (layer.path.as_deref().unwrap_or("").to_string(), launches)
                })
                .collect();
            let of = |path: &str| counts.iter().find(|(name, _)| name == path).map(|(_, launches)| *launches);
            // Forward: the product with its bias, and tanh. Backward: both gradients of the parameters in one launch,
            // and that of tanh, which a recording fuses with that of dropout.
            let [forward, backward, update] = of("layers.0").unwrap();
            assert!(forward == 2 && backward >= 1 && update == 0, "{how} on {device}: {counts:?}");
            // The gradients of the parameters, and of the input.
            assert_eq!(of("layers.1"), Some([1, 2, 0]), "{how} on {device}: {counts:?}");
            assert_eq!(of("dropouts.0").map(|launches| launches[0]), Some(1), "{how} on {device}: {counts:?}");
            // The loss; the norm, the clock and the update.
            let [forward, _, update] = of("").unwrap();
            assert!(forward >= 1 && update == 3, "{how} on {device}: {counts:?}");
            let all: u64 = counts.iter().flat_map(|(_, launches)| launches).sum();
            assert_eq!(all as usize, profile.launches().len());
            // Gradients have the name of their operation.
            let back = profile.launches().iter().filter(|launch| launch.origin.pass == Pass::Backward);
            assert!(back.clone().count() > 0 && back.clone().all(|launch| launch.origin.operation.is_some()));
            assert!(back.clone().any(|launch| launch.origin.operation == Some("linear")), "{how} on {device}");
        }
    }
}
