// The clock for an update that keeps it itself: without clipping there is no launch before the update that could
// advance it, so every workgroup works out the new values and the one that ends last stores them.
//
// A kernel that appends this text declares `clock`, `learning_rates`, `params.timing`, and as EXTRA what its method keeps
// in the clock, so that drivers in software can drop the rest of it.

override SELF_CLOCKED: bool = false;

fn current_time() -> Now {
    if (SELF_CLOCKED) {
        let position = clock.step + clock.skipped;
        let last = clock.schedule_length - 1u;
        let next_rate = learning_rates[min(position + 1u, last)];
        let old_extra = vec2f(clock.extra1, clock.extra2);
        let extra = next_extra(EXTRA, old_extra, clock.step + 1u, next_rate, params.timing);
        return Now(
            learning_rates[min(position, last)],
            next_correction(clock.bias_correction1, params.timing.one_minus_beta1),
            next_correction(clock.bias_correction2, params.timing.one_minus_beta2),
            1.0,
            extra.x,
            extra.y,
            clock.step + 1u,
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
    );
}

// Must be called by all lanes (uniform control flow), after the last use of the clock.
fn finish_time(now: Now, lane: u32, groups: vec3u) {
    if (SELF_CLOCKED) {
        storageBarrier();
        if (lane == 0u && atomicAdd(&clock.finished, 1u) + 1u == groups.x * groups.y) {
            atomicStore(&clock.finished, 0u);
            clock.learning_rate = now.learning_rate;
            clock.bias_correction1 = now.bias_correction1;
            clock.bias_correction2 = now.bias_correction2;
            clock.clip_factor = 1.0;
            clock.extra1 = now.extra1;
            clock.extra2 = now.extra2;
            clock.step = now.step;
        }
    }
}
