// SM3: advances parameters and momentum, and computes the new accumulators of rows and columns, which sm3_commit.wgsl
// stores.
//
//   v      = min(row[i], column[j]) + g^2,  of vectors v = accumulator = accumulator + g^2
//   u      = g / sqrt(v + eps), 0 where v is 0
//   buffer = momentum buffer + (1 - momentum) u
//   param  = param - lr buffer
//   new row[i] = max over j of v,  new column[segment, j] = max of v over a segment of column j
//
// bindings  1: values [elements] read_write   2: grads [elements] read   3: table [rows] read   4: clock read
//           5: matrices [tensors] read   6: accumulator read_write: of a matrix rows, then columns
//           7: buffer [elements] read_write   8: maxima write: of a matrix the columns of its segments, then rows
// bytes     20 read, 8 written per element of a matrix; 16 read, 12 written per element of a vector
// twin      crates/nn/src/optim/methods/sm3.rs
// source    Anil, Gupta, Koren, Singer: Memory-efficient adaptive optimization (NeurIPS 2019); optax.sm3

struct Params {
    work: Work,
    step: MatrixStep,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> values: array<f32>;
@group(0) @binding(2) var<storage, read> grads: array<f32>;
@group(0) @binding(3) var<storage, read> table: array<vec4f>;
@group(0) @binding(4) var<storage, read> clock: Clock;
@group(0) @binding(5) var<storage, read> matrices: array<Matrix>;
@group(0) @binding(6) var<storage, read_write> accumulator: array<f32>;
@group(0) @binding(7) var<storage, read_write> buffer: array<f32>;
@group(0) @binding(8) var<storage, read_write> maxima: array<f32>;

fn of_element(matrix: Matrix, row: u32, column: u32, grad: f32) -> f32 {
    let of_row = accumulator[matrix.places.x + row];
    let of_column = accumulator[matrix.places.x + matrix.rows + column];
    return minimum(of_row, of_column) + grad * grad;
}

fn take_block(block: u32, lane: u32) {
    let matrix = matrices[matrix_at(block, BY_BLOCK)];
    let now = time_of(matrix);
    if (now.clip_factor < 0.0) { return; }
    let factor = grad_factor(now);
    let elements = elements_of(matrix, block);
    var at = walk_from(elements.x + lane, matrix);
    for (var i = elements.x + lane; i < elements.y; i += 64u) {
        let place = matrix.offset + i;
        let grad = factor * limited(grads[place]);
        var v = 0.0;
        if (matrix.is_matrix != 0u) {
            v = of_element(matrix, at.row, at.column, grad);
        } else {
            v = accumulator[matrix.places.x + i] + grad * grad;
            accumulator[matrix.places.x + i] = v;
        }
        // A NaN is not equal to 0, and spreads.
        let u = select(grad / sqrt(v + params.eps), 0.0, v == 0.0);
        let moment = now.momentum * buffer[matrix.places.y + i] + now.one_minus_momentum * u;
        buffer[matrix.places.y + i] = moment;
        values[place] = values[place] - now.learning_rate * moment;
        at = walk_on(at, matrix);
    }
}

fn take_group(group: u32, lane: u32) {
    let matrix = matrices[matrix_at(group, BY_GROUP)];
    let now = time_of(matrix);
    if (now.clip_factor < 0.0) { return; }
    let factor = grad_factor(now);
    let row = row_of_group(matrix, group, lane);
    var largest = 0.0;
    if (row < matrix.rows) {
        for (var j = lane % matrix.lanes; j < matrix.columns; j += matrix.lanes) {
            let grad = gradient_at(matrix, row, j, factor);
            largest = maximum(largest, of_element(matrix, row, j, grad));
        }
    }
    largest = row_maximum(lane, matrix.lanes, largest);
    if (row < matrix.rows && lane % matrix.lanes == 0u) {
        maxima[matrix.first_column + matrix.segments * matrix.columns + row] = largest;
    }
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
    var largest = 0.0;
    let rows = rows_of_segment(matrix, segment);
    for (var row = rows.x; row < rows.y; row++) {
        let grad = gradient_at(matrix, row, column, factor);
        largest = maximum(largest, of_element(matrix, row, column, grad));
    }
    maxima[matrix.first_column + segment * matrix.columns + column] = largest;
}
