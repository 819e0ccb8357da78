//! The text of generated kernels: the functions of `shaders/shared`, cut out and put in a row.

use std::fmt::Write;

use super::program::{Function, Instruction, Program, Source};
use crate::kernel::Access;

impl Program {
    /// The whole text of the kernel.
    pub(super) fn text(&self) -> String {
        let mut text = format!("// {} element-wise operations in one kernel, generated.\n", self.instructions.len());
        self.write_text(&mut text).unwrap_or_else(|_| unreachable!("writing to a string cannot fail"));
        let names = || thalweg_shaders::MATH.split("fn ").skip(1).filter_map(|text| text.split('(').next());
        let shared: &[&str] = if names().any(|name| text.contains(&format!("{name}("))) {
            &[thalweg_shaders::GRID, thalweg_shaders::TAIL, thalweg_shaders::MATH]
        } else {
            &[thalweg_shaders::GRID, thalweg_shaders::TAIL]
        };
        for part in shared {
            text.push('\n');
            text.push_str(part);
        }
        text
    }

    fn write_text(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "//\n// twin      crates/tensor/src/recording/chain.rs\n")?;
        writeln!(text, "struct Params {{\n    length: u32,")?;
        writeln!(text, "    // Zeros, of which no compiler knows that they are.\n    left: u32,\n    right: u32,")?;
        for (i, instruction) in self.instructions.iter().enumerate() {
            for (name, kind) in number_names(instruction) {
                writeln!(text, "    {name}{i}: {kind},")?;
            }
        }
        writeln!(text, "}}\n\n@group(0) @binding(0) var<uniform> params: Params;")?;
        for (i, access) in self.access.iter().enumerate() {
            let access = if *access == Access::Read { "read" } else { "read_write" };
            let element = if self.is_addressed(i) { "f32" } else { "vec4f" };
            writeln!(text, "@group(0) @binding({}) var<storage, {access}> b{i}: array<{element}>;", i + 1)?;
        }
        text.push_str(ROUNDED);
        self.write_functions(text)?;
        text.push_str(MAIN);
        for i in 0..self.access.len() {
            if self.loads(i) {
                writeln!(text, "    let x{i} = b{i}[i];")?;
            }
        }
        for (i, instruction) in self.instructions.iter().enumerate() {
            writeln!(text, "    let v{i} = {};", expression(i, instruction))?;
        }
        writeln!(text, "    let count = params.length - 4u * i;")?;
        for (i, store) in self.stores.iter().enumerate() {
            match store {
                None => {}
                Some((value, false)) => writeln!(text, "    b{i}[i] = keep_first(v{value}, count);")?,
                Some((value, true)) => {
                    let lanes = "vec4u(0u, 1u, 2u, 3u) < vec4u(count)";
                    writeln!(text, "    // What lies behind the last element belongs to another.")?;
                    writeln!(text, "    if (count >= 4u) {{ b{i}[i] = v{value}; }}")?;
                    writeln!(text, "    else {{ b{i}[i] = select(b{i}[i], v{value}, {lanes}); }}")?;
                }
            }
        }
        writeln!(text, "}}")
    }

    /// Whether a binding is read at places of its own rather than at the lane's.
    pub(super) fn is_addressed(&self, binding: usize) -> bool {
        self.instructions.iter().any(|instruction| {
            matches!(instruction.function, Function::Single | Function::Repeated)
                && instruction.operands[0] == Source::Binding(binding)
        })
    }

    fn loads(&self, binding: usize) -> bool {
        !self.is_addressed(binding)
            && self.instructions.iter().any(|instruction| instruction.operands.contains(&Source::Binding(binding)))
    }

    /// Each function once: of one element, and of four.
    fn write_functions(&self, text: &mut String) -> std::fmt::Result {
        let mut written = Vec::new();
        for instruction in &self.instructions {
            let name = function_name(instruction.function);
            if written.contains(&name) {
                continue;
            }
            let numbers: Vec<&str> = number_names(instruction).map(|(name, _)| name).collect();
            let (parameters, body) = match instruction.function {
                Function::Unary(op) => (vec!["x"], case(thalweg_shaders::UNARY_OPS, op.code().0)),
                Function::Binary(op) => (vec!["x", "y"], case(thalweg_shaders::BINARY_OPS, op as u32)),
                Function::Repeated => {
                    text.push_str(PLACE);
                    written.push(name);
                    continue;
                }
                Function::Copy | Function::Single => continue,
            };
            let declare = |kind: &str| -> String {
                let operands = parameters.iter().map(|name| format!("{name}: {kind}"));
                operands.chain(numbers.iter().map(|name| format!("{name}: f32"))).collect::<Vec<_>>().join(", ")
            };
            let component = |component: &str| -> String {
                let operands = parameters.iter().map(|name| format!("{name}.{component}"));
                operands.chain(numbers.iter().map(|name| name.to_string())).collect::<Vec<_>>().join(", ")
            };
            writeln!(text, "\nfn {name}({}) -> f32 {{{body}}}", declare("f32"))?;
            let calls = ["x", "y", "z", "w"].map(|c| format!("{name}({})", component(c))).join(", ");
            writeln!(text, "\nfn {name}_4({}) -> vec4f {{\n    return vec4f({calls});\n}}", declare("vec4f"))?;
            written.push(name);
        }
        Ok(())
    }
}

const ROUNDED: &str = "
// A value as if it had been stored and loaded: by way of its bits and a zero, through which no compiler sees, so that
// it neither contracts nor reorders what were operations of their own.
fn rounded(value: vec4f, zero: u32) -> vec4f {
    return bitcast<vec4f>(bitcast<vec4u>(value) ^ vec4u(zero));
}
";

const PLACE: &str = "
fn place(i: u32, offset: u32, divisor: u32, modulus: u32, stride: u32) -> u32 {
    return offset + ((i / divisor) % modulus) * stride;
}
";

const MAIN: &str = "
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (4u * i >= params.length) { return; }
";

/// The body of a case of a `switch` over numbers.
fn case(text: &'static str, number: u32) -> &'static str {
    let label = format!("case {number}u: {{");
    let start = text.find(&label).map(|place| place + label.len());
    let Some(body) = start.map(|start| &text[start..]) else {
        unreachable!("every function has its case, or tests of its own kernel fail");
    };
    let mut depth = 1;
    let end = body.find(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0
    });
    &body[..end.unwrap_or(body.len())]
}

/// The name of a function in the text. Those of two arguments differ from those of one.
fn function_name(function: Function) -> String {
    match function {
        Function::Unary(_) => format!("{}_of", function.name()),
        Function::Binary(_) => format!("{}_both", function.name()),
        Function::Copy | Function::Single | Function::Repeated => function.name(),
    }
}

/// Names and types of an instruction's numbers.
fn number_names(instruction: &Instruction) -> impl Iterator<Item = (&'static str, &'static str)> {
    let names: &[(&str, &str)] = match instruction.function {
        Function::Unary(_) => &[("a", "f32"), ("b", "f32")],
        Function::Single | Function::Repeated => {
            &[("offset", "u32"), ("divisor", "u32"), ("modulus", "u32"), ("stride", "u32")]
        }
        Function::Binary(_) | Function::Copy => &[],
    };
    names.iter().copied().take(instruction.numbers.len())
}

/// What an instruction computes, in the text.
fn expression(i: usize, instruction: &Instruction) -> String {
    let value = |source: Source| match source {
        Source::Binding(binding) => format!("x{binding}"),
        Source::Value(value) => format!("v{value}"),
    };
    let operand = |number: usize| {
        let side = ["left", "right"][number];
        format!("rounded({}, params.{side})", value(instruction.operands[number]))
    };
    let numbers: String = number_names(instruction).map(|(name, _)| format!(", params.{name}{i}")).collect();
    let name = function_name(instruction.function);
    match (instruction.function, instruction.operands[0]) {
        (Function::Unary(_), _) => format!("{name}_4({}{numbers})", operand(0)),
        (Function::Binary(_), _) => format!("{name}_4({}, {})", operand(0), operand(1)),
        (Function::Single, Source::Binding(b)) => format!("vec4f(b{b}[params.offset{i}])"),
        (Function::Repeated, Source::Binding(b)) => {
            let places = [0, 1, 2, 3].map(|c| format!("b{b}[place(4u * i + {c}u{numbers})]"));
            format!("vec4f(\n        {},\n    )", places.join(",\n        "))
        }
        (_, source) => value(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_cut_out_whole() {
        assert_eq!(case(thalweg_shaders::UNARY_OPS, 1), " return abs(x); ");
        assert!(case(thalweg_shaders::BINARY_OPS, 16).contains("let s = sigmoid(x);"));
        assert!(case(thalweg_shaders::BINARY_OPS, 16).trim_end().ends_with("(1.0 - s)));"));
    }
}
