// Ends the global norm and advances the clock: one small workgroup, once a step.
//
// norm = sqrt(sum partials); clip_factor = min(1, max_norm / (norm + 1e-6)); step, bias corrections, and what the schedule says.
// A norm that is not finite skips the update: it is counted, and neither step nor corrections move.
//
// bindings  1: partials [partials] read   2: table [rows] read   3: clock read_write
// twin      crates/tensor/src/optim/clock.rs
// source    Pascanu, Mikolov, Bengio: On the difficulty of training recurrent neural networks (ICML 2013);
//           the factor is torch.nn.utils.clip_grad_norm_'s
//
// max_norm = 0 does not clip. The place in the schedule counts skipped steps too, as a loop over batches does.

struct Params {
    timing: Timing,
    partials: u32,
    max_norm: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read> table: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> clock: Clock;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < params.partials; i += 64u) { sum += partials[i]; }
    sum = tree_sum(lane, sum);
    if (lane != 0u) { return; }
    let norm = sqrt(sum);
    let row = table[schedule_row(clock.step + clock.skipped, clock.schedule_length, clock.schedule_start)];
    clock.learning_rate = row.x;
    clock.weight_decay = row.y;
    clock.momentum = row.z;
    clock.one_minus_momentum = row.w;
    clock.gradient_norm = norm;
    if (!is_finite(sum)) {
        clock.clip_factor = -1.0;
        clock.skipped += 1u;
        return;
    }
    var factor = 1.0;
    if (params.max_norm > 0.0) { factor = min(1.0, params.max_norm / (norm + 1e-6)); }
    if (factor < 1.0) { clock.clipped += 1u; }
    clock.clip_factor = factor;
    clock.gradient_norm_sum += norm;
    clock.step += 1u;
    var timing = params.timing;
    timing.one_minus_beta1 = scheduled(row.w, timing.one_minus_beta1);
    clock.bias_correction1 = next_correction(clock.bias_correction1, timing.one_minus_beta1);
    clock.bias_correction2 = next_correction(clock.bias_correction2, timing.one_minus_beta2);
    let old_extra = vec2f(clock.extra1, clock.extra2);
    let next_rate = table[schedule_row(clock.step + clock.skipped, clock.schedule_length, clock.schedule_start)].x;
    let extra = next_extra(timing.extra, old_extra, clock.step, next_rate, timing);
    clock.extra1 = extra.x;
    clock.extra2 = extra.y;
}
