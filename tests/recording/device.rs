//! Devices: their choice and sharing, how far the host may run ahead of them, and their failures.

use std::time::{Duration, Instant};

use crate::common::{devices, floats, own_gpu, tensor};
use thalweg::nn::data::{Dataset, friedman1};
use thalweg::nn::{AdamW, FitOptions, Mlp, MlpConfig, Mse, Optimizer, ParamsBuilder, Trainer};
use thalweg::tensor::{Access, Call, DType, Device, Error, GRID, Kernel, Launch, RecordOptions, Shader, Tensor};

#[test]
fn a_gpu_is_opened_once_and_shared() {
    let Some(gpu) = crate::common::gpu() else { return };
    let name = gpu.info().name;
    for same in [Device::gpu(), Device::gpu_at(0), Device::gpu_named(&name.to_uppercase()), Device::open("0")] {
        assert_eq!(same.unwrap(), gpu);
    }
    let (x, y) = (tensor(&gpu, &[1.0], &[1]), tensor(&Device::gpu().unwrap(), &[2.0], &[1]));
    assert_eq!(floats(&x.add(&y).unwrap()), [3.0]);
    let (first, second) = (Device::open_new("gpu").unwrap(), Device::open_new(&name).unwrap());
    assert!(first != gpu && second != gpu && first != second);
    assert!(tensor(&first, &[1.0], &[1]).add(&y).is_err());
    assert_ne!(Device::open_new("cpu").unwrap(), Device::cpu());
}

#[test]
fn a_word_that_names_no_device_is_refused_with_the_choices() {
    let names = Device::list_gpus().into_iter().map(|gpu| gpu.name);
    let names: Vec<String> = names.enumerate().map(|(index, name)| format!("{index} = {name}")).collect();
    for word in ["", " ", "no such adapter", "99", "-1"] {
        for result in [Device::open(word), Device::open_new(word), Device::gpu_named(word)] {
            let text = result.unwrap_err().to_string();
            assert!(text.contains(&format!("{word:?}")) && text.contains("cpu"), "{text}");
            assert!(names.iter().all(|name| text.contains(name)), "{text}");
        }
    }
    assert!(Device::gpu_at(names.len()).is_err());
}

#[test]
fn the_host_runs_only_a_few_submissions_ahead() {
    let noop = Device::noop().unwrap();
    for device in own_gpu().into_iter().chain([noop]) {
        let mut x = Tensor::full(&device, 1f32, &[30_000]).unwrap();
        for _ in 0..1000 {
            x = x.affine(1.0, 0.0).unwrap();
        }
        let (recording, _) = device.record(|| x.sum()).unwrap();
        for _ in 0..10 {
            recording.replay(200).unwrap();
        }
        let in_flight = device.in_flight();
        assert!((1..=in_flight.limit).contains(&in_flight.most), "{device}: {in_flight:?}");
        device.synchronize().unwrap();
        assert_eq!(device.in_flight().submissions, 0, "{device}");
    }
    assert_eq!(Device::cpu().in_flight().most, 0);
}

#[test]
fn training_runs_only_a_few_submissions_ahead() {
    let Some(device) = own_gpu() else { return };
    let (features, targets) = friedman1(2000, 1.0, 4);
    let data = Dataset::regression(&device, &features, 10, &targets).unwrap();
    let mut builder = ParamsBuilder::new(2);
    let config = MlpConfig { inputs: 10, hidden: vec![16], outputs: 1, ..MlpConfig::default() };
    let model = Mlp::new(&mut builder, &config).unwrap();
    let params = builder.build(&device).unwrap();
    let optimizer = Optimizer::new(&params, AdamW::new(), 1e-3).unwrap();
    let options = FitOptions { epochs: 2, batch_size: 4, seed: 0 };
    let history = Trainer::new(model, optimizer, Mse).fit(&data, None, &options, |_| ()).unwrap();
    let in_flight = device.in_flight();
    assert!(in_flight.most <= in_flight.limit, "{in_flight:?}");
    assert_eq!(history.counters.host_syncs, 0);
}

/// A product of 1,024 × 1,024 takes 2.1e9 operations: at least 30 ms with a software driver on two cores.
#[test]
fn long_replays_are_split_into_submissions_that_no_watchdog_ends() {
    let Some(device) = own_gpu() else { return };
    let x = Tensor::full(&device, 1e-3f32, &[1024, 1024]).unwrap();
    let (recording, y) = device.record(|| x.matmul(&x)).unwrap();
    device.synchronize().unwrap();
    let (before, start) = (device.counters().submissions, Instant::now());
    recording.replay(12).unwrap();
    device.synchronize().unwrap();
    let (submissions, took) = (device.counters().submissions - before, start.elapsed());
    let longest = took / u32::try_from(submissions).unwrap();
    assert!(submissions >= 3 || took < Duration::from_millis(300), "{submissions} submissions in {took:?}");
    // A submission has at least one product.
    assert!(longest < Duration::from_millis(500).max(2 * took / 12), "{submissions} submissions in {took:?}");
    assert!((floats(&y)[0] - 1024e-6).abs() < 1e-6);
}

/// A recording with one replay that takes longer than a submission should.
#[test]
fn one_long_replay_is_split_too() {
    let Some(device) = own_gpu() else { return };
    let x = Tensor::full(&device, 1e-3f32, &[1024, 1024]).unwrap();
    let options = RecordOptions { fuse: false, ..RecordOptions::default() };
    let powers = || (0..8).try_fold(x.clone(), |y, _| y.matmul(&x));
    let (recording, y) = device.record_with(options, powers).unwrap();
    let expected = floats(&y);
    let before = device.counters().submissions;
    recording.replay(1).unwrap();
    let submissions = device.counters().submissions - before;
    assert!(submissions >= 3, "{submissions}");
    assert_eq!(floats(&y), expected);
}

#[test]
fn a_lost_device_is_an_error_everywhere_and_opens_anew() {
    let Some(device) = own_gpu() else { return };
    let x = tensor(&device, &[1.0, 2.0], &[2]);
    let (recording, _) = device.record(|| x.exp()).unwrap();
    let mut later = x.read_later::<f32>().unwrap();
    device.close();
    let is_lost = |result: Result<(), Error>| match result {
        Err(Error::DeviceLost { reason }) => assert!(!reason.is_empty()),
        other => panic!("{other:?}"),
    };
    for _ in 0..2 {
        is_lost(x.exp().map(drop));
        is_lost(x.to_vec::<f32>().map(drop));
        is_lost(x.write(&[1.0f32, 2.0]));
        is_lost(x.fill(0f32));
        is_lost(x.copy().map(drop));
        is_lost(Tensor::zeros(&device, DType::F32, &[1000]).map(drop));
        is_lost(Tensor::from_slice(&device, &[1.0f32], &[1]).map(drop));
        is_lost(recording.replay(1));
        is_lost(device.record(|| x.exp()).map(drop));
        is_lost(device.flush());
        is_lost(device.synchronize());
        is_lost(device.profile(|| x.exp()).map(drop));
        is_lost(x.read_later::<f32>().map(drop));
        is_lost(later.poll().map(drop));
    }
    device.release_memory();
    drop((x, recording, later));
    assert_eq!(floats(&tensor(&Device::open_new("gpu").unwrap(), &[1.0], &[1]).neg().unwrap()), [-1.0]);
}

#[test]
fn training_on_a_lost_device_ends_in_a_clear_error() {
    let Some(device) = own_gpu() else { return };
    let (features, targets) = friedman1(100, 1.0, 4);
    let data = Dataset::regression(&device, &features, 10, &targets).unwrap();
    let mut builder = ParamsBuilder::new(2);
    let config = MlpConfig { inputs: 10, hidden: vec![16], outputs: 1, ..MlpConfig::default() };
    let model = Mlp::new(&mut builder, &config).unwrap();
    let optimizer = Optimizer::new(&builder.build(&device).unwrap(), AdamW::new(), 1e-3).unwrap();
    let mut trainer = Trainer::new(model, optimizer, Mse);
    let options = FitOptions { epochs: 20, batch_size: 8, seed: 0 };
    let mut steps = 0;
    let result = trainer.fit(&data, None, &options, |_| {
        steps += 1;
        if steps == 30 {
            device.close();
        }
    });
    let text = result.unwrap_err().to_string();
    assert!(text.contains("the device is lost"), "{text}");
}

/// The kernel in the documentation of [`Kernel`], by its text.
#[test]
fn the_documented_kernel_computes_all_of_a_large_array() {
    const SOURCE: &str = include_str!("../../crates/runtime/src/kernel.rs");
    fn twin(call: Call<'_>) {
        let [x, y] = call.bindings();
        let x = x.read::<f32>();
        y.write::<f32>().iter_mut().zip(x).for_each(|(y, x)| *y = 2.0 * x);
    }
    let text: String = SOURCE.lines().filter_map(|line| line.strip_prefix("///")).collect::<Vec<_>>().join("\n");
    let text = text.split("text: \"").nth(1).unwrap().split("\",").next().unwrap().to_string();
    let kernel = |shared| -> &'static Kernel {
        let shader = Shader { name: "double", path: "double.wgsl", text: Box::leak(text.clone().into()), shared };
        let access = &[Access::Read, Access::Write];
        Box::leak(Box::new(Kernel { shader: Box::leak(Box::new(shader)), uniform: 4, access, variants: &[&[]], twin }))
    };
    let double = kernel(&[GRID]);
    for device in devices() {
        for n in [4_194_240, 4_194_304] {
            let (x, y) = (Tensor::full(&device, 1.5f32, &[n]).unwrap(), Tensor::full(&device, 0f32, &[n]).unwrap());
            let launch = Launch::new(double, n as u32).bind(&x).bind(&y).workgroups(n.div_ceil(64));
            launch.run(&device).unwrap();
            assert!(floats(&y).iter().all(|&y| y == 3.0), "{device}, {n}");
        }
    }
}

/// On a GPU it would silently compute only a part of the array.
#[test]
fn a_kernel_that_does_not_know_of_the_fold_is_refused_a_folded_grid() {
    static UNAWARE: Kernel = Kernel {
        shader: &Shader {
            name: "unaware",
            path: "unaware.wgsl",
            text: "@group(0) @binding(1) var<storage, read_write> y: array<f32>;
                // It does not read num_workgroups.
                @compute @workgroup_size(64)
                fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] = 1.0; }",
            shared: &[],
        },
        uniform: 0,
        access: &[Access::Write],
        variants: &[&[]],
        twin: |call| {
            let [y] = call.bindings();
            y.write::<f32>().fill(1.0);
        },
    };
    for device in devices() {
        let y = Tensor::zeros(&device, DType::F32, &[64 * 65_536]).unwrap();
        let error = Launch::new(&UNAWARE, ()).bind(&y).workgroups(65_536).run(&device).unwrap_err().to_string();
        assert!(error.contains("unaware") && error.contains("group_index"), "{device}: {error}");
        Launch::new(&UNAWARE, ()).bind(&y).workgroups(65_535).run(&device).unwrap();
        assert_eq!(floats(&y)[64 * 65_535 - 1..][..2], [1.0, if device.is_cpu() { 1.0 } else { 0.0 }], "{device}");
    }
}

#[test]
fn tensors_of_more_than_two_to_the_thirtieth_elements_are_refused() {
    for device in devices() {
        for result in [
            Tensor::zeros(&device, DType::F32, &[(1 << 30) + 1]),
            tensor(&device, &[1.0], &[1]).broadcast_to(&[1 << 16, 1 << 15]),
        ] {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Limit { limit: "elements of a tensor", .. }), "{device}: {error}");
        }
    }
}

/// A wait for a device that does not finish in time ends, and the device is not lost.
#[test]
fn a_wait_ends_with_an_error_after_the_time_that_was_set() {
    let Some(device) = own_gpu() else { return };
    let x = Tensor::full(&device, 1e-3f32, &[1024, 1024]).unwrap();
    let (recording, y) = device.record(|| x.matmul(&x)).unwrap();
    device.synchronize().unwrap();
    device.set_wait_timeout(Duration::ZERO);
    let error = (0..20).find_map(|_| recording.replay(1).and_then(|()| device.synchronize()).err());
    match error {
        Some(Error::Timeout { patience }) => assert_eq!(patience, Duration::ZERO),
        other => panic!("{other:?}"),
    }
    device.set_wait_timeout(Duration::from_secs(300));
    device.synchronize().unwrap();
    assert!((floats(&y)[0] - 1024e-6).abs() < 1e-6);
}

/// In its own process, with little memory.
#[test]
#[cfg(target_os = "linux")]
fn reading_back_without_memory_for_it_is_an_error_that_loses_nothing() {
    const CHILD: &str = "THALWEG_TEST_OUT_OF_MEMORY";
    const NAME: &str = "device::reading_back_without_memory_for_it_is_an_error_that_loses_nothing";
    if std::env::var_os(CHILD).is_none() {
        let limited = "ulimit -v 3000000; exec \"$0\" --exact \"$1\" --nocapture";
        let mut child = std::process::Command::new("sh");
        child.args(["-c", limited]).arg(std::env::current_exe().unwrap()).arg(NAME).env(CHILD, "1");
        let output = child.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let Some(device) = own_gpu() else { return };
    let doubled = tensor(&device, &[1.0, 2.0, 3.0], &[3]).affine(2.0, 0.0).unwrap();
    // All memory, except for what is too small for one more of these.
    let mut large = Vec::new();
    let error = loop {
        match Tensor::uninitialized(&device, DType::F32, &[1 << 24]) {
            Ok(tensor) => large.push(tensor),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::OutOfMemory { bytes: 0x400_0000 }), "{error}");
    let last = large.pop().unwrap();
    let error = last.to_vec::<f32>().unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { bytes: 0x400_0000 }), "{error}");
    // The device still works, and all of its data are there.
    assert_eq!(floats(&doubled), [2.0, 4.0, 6.0]);
    large.clear();
    assert_eq!(last.to_vec::<f32>().unwrap().len(), 1 << 24);
}

/// In its own process, without a desktop, where a driver may complain that there is none.
#[test]
fn looking_for_adapters_writes_nothing_to_standard_error() {
    const CHILD: &str = "THALWEG_TEST_QUIET";
    const NAME: &str = "device::looking_for_adapters_writes_nothing_to_standard_error";
    if std::env::var_os(CHILD).is_none() {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", NAME, "--nocapture"]).env(CHILD, "1");
        for name in ["XDG_RUNTIME_DIR", "NODEVICE_SELECT", "MESA_VK_DEVICE_SELECT"] {
            child.env_remove(name);
        }
        let output = child.output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        return;
    }
    drop(Device::list_gpus());
    if let Ok(device) = Device::gpu() {
        assert_eq!(floats(&tensor(&device, &[1.0], &[1]).neg().unwrap()), [-1.0]);
    }
}
