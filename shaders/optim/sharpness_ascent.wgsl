// The ascent step of SAM, over all parameters in one launch; the old values are kept.
//
//   kept  = param
//   param = param + scale grad                      (ADAPTIVE: scale t^2 grad, t = |param| + eta)
//
// A scale of 0, from a norm that was not finite, changes nothing.
//
// bindings  1: values [4 vectors] read_write   2: grads [4 vectors] read   3: scale [1] read
//           4: kept [4 vectors] read_write
// bytes     8 read, 8 written per parameter
// twin      crates/tensor/src/optim/sharpness.rs
// source    Foret et al.: Sharpness-aware minimization (ICLR 2021); Kwon et al.: ASAM (ICML 2021)

override ADAPTIVE: bool = false;

struct Params {
    vectors: u32,
    eta: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(2) var<storage, read> grads: array<vec4f>;
@group(0) @binding(3) var<storage, read> scale: array<f32>;
@group(0) @binding(4) var<storage, read_write> kept: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = group_index(group, groups);
    let factor = scale[0];
    for (var j = 0u; j < 4u; j++) {
        let i = vector_of(block, lane, j);
        if (i < params.vectors) {
            let value = values[i];
            var direction = grads[i];
            if (ADAPTIVE) {
                let t = abs(value) + vec4f(params.eta);
                direction *= t * t;
            }
            kept[i] = value;
            values[i] = select(value, value + factor * direction, factor != 0.0);
        }
    }
}
