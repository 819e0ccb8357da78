// The clock for an update that advances it. Without clipping no earlier launch can do so. Every workgroup computes
// the new values, and the last one to finish stores them.
//
// One lane of a workgroup reads the clock for all lanes. It then increments a counter, and the workgroup that
// increments it last can conclude that all others have read. WGSL's atomics order nothing but themselves. So the
// increment depends on every word that was read, through a zero known only to the host, and the stored words are
// atomics too.
//
// A kernel that appends this text declares `clock`, `table`, `params.timing` and `params.settings`. EXTRA is the kind
// of extra state that its method keeps in the clock. IS_FOLLOWED tells whether other launches of the same step read
// the clock, so that software drivers can drop the remaining stores.

override SELF_CLOCKED: bool = false;

alias ClockCount = atomic<u32>;
alias ClockNumber = atomic<u32>;

var<workgroup> shared_time: Now;

// The table: the rows of tensors (see shared/update.wgsl), then the rows of the schedule.

// Returns the time of this step. All lanes of a workgroup must call it (uniform control flow).
fn current_time(lane: u32) -> Now {
    if (SELF_CLOCKED) {
        if (lane == 0u) { shared_time = next_time(); }
        return workgroupUniformLoad(&shared_time);
    }
    return Now(
        clock.learning_rate,
        bitcast<f32>(atomicLoad(&clock.bias_correction1)),
        bitcast<f32>(atomicLoad(&clock.bias_correction2)),
        clock.clip_factor,
        bitcast<f32>(atomicLoad(&clock.extra1)),
        bitcast<f32>(atomicLoad(&clock.extra2)),
        atomicLoad(&clock.step),
        scheduled(clock.weight_decay, params.settings.weight_decay),
        scheduled(clock.momentum, params.settings.momentum),
        scheduled(clock.one_minus_momentum, params.timing.one_minus_beta1),
        1.0,
    );
}

// Returns the time of the step that begins.
fn next_time() -> Now {
    let step = atomicLoad(&clock.step);
    let old_extra = vec2f(bitcast<f32>(atomicLoad(&clock.extra1)), bitcast<f32>(atomicLoad(&clock.extra2)));
    let position = step + clock.skipped;
    let row = table[schedule_row(position, clock.schedule_length, clock.schedule_start)];
    let next_rate = table[schedule_row(position + 1u, clock.schedule_length, clock.schedule_start)].x;
    var timing = params.timing;
    timing.one_minus_beta1 = scheduled(row.w, timing.one_minus_beta1);
    let extra = next_extra(EXTRA, old_extra, step + 1u, next_rate, timing);
    return Now(
        row.x,
        next_correction(bitcast<f32>(atomicLoad(&clock.bias_correction1)), timing.one_minus_beta1),
        next_correction(bitcast<f32>(atomicLoad(&clock.bias_correction2)), timing.one_minus_beta2),
        1.0,
        extra.x,
        extra.y,
        step + 1u,
        scheduled(row.y, params.settings.weight_decay),
        scheduled(row.z, params.settings.momentum),
        timing.one_minus_beta1,
        1.0,
    );
}

// Advances the clock if the update does so. If other launches of the same step follow, weight decay and momentum of
// this step are stored too.
fn finish_time(now: Now, lane: u32, groups: vec3u) {
    if (SELF_CLOCKED) {
        if (lane == 0u) {
            let corrections = bitcast<u32>(now.bias_correction1) ^ bitcast<u32>(now.bias_correction2);
            let extra = bitcast<u32>(now.extra1) ^ bitcast<u32>(now.extra2);
            let one = 1u + ((now.step ^ corrections ^ extra) & params.settings.zero);
            if (atomicAdd(&clock.finished, one) + 1u == groups.x * groups.y) { store_time(now); }
        }
    }
}

fn store_time(now: Now) {
    atomicStore(&clock.finished, 0u);
    atomicStore(&clock.step, now.step);
    atomicStore(&clock.bias_correction1, bitcast<u32>(now.bias_correction1));
    atomicStore(&clock.bias_correction2, bitcast<u32>(now.bias_correction2));
    clock.learning_rate = now.learning_rate;
    clock.clip_factor = 1.0;
    // Software drivers run through a store lane by lane in every workgroup, even if no lane stores.
    if (EXTRA != NO_EXTRA) {
        atomicStore(&clock.extra1, bitcast<u32>(now.extra1));
        atomicStore(&clock.extra2, bitcast<u32>(now.extra2));
    }
    if (IS_FOLLOWED) {
        clock.weight_decay = now.weight_decay;
        clock.momentum = now.momentum;
        clock.one_minus_momentum = now.one_minus_momentum;
    }
}
