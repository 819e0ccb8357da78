// What a step says to all tensors, and the gradient as they see it.
//
// A kernel that appends this text declares `params` with `step: MatrixStep`.
//
// twin: crates/tensor/src/optim/matrices.rs

struct MatrixStep {
    weight_decay: f32,
    momentum: f32,
    one_minus_momentum: f32,
    // Whether parameters are set apart, and where the rows of this page begin in the table.
    segmented: u32,
    first_row: u32,
    // Whether each element of the gradient is clipped to -clip_value ... clip_value.
    clip: u32,
    clip_value: f32,
    maximize: u32,
}

// An element of the gradient, clipped by value where it is to be.
fn limited(grad: f32) -> f32 {
    var g = grad;
    if (params.step.clip != 0u) {
        // Comparisons, so that a NaN stays.
        if (g > params.step.clip_value) { g = params.step.clip_value; }
        if (g < -params.step.clip_value) { g = -params.step.clip_value; }
    }
    return g;
}
