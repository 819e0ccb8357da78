//! The kernels of a step, in order.

use super::super::by_hand::{BETAS, EPS, LEARNING_RATE, MAX_NORM, ROWS, WEIGHT_DECAY, WIDTHS};
use super::Access::{Read, Write as ReadWrite};
use super::product::{COMPONENTS, Epilogue, Lines, Matrix, Product};
use super::{Kernel, LOG, PADDED, PARAMETERS, bias, line, offset};

/// The workgroups of the norm and of AdamW on software drivers: few, because each costs time.
const GROUPS_IN_SOFTWARE: usize = 16;
const GROUPS_IN_HARDWARE: usize = 256;

/// The parameters of the texts.
pub(super) struct Kernels {
    pub(super) lanes: usize,
    pub(super) batch: usize,
    /// The batch with padding.
    pub(super) rows: usize,
    pub(super) software: bool,
    pub(super) threads: usize,
}

impl Kernels {
    pub(super) fn groups(&self) -> usize {
        if self.software { GROUPS_IN_SOFTWARE } else { GROUPS_IN_HARDWARE }
    }

    /// Returns the dispatches of a step, in order.
    pub(super) fn all(&self) -> Vec<Kernel> {
        let (rows, [_, first, second, classes]) = (self.rows, PADDED);
        let params = |offset| Matrix { name: "params", offset, lines: Lines::OfInner };
        let by_rows = |name| Matrix { name, offset: 0, lines: Lines::OfOuter };
        let by_columns = |name| Matrix { name, offset: 0, lines: Lines::OfInner };
        let forward = |name, x, layer: usize, y| Product {
            name,
            extents: [rows, PADDED[layer + 1], PADDED[layer]],
            left: by_rows(x),
            right: params(offset(layer)),
            into: y,
            epilogue: Epilogue::BiasRelu { bias: bias(layer) },
        };
        let grad = |name, x, dy, layer: usize| Product {
            name,
            extents: [PADDED[layer], PADDED[layer + 1], rows],
            left: by_columns(x),
            right: by_columns(dy),
            into: "grads",
            epilogue: Epilogue::Grad { offset: offset(layer), bias: bias(layer), bias_of_rows: false },
        };
        let products = [
            forward("forward 1", "x", 0, "h1"),
            forward("forward 2", "h1", 1, "h2"),
            Product {
                name: "weight grad 3",
                extents: [classes, second, rows],
                left: by_columns("d3"),
                right: by_columns("h2"),
                into: "grads",
                epilogue: Epilogue::Grad { offset: offset(2), bias: bias(2), bias_of_rows: true },
            },
            Product {
                name: "input grad 3",
                extents: [rows, second, classes],
                left: by_rows("d3"),
                right: params(offset(2)),
                into: "d2",
                epilogue: Epilogue::Mask { activation: "h2" },
            },
            grad("weight grad 2", "h1", "d2", 1),
            Product {
                name: "input grad 2",
                extents: [rows, first, second],
                left: by_rows("d2"),
                right: Matrix { name: "params", offset: offset(1), lines: Lines::OfOuter },
                into: "d1",
                epilogue: Epilogue::Mask { activation: "h1" },
            },
            grad("weight grad 1", "x", "d1", 0),
        ];
        let [forward1, forward2, grad3, back3, grad2, back2, grad1] = products.map(|product| self.product(&product));
        vec![
            self.gather(),
            forward1,
            forward2,
            self.head(),
            grad3,
            back3,
            grad2,
            back2,
            grad1,
            self.norm(),
            self.tick(),
            self.adamw(),
        ]
    }

    /// Gathers the next batch. In software a lane copies a whole row; in hardware the lanes of a workgroup share one.
    fn gather(&self) -> Kernel {
        let Self { lanes, batch, rows, .. } = *self;
        let units = PADDED[0] / 4;
        let find = format!(
            "    let place = order[(clock.position + min(sample, {batch}u - 1u)) % {ROWS}u];
    let start = sample * {units}u;
    let source = place * {units}u;"
        );
        let (text, groups) = if self.software {
            let text = format!(
                "@compute @workgroup_size({lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {{
    let sample = group.x * {lanes}u + lane;
    if (sample >= {rows}u) {{ return; }}
{find}
    y[sample] = targets[place];
    for (var i = 0u; i < {units}u; i += 2u) {{
        let a = features[source + i];
        let b = features[source + i + 1u];
        x[start + i] = a;
        x[start + i + 1u] = b;
    }}
}}"
            );
            (text, rows.div_ceil(lanes))
        } else {
            let text = format!(
                "@compute @workgroup_size({lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {{
    let sample = group.x;
{find}
    if (lane == 0u) {{ y[sample] = targets[place]; }}
    for (var i = lane; i < {units}u; i += {lanes}u) {{ x[start + i] = features[source + i]; }}
}}"
            );
            (text, rows)
        };
        Kernel {
            name: "gather",
            bindings: vec![
                ("features", Read, "vec4f"),
                ("targets", Read, "u32"),
                ("order", Read, "u32"),
                ("clock", Read, "Clock"),
                ("x", ReadWrite, "vec4f"),
                ("y", ReadWrite, "u32"),
            ],
            text,
            groups: [groups, 1],
        }
    }

    /// Computes the logits of the last layer, the losses of rows and the gradient of the logits, with a lane per row.
    fn head(&self) -> Kernel {
        let Self { lanes, batch, rows, .. } = *self;
        let (units, classes, inner) = (PADDED[3], WIDTHS[3], PADDED[2] / 4);
        let mut text = format!(
            "@compute @workgroup_size({lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {{
    let row = group.x * {lanes}u + lane;
    let first = min(row, {rows}u - 1u) * {inner}u;
"
        );
        for unit in 0..units {
            line(&mut text, format!("    var l{unit} = params[{}u].{};", (bias(2) + unit) / 4, COMPONENTS[unit % 4]));
        }
        let loads = units.div_ceil(lanes);
        line(&mut text, format!("    for (var q = 0u; q < {inner}u; q++) {{\n        let h = h2[first + q];"));
        for load in 0..loads {
            let unit = format!("min(lane + {}u, {}u)", load * lanes, units - 1);
            line(&mut text, format!("        let w{load} = params[{}u + {unit} * {inner}u + q];", offset(2) / 4));
        }
        for unit in 0..units {
            let (load, lane) = (unit / lanes, unit % lanes);
            line(&mut text, format!("        let v{unit} = subgroupBroadcast(w{load}, {lane}u);"));
            line(
                &mut text,
                format!("        l{unit} += h.x * v{unit}.x + h.y * v{unit}.y + h.z * v{unit}.z + h.w * v{unit}.w;"),
            );
        }
        line(&mut text, "    }\n    var largest = l0;");
        for unit in 1..classes {
            line(&mut text, format!("    largest = max(largest, l{unit});"));
        }
        line(&mut text, "    var sum = 0.0;");
        for unit in 0..classes {
            line(&mut text, format!("    let e{unit} = exp(l{unit} - largest); sum += e{unit};"));
        }
        line(&mut text, format!("    if (row >= {rows}u) {{ return; }}\n    let scale = 1.0 / {batch}.0;"));
        line(&mut text, "    let class_of = y[row];\n    var own = 0.0;");
        for unit in 0..classes {
            line(&mut text, format!("    own = select(own, l{unit}, class_of == {unit}u);"));
        }
        line(&mut text, format!("    let counts = row < {batch}u;"));
        line(&mut text, "    row_losses[row] = select(0.0, (log(sum) - (own - largest)) * scale, counts);");
        line(&mut text, "    let share = select(0.0, scale / sum, counts);\n    let one = select(0.0, scale, counts);");
        for unit in 0..units {
            let value = if unit < classes {
                format!("share * e{unit} - select(0.0, one, class_of == {unit}u)")
            } else {
                "0.0".to_string()
            };
            line(&mut text, format!("    let g{unit} = {value};"));
        }
        for vector in 0..units / 4 {
            let [a, b, c, d] = [0, 1, 2, 3].map(|e| 4 * vector + e);
            line(&mut text, format!("    d3[row * {}u + {vector}u] = vec4f(g{a}, g{b}, g{c}, g{d});", units / 4));
        }
        line(&mut text, "}");
        Kernel {
            name: "head",
            bindings: vec![
                ("h2", Read, "vec4f"),
                ("params", Read, "vec4f"),
                ("y", Read, "u32"),
                ("d3", ReadWrite, "vec4f"),
                ("row_losses", ReadWrite, "f32"),
            ],
            text,
            groups: [rows.div_ceil(lanes), 1],
        }
    }

    /// Returns the share of a workgroup in the arena: `i` from `start` to `end`, in units of a subgroup.
    fn share(&self) -> (String, usize) {
        let (units, groups) = (PARAMETERS / (8 * self.lanes), self.groups());
        let share = format!(
            "    let end = (group.x + 1u) * {units}u / {groups}u;
    for (var unit = group.x * {units}u / {groups}u; unit < end; unit++) {{
        let i = unit * {}u + lane;",
            2 * self.lanes
        );
        (share, groups)
    }

    /// Computes partial sums of squares of all gradients.
    fn norm(&self) -> Kernel {
        let (share, groups) = self.share();
        let lanes = self.lanes;
        let text = format!(
            "@compute @workgroup_size({lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {{
    var a = vec4f();
    var b = vec4f();
{share}
        let x = grads[i];
        let y = grads[i + {lanes}u];
        a += x * x;
        b += y * y;
    }}
    let sum = a + b;
    var total = (sum.x + sum.y) + (sum.z + sum.w);
{}    if (lane == 0u) {{ partials[group.x] = total; }}
}}",
            self.butterfly("total")
        );
        let bindings = vec![("grads", Read, "vec4f"), ("partials", ReadWrite, "f32")];
        Kernel { name: "norm", bindings, text, groups: [groups, 1] }
    }

    /// Adds a variable over all lanes of a subgroup.
    fn butterfly(&self, name: &str) -> String {
        let mut text = String::new();
        let mut distance = self.lanes / 2;
        while distance > 0 {
            line(&mut text, format!("    {name} += subgroupShuffleXor({name}, {distance}u);"));
            distance /= 2;
        }
        text
    }

    /// Completes the norm and the loss of the batch, and advances the clock.
    fn tick(&self) -> Kernel {
        let Self { lanes, batch, rows, .. } = *self;
        let groups = self.groups();
        let (rest1, rest2) = (1.0 - BETAS.0, 1.0 - BETAS.1);
        let text = format!(
            "@compute @workgroup_size({lanes})
fn main(@builtin(subgroup_invocation_id) lane: u32) {{
    var total = 0.0;
    for (var i = lane; i < {groups}u; i += {lanes}u) {{ total += partials[i]; }}
    var loss = 0.0;
    for (var i = lane; i < {rows}u; i += {lanes}u) {{ loss += row_losses[i]; }}
{}{}    if (lane != 0u) {{ return; }}
    loss_log[clock.logged % {LOG}u] = loss;
    clock.logged += 1u;
    clock.position = (clock.position + {batch}u) % {ROWS}u;
    clock.correction1 += {rest1:?} * (1.0 - clock.correction1);
    clock.correction2 += {rest2:?} * (1.0 - clock.correction2);
    clock.factor = min(1.0, {MAX_NORM:?} / (sqrt(total) + 1e-6));
}}",
            self.butterfly("total"),
            self.butterfly("loss")
        );
        let bindings = vec![
            ("partials", Read, "f32"),
            ("row_losses", Read, "f32"),
            ("loss_log", ReadWrite, "f32"),
            ("clock", ReadWrite, "Clock"),
        ];
        Kernel { name: "tick", bindings, text, groups: [1, 1] }
    }

    fn adamw(&self) -> Kernel {
        let (share, groups) = self.share();
        let lanes = self.lanes;
        let kept = 1.0 - LEARNING_RATE * WEIGHT_DECAY;
        let (beta1, beta2) = BETAS;
        let (rest1, rest2) = (1.0 - beta1, 1.0 - beta2);
        let mut body = String::new();
        for (at, lanes) in [("i", 0), ("j", lanes)] {
            line(&mut body, format!("        let {at}_at = i + {lanes}u;"));
            for (name, array) in [("p", "params"), ("g", "grads"), ("m", "moment1"), ("v", "moment2")] {
                line(&mut body, format!("        let {name}_{at} = {array}[{at}_at];"));
            }
        }
        for at in ["i", "j"] {
            line(
                &mut body,
                format!(
                    "        let g{at} = clock_factor * g_{at};
        let m{at} = {beta1:?} * m_{at} + {rest1:?} * g{at};
        let v{at} = {beta2:?} * v_{at} + {rest2:?} * (g{at} * g{at});
        params[{at}_at] = {kept:?} * p_{at} - step_size * (m{at} / (sqrt(v{at}) * root + {EPS:?}));
        moment1[{at}_at] = m{at};
        moment2[{at}_at] = v{at};"
                ),
            );
        }
        let text = format!(
            "@compute @workgroup_size({lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {{
    let step_size = {LEARNING_RATE:?} / clock.correction1;
    let root = 1.0 / sqrt(clock.correction2);
    let clock_factor = clock.factor;
{share}
{body}    }}
}}"
        );
        let bindings = vec![
            ("clock", Read, "Clock"),
            ("params", ReadWrite, "vec4f"),
            ("grads", Read, "vec4f"),
            ("moment1", ReadWrite, "vec4f"),
            ("moment2", ReadWrite, "vec4f"),
        ];
        Kernel { name: "adamw", bindings, text, groups: [groups, 1] }
    }
}
