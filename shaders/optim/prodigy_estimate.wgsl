// Prodigy's estimate of the distance to the solution, from the partial sums of all pages: one small workgroup, once
// per step.
//
//   numerator = beta3 numerator + d / d0 sum dlr g (param0 - param)
//   d_hat     = d_coef numerator / sum |s|
//   d_max     = max(d_max, d_hat)
//   d         = min(d_max, growth_rate d)           (growth_rate max(d, d_hat) while d = d0)
//
// bindings  1: partials [2 blocks] read   2: clock read   3: estimate [4] read_write:
//           d, d_max, numerator, and the d of the previous step, by which its gradients are scaled
// twin      crates/nn/src/optim/methods/prodigy.rs
// source    Mishchenko, Defazio: Prodigy: an expeditiously adaptive parameter-free learner (ICML 2024)
//
// A skipped step changes nothing. Without gradients, or if the quotient is not finite, d does not change.

struct Params {
    blocks: u32,
    d0: f32,
    beta3: f32,
    d_coef: f32,
    // 0 if there is no limit.
    growth_rate: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partials: array<vec2f>;
@group(0) @binding(2) var<storage, read> clock: Clock;
@group(0) @binding(3) var<storage, read_write> estimate: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sums = vec2f(0.0);
    for (var i = lane; i < params.blocks; i += 64u) { sums += partials[i]; }
    let products = tree_sum(lane, sums.x);
    let magnitudes = tree_sum(lane, sums.y);
    if (lane != 0u || clock.clip_factor < 0.0) { return; }
    let first = clock.step == 1u;
    let d = select(estimate[0], params.d0, first);
    var d_max = select(estimate[1], params.d0, first);
    let numerator = params.beta3 * select(estimate[2], 0.0, first) + d / params.d0 * products;
    var next = d;
    let d_hat = params.d_coef * numerator / select(1.0, magnitudes, magnitudes > 0.0);
    if (magnitudes > 0.0 && is_finite(d_hat)) {
        d_max = max(d_max, d_hat);
        next = d_max;
        if (params.growth_rate > 0.0) {
            next = min(d_max, params.growth_rate * select(d, max(d, d_hat), d == params.d0));
        }
    }
    estimate[0] = next;
    estimate[1] = d_max;
    estimate[2] = numerator;
    estimate[3] = d;
}
