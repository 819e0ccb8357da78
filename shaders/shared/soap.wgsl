// The step size of SOAP, whose first step moves nothing: it is that of the updates before this one.
//
// twin: crates/tensor/src/optim/soap.rs

fn correction_before(correction: f32, one_minus_beta: f32) -> f32 {
    return select((correction - one_minus_beta) / (1.0 - one_minus_beta), 1.0, one_minus_beta >= 1.0);
}

fn step_size_of(now: Now) -> f32 {
    let correction1 = correction_before(now.bias_correction1, now.one_minus_momentum);
    let correction2 = correction_before(now.bias_correction2, params.one_minus_beta2);
    return now.learning_rate * sqrt(correction2) / correction1;
}
