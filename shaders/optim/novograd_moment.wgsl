// The second moment of NovoGrad, one number per tensor, from the sums of its chunks. Writes the factor of the
// gradients into the tensor's rows in the table. The second of three launches.
//
//   moment2    = beta2 moment2 + (1 - beta2) ‖g‖^2  (at the first step: ‖g‖^2)
//   own_factor = 1 / (sqrt(moment2) + eps)
//
// bindings  1: segments [count] read   2: partials [chunks] read   3: table [rows] read_write
//           4: clock read   5: moment2 [64 count], of which every 64th is used, read_write
// twin      crates/nn/src/optim/methods/novograd.rs
// source    Ginsburg et al.: Stochastic gradient methods with layer-wise adaptive moments (2019); optax.novograd

struct Params {
    count: u32,
    beta2: f32,
    one_minus_beta2: f32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> segments: array<Segment>;
@group(0) @binding(2) var<storage, read> partials: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> table: array<vec4f>;
@group(0) @binding(4) var<storage, read> clock: Clock;
@group(0) @binding(5) var<storage, read_write> moment2: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_index(group, groups);
    var segment = Segment();
    if (number < params.count) { segment = segments[number]; }
    let sum = segment_sums(lane, segment).y;
    // The first lane reads for all, since it also writes.
    var stored = 0.0;
    if (lane == 0u && segment.rows > 0u) { stored = moment2[64u * number]; }
    let old = tree_sum(lane, stored);
    if (segment.rows == 0u || clock.clip_factor < 0.0 || table[segment.first_row].x < 0.0) { return; }
    let moment = select(params.beta2 * old + params.one_minus_beta2 * sum, sum, clock.step == 1u);
    write_own_factor(lane, segment, 1.0 / (sqrt(moment) + params.eps));
    if (lane == 0u) { moment2[64u * number] = moment; }
}
