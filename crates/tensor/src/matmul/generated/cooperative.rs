//! The family of cooperative matrices, for adapters that multiply small f16 matrices in one subgroup instruction.
//! Operands are rounded to f16 when they are stored in workgroup memory; products are added in f32.
//!
//! A workgroup is four subgroups, in two rows of two. Each computes a quarter of the tile as square matrices. The
//! driver chooses their layout over the lanes, so results are stored through workgroup memory.

use std::fmt::Write;

use super::blocks::stage;
use super::form::{Family, Form};
use super::text::{COMPONENTS, assign, line, operands, place_of_tile, product_of_workgroup, row_sums};

/// The number of rows and columns of the tile.
pub(super) const TILE: u32 = 64;

/// The number of subgroups of a workgroup.
pub(super) const SUBGROUPS: u32 = 4;

/// The number of steps of k that are staged at once.
const DEPTH: u32 = 32;

pub(super) fn body(text: &mut String, form: &Form) {
    let Family::Cooperative { lanes, side } = form.family else {
        unreachable!("the family was matched before");
    };
    let (left, right) = operands(form);
    let invocations = SUBGROUPS * lanes;
    let quarter = TILE / 2;
    // The number of matrices of a subgroup along a row or a column.
    let matrices = quarter / side;
    for name in ["left", "right"] {
        line!(text, "var<workgroup> {name}_tile: array<f16, {}>;", TILE * DEPTH);
        line!(text, "fn put_{name}(at: u32, value: vec4f) {{");
        for (e, x) in COMPONENTS.iter().enumerate() {
            line!(text, "{name}_tile[4u * at + {e}u] = f16(value.{x});");
        }
        line!(text, "}}");
    }
    line!(
        text,
        "var<workgroup> results: array<f32, {}>;
@compute @workgroup_size({invocations})
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) place: u32,
) {{",
        SUBGROUPS * side * side,
    );
    product_of_workgroup(text, form);
    line!(
        text,
        "let last_k = p.k;
let own_row = subgroup / 2u * {quarter}u;
let own_column = subgroup % 2u * {quarter}u;"
    );
    place_of_tile(text, form);
    line!(text, "let past = index >= tiles;");
    let each = || (0..matrices).flat_map(|i| (0..matrices).map(move |j| (i, j)));
    for (i, j) in each() {
        line!(text, "var sum{i}_{j} = coop_mat{side}x{side}<f32, C>();");
    }
    // naga requires names for offsets and strides.
    line!(text, "let stride = {TILE}u;");
    line!(text, "for (var k0 = 0u; k0 < last_k; k0 += {DEPTH}u) {{");
    stage(text, left, "left", "first_row", TILE, DEPTH, invocations);
    stage(text, right, "right", "first_column", TILE, DEPTH, invocations);
    line!(text, "workgroupBarrier();");
    for step in 0..DEPTH / side {
        line!(text, "{{");
        for (name, own, role, load) in [("left", "own_row", 'A', "coopLoad"), ("right", "own_column", 'B', "coopLoadT")]
        {
            for i in 0..matrices {
                line!(text, "let {name}_at{i} = {}u + {own} + {}u;", step * side * TILE, i * side);
                let matrix = format!("coop_mat{side}x{side}<f16, {role}>");
                line!(text, "let {name}{i} = {load}<{matrix}>(&{name}_tile[{name}_at{i}], stride);");
            }
        }
        for (i, j) in each() {
            line!(text, "sum{i}_{j} = coopMultiplyAdd(left{i}, right{j}, sum{i}_{j});");
        }
        line!(text, "}}");
    }
    line!(text, "workgroupBarrier();");
    line!(text, "}}");
    let at_once = if form.vector_stores { 4 } else { 1 };
    let wide = side / at_once;
    line!(text, "let result_stride = {side}u;");
    line!(text, "let results_at = subgroup * {}u;", side * side);
    for (i, j) in each() {
        line!(text, "coopStoreT(sum{i}_{j}, &results[results_at], result_stride);");
        line!(text, "workgroupBarrier();");
        line!(text, "for (var unit = place; unit < {}u; unit += {lanes}u) {{", side * wide);
        line!(text, "let row = first_row + own_row + {}u + unit / {wide}u;", i * side);
        line!(text, "let column = first_column + own_column + {}u + unit % {wide}u * {at_once}u;", j * side);
        line!(text, "let first = results_at + unit * {at_once}u;");
        line!(text, "if (!past && row < p.m && column < p.n) {{");
        if form.vector_stores {
            let result = "vec4f(results[first], results[first + 1u], results[first + 2u], results[first + 3u])";
            line!(text, "let result = {result};");
            line!(text, "{}", assign(form, "(row * p.n + column) / 4u", "row", "column / 4u", "result"));
        } else {
            line!(text, "let result = results[first];");
            line!(text, "{}", assign(form, "row * p.n + column", "row", "column", "result"));
        }
        line!(text, "}}");
        line!(text, "}}");
        line!(text, "workgroupBarrier();");
    }
    line!(text, "if (past) {{ return; }}");
    row_sums(text, form, invocations);
    line!(text, "}}");
}
