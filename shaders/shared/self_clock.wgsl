// The clock for an update that keeps it itself: without clipping there is no launch before the update that could
// advance it, so every workgroup works out the new values and the one that ends last stores them.
//
// A kernel that appends this text declares `clock`, `learning_rates` and `params.timing`.

override SELF_CLOCKED: bool = false;

struct Timing {
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    // A structure inside of a uniform one takes whole vectors of four words.
    padding0: u32,
    padding1: u32,
}

fn current_time() -> Now {
    if (SELF_CLOCKED) {
        let position = min(clock.step + clock.skipped, clock.schedule_length - 1u);
        return Now(
            learning_rates[position],
            next_correction(clock.bias_correction1, params.timing.one_minus_beta1),
            next_correction(clock.bias_correction2, params.timing.one_minus_beta2),
            1.0,
            clock.step + 1u,
        );
    }
    return Now(clock.learning_rate, clock.bias_correction1, clock.bias_correction2, clock.clip_factor, clock.step);
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
            clock.step = now.step;
        }
    }
}
