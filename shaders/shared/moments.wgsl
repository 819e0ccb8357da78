// The factors of Adam and its variants, which correct both moments for their start at zero: the step size over the
// first bias correction, and the inverse root of the second.
//
// twin: crates/tensor/src/optim/time.rs, `moment_factors`

struct Factors {
    step_size: f32,
    inverse_root: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(now.learning_rate / now.bias_correction1, 1.0 / sqrt(now.bias_correction2));
}
