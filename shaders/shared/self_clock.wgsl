// The clock for an update that keeps it itself: without clipping there is no launch before the update that could
// advance it, so every workgroup works out the new values and the one that ends last stores them.
//
// A kernel that appends this text declares `clock`, `table`, `params.timing`, `params.settings`, as EXTRA what its
// method keeps in the clock, and as IS_FOLLOWED whether other launches of the same step read it, so that drivers in
// software can drop the rest of it.

override SELF_CLOCKED: bool = false;

alias ClockCounter = atomic<u32>;

// The table: what parameters are set apart by (see shared/update.wgsl), then the rows of the schedule.

fn current_time() -> Now {
    if (SELF_CLOCKED) {
        let position = clock.step + clock.skipped;
        let row = table[schedule_row(position, clock.schedule_length, clock.schedule_start)];
        let next_rate = table[schedule_row(position + 1u, clock.schedule_length, clock.schedule_start)].x;
        let old_extra = vec2f(clock.extra1, clock.extra2);
        var timing = params.timing;
        timing.one_minus_beta1 = scheduled(row.w, timing.one_minus_beta1);
        let extra = next_extra(EXTRA, old_extra, clock.step + 1u, next_rate, timing);
        return Now(
            row.x,
            next_correction(clock.bias_correction1, timing.one_minus_beta1),
            next_correction(clock.bias_correction2, timing.one_minus_beta2),
            1.0,
            extra.x,
            extra.y,
            clock.step + 1u,
            scheduled(row.y, params.settings.weight_decay),
            scheduled(row.z, params.settings.momentum),
            timing.one_minus_beta1,
            1.0,
        );
    }
    return Now(
        clock.learning_rate,
        clock.bias_correction1,
        clock.bias_correction2,
        clock.clip_factor,
        clock.extra1,
        clock.extra2,
        clock.step,
        scheduled(clock.weight_decay, params.settings.weight_decay),
        scheduled(clock.momentum, params.settings.momentum),
        scheduled(clock.one_minus_momentum, params.timing.one_minus_beta1),
        1.0,
    );
}

// Must be called by all lanes (uniform control flow), after the last use of the clock. Where launches of the
// same step follow, weight decay and momentum are kept as they hold for this step.
fn finish_time(now: Now, lane: u32, groups: vec3u) {
    if (SELF_CLOCKED) {
        storageBarrier();
        if (lane == 0u && atomicAdd(&clock.finished, 1u) + 1u == groups.x * groups.y) {
            atomicStore(&clock.finished, 0u);
            clock.learning_rate = now.learning_rate;
            clock.bias_correction1 = now.bias_correction1;
            clock.bias_correction2 = now.bias_correction2;
            clock.clip_factor = 1.0;
            clock.step = now.step;
            // Drivers in software go through a store lane by lane in every workgroup, also where none of them stores.
            if (EXTRA != NO_EXTRA) {
                clock.extra1 = now.extra1;
                clock.extra2 = now.extra2;
            }
            if (IS_FOLLOWED) {
                clock.weight_decay = now.weight_decay;
                clock.momentum = now.momentum;
                clock.one_minus_momentum = now.one_minus_momentum;
            }
        }
    }
}
