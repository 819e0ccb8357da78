// Finishes the global norm and advances the clock: one small workgroup, once per step.
//
// norm = (sum partials)^(1/p); clip_factor = min(1, max_norm / (norm + 1e-6)); step, bias corrections, and values of
// the schedule. A norm that is not finite skips the update. The skip is counted; step and corrections do not change.
// If such norms are ignored, the norm spreads as in PyTorch.
//
// bindings  1: partials [partials] read   2: table [rows] read   3: clock read_write
// twin      crates/tensor/src/optim/clock/kernel.rs
// source    Pascanu, Mikolov, Bengio: On the difficulty of training recurrent neural networks (ICML 2013);
//           the factor is torch.nn.utils.clip_grad_norm_'s; the scale follows torch.amp.GradScaler's rule
//
// max_norm = 0 does not clip. The position in the schedule includes skipped steps, like a loop over batches. If
// gradients are clipped tensor by tensor, the partials are pairs: a tensor's sum of squares and its clip factor.
//
// Gradients of a scaled loss are divided by the scale again, in the norm and by the clip factor. A skipped step
// reduces the scale; `growth_interval` completed steps in a row increase it.

// The norm of the partials: see grad_norm.wgsl.
override NORM: u32 = 0u;
const ABSOLUTE = 1u;
const LARGEST = 2u;
const OF_POWER = 3u;
// Whether the partials are those of tensors that are clipped separately.
override BY_TENSOR: bool = false;
// Whether the loss was multiplied by the clock's scale.
override SCALED: bool = false;

// The smallest scale.
const LEAST_LOSS_SCALE = 1.0;

struct Params {
    timing: Timing,
    partials: u32,
    max_norm: f32,
    // 1 / p.
    root: f32,
    ignore: u32,
    growth_factor: f32,
    backoff_factor: f32,
    growth_interval: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read> table: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> clock: Clock;

fn norm_of(sum: f32) -> f32 {
    if (NORM == ABSOLUTE || NORM == LARGEST) { return sum; }
    if (NORM == OF_POWER) { return power(sum, params.root); }
    return sqrt(sum);
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    var smallest_factor = 1.0;
    if (BY_TENSOR) {
        for (var i = lane; i < params.partials; i += 64u) {
            sum += partials[2u * i];
            // A NaN fails the comparison.
            let factor = partials[2u * i + 1u];
            if (factor < smallest_factor) { smallest_factor = factor; }
        }
        smallest_factor = -tree_maximum(lane, -smallest_factor);
    } else if (NORM == LARGEST) {
        for (var i = lane; i < params.partials; i += 64u) { sum = maximum(sum, partials[i]); }
    } else {
        for (var i = lane; i < params.partials; i += 64u) { sum += partials[i]; }
    }
    if (NORM == LARGEST) {
        sum = tree_maximum(lane, sum);
    } else {
        sum = tree_sum(lane, sum);
    }
    if (lane != 0u) { return; }
    var scale = 1.0;
    if (SCALED) { scale = clock.loss_scale; }
    let norm = norm_of(sum) / scale;
    let row = table[schedule_row(clock.step + clock.skipped, clock.schedule_length, clock.schedule_start)];
    clock.learning_rate = row.x;
    clock.weight_decay = row.y;
    clock.momentum = row.z;
    clock.one_minus_momentum = row.w;
    clock.gradient_norm = norm;
    let is_good = is_finite(sum) && is_finite(norm);
    if (!is_good && params.ignore == 0u) {
        clock.clip_factor = -1.0;
        clock.skipped += 1u;
        if (clock.first_skipped == 0u && !SCALED) { clock.first_skipped = clock.step + clock.skipped; }
        if (SCALED) {
            clock.loss_scale = max(scale * params.backoff_factor, LEAST_LOSS_SCALE);
            clock.growth_tracker = 0u;
        }
        return;
    }
    var factor = 1.0;
    if (params.max_norm > 0.0) { factor = min(1.0, params.max_norm / (norm + 1e-6)); }
    if (params.max_norm > 0.0 && is_nan(norm)) { factor = norm; }
    if (factor < 1.0 || smallest_factor < 1.0) { clock.clipped += 1u; }
    clock.clip_factor = factor / scale;
    if (SCALED) {
        clock.growth_tracker += 1u;
        if (clock.growth_tracker == params.growth_interval) {
            let larger = scale * params.growth_factor;
            if (is_finite(larger)) { clock.loss_scale = larger; }
            clock.growth_tracker = 0u;
        }
    }
    if (is_good) { clock.gradient_norm_sum += norm; }
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
