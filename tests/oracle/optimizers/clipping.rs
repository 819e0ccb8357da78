//! Clipping of gradients.

use super::*;

/// Returns the clipping of a case of `optimizers/clipping`; `None` if thalweg does not have it.
fn clipping(case: Case<'_>) -> Option<Clip> {
    Some(match case.text("op") {
        "clip_grad_norm" => match (case.number("max_norm"), case.number("norm_type")) {
            (max_norm, 2.0) => Clip::Norm(max_norm),
            (max_norm, p) => Clip::PNorm { max_norm, p },
        },
        "clip_grad_norm_per_tensor" => Clip::TensorNorm(case.number("max_norm")),
        "clip_grad_value" => Clip::Value(case.number("clip_value")),
        "optax_global_norm" => Clip::Norm(case.number("max_norm")),
        "optax_block_rms" => Clip::TensorRms(case.number("threshold")),
        "optax_agc" => Clip::Off,
        // Subtracting the mean of each gradient is no clipping.
        "optax_centralize" => return None,
        other => panic!("no clipping {other:?}"),
    })
}

/// Clipping in the update: a plain step of SGD from zero, with a learning rate of 1, leaves the clipped gradients with
/// the other sign.
#[test]
fn gradients_are_clipped_as_pytorch_and_optax_do() {
    let oracle = Oracle::open("optimizers/clipping");
    let mut held = std::collections::BTreeMap::<&str, usize>::new();
    for case in oracle.cases() {
        let Some(clip) = clipping(case) else { continue };
        let inputs: Vec<Array> =
            (0..).map_while(|i| oracle.find(&format!("input/{}/{i}", case.text("input")))).collect();
        assert_eq!(inputs.len(), 5);
        for device in devices() {
            let outcome = clip_case(case, clip, &inputs, &device);
            *held.entry(outcome).or_default() += usize::from(device.is_cpu());
        }
    }
    let held: Vec<_> = held.into_iter().collect();
    let expected: &[_] = if oracle.is_whole {
        &[("clipped", 42), ("error", 10), ("overflow", 1), ("refused", 3)]
    } else {
        &[("clipped", 14), ("error", 3)]
    };
    assert_eq!(held, expected);
}

/// Returns a tensor with its first dimension last. optax takes the norms of units over the first dimension, because its
/// linear weights are `[in, out]`. Units of thalweg are rows of `[out, in]`.
fn units_first(x: &Array) -> Array {
    if x.shape.len() < 2 {
        return x.clone();
    }
    let (inputs, units) = (x.shape[0], x.values.len() / x.shape[0]);
    let values = (0..units).flat_map(|unit| (0..inputs).map(move |i| x.values[i * units + unit])).collect();
    Array { shape: vec![units, inputs], values }
}

/// Compares a case with the oracle, and returns its outcome.
fn clip_case(case: Case<'_>, clip: Clip, whole: &[Array], device: &Device) -> &'static str {
    let name = case.name(&device.to_string());
    let is_agc = case.text("op") == "optax_agc";
    let count = case.get("tensors").as_u64().unwrap_or(whole.len() as u64) as usize;
    let turned = |x: &Array| if is_agc { units_first(x) } else { x.clone() };
    let inputs: Vec<Array> = whole[..count].iter().map(turned).collect();
    let start: Vec<Array> =
        inputs.iter().map(|x| Array { shape: x.shape.clone(), values: vec![0.0; x.values.len()] }).collect();
    let params = params(device, &start);
    let optimizer = || Optimizer::new(&params, Sgd::new(), 1.0).unwrap();
    // Without a limit nothing is clipped; PyTorch clips everything to 0.
    if clip == Clip::Value(0.0) {
        let error = optimizer().with_clip(clip).unwrap_err().to_string();
        assert_eq!(error, "clip_value = 0, but it must be finite and greater than 0", "{name}");
        return "refused";
    }
    let policy = if case.is("error_if_nonfinite") { NonFinite::Error } else { NonFinite::Ignore };
    let mut optimizer = optimizer().with_clip(clip).unwrap().with_non_finite(policy);
    if is_agc {
        optimizer = optimizer.with_adaptive_clip(case.number("clipping"), case.number("eps")).unwrap();
        // The oracle's parameters: a tenth of the input, reversed along its last dimension.
        for (parameter, input) in params.parameters().iter().zip(whole) {
            let length = input.shape.last().copied().unwrap_or(1);
            let values = input.values.chunks(length).flat_map(|row| row.iter().rev().map(|x| 0.1 * x)).collect();
            let values = units_first(&Array { shape: input.shape.clone(), values });
            parameter.value().unwrap().write(&values.f32()).unwrap();
        }
    }
    set_grads(&params, &inputs.iter().map(Array::f32).collect::<Vec<_>>());
    optimizer.step().unwrap();
    let values: Vec<Vec<f32>> = params.parameters().iter().map(|p| floats(p.value().unwrap())).collect();
    if case.is("expect_error") {
        let error = optimizer.read_clock().unwrap_err().to_string();
        assert!(error.starts_with("step 1: the norm of the gradients is not finite"), "{name}: {error}");
        assert!(values.concat().iter().all(|x| x.to_bits() == 0), "{name}");
        for (parameter, input) in params.parameters().iter().zip(&inputs) {
            crate::common::assert_same_bits(&name, &floats(parameter.grad().unwrap()), &input.f32());
        }
        return "error";
    }
    let clock = optimizer.read_clock().unwrap();
    assert_eq!((clock.step, clock.skipped), (1, 0), "{name}");
    let bound = case.number("tol_scaled");
    if let Some(total) = case.get("total_norm_f64").as_f64() {
        // PyTorch's own norm in f32 overflows as ours does.
        if case.get("total_norm_f32") == "inf" {
            assert_eq!(clock.gradient_norm, f32::INFINITY, "{name}");
            assert!(values.concat().iter().all(|x| *x == 0.0), "{name}");
            return "overflow";
        }
        oracle::assert_scaled(&name, &[clock.gradient_norm], &[total], bound);
        assert_eq!(clock.clipped, u32::from(case.number("max_norm") < total), "{name}");
    }
    for (i, (parameter, values)) in params.parameters().iter().zip(values).enumerate() {
        let reference = turned(&case.array(&format!("f64/{i}")));
        // Units are clipped in place, the rest when the update reads them.
        let clipped = if is_agc { floats(parameter.grad().unwrap()) } else { values.iter().map(|x| -x).collect() };
        oracle::assert_scaled(&format!("{name}, tensor {i}"), &clipped, &reference.values, bound);
    }
    "clipped"
}
