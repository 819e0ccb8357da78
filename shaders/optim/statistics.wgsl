// Finishes the 2-norms of the last update and of the parameters before it, and stores them in the clock: one small
// workgroup.
//
// bindings  1: partials [partials] read   2: clock read_write
// twin      crates/tensor/src/optim/statistics.rs

@group(0) @binding(0) var<uniform> partial_count: u32;
@group(0) @binding(1) var<storage, read> partials: array<vec2f>;
@group(0) @binding(2) var<storage, read_write> clock: Clock;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sums = vec2f(0.0);
    for (var i = lane; i < partial_count; i += 64u) { sums += partials[i]; }
    let update_sum = tree_sum(lane, sums.x);
    let weight_sum = tree_sum(lane, sums.y);
    if (lane == 0u) {
        clock.update_norm = sqrt(update_sum);
        clock.weight_norm = sqrt(weight_sum);
    }
}
