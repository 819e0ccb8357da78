//! The text of product kernels.
//!
//! Register blocks are unrolled text: a lane's results are named variables, since arrays would not stay in registers.
//! Every kernel except those of cooperative matrices sums in order of k, one product at a time, starting at zero,
//! like `shaders/shared/product.wgsl`. So the choice of kernel does not affect the bits, unless a driver contracts
//! products and sums. Indices past an edge are clamped on loads, and the stores test them.

use std::fmt::Write;

use super::form::{Epilogue, Family, Form, Layout, Loads};

/// The components of a vector.
pub(super) const COMPONENTS: [char; 4] = ['x', 'y', 'z', 'w'];

/// Appends a line.
macro_rules! line {
    ($text:expr, $($format:tt)*) => {
        // Writing to a string does not fail.
        let _ = writeln!($text, $($format)*);
    };
}
pub(super) use line;

/// Returns the WGSL of a form.
pub(crate) fn generate(form: &Form) -> String {
    let mut text = String::new();
    if let Family::Cooperative { .. } = form.family {
        text.push_str("enable f16;\nenable wgpu_cooperative_matrix;\n");
    }
    declarations(&mut text, form);
    match form.family {
        Family::Subgroup { .. } => super::subgroup::body(&mut text, form),
        Family::Blocks { .. } => super::blocks::body(&mut text, form),
        Family::Cooperative { .. } => super::cooperative::body(&mut text, form),
    }
    text
}

/// One side of a product: the left one has the rows of the tile, the right one the columns.
#[derive(Clone, Copy)]
pub(super) struct Operand {
    /// The binding.
    pub(super) name: &'static str,
    /// The field with the number of its rows (left) or columns (right).
    pub(super) extent: &'static str,
    /// The field with the stride from one row or column to the next, or with the start of their table.
    pub(super) outer: &'static str,
    /// The field with the stride along the inner dimension, or with the start of its table.
    pub(super) inner: &'static str,
    /// Whether its elements are addressed by tables.
    pub(super) tables: bool,
    /// The direction in which it is contiguous; `None` if it is loaded through strides.
    pub(super) layout: Option<Layout>,
}

impl Operand {
    /// Returns the index of its first element.
    pub(super) fn offset(&self) -> String {
        format!("p.{}_offset", self.name)
    }

    /// Returns the place of a row or column, from its first element on.
    pub(super) fn outer_place(&self, index: &str) -> String {
        if self.tables { format!("tables[p.{} + {index}]", self.outer) } else { format!("{index} * p.{}", self.outer) }
    }

    /// Returns the place of a step of k, from its first element on.
    pub(super) fn inner_place(&self, index: &str) -> String {
        if self.tables { format!("tables[p.{} + {index}]", self.inner) } else { format!("{index} * p.{}", self.inner) }
    }

    /// Returns the place of a step after the first; steps in a table are added when they are loaded.
    pub(super) fn step_place(&self, place: &str, side: &str, step: u32) -> String {
        if self.tables { place.to_string() } else { format!("{place} + {step}u * {side}_inner") }
    }

    /// Returns the divisor that converts an index of elements into one of loads.
    pub(super) fn divisor(&self) -> &'static str {
        if self.layout.is_some() { " / 4u" } else { "" }
    }
}

/// Returns the left and the right operand.
pub(super) fn operands(form: &Form) -> (Operand, Operand) {
    let layouts = match form.loads {
        Loads::Vectors(a, b) => (Some(a), Some(b)),
        Loads::Scalars | Loads::Tables => (None, None),
    };
    let tables = form.loads == Loads::Tables;
    let a = Operand { name: "a", extent: "m", outer: "a_row", inner: "a_column", tables, layout: layouts.0 };
    let b = Operand { name: "b", extent: "n", outer: "b_column", inner: "b_row", tables, layout: layouts.1 };
    if form.swapped { (b, a) } else { (a, b) }
}

/// Writes parameters and bindings: those of the kernel that the form replaces.
fn declarations(text: &mut String, form: &Form) {
    line!(text, "// Generated: {}, {:?}.", form.name(), form.epilogue);
    text.push_str(thalweg_shaders::PRODUCT_EXTENTS);
    let flag = match form.epilogue {
        Epilogue::Batch { .. } => "batch: Batch, accumulate: u32, ",
        Epilogue::Gather { .. } => "batch: Batch, has_bias: u32, accumulate: u32, ",
        Epilogue::Matmul { .. } | Epilogue::WeightGrad { .. } => "accumulate: u32, ",
        Epilogue::Linear { .. } => "relu: u32, ",
        Epilogue::InputGrad | Epilogue::Partial { .. } => "",
    };
    if form.epilogue.is_batched() {
        text.push_str(thalweg_shaders::PRODUCT_BATCH);
    }
    line!(text, "struct Params {{ product: Product, {flag}}}");
    let load = if let Loads::Vectors(..) = form.loads { "vec4f" } else { "f32" };
    let store = if form.vector_stores { "vec4f" } else { "f32" };
    let mut bindings = vec![("read", "a", load), ("read", "b", load)];
    match form.epilogue {
        Epilogue::Matmul { .. } | Epilogue::Batch { .. } | Epilogue::Partial { .. } => {
            bindings.push(("read_write", "c", store));
        }
        Epilogue::Gather { .. } => {
            bindings.extend([("read", "tables", "u32"), ("read", "bias", "f32"), ("read_write", "c", store)]);
        }
        Epilogue::Linear { .. } => bindings.extend([("read", "bias", store), ("read_write", "c", store)]),
        Epilogue::InputGrad => bindings.extend([("read", "activation", store), ("read_write", "c", store)]),
        Epilogue::WeightGrad { .. } => {
            bindings.extend([("read_write", "c", store), ("read_write", "bias_grad", "f32")]);
        }
    }
    line!(text, "@group(0) @binding(0) var<uniform> params: Params;");
    for (i, (access, name, ty)) in bindings.iter().enumerate() {
        line!(text, "@group(0) @binding({}) var<storage, {access}> {name}: array<{ty}>;", i + 1);
    }
    line!(text, "fn group_index(group: vec3u, groups: vec3u) -> u32 {{ return group.y * groups.x + group.x; }}");
}

/// Writes the parameters `p` of the product of a workgroup, its `index`, and in a batch the `index` of its tile, the number
/// of the `batch` and the place of its first result. Workgroups past the end repeat the last product.
pub(super) fn product_of_workgroup(text: &mut String, form: &Form) {
    line!(text, "var p = params.product;");
    line!(text, "let workgroup = group_index(group, groups);");
    if !form.epilogue.is_batched() {
        line!(text, "let index = workgroup;");
        return;
    }
    let (left, right) = operands(form);
    let (rows, columns) = form.family.tile();
    line!(
        text,
        "let per_product = (p.{} + {}u) / {columns}u * ((p.{} + {}u) / {rows}u);
let batch = min(workgroup / per_product, params.batch.count - 1u);
let index = workgroup - batch * per_product;
let offsets = offsets_of(batch, params.batch);
p.a_offset += offsets.x;
p.b_offset += offsets.y;
let first_result = batch * p.m * p.n{};",
        right.extent,
        columns - 1,
        left.extent,
        rows - 1,
        if form.vector_stores { " / 4u" } else { "" }
    );
}

/// Writes the number of tiles, and the first row and column of the tile of an `index`. A folded grid has workgroups past the
/// end, which repeat the tile of another one.
pub(super) fn place_of_tile(text: &mut String, form: &Form) {
    let (left, right) = operands(form);
    let (rows, columns) = form.family.tile();
    line!(
        text,
        "let tiles_wide = (p.{} + {}u) / {columns}u;
let tiles = (p.{} + {}u) / {rows}u * tiles_wide;
let tile = index % tiles;
let first_row = tile / tiles_wide * {rows}u;
let first_column = tile % tiles_wide * {columns}u;",
        right.extent,
        columns - 1,
        left.extent,
        rows - 1
    );
}

/// Writes the guarded stores of an invocation's results `sum{row}_{vector}`, with the epilogue. `row` and `column`
/// are the indices of a row, and of the first column of a vector, in the computed product, which may be the
/// transposed one.
pub(super) fn stores(
    text: &mut String,
    form: &Form,
    (rows, vectors): (u32, u32),
    row: impl Fn(u32) -> String,
    column: impl Fn(u32) -> String,
) {
    let (left, right) = operands(form);
    for j in 0..vectors {
        line!(text, "let column{j} = {};", column(j));
        line!(text, "if (column{j} < p.{}) {{", right.extent);
        if form.swapped {
            // A vector contains four results of one column of c; transposed, those of four rows are vectors of c.
            let group = if form.vector_stores { 4 } else { 1 };
            for (e, x) in COMPONENTS.iter().enumerate() {
                line!(text, "if (column{j} + {e}u < p.{}) {{", right.extent);
                for i in (0..rows).step_by(group) {
                    let row = row(i);
                    let results: Vec<String> = (i..i + group as u32).map(|i| format!("sum{i}_{j}.{x}")).collect();
                    let own_row = format!("(column{j} + {e}u)");
                    let at = format!("{own_row} * p.n + {row}");
                    line!(text, "if ({row} < p.{}) {{", left.extent);
                    if form.vector_stores {
                        let results = format!("vec4f({})", results.join(", "));
                        line!(
                            text,
                            "{}",
                            assign(form, &format!("({at}) / 4u"), &own_row, &format!("{row} / 4u"), &results)
                        );
                    } else {
                        line!(text, "{}", assign(form, &at, &own_row, &row, &results[0]));
                    }
                    line!(text, "}}");
                }
                line!(text, "}}");
            }
        } else {
            for i in 0..rows {
                let (row, result) = (row(i), format!("sum{i}_{j}"));
                line!(text, "if ({row} < p.{}) {{", left.extent);
                if form.vector_stores {
                    let at = format!("({row} * p.n + column{j}) / 4u");
                    line!(text, "{}", assign(form, &at, &row, &format!("column{j} / 4u"), &result));
                } else {
                    for (e, x) in COMPONENTS.iter().enumerate() {
                        let column = format!("(column{j} + {e}u)");
                        let store =
                            assign(form, &format!("{row} * p.n + {column}"), &row, &column, &format!("{result}.{x}"));
                        line!(text, "if ({column} < p.n) {{ {store} }}");
                    }
                }
                line!(text, "}}");
            }
        }
        line!(text, "}}");
    }
}

/// Returns one assignment, of a vector or an element, at an index of the result with a row and a column.
pub(super) fn assign(form: &Form, index: &str, row: &str, column: &str, value: &str) -> String {
    let zero = if form.vector_stores { "vec4f()" } else { "0.0" };
    let assignment = if form.epilogue.accumulates() { "+=" } else { "=" };
    match form.epilogue {
        Epilogue::Matmul { .. } | Epilogue::WeightGrad { .. } => format!("c[{index}] {assignment} {value};"),
        Epilogue::Batch { .. } | Epilogue::Gather { bias: false, .. } => {
            format!("c[first_result + {index}] {assignment} {value};")
        }
        Epilogue::Gather { bias: true, .. } => {
            format!("c[first_result + {index}] {assignment} {value} + bias[offsets.z + {row}];")
        }
        Epilogue::Linear { relu: false } => format!("c[{index}] = {value} + bias[{column}];"),
        Epilogue::Linear { relu: true } => {
            format!("let value = {value} + bias[{column}]; c[{index}] = select(value, {zero}, value < {zero});")
        }
        Epilogue::InputGrad => {
            format!("let at = {index}; c[at] = select({value}, {zero}, activation[at] <= {zero});")
        }
        Epilogue::Partial { .. } => format!("c[partial + {index}] = {value};"),
    }
}

/// Writes the sums over k of the rows of a, in order of k, each by one of `lanes` invocations. The workgroups of the
/// first column of tiles compute them, or those of the first row if the transposed product is computed.
pub(super) fn row_sums(text: &mut String, form: &Form, lanes: u32) {
    let (target, assignment, k) = match form.epilogue {
        Epilogue::WeightGrad { accumulate } => ("bias_grad[r]", if accumulate { "+=" } else { "=" }, ["0u", "p.k"]),
        Epilogue::Partial { row_sums: true } => ("c[partial + p.m * p.n + r]", "=", ["first_k", "last_k"]),
        _ => return,
    };
    let element = match form.loads {
        Loads::Scalars | Loads::Tables => "a[at]",
        Loads::Vectors(..) => "a[at / 4u][at % 4u]",
    };
    let (tile_rows, tile_columns) = form.family.tile();
    let (once, start, extent) = match form.swapped {
        false => ("first_column", "first_row", tile_rows),
        true => ("first_row", "first_column", tile_columns),
    };
    let [first, last] = k;
    line!(
        text,
        "if ({once} == 0u) {{
    for (var r = {start} + lane; r < min({start} + {extent}u, p.m); r += {lanes}u) {{
        var sum = 0.0;
        var at = p.a_offset + r * p.a_row + {first} * p.a_column;
        for (var k = {first}; k < {last}; k++) {{
            sum += {element};
            at += p.a_column;
        }}
        {target} {assignment} sum;
    }}
}}"
    );
}
