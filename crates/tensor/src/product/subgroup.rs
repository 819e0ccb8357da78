//! The subgroup-broadcast family, which software drivers want: there a load is a loop over the lanes, whatever it
//! loads, while arithmetic and broadcasts are instructions. So each lane loads four elements at once, once, and the
//! values of the left operand reach the other lanes by `subgroupBroadcast`.
//!
//! A workgroup is one subgroup. Its tile has `rows` rows; a lane holds `vectors` groups of four columns of it.

use std::fmt::Write;

use super::form::{Family, Form, Layout};
use super::generate::{COMPONENTS, Operand, line, load_right, operands, row_sums, store};

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
) {{
let p = params.product;
let tiles = (p.{} + {}u) / {width}u;
let index = group_index(group, groups);
let first_row = index / tiles * {rows}u;
let first_column = index % tiles * {width}u;",
        right.extent,
        width - 1
    );
    places(text, left, right, lanes, rows, vectors);
    for i in 0..rows {
        for j in 0..vectors {
            line!(text, "var sum{i}_{j} = vec4f();");
        }
    }
    let inner = [left, right].iter().any(|operand| operand.layout == Some(Layout::Inner));
    line!(text, "let whole = p.k & ~3u;");
    line!(text, "for (var k = 0u; k < whole; k += 4u) {{");
    step(text, left, right, lanes, rows, vectors, 4);
    line!(text, "}}");
    // An operand that is loaded by vectors along k has a multiple of four of them.
    if !inner {
        line!(text, "for (var k = whole; k < p.k; k++) {{");
        step(text, left, right, lanes, rows, vectors, 1);
        line!(text, "}}");
    }
    for j in 0..vectors {
        line!(text, "let column{j} = first_column + 4u * (lane + {}u);", lanes * j);
        line!(text, "if (column{j} < p.{}) {{", right.extent);
        for i in 0..rows {
            line!(text, "if (first_row + {i}u < p.{}) {{", left.extent);
            store(text, form, &format!("(first_row + {i}u)"), &format!("column{j}"), &format!("sum{i}_{j}"));
            line!(text, "}}");
        }
        line!(text, "}}");
    }
    row_sums(text, form, rows, lanes);
    line!(text, "}}");
}

/// Where each lane loads from, hoisted out of the loop over k.
fn places(text: &mut String, left: Operand, right: Operand, lanes: u32, rows: u32, vectors: u32) {
    let offset = |operand: Operand| format!("p.{}_offset", operand.name);
    let divisor = |operand: Operand| if operand.layout.is_some() { " / 4u" } else { "" };
    line!(text, "let left_inner = p.{}{};", left.inner, divisor(left));
    line!(text, "let right_inner = p.{}{};", right.inner, divisor(right));
    if left.layout == Some(Layout::Outer) {
        // A lane loads four rows at one k; where the tile has fewer groups of four rows than lanes, they share out the
        // steps of k as well.
        let groups = rows / 4;
        for at in 0..groups.div_ceil(lanes) {
            let group = if groups < lanes { format!("lane % {groups}u") } else { format!("{}u + lane", at * lanes) };
            line!(
                text,
                "let left_at{at} = {} / 4u + min(first_row / 4u + {group}, p.{} / 4u - 1u);",
                offset(left),
                left.extent
            );
        }
        if groups < lanes {
            line!(text, "let left_step = lane / {groups}u;");
        }
    } else {
        for at in 0..rows / lanes {
            line!(
                text,
                "let left_at{at} = ({} + min(first_row + {}u + lane, p.{} - 1u) * p.{}){};",
                offset(left),
                at * lanes,
                left.extent,
                left.outer,
                divisor(left)
            );
        }
    }
    for j in 0..vectors {
        let column = format!("first_column + 4u * (lane + {}u)", lanes * j);
        if right.layout == Some(Layout::Outer) {
            line!(text, "let right_at{j} = ({} + min({column}, p.{} - 4u)) / 4u;", offset(right), right.extent);
        } else {
            for e in 0..4 {
                line!(
                    text,
                    "let right_at{j}_{e} = ({} + min({column} + {e}u, p.{} - 1u) * p.{}){};",
                    offset(right),
                    right.extent,
                    right.outer,
                    divisor(right)
                );
            }
        }
    }
}

/// Four steps of k, or one. All loads come first, those of the left operand before the others: each is a loop to the
/// driver's compiler, and arithmetic between two of them is cut up for it.
fn step(text: &mut String, left: Operand, right: Operand, lanes: u32, rows: u32, vectors: u32, steps: u32) {
    load_left(text, left, lanes, rows, steps);
    load_right(text, right, vectors, steps);
    let accumulate = |text: &mut String, row: u32, factors: &[String]| {
        for j in 0..vectors {
            let sum: String =
                factors.iter().enumerate().map(|(step, factor)| format!(" + {factor} * right{step}_{j}")).collect();
            line!(text, "sum{row}_{j} = sum{row}_{j}{sum};");
        }
    };
    if left.layout == Some(Layout::Outer) {
        let groups = rows / 4;
        for group in 0..groups {
            for step in 0..steps {
                let place = step * groups + group;
                line!(text, "let value{group}_{step} = subgroupBroadcast(left{}, {}u);", place / lanes, place % lanes);
            }
            for (e, x) in COMPONENTS.iter().enumerate() {
                let factors: Vec<String> = (0..steps).map(|step| format!("value{group}_{step}.{x}")).collect();
                accumulate(text, 4 * group + e as u32, &factors);
            }
        }
        return;
    }
    for row in 0..rows {
        line!(text, "let value{row} = subgroupBroadcast(left{}, {}u);", row / lanes, row % lanes);
        let factors: Vec<String> = match steps {
            1 => vec![format!("value{row}")],
            _ => COMPONENTS.iter().map(|x| format!("value{row}.{x}")).collect(),
        };
        accumulate(text, row, &factors);
    }
}

/// Names what the lanes load of the left operand for some steps of k `left0`, `left1`, …
fn load_left(text: &mut String, left: Operand, lanes: u32, rows: u32, steps: u32) {
    let name = left.name;
    if left.layout == Some(Layout::Outer) {
        let groups = rows / 4;
        // The values of a step, group by group, then those of the next: `lanes` of them in a load.
        for load in 0..(groups * steps).div_ceil(lanes) {
            let (at, step) = if groups < lanes {
                // A single step needs the first groups of lanes alone; the others load what is there.
                let step =
                    if steps == 1 { "k".to_string() } else { format!("k + {}u + left_step", load * (lanes / groups)) };
                (0, step)
            } else {
                (load % (groups / lanes), format!("k + {}u", load / (groups / lanes)))
            };
            line!(text, "let left{load} = {name}[left_at{at} + ({step}) * left_inner];");
        }
        return;
    }
    for load in 0..rows / lanes {
        let at = |step: u32| format!("{name}[left_at{load} + (k + {step}u) * left_inner]");
        let value = match (left.layout, steps) {
            (Some(_), _) => format!("{name}[left_at{load} + k / 4u]"),
            (None, 1) => at(0),
            (None, _) => format!("vec4f({}, {}, {}, {})", at(0), at(1), at(2), at(3)),
        };
        line!(text, "let left{load} = {value};");
    }
}
