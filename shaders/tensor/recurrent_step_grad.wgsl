// The gradient of one step of a recurrent layer, from the last step to the first.
//
// bindings  1: states_grad [1 or 2, steps, rows, hidden] read   2: saved [steps, 4, rows, hidden] read
//           3: states [1 or 2, steps, rows, hidden] read   4: initial [rows, hidden] read   5: lengths [rows] u32 read
//           6: carry [1 or 2, rows, hidden] read_write
//           7: gates_grad [1 or 2, steps, rows, gates hidden] write
// bytes     per hidden unit 40 read and 24 written (LSTM), 28 and 28 (GRU), 12 and 8 (RNN)
// twin      crates/tensor/src/ops/recurrent/step.rs
//
// `carry` is the gradient of the state after the step through the later steps, and becomes that of the state before it,
// without the part through the product: the host adds this part. `initial` is the cell's state (LSTM) or the hidden state
// (others) before the first step. `gates_grad` is the gradient of the part of the input; for a GRU that of the hidden
// part follows, elsewhere they are the same.

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
    // Whether no step comes after this one: `carry` has no values yet.
    is_last: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> states_grad: array<f32>;
@group(0) @binding(2) var<storage, read> saved: array<f32>;
@group(0) @binding(3) var<storage, read> states: array<f32>;
@group(0) @binding(4) var<storage, read> initial: array<f32>;
@group(0) @binding(5) var<storage, read> lengths: array<u32>;
@group(0) @binding(6) var<storage, read_write> carry: array<f32>;
@group(0) @binding(7) var<storage, read_write> gates_grad: array<f32>;

// Element i of the state before the step: the cell's (part 1) or the hidden one (part 0).
fn before(part: u32, i: u32, size: u32) -> f32 {
    if (params.is_first != 0u) { return initial[i]; }
    return states[(part * params.steps + params.before) * size + i];
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
    let hidden = params.hidden;
    let at = params.step * size + i;
    var count = 1u;
    if (CELL == 2u) { count = 3u; }
    if (CELL == 3u) { count = 4u; }
    let gate = (params.step * params.rows + row) * count * hidden + unit;
    var g = states_grad[at];
    if (params.is_last == 0u) { g += carry[i]; }
    var g_cell = 0.0;
    if (CELL == 3u) {
        g_cell = states_grad[params.steps * size + at];
        if (params.is_last == 0u) { g_cell += carry[size + i]; }
    }
    let kept = 4u * params.step * size + i;
    let hidden_part = params.steps * size * count;
    if (params.has_lengths != 0u && params.step >= lengths[row]) {
        carry[i] = g;
        if (CELL == 3u) { carry[size + i] = g_cell; }
        for (var k = 0u; k < count; k++) {
            gates_grad[gate + k * hidden] = 0.0;
            if (CELL == 2u) { gates_grad[hidden_part + gate + k * hidden] = 0.0; }
        }
    } else if (CELL == 3u) {
        let input = saved[kept];
        let forget = saved[kept + size];
        let cell = saved[kept + 2u * size];
        let output = saved[kept + 3u * size];
        let bent = safe_tanh(states[params.steps * size + at]);
        g_cell += g * output * (1.0 - bent * bent);
        gates_grad[gate] = g_cell * cell * input * (1.0 - input);
        gates_grad[gate + hidden] = g_cell * before(1u, i, size) * forget * (1.0 - forget);
        gates_grad[gate + 2u * hidden] = g_cell * input * (1.0 - cell * cell);
        gates_grad[gate + 3u * hidden] = g * bent * output * (1.0 - output);
        carry[i] = 0.0;
        carry[size + i] = g_cell * forget;
    } else if (CELL == 2u) {
        let reset = saved[kept];
        let keep = saved[kept + size];
        let next = saved[kept + 2u * size];
        let part = saved[kept + 3u * size];
        let g_next = g * (1.0 - keep) * (1.0 - next * next);
        let g_reset = g_next * part * reset * (1.0 - reset);
        let g_keep = g * (before(0u, i, size) - next) * keep * (1.0 - keep);
        gates_grad[gate] = g_reset;
        gates_grad[gate + hidden] = g_keep;
        gates_grad[gate + 2u * hidden] = g_next;
        gates_grad[hidden_part + gate] = g_reset;
        gates_grad[hidden_part + gate + hidden] = g_keep;
        gates_grad[hidden_part + gate + 2u * hidden] = g_next * reset;
        carry[i] = g * keep;
    } else {
        let h = states[at];
        if (CELL == 1u) {
            gates_grad[gate] = select(g, 0.0, h == 0.0);
        } else {
            gates_grad[gate] = g * (1.0 - h * h);
        }
        carry[i] = 0.0;
    }
}
