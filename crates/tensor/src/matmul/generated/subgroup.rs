//! The subgroup-broadcast family, for software drivers. There a load of any kind is a loop over the lanes, whereas
//! arithmetic and broadcasts are instructions. So each lane loads four elements at a time, once, and
//! `subgroupBroadcast` distributes the values of the left operand to the other lanes.
//!
//! A workgroup is one subgroup. Its tile has `rows` rows; each lane accumulates `vectors` groups of four columns of
//! it.

use std::fmt::Write;

use super::form::{Family, Form, Layout};
use super::text::{COMPONENTS, Operand, line, operands, product_of_workgroup, row_sums, stores};

pub(super) fn body(text: &mut String, form: &Form) {
    let Family::Subgroup { lanes, rows, vectors } = form.family else {
        unreachable!("the family was matched before");
    };
    let (left, right) = operands(form);
    let width = 4 * lanes * vectors;
    line!(
        text,
        "@compute @workgroup_size({lanes})
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(subgroup_invocation_id) lane: u32,
) {{"
    );
    product_of_workgroup(text, form);
    line!(
        text,
        "let tiles = (p.{} + {}u) / {width}u;
let first_row = index / tiles * {rows}u;
let first_column = index % tiles * {width}u;",
        right.extent,
        width - 1
    );
    let sides = [(left, "left"), (right, "right")];
    for (operand, side) in sides {
        line!(text, "let {side}_inner = p.{}{};", operand.inner, operand.divisor());
    }
    for i in 0..rows {
        for j in 0..vectors {
            line!(text, "var sum{i}_{j} = vec4f();");
        }
    }
    // The driver's compiler treats an index carried from step to step as a value; it would recompute one derived from
    // k for each lane.
    let tile = Tile { left, right, lanes, rows, vectors };
    let loads = tile.loads(4);
    for Load { value, place, .. } in &loads {
        line!(text, "var {value}_at = {place};");
    }
    line!(text, "let whole = p.k & ~3u;");
    line!(text, "for (var k = 0u; k < whole; k += 4u) {{");
    for (_, side) in sides.iter().filter(|(operand, _)| operand.tables) {
        for step in 0..4 {
            line!(text, "let {side}_step{step} = tables[{side}_inner + k + {step}u];");
        }
    }
    for Load { operand, side, value, step, .. } in &loads {
        let step = if operand.tables { format!(" + {side}_step{step}") } else { String::new() };
        line!(text, "let {value} = {}[{value}_at{step}];", operand.name);
    }
    for Load { operand, side, value, .. } in loads.iter().filter(|load| !load.operand.tables) {
        let inner = operand.layout == Some(Layout::Inner);
        line!(text, "{value}_at += {};", if inner { "1u".to_string() } else { format!("4u * {side}_inner") });
    }
    tile.accumulate(text, 4);
    line!(text, "}}");
    // If an operand is loaded as vectors along k, k is a multiple of four.
    if ![left, right].iter().any(|operand| operand.layout == Some(Layout::Inner)) {
        line!(text, "for (var k = whole; k < p.k; k++) {{");
        for Load { operand, side, value, place, .. } in tile.loads(1) {
            let step = if operand.tables { format!("tables[{side}_inner + k]") } else { format!("k * {side}_inner") };
            line!(text, "let {value} = {}[{place} + {step}];", operand.name);
        }
        tile.accumulate(text, 1);
        line!(text, "}}");
    }
    let row = |i: u32| format!("(first_row + {i}u)");
    stores(text, form, (rows, vectors), row, |j| format!("first_column + 4u * (lane + {}u)", lanes * j));
    row_sums(text, form, lanes);
    line!(text, "}}");
}

struct Tile {
    left: Operand,
    right: Operand,
    lanes: u32,
    rows: u32,
    vectors: u32,
}

/// A load of a lane.
struct Load {
    operand: Operand,
    /// The side of the operand, used in the names of its strides.
    side: &'static str,
    /// The name of the loaded value.
    value: String,
    /// Its index for the first step of k, or that of its row or column if the steps are in a table.
    place: String,
    /// The first step of k that it loads.
    step: u32,
}

impl Tile {
    /// Returns the loads of a lane for four steps of k, or for one. All loads of a step precede its arithmetic, which
    /// the driver's compiler would otherwise split.
    fn loads(&self, steps: u32) -> Vec<Load> {
        let &Self { left, right, .. } = self;
        let load = |operand, side| move |(value, place, step)| Load { operand, side, value, place, step };
        let lefts = self.left_places(steps).into_iter().map(load(left, "left"));
        lefts.chain(self.right_places(steps).into_iter().map(load(right, "right"))).collect()
    }

    /// Returns the values of the left operand: `left{load}`, or `left{load}_{step}` for single elements.
    fn left_places(&self, steps: u32) -> Vec<(String, String, u32)> {
        let &Self { left, lanes, rows, .. } = self;
        let (offset, extent) = (left.offset(), left.extent);
        let mut places = Vec::new();
        if left.layout == Some(Layout::Outer) {
            // Four rows per step: the groups of the first step, then those of the next.
            let groups = rows / 4;
            for load in 0..(groups * steps).div_ceil(lanes) {
                let unit = format!("min({}u + lane, {}u)", load * lanes, groups * steps - 1);
                let row = format!("min(first_row / 4u + {unit} % {groups}u, p.{extent} / 4u - 1u)");
                let place = format!("{offset} / 4u + {row} + {unit} / {groups}u * left_inner");
                places.push((format!("left{load}"), place, 0));
            }
            return places;
        }
        for load in 0..rows / lanes {
            let row = format!("min(first_row + {}u + lane, p.{extent} - 1u)", load * lanes);
            let place = format!("({offset} + {}){}", left.outer_place(&row), left.divisor());
            match left.layout {
                Some(_) => places.push((format!("left{load}"), place, 0)),
                None => {
                    let element = |step| (format!("left{load}_{step}"), left.step_place(&place, "left", step), step);
                    places.extend((0..steps).map(element));
                }
            }
        }
        places
    }

    /// Returns the values of the right operand: four columns per step, `right{step}_{vector}`; four steps of a
    /// column, `column{column}_{vector}`; or one element, `right{step}_{vector}_{column}`.
    fn right_places(&self, steps: u32) -> Vec<(String, String, u32)> {
        let &Self { right, lanes, vectors, .. } = self;
        let (offset, extent) = (right.offset(), right.extent);
        let mut places = Vec::new();
        for j in 0..vectors {
            let column = format!("first_column + 4u * (lane + {}u)", lanes * j);
            if right.layout == Some(Layout::Outer) {
                let place = format!("({offset} + min({column}, p.{extent} - 4u)) / 4u");
                let vector = |step| (format!("right{step}_{j}"), format!("{place} + {step}u * right_inner"), step);
                places.extend((0..steps).map(vector));
                continue;
            }
            for e in 0..4 {
                let column = format!("min({column} + {e}u, p.{extent} - 1u)");
                let place = format!("({offset} + {}){}", right.outer_place(&column), right.divisor());
                match right.layout {
                    Some(_) => places.push((format!("column{e}_{j}"), place, 0)),
                    None => {
                        let element =
                            |step| (format!("right{step}_{j}_{e}"), right.step_place(&place, "right", step), step);
                        places.extend((0..steps).map(element));
                    }
                }
            }
        }
        places
    }

    /// Adds the products of four steps of k, or of one, whose operands have been loaded.
    fn accumulate(&self, text: &mut String, steps: u32) {
        let &Self { left, right, lanes, rows, vectors } = self;
        for (j, step) in (0..vectors).flat_map(|j| (0..steps).map(move |step| (j, step))) {
            let element = |e: u32| match right.layout {
                Some(_) => format!("column{e}_{j}.{}", COMPONENTS[step as usize]),
                None => format!("right{step}_{j}_{e}"),
            };
            if right.layout != Some(Layout::Outer) {
                line!(text, "let right{step}_{j} = vec4f({});", [0, 1, 2, 3].map(element).join(", "));
            }
        }
        let add = |text: &mut String, row: u32, factors: &[String]| {
            for j in 0..vectors {
                let products: String =
                    factors.iter().enumerate().map(|(step, factor)| format!(" + {factor} * right{step}_{j}")).collect();
                line!(text, "sum{row}_{j} = sum{row}_{j}{products};");
            }
        };
        if left.layout == Some(Layout::Outer) {
            let groups = rows / 4;
            for group in 0..groups {
                for step in 0..steps {
                    let unit = step * groups + group;
                    line!(
                        text,
                        "let value{group}_{step} = subgroupBroadcast(left{}, {}u);",
                        unit / lanes,
                        unit % lanes
                    );
                }
                for (e, x) in COMPONENTS.iter().enumerate() {
                    let factors: Vec<String> = (0..steps).map(|step| format!("value{group}_{step}.{x}")).collect();
                    add(text, 4 * group + e as u32, &factors);
                }
            }
            return;
        }
        if left.layout.is_none() {
            for load in 0..rows / lanes {
                let elements: Vec<String> = (0..steps).map(|step| format!("left{load}_{step}")).collect();
                let (open, close) = if steps == 4 { ("vec4f(", ")") } else { ("", "") };
                line!(text, "let left{load} = {open}{}{close};", elements.join(", "));
            }
        }
        for row in 0..rows {
            line!(text, "let value{row} = subgroupBroadcast(left{}, {}u);", row / lanes, row % lanes);
            let factors: Vec<String> = match steps {
                1 => vec![format!("value{row}")],
                _ => COMPONENTS.iter().map(|x| format!("value{row}.{x}")).collect(),
            };
            add(text, row, &factors);
        }
    }
}
