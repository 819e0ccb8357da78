// One step of a recurrent layer: the gates, and the state after the step.
//
// bindings  1: gates [steps, rows, gates hidden] read   2: product [rows, gates hidden] read
//           3: hidden_before [rows, hidden] read   4: cell_before [rows, hidden] read   5: lengths [rows] u32 read
//           6: states [1 or 2, steps, rows, hidden] read_write   7: saved [steps, 4, rows, hidden] write
// bytes     per hidden unit 36 read and 24 written (LSTM), 28 and 20 (GRU), 8 and 4 (RNN)
// twin      crates/tensor/src/ops/recurrent/step.rs
// source    Hochreiter, Schmidhuber (1997); Cho et al. (2014); gates in the order of cuDNN: i, f, g, o and r, z, n
//
// `gates` is the part of the input, for all steps, and `product` that of the hidden state before. A lane computes one unit
// of one row. The states before the first step are the bindings 3 and 4. A row whose length is not above the step keeps
// its state. `saved` is what the gradient needs: i, f, g, o, or r, z, n and the hidden part of n.

// 0: RNN with tanh, 1: RNN with ReLU, 2: GRU, 3: LSTM.
override CELL: u32 = 0u;

struct Params {
    rows: u32,
    hidden: u32,
    steps: u32,
    step: u32,
    // The step before in the order of the layer.
    before: u32,
    is_first: u32,
    has_lengths: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gates: array<f32>;
@group(0) @binding(2) var<storage, read> product: array<f32>;
@group(0) @binding(3) var<storage, read> hidden_before: array<f32>;
@group(0) @binding(4) var<storage, read> cell_before: array<f32>;
@group(0) @binding(5) var<storage, read> lengths: array<u32>;
@group(0) @binding(6) var<storage, read_write> states: array<f32>;
@group(0) @binding(7) var<storage, read_write> saved: array<f32>;

// Element i of the hidden state before the step (part 0), or of the cell's (part 1).
fn before(part: u32, i: u32, size: u32) -> f32 {
    if (params.is_first == 0u) { return states[(part * params.steps + params.before) * size + i]; }
    if (part == 0u) { return hidden_before[i]; }
    return cell_before[i];
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    let size = params.rows * params.hidden;
    if (i >= size) { return; }
    let row = i / params.hidden;
    let unit = i % params.hidden;
    let at = params.step * size + i;
    var count = 1u;
    if (CELL == 2u) { count = 3u; }
    if (CELL == 3u) { count = 4u; }
    if (params.has_lengths != 0u && params.step >= lengths[row]) {
        states[at] = before(0u, i, size);
        if (CELL == 3u) { states[params.steps * size + at] = before(1u, i, size); }
        return;
    }
    // Gate k is k hidden units further on.
    let x = (params.step * params.rows + row) * count * params.hidden + unit;
    let h = row * count * params.hidden + unit;
    let hidden = params.hidden;
    let kept = 4u * params.step * size + i;
    if (CELL == 3u) {
        let input = sigmoid(gates[x] + product[h]);
        let forget = sigmoid(gates[x + hidden] + product[h + hidden]);
        let cell = safe_tanh(gates[x + 2u * hidden] + product[h + 2u * hidden]);
        let output = sigmoid(gates[x + 3u * hidden] + product[h + 3u * hidden]);
        let state = forget * before(1u, i, size) + input * cell;
        saved[kept] = input;
        saved[kept + size] = forget;
        saved[kept + 2u * size] = cell;
        saved[kept + 3u * size] = output;
        states[params.steps * size + at] = state;
        states[at] = output * safe_tanh(state);
    } else if (CELL == 2u) {
        let reset = sigmoid(gates[x] + product[h]);
        let keep = sigmoid(gates[x + hidden] + product[h + hidden]);
        let part = product[h + 2u * hidden];
        let next = safe_tanh(gates[x + 2u * hidden] + reset * part);
        saved[kept] = reset;
        saved[kept + size] = keep;
        saved[kept + 2u * size] = next;
        saved[kept + 3u * size] = part;
        states[at] = next + keep * (before(0u, i, size) - next);
    } else if (CELL == 1u) {
        states[at] = maximum(gates[x] + product[h], 0.0);
    } else {
        states[at] = safe_tanh(gates[x] + product[h]);
    }
}
