// The time of a step for a tensor, for kernels that run after a launch of the clock.
//
// A kernel that appends this text also appends shared/matrix_step.wgsl, and binds `table` and `clock`, both as read.
//
// twin: crates/tensor/src/optim/matrices.rs

// A negative clip factor skips the tensor: the whole step is skipped, or the tensor is frozen.
fn time_of(matrix: Matrix) -> Now {
    return time_at(matrix.offset);
}

// The same for the tensor that begins at an offset in the page of the parameters.
fn time_at(offset: u32) -> Now {
    var now: Now;
    now.learning_rate = clock.learning_rate;
    now.bias_correction1 = clock.bias_correction1;
    now.bias_correction2 = clock.bias_correction2;
    now.clip_factor = clock.clip_factor;
    now.extra1 = clock.extra1;
    now.extra2 = clock.extra2;
    now.step = clock.step;
    now.weight_decay = scheduled(clock.weight_decay, params.step.weight_decay);
    now.momentum = scheduled(clock.momentum, params.step.momentum);
    now.one_minus_momentum = scheduled(clock.one_minus_momentum, params.step.one_minus_momentum);
    now.own_factor = 1.0;
    if (params.step.segmented != 0u) {
        let row = table[params.step.first_row + offset / 64u];
        now.learning_rate *= row.x;
        now.weight_decay = select(now.weight_decay, row.y, row.y >= 0.0);
        now.clip_factor = select(now.clip_factor * row.z, -1.0, row.x < 0.0 || now.clip_factor < 0.0);
    }
    return now;
}

// Returns the clip factor, negated if the method maximizes.
fn grad_factor(now: Now) -> f32 {
    return select(now.clip_factor, -now.clip_factor, params.step.maximize != 0u);
}
