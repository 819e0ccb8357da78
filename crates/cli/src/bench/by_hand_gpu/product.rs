//! The text of a matrix product: a tile of the result in the registers of a subgroup.

use super::Access::{Read, Write as ReadWrite};
use super::kernels::Kernels;
use super::{Kernel, line};

/// The components of a vector.
pub(super) const COMPONENTS: [char; 4] = ['x', 'y', 'z', 'w'];

/// The lines of an operand in memory: `OfInner` has a line for each step of the inner dimension, `OfOuter` one for each
/// row of the left operand, or column of the right one.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Lines {
    OfInner,
    OfOuter,
}

#[derive(Clone, Copy)]
pub(super) struct Matrix {
    pub(super) name: &'static str,
    pub(super) offset: usize,
    pub(super) lines: Lines,
}

pub(super) enum Epilogue {
    BiasRelu { bias: usize },
    Mask { activation: &'static str },
    Grad { offset: usize, bias: usize, bias_of_rows: bool },
}

/// c[m, n] = a[m, k] b[k, n], with an epilogue.
pub(super) struct Product {
    pub(super) name: &'static str,
    pub(super) extents: [usize; 3],
    pub(super) left: Matrix,
    pub(super) right: Matrix,
    pub(super) into: &'static str,
    pub(super) epilogue: Epilogue,
}

impl Kernels {
    /// Returns the rows of the tile of a subgroup, and the vectors of four columns per lane.
    fn tile(&self, [m, n, k]: [usize; 3]) -> (usize, usize) {
        if !self.software {
            return (16, 1);
        }
        let time = |(rows, vectors): (usize, usize)| {
            let tiles = m.div_ceil(rows) * n.div_ceil(4 * self.lanes * vectors);
            let lanes = self.lanes as f64 / 8.0;
            let step = 15.0 * lanes * (rows.div_ceil(self.lanes) + 4 * vectors) as f64 + 2.9 * (rows * vectors) as f64;
            let stores = 15.0 * lanes * (rows * vectors) as f64;
            tiles.div_ceil(self.threads) as f64 * (step * k as f64 / 4.0 + stores + 500.0)
        };
        let tiles = [8, 12, 16, 32, 56, 64].into_iter().flat_map(|rows| [(rows, 1), (rows, 2)]);
        let fitting = tiles.filter(|(rows, vectors)| rows * vectors <= 64);
        fitting.min_by(|&x, &y| time(x).total_cmp(&time(y))).unwrap_or((16, 1))
    }

    pub(super) fn product(&self, product: &Product) -> Kernel {
        let Product { name, extents: [m, n, k], left, right, into, ref epilogue } = *product;
        let lanes = self.lanes;
        let (tile_rows, vectors) = self.tile(product.extents);
        let (tiles_down, tiles_across) = (m.div_ceil(tile_rows), n.div_ceil(4 * lanes * vectors));
        let guards_rows = !m.is_multiple_of(tile_rows);
        let guards_columns = !n.is_multiple_of(4 * lanes * vectors);
        let clamped = |index: String, most: usize, is_clamped: bool| match is_clamped {
            true => format!("min({index}, {}u)", most - 1),
            false => index,
        };
        let mut loads = Vec::new();
        if left.lines == Lines::OfOuter {
            for load in 0..tile_rows.div_ceil(lanes) {
                let row = format!("(first_row + lane + {}u)", load * lanes);
                let row = clamped(row, m, guards_rows || !tile_rows.is_multiple_of(lanes));
                loads.push((format!("a{load}"), left, format!("{row} * {}u", k / 4), "1u".to_string()));
            }
        } else {
            let groups = tile_rows / 4;
            for load in 0..tile_rows.div_ceil(lanes) {
                let unit = clamped(format!("(lane + {}u)", load * lanes), tile_rows, !tile_rows.is_multiple_of(lanes));
                let row = clamped(format!("(first_row / 4u + {unit} % {groups}u)"), m / 4, guards_rows);
                loads.push((
                    format!("a{load}"),
                    left,
                    format!("{row} + {unit} / {groups}u * {}u", m / 4),
                    format!("{m}u"),
                ));
            }
        }
        for j in 0..vectors {
            let column = clamped(format!("(column + {}u)", j * lanes), n / 4, guards_columns);
            for step in 0..4 {
                let (place, by) = match right.lines {
                    Lines::OfInner => (format!("{column} + {}u", step * n / 4), format!("{n}u")),
                    Lines::OfOuter => (format!("(4u * {column} + {step}u) * {}u", k / 4), "1u".to_string()),
                };
                let name = if right.lines == Lines::OfInner { format!("b{step}_{j}") } else { format!("t{step}_{j}") };
                loads.push((name, right, place, by));
            }
        }
        let mut text = format!(
            "@compute @workgroup_size({lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {{
    let first_row = group.y * {tile_rows}u;
    let column = group.x * {}u + lane;
",
            lanes * vectors
        );
        for (i, j) in (0..tile_rows).flat_map(|i| (0..vectors).map(move |j| (i, j))) {
            line(&mut text, format!("    var s{i}_{j} = vec4f();"));
        }
        let bias_sums = match *epilogue {
            Epilogue::Grad { bias_of_rows: true, .. } => tile_rows / 4,
            Epilogue::Grad { .. } => vectors,
            _ => 0,
        };
        for i in 0..bias_sums {
            line(&mut text, format!("    var bias{i} = vec4f();"));
        }
        for (value, matrix, place, _) in &loads {
            line(&mut text, format!("    var {value}_at = {}u + {place};", matrix.offset / 4));
        }
        line(&mut text, format!("    for (var q = 0u; q < {}u; q++) {{", k / 4));
        for (value, matrix, ..) in &loads {
            line(&mut text, format!("        let {value} = {}[{value}_at];", matrix.name));
        }
        for (value, .., by) in &loads {
            line(&mut text, format!("        {value}_at += {by};"));
        }
        if right.lines == Lines::OfOuter {
            for (j, (step, x)) in (0..vectors).flat_map(|j| COMPONENTS.iter().enumerate().map(move |x| (j, x))) {
                line(
                    &mut text,
                    format!("        let b{step}_{j} = vec4f(t0_{j}.{x}, t1_{j}.{x}, t2_{j}.{x}, t3_{j}.{x});"),
                );
            }
        }
        let add = |text: &mut String, row: usize, factors: [String; 4]| {
            for j in 0..vectors {
                let [a, b, c, d] = &factors;
                line(
                    text,
                    format!(
                        "        s{row}_{j} = s{row}_{j} + {a} * b0_{j} + {b} * b1_{j} + {c} * b2_{j} + {d} * b3_{j};"
                    ),
                );
            }
        };
        if left.lines == Lines::OfOuter {
            for row in 0..tile_rows {
                line(&mut text, format!("        let v{row} = subgroupBroadcast(a{}, {}u);", row / lanes, row % lanes));
                add(&mut text, row, COMPONENTS.map(|x| format!("v{row}.{x}")));
            }
        } else {
            let groups = tile_rows / 4;
            for group in 0..groups {
                for step in 0..4 {
                    let unit = step * groups + group;
                    line(
                        &mut text,
                        format!(
                            "        let v{group}_{step} = subgroupBroadcast(a{}, {}u);",
                            unit / lanes,
                            unit % lanes
                        ),
                    );
                }
                for (e, x) in COMPONENTS.iter().enumerate() {
                    add(&mut text, 4 * group + e, [0, 1, 2, 3].map(|step| format!("v{group}_{step}.{x}")));
                }
            }
        }
        for i in 0..bias_sums {
            let of_rows = matches!(epilogue, Epilogue::Grad { bias_of_rows: true, .. });
            let value = |step: usize| if of_rows { format!("v{i}_{step}") } else { format!("b{step}_{i}") };
            line(
                &mut text,
                format!("        bias{i} = bias{i} + {} + {} + {} + {};", value(0), value(1), value(2), value(3)),
            );
        }
        line(&mut text, "    }");
        for j in 0..vectors {
            line(&mut text, format!("    let column{j} = column + {}u;", j * lanes));
            line(
                &mut text,
                if guards_columns { format!("    if (column{j} < {}u) {{", n / 4) } else { "    {".to_string() },
            );
            if let Epilogue::BiasRelu { bias } = epilogue {
                line(&mut text, format!("    let bias = params[{}u + column{j}];", bias / 4));
            }
            for i in 0..tile_rows {
                let at = format!("(first_row + {i}u) * {}u + column{j}", n / 4);
                let guard = if guards_rows { format!("if (first_row + {i}u < {m}u) ") } else { String::new() };
                let store = match *epilogue {
                    Epilogue::BiasRelu { .. } => format!("{into}[{at}] = max(s{i}_{j} + bias, vec4f());"),
                    Epilogue::Mask { activation } => {
                        format!("{into}[{at}] = select(s{i}_{j}, vec4f(), {activation}[{at}] <= vec4f());")
                    }
                    Epilogue::Grad { offset, .. } => format!("{into}[{}u + {at}] = s{i}_{j};", offset / 4),
                };
                line(&mut text, format!("    {guard}{{ {store} }}"));
            }
            if let Epilogue::Grad { bias, bias_of_rows: false, .. } = epilogue {
                line(&mut text, format!("    if (group.y == 0u) {{ {into}[{}u + column{j}] = bias{j}; }}", bias / 4));
            }
            line(&mut text, "    }");
        }
        if let Epilogue::Grad { bias, bias_of_rows: true, .. } = epilogue {
            line(&mut text, "    if (lane == 0u && group.x == 0u) {");
            for i in 0..bias_sums {
                line(
                    &mut text,
                    format!(
                        "    if (first_row / 4u + {i}u < {}u) {{ {into}[{}u + first_row / 4u + {i}u] = bias{i}; }}",
                        m / 4,
                        bias / 4
                    ),
                );
            }
            line(&mut text, "    }");
        }
        line(&mut text, "}");
        let mut bindings = vec![(left.name, Read, "vec4f")];
        let other = match *epilogue {
            Epilogue::BiasRelu { .. } => "params",
            Epilogue::Mask { activation } => activation,
            Epilogue::Grad { .. } => right.name,
        };
        for name in [right.name, other] {
            if bindings.iter().all(|(bound, ..)| *bound != name) {
                bindings.push((name, Read, "vec4f"));
            }
        }
        bindings.push((into, ReadWrite, "vec4f"));
        Kernel { name, bindings, text, groups: [tiles_across, tiles_down] }
    }
}
