// The settings of a step common to all tensors, and the gradient clipped by value.
//
// A kernel that appends this text declares `params` with `step: MatrixStep`.
//
// twin: crates/tensor/src/optim/matrices.rs

struct MatrixStep {
    weight_decay: f32,
    momentum: f32,
    one_minus_momentum: f32,
    // Whether parameters have rows in the table, and where the rows of this page begin.
    segmented: u32,
    first_row: u32,
    // Whether each element of the gradient is clipped to -clip_value ... clip_value.
    clip: u32,
    clip_value: f32,
    maximize: u32,
}

// Returns an element of the gradient, clipped by value if enabled.
fn limited(grad: f32) -> f32 {
    var g = grad;
    if (params.step.clip != 0u) {
        // Comparisons, so that a NaN propagates.
        if (g > params.step.clip_value) { g = params.step.clip_value; }
        if (g < -params.step.clip_value) { g = -params.step.clip_value; }
    }
    return g;
}
