// Advances the preconditioner of one side of all matrices: average = average + (1 - beta) (g gT - average), or gT g.
//
// bindings  1: table [rows] read   2: clock read   3: matrices [tensors] read, of the averages
//           4: product [elements] read, g gT   5: average [elements] read_write
// bytes     8 read, 4 written per element of an average
// twin      crates/nn/src/optim/methods/soap.rs
// source    Vyas et al.: SOAP, improving and stabilizing Shampoo using Adam (ICLR 2025)

@group(0) @binding(1) var<storage, read> table: array<vec4f>;
@group(0) @binding(2) var<storage, read> clock: Clock;
@group(0) @binding(3) var<storage, read> matrices: array<Matrix>;
@group(0) @binding(4) var<storage, read> product: array<f32>;
@group(0) @binding(5) var<storage, read_write> average: array<f32>;

fn take_block(block: u32, lane: u32) {
    let matrix = matrices[matrix_at(block, BY_BLOCK)];
    if (time_at(matrix.places.x).clip_factor < 0.0) { return; }
    let elements = elements_of(matrix, block);
    for (var i = elements.x + lane; i < elements.y; i += 64u) {
        let place = matrix.offset + i;
        let old = average[place];
        average[place] = old + params.one_minus_shampoo_beta * (product[place] - old);
    }
}
