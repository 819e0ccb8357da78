// The clock for an update that advances it: without clipping there is no launch before the update that could, so every
// workgroup works out the new values, and the last one to finish stores them.
//
// One lane of a workgroup reads the clock for all others. It then raises a counter, and the workgroup that raises it last
// knows that all others have read. WGSL's atomics order nothing but themselves. So the number that is added depends on
// every word that was read, by a zero that only the host knows, and the words that are stored are atomics too.
//
// A kernel that appends this text declares `clock`, `table`, `params.timing`, `params.settings`, as EXTRA what its
// method keeps in the clock, and as IS_FOLLOWED whether other launches of the same step read it, so that drivers in
// software can drop the rest of it.

override SELF_CLOCKED: bool = false;

alias ClockCount = atomic<u32>;
alias ClockNumber = atomic<u32>;

var<workgroup> shared_time: Now;

// The table: what parameters are set apart by (see shared/update.wgsl), then the rows of the schedule.

// The time of this step. All lanes of a workgroup must call it (uniform control flow).
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

// The time of the step that begins.
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

// Advances the clock, where the update does. Where launches of the same step follow, weight decay and momentum are kept
// as they are for this step.
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
    // Drivers in software go through a store lane by lane in every workgroup, also where none of them stores.
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
