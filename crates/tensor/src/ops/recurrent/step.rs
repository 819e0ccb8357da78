//! The kernels of one step of a recurrent layer, and of its gradient.

use crate::kernel::{Access, Call, Kernel};
use crate::math::{maximum, sigmoid};
use crate::threads::{for_each_chunks, for_each_row};

/// What a lane computes: the place of a step in its layer.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Step {
    pub(super) rows: u32,
    pub(super) hidden: u32,
    pub(super) steps: u32,
    pub(super) step: u32,
    /// The step before in the order of the layer.
    pub(super) before: u32,
    pub(super) is_first: u32,
    pub(super) has_lengths: u32,
    /// Whether no step comes after this one.
    pub(super) is_last: u32,
}

/// The parameters of a step forward.
pub(super) type Forward = [u32; 7];

impl Step {
    pub(super) fn forward(&self) -> Forward {
        [self.rows, self.hidden, self.steps, self.step, self.before, self.is_first, self.has_lengths]
    }

    fn of_forward([rows, hidden, steps, step, before, is_first, has_lengths]: Forward) -> Self {
        Self { rows, hidden, steps, step, before, is_first, has_lengths, is_last: 0 }
    }

    fn size(&self) -> usize {
        self.rows as usize * self.hidden as usize
    }

    /// Whether a row keeps its state.
    #[inline(always)]
    fn rests(&self, lengths: &[u32], row: usize) -> bool {
        self.has_lengths != 0 && self.step >= lengths[row]
    }
}

/// The numbers of the cells in the shaders.
const RNN_RELU: u32 = 1;
const GRU: u32 = 2;
const LSTM: u32 = 3;

/// Returns the number of gates of a cell.
fn gate_count(cell: u32) -> usize {
    match cell {
        LSTM => 4,
        GRU => 3,
        _ => 1,
    }
}

/// The constant of a cell, for each of them.
const VARIANTS: &[&[(&str, f64)]] = &[&[("CELL", 0.0)], &[("CELL", 1.0)], &[("CELL", 2.0)], &[("CELL", 3.0)]];

/// Splits the states of all steps: those of the step before, if there is one, and those of this step.
fn around<'a>(states: &'a mut [f32], step: &Step, size: usize) -> (Option<&'a [f32]>, &'a mut [f32]) {
    let (before, now) = (step.before as usize * size, step.step as usize * size);
    if step.is_first != 0 {
        (None, &mut states[now..now + size])
    } else if before < now {
        let (head, tail) = states.split_at_mut(now);
        (Some(&head[before..before + size]), &mut tail[..size])
    } else {
        let (head, tail) = states.split_at_mut(before);
        (Some(&tail[..size]), &mut head[now..now + size])
    }
}

/// See the head of `recurrent_step.wgsl`.
fn twin(call: Call<'_>) {
    let (step, cell) = (Step::of_forward(call.params()), call.constant("CELL") as u32);
    let [gates, product, hidden_before, cell_before, lengths, states, saved] = call.bindings();
    let (gates, product) = (gates.read::<f32>(), product.read::<f32>());
    let (hidden_before, cell_before) = (hidden_before.read::<f32>(), cell_before.read::<f32>());
    let (lengths, states, saved) = (lengths.read::<u32>(), states.write::<f32>(), saved.write::<f32>());
    let (size, hidden) = (step.size(), step.hidden as usize);
    let count = gate_count(cell);
    let gates = &gates[step.step as usize * count * size..][..count * size];
    let (states, cells) = states.split_at_mut(step.steps as usize * size);
    let (before, now) = around(states, &step, size);
    let before = before.unwrap_or(hidden_before);
    if cell < GRU {
        for_each_chunks(
            [now],
            #[inline(always)]
            |start, [now]| {
                for (i, now) in (start..).zip(now) {
                    let sum = gates[i] + product[i];
                    let next = if cell == RNN_RELU { maximum(sum, 0.0) } else { sum.tanh() };
                    *now = if step.rests(lengths, i / hidden) { before[i] } else { next };
                }
            },
        );
        return;
    }
    let kept = &mut saved[4 * step.step as usize * size..][..4 * size];
    let (low, high) = kept.split_at_mut(2 * size);
    let ((a, b), (c, d)) = (low.split_at_mut(size), high.split_at_mut(size));
    if cell == GRU {
        for_each_chunks(
            [now, a, b, c, d],
            #[inline(always)]
            |start, [now, resets, keeps, nexts, parts]| {
                for (j, i) in (start..start + now.len()).enumerate() {
                    let row = i / hidden;
                    if step.rests(lengths, row) {
                        now[j] = before[i];
                        continue;
                    }
                    let at = row * 3 * hidden + i % hidden;
                    let reset = sigmoid(gates[at] + product[at]);
                    let keep = sigmoid(gates[at + hidden] + product[at + hidden]);
                    let part = product[at + 2 * hidden];
                    let next = (gates[at + 2 * hidden] + reset * part).tanh();
                    (resets[j], keeps[j], nexts[j], parts[j]) = (reset, keep, next, part);
                    now[j] = next + keep * (before[i] - next);
                }
            },
        );
        return;
    }
    let (cell_earlier, cell_now) = around(cells, &step, size);
    let cell_before = cell_earlier.unwrap_or(cell_before);
    for_each_chunks(
        [now, cell_now, a, b, c, d],
        #[inline(always)]
        |start, [now, states, inputs, forgets, cells, outputs]| {
            for (j, i) in (start..start + now.len()).enumerate() {
                let row = i / hidden;
                if step.rests(lengths, row) {
                    (now[j], states[j]) = (before[i], cell_before[i]);
                    continue;
                }
                let at = row * 4 * hidden + i % hidden;
                let sum = |k: usize| gates[at + k * hidden] + product[at + k * hidden];
                let (input, forget) = (sigmoid(sum(0)), sigmoid(sum(1)));
                let (cell, output) = (sum(2).tanh(), sigmoid(sum(3)));
                let state = forget * cell_before[i] + input * cell;
                (inputs[j], forgets[j], cells[j], outputs[j]) = (input, forget, cell, output);
                states[j] = state;
                now[j] = output * state.tanh();
            }
        },
    );
}

pub(in crate::ops) static RECURRENT_STEP: Kernel = Kernel {
    shader: &thalweg_shaders::RECURRENT_STEP,
    uniform: size_of::<Forward>(),
    access: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    variants: VARIANTS,
    twin,
};

/// The gradients of a unit: of its gates, of the hidden part of the last one, and of the states before the step.
#[derive(Clone, Copy)]
struct Unit {
    gates: [f32; 4],
    part: f32,
    carry: f32,
    carry_cell: f32,
}

/// See the head of `recurrent_step_grad.wgsl`.
fn grad_twin(call: Call<'_>) {
    let (step, cell) = (call.params::<Step>(), call.constant("CELL") as u32);
    let [states_grad, saved, states, initial, lengths, carry, gates_grad] = call.bindings();
    let (states_grad, saved, states) = (states_grad.read::<f32>(), saved.read::<f32>(), states.read::<f32>());
    let (initial, lengths) = (initial.read::<f32>(), lengths.read::<u32>());
    let (carry, gates_grad) = (carry.write::<f32>(), gates_grad.write::<f32>());
    let (size, hidden, steps) = (step.size(), step.hidden as usize, step.steps as usize);
    let count = gate_count(cell);
    let now = step.step as usize * size;
    let of_cells = steps * size;
    let before = |i: usize| {
        let part = if cell == LSTM { of_cells } else { 0 };
        if step.is_first != 0 { initial[i] } else { states[part + step.before as usize * size + i] }
    };
    let unit = |i: usize, carry: &[f32]| {
        let carried = |i: usize| if step.is_last != 0 { 0.0 } else { carry[i] };
        let g = states_grad[now + i] + carried(i);
        let g_cell = if cell == LSTM { states_grad[of_cells + now + i] + carried(size + i) } else { 0.0 };
        let kept = |k: usize| saved[4 * now + k * size + i];
        if step.rests(lengths, i / hidden) {
            return Unit { gates: [0.0; 4], part: 0.0, carry: g, carry_cell: g_cell };
        }
        match cell {
            LSTM => {
                let (input, forget, cell, output) = (kept(0), kept(1), kept(2), kept(3));
                let bent = states[of_cells + now + i].tanh();
                let g_cell = g_cell + g * output * (1.0 - bent * bent);
                let gates = [
                    g_cell * cell * input * (1.0 - input),
                    g_cell * before(i) * forget * (1.0 - forget),
                    g_cell * input * (1.0 - cell * cell),
                    g * bent * output * (1.0 - output),
                ];
                Unit { gates, part: 0.0, carry: 0.0, carry_cell: g_cell * forget }
            }
            GRU => {
                let (reset, keep, next, part) = (kept(0), kept(1), kept(2), kept(3));
                let g_next = g * (1.0 - keep) * (1.0 - next * next);
                let g_reset = g_next * part * reset * (1.0 - reset);
                let g_keep = g * (before(i) - next) * keep * (1.0 - keep);
                Unit { gates: [g_reset, g_keep, g_next, 0.0], part: g_next * reset, carry: g * keep, carry_cell: 0.0 }
            }
            _ => {
                let h = states[now + i];
                let relu = if h == 0.0 { 0.0 } else { g };
                let gate = if cell == RNN_RELU { relu } else { g * (1.0 - h * h) };
                Unit { gates: [gate, 0.0, 0.0, 0.0], part: 0.0, carry: 0.0, carry_cell: 0.0 }
            }
        }
    };
    let (of_inputs, of_hidden) = gates_grad.split_at_mut(steps * count * size);
    let line = step.step as usize * count * size..(step.step as usize + 1) * count * size;
    for_each_row(
        &mut of_inputs[line.clone()],
        count * hidden,
        #[inline(always)]
        |row, grads| {
            for j in 0..hidden {
                let unit = unit(row * hidden + j, carry);
                (0..count).for_each(|k| grads[k * hidden + j] = unit.gates[k]);
            }
        },
    );
    if cell == GRU {
        for_each_row(
            &mut of_hidden[line],
            count * hidden,
            #[inline(always)]
            |row, grads| {
                for j in 0..hidden {
                    let unit = unit(row * hidden + j, carry);
                    (grads[j], grads[hidden + j], grads[2 * hidden + j]) = (unit.gates[0], unit.gates[1], unit.part);
                }
            },
        );
    }
    for i in 0..size {
        let unit = unit(i, carry);
        carry[i] = unit.carry;
        if cell == LSTM {
            carry[size + i] = unit.carry_cell;
        }
    }
}

pub(in crate::ops) static RECURRENT_STEP_GRAD: Kernel = Kernel {
    shader: &thalweg_shaders::RECURRENT_STEP_GRAD,
    uniform: size_of::<Step>(),
    access: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    variants: VARIANTS,
    twin: grad_twin,
};
