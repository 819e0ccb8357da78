// The matrices by the update of SOAP, back from the eigenbases: param = (1 - lr weight_decay) (param - step_size x). Nothing at
// the first step.
//
// bindings  1: values [elements] read_write   2: table [rows] read   3: clock read   4: matrices [tensors] read   5: x read
// bytes     8 read, 4 written per element of a matrix
// twin      crates/tensor/src/optim/soap.rs
// source    Vyas et al.: SOAP, improving and stabilizing Shampoo using Adam (ICLR 2025)

struct Params {
    work: Work,
    step: MatrixStep,
    beta2: f32,
    one_minus_beta2: f32,
    eps: f32,
    one_minus_shampoo_beta: f32,
    frequency: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> values: array<f32>;
@group(0) @binding(2) var<storage, read> table: array<vec4f>;
@group(0) @binding(3) var<storage, read> clock: ClockView;
@group(0) @binding(4) var<storage, read> matrices: array<Matrix>;
@group(0) @binding(5) var<storage, read> x: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    if (index >= params.work.blocks) { return; }
    let block = params.work.first_block + index;
    let matrix = matrices[matrix_at(block, BY_BLOCK)];
    let now = time_of(matrix);
    if (matrix.is_matrix == 0u || now.clip_factor < 0.0 || now.step < 2u) { return; }
    let step_size = step_size_of(now);
    let kept = 1.0 - now.learning_rate * now.weight_decay;
    let start = (block - matrix.first_block) * matrix.block_elements;
    let end = min(start + matrix.block_elements, matrix.length);
    for (var i = start + lane; i < end; i += 64u) {
        let place = matrix.offset + i;
        values[place] = kept * (values[place] - step_size * x[place]);
    }
}
