// The first stage of Adafactor: partial sums of the squares of the parameters, the second moment of the rows, and partial
// sums of squared gradients by columns.
//
//   partial[block]           = the sum of param^2 over a block
//   row_var[i]               = row_var[i] + w (mean over j of g^2 - row_var[i]),  with w = t^beta2_decay
//   column[segment, j]       = the sum of g^2 over a segment of column j
//   partial[groups + group]  = the sum of the new row_var of a group of rows
//
// bindings  1: values [elements] read   2: grads [elements] read   3: table [rows] read   4: clock read
//           5: matrices [tensors] read   6: row_var read_write   7: columns write   8: sums write
// bytes     12 read per element of a matrix, 4 of a vector
// twin      crates/nn/src/optim/methods/adafactor.rs
// source    Shazeer, Stern: Adafactor, adaptive learning rates with sublinear memory cost (ICML 2018); torch.optim.Adafactor

@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read> grads: array<f32>;
@group(0) @binding(3) var<storage, read> table: array<vec4f>;
@group(0) @binding(4) var<storage, read> clock: Clock;
@group(0) @binding(5) var<storage, read> matrices: array<Matrix>;
@group(0) @binding(6) var<storage, read_write> row_var: array<f32>;
@group(0) @binding(7) var<storage, read_write> columns: array<f32>;
@group(0) @binding(8) var<storage, read_write> sums: array<f32>;

fn take_block(block: u32, lane: u32) {
    let matrix = matrices[matrix_at(block, BY_BLOCK)];
    let elements = elements_of(matrix, block);
    var sum = 0.0;
    for (var i = elements.x + lane; i < elements.y; i += 64u) {
        let value = values[matrix.offset + i];
        sum += value * value;
    }
    sum = tree_sum(lane, sum);
    if (lane == 0u) { sums[block] = sum; }
}

fn take_group(group: u32, lane: u32) {
    let matrix = matrices[matrix_at(group, BY_GROUP)];
    let now = time_of(matrix);
    if (now.clip_factor < 0.0) { return; }
    let factor = grad_factor(now);
    let row = row_of_group(matrix, group, lane);
    var sum = 0.0;
    if (row < matrix.rows) {
        for (var j = lane % matrix.lanes; j < matrix.columns; j += matrix.lanes) {
            let grad = gradient_at(matrix, row, j, factor);
            sum += grad * grad;
        }
    }
    sum = row_sum(lane, matrix.lanes, sum);
    var moment = 0.0;
    if (row < matrix.rows && lane % matrix.lanes == 0u) {
        let old = row_var[matrix.places.x + row];
        moment = old + power(f32(now.step), params.beta2_decay) * (sum / f32(matrix.columns) - old);
        row_var[matrix.places.x + row] = moment;
    }
    moment = tree_sum(lane, moment);
    if (lane == 0u) { sums[params.groups_start + group] = moment; }
}

fn take_tile(tile: u32, lane: u32) {
    let matrix = matrices[matrix_at(tile, BY_TILE)];
    let now = time_of(matrix);
    if (now.clip_factor < 0.0) { return; }
    let factor = grad_factor(now);
    let place = segment_and_column(matrix, tile, lane);
    let segment = place.x;
    let column = place.y;
    if (column >= matrix.columns) { return; }
    var sum = 0.0;
    let rows = rows_of_segment(matrix, segment);
    for (var row = rows.x; row < rows.y; row++) {
        let grad = gradient_at(matrix, row, column, factor);
        sum += grad * grad;
    }
    columns[matrix.first_column + segment * matrix.columns + column] = sum;
}
