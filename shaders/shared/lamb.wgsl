// The direction of LAMB. The first launch measures it, the last one applies it.
//
//   direction = (moment1 / correction1) / (sqrt(moment2) / sqrt(correction2) + eps) + weight_decay param
//
// A kernel that appends this text declares `params.eps`.
//
// twin: crates/nn/src/optim/methods/lamb.rs

struct Factors {
    // The inverse of the first bias correction, and of the root of the second.
    inverse_correction: f32,
    inverse_root: f32,
    // The learning rate times the trust ratio of the tensor.
    step_size: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(1.0 / now.bias_correction1, 1.0 / sqrt(now.bias_correction2), now.learning_rate * now.own_factor);
}

fn direction(value: vec4f, m: vec4f, v: vec4f, step: Step, f: Factors) -> vec4f {
    return (m * f.inverse_correction) / (sqrt(v) * f.inverse_root + params.eps) + step.weight_decay * value;
}
