// The parameters shared by the stages of SOAP, and the step size. The first step moves nothing, so the step size is
// that of the previous number of updates.
//
// twin: crates/nn/src/optim/methods/soap.rs

struct Params {
    work: Work,
    step: MatrixStep,
    beta2: f32,
    one_minus_beta2: f32,
    eps: f32,
    one_minus_shampoo_beta: f32,
    frequency: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

fn correction_before(correction: f32, one_minus_beta: f32) -> f32 {
    return select((correction - one_minus_beta) / (1.0 - one_minus_beta), 1.0, one_minus_beta >= 1.0);
}

fn step_size_of(now: Now) -> f32 {
    let correction1 = correction_before(now.bias_correction1, now.one_minus_momentum);
    let correction2 = correction_before(now.bias_correction2, params.one_minus_beta2);
    return now.learning_rate * sqrt(correction2) / correction1;
}
