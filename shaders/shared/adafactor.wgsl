// The parameters shared by the stages of Adafactor.
//
// twin: crates/nn/src/optim/methods/adafactor.rs

struct Params {
    work: Work,
    step: MatrixStep,
    beta2_decay: f32,
    eps1: f32,
    eps1_squared: f32,
    eps2: f32,
    d: f32,
    // Where the sums of groups of rows and the facts of tensors begin.
    groups_start: u32,
    facts_start: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
