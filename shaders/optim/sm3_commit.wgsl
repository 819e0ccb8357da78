// The end of a step of SM3, one workgroup per matrix: stores the new accumulators, for columns the maximum of their
// segments. The step reads the old ones until then.
//
// bindings  1: table [rows] read   2: clock read   3: matrices [tensors] read   4: maxima read: see sm3_step.wgsl
//           5: accumulator write: of a matrix rows, then columns
// bytes     4 read, 4 written per row and column
// twin      crates/nn/src/optim/methods/sm3.rs
// source    Anil, Gupta, Koren, Singer: Memory-efficient adaptive optimization (NeurIPS 2019)

struct Params {
    work: Work,
    step: MatrixStep,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<vec4f>;
@group(0) @binding(2) var<storage, read> clock: Clock;
@group(0) @binding(3) var<storage, read> matrices: array<Matrix>;
@group(0) @binding(4) var<storage, read> maxima: array<f32>;
@group(0) @binding(5) var<storage, read_write> accumulator: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    if (index >= params.work.count) { return; }
    let matrix = matrices[params.work.first + index];
    let now = time_of(matrix);
    if (matrix.is_matrix == 0u || matrix.length == 0u || now.clip_factor < 0.0) { return; }
    let rows = matrix.first_column + matrix.segments * matrix.columns;
    for (var i = lane; i < matrix.rows; i += 64u) { accumulator[matrix.places.x + i] = maxima[rows + i]; }
    for (var j = lane; j < matrix.columns; j += 64u) {
        var largest = 0.0;
        for (var segment = 0u; segment < matrix.segments; segment++) {
            largest = maximum(largest, maxima[matrix.first_column + segment * matrix.columns + j]);
        }
        accumulator[matrix.places.x + matrix.rows + j] = largest;
    }
}
