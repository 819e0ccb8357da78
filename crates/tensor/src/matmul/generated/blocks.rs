//! The family of register blocks over tiles in workgroup memory, for hardware, and for devices without subgroups or
//! with subgroups of varying size. It needs no optional feature.
//!
//! A workgroup stages `depth` steps of both operands' tiles in workgroup memory, as vectors of four rows (left) or
//! four columns (right) at one k. Each invocation accumulates them in its block. The vectors of a block are spaced by
//! the number of invocations in a row or column, so that neighbours read and store neighbouring vectors.

use std::fmt::Write;

use super::form::{Epilogue, Family, Form, Layout};
use super::text::{COMPONENTS, Operand, line, operands, place_of_tile, product_of_workgroup, row_sums, stores};

pub(super) fn body(text: &mut String, form: &Form) {
    let Family::Blocks { rows, columns, thread_rows, thread_columns, depth } = form.family else {
        unreachable!("the family was matched before");
    };
    let (left, right) = operands(form);
    let invocations = form.family.invocations();
    // Invocations along the rows and the columns of the tile.
    let (high, wide) = (rows / thread_rows, columns / thread_columns);
    line!(
        text,
        "var<workgroup> left_tile: array<vec4f, {}>;
var<workgroup> right_tile: array<vec4f, {}>;
fn put_left(at: u32, value: vec4f) {{ left_tile[at] = value; }}
fn put_right(at: u32, value: vec4f) {{ right_tile[at] = value; }}
@compute @workgroup_size({invocations})
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {{",
        depth * rows / 4,
        depth * columns / 4,
    );
    product_of_workgroup(text, form);
    place_of_tile(text, form);
    // A folded grid may have workgroups past the end.
    if let Epilogue::Partial { row_sums } = form.epilogue {
        line!(text, "let slice = index / tiles;");
        line!(text, "let first_k = slice * p.slice;");
        line!(text, "let last_k = min(first_k + p.slice, p.k);");
        let length = if row_sums { "(p.m * p.n + p.m)" } else { "p.m * p.n" };
        line!(text, "let partial = slice * {length};");
        line!(text, "let past = first_k >= p.k;");
    } else {
        line!(text, "let past = index >= tiles;");
        line!(text, "let first_k = 0u;");
        line!(text, "let last_k = p.k;");
    }
    for i in 0..thread_rows {
        for j in 0..thread_columns / 4 {
            line!(text, "var sum{i}_{j} = vec4f();");
        }
    }
    line!(text, "let over = lane / {wide}u;");
    line!(text, "let across = lane % {wide}u;");
    line!(text, "for (var k0 = first_k; k0 < last_k; k0 += {depth}u) {{");
    stage(text, left, "left", "first_row", rows, depth, invocations);
    stage(text, right, "right", "first_column", columns, depth, invocations);
    line!(text, "workgroupBarrier();");
    line!(text, "for (var step = 0u; step < {depth}u; step++) {{");
    for i in 0..thread_rows / 4 {
        line!(text, "let left{i} = left_tile[step * {}u + over + {}u];", rows / 4, i * high);
    }
    for j in 0..thread_columns / 4 {
        line!(text, "let right{j} = right_tile[step * {}u + across + {}u];", columns / 4, j * wide);
    }
    for i in 0..thread_rows {
        for j in 0..thread_columns / 4 {
            line!(text, "sum{i}_{j} = sum{i}_{j} + left{}.{} * right{j};", i / 4, COMPONENTS[i as usize % 4]);
        }
    }
    line!(text, "}}");
    line!(text, "workgroupBarrier();");
    line!(text, "}}");
    line!(text, "if (past) {{ return; }}");
    let row = |i: u32| format!("(first_row + 4u * (over + {}u) + {}u)", i / 4 * high, i % 4);
    let column = |j: u32| format!("first_column + 4u * (across + {}u)", j * wide);
    stores(text, form, (thread_rows, thread_columns / 4), row, column);
    row_sums(text, form, invocations);
    line!(text, "}}");
}

/// Loads `depth` steps of `extent` rows or columns from `first` on, and stores them with `put_{side}`, four at a
/// step. Values past the end of k are zero, since zeros add nothing. Values past the edge of the matrix are
/// arbitrary, and their results are not stored.
pub(super) fn stage(
    text: &mut String,
    operand: Operand,
    side: &str,
    first: &str,
    extent: u32,
    depth: u32,
    invocations: u32,
) {
    let Operand { name, outer, inner, extent: limit, layout, .. } = operand;
    let vectors = extent / 4;
    // Vectors along k are loaded in blocks of four by four and transposed.
    let units = if layout == Some(Layout::Inner) { vectors * depth / 4 } else { vectors * depth };
    line!(text, "for (var unit = lane; unit < {units}u; unit += {invocations}u) {{");
    match layout {
        Some(Layout::Outer) => {
            line!(text, "let k = k0 + unit / {vectors}u;");
            line!(text, "let at = min({first} + 4u * (unit % {vectors}u), p.{limit} - 4u);");
            line!(text, "let loaded = {name}[(p.{name}_offset + min(k, p.k - 1u) * p.{inner} + at) / 4u];");
            line!(text, "put_{side}(unit, select(vec4f(), loaded, k < last_k));");
        }
        Some(Layout::Inner) => {
            let quads = depth / 4;
            line!(text, "let k = k0 + 4u * (unit % {quads}u);");
            line!(text, "let at = {first} + 4u * (unit / {quads}u);");
            for e in 0..4 {
                line!(
                    text,
                    "let loaded{e} = {name}[(p.{name}_offset + min(at + {e}u, p.{limit} - 1u) * p.{outer} + min(k, p.k - 4u)) / 4u];"
                );
            }
            for (step, x) in COMPONENTS.iter().enumerate() {
                line!(
                    text,
                    "put_{side}((4u * (unit % {quads}u) + {step}u) * {vectors}u + unit / {quads}u, \
                     select(vec4f(), vec4f(loaded0.{x}, loaded1.{x}, loaded2.{x}, loaded3.{x}), k + {step}u < last_k));"
                );
            }
        }
        None => {
            line!(text, "let k = k0 + unit / {vectors}u;");
            line!(text, "let at = {first} + 4u * (unit % {vectors}u);");
            line!(text, "let base = p.{name}_offset + {};", operand.inner_place("min(k, p.k - 1u)"));
            let element = |e: u32| {
                let place = operand.outer_place(&format!("min(at + {e}u, p.{limit} - 1u)"));
                format!("{name}[base + {place}]")
            };
            line!(text, "let loaded = vec4f({}, {}, {}, {});", element(0), element(1), element(2), element(3));
            line!(text, "put_{side}(unit, select(vec4f(), loaded, k < last_k));");
        }
    }
    line!(text, "}}");
}
