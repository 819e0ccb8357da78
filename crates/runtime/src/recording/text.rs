//! The text of generated kernels: the bodies of their functions, and a sequence of calls.

use std::fmt::Write;

use super::program::{Instruction, Operation, Program, Source};
use crate::elementwise::{Function, MAIN, shared_texts};

impl Program {
    /// Returns the whole text of the kernel.
    pub(super) fn text(&self) -> String {
        let mut text = format!("// {} element-wise operations in one kernel, generated.\n", self.instructions.len());
        self.write_text(&mut text).unwrap_or_else(|_| unreachable!("writing to a string cannot fail"));
        for part in shared_texts(&text).iter().copied().chain(self.dtype.wgsl_text()) {
            text.push('\n');
            text.push_str(part);
        }
        text
    }

    fn write_text(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "//\n// twin      crates/runtime/src/recording/chain.rs\n")?;
        writeln!(text, "struct Params {{\n    length: u32,")?;
        writeln!(
            text,
            "    // Zeros, of which no compiler knows that they are.\n    left: u32,\n    right: u32,\n    third: u32,"
        )?;
        for (i, instruction) in self.instructions.iter().enumerate() {
            for (name, kind) in number_names(instruction) {
                writeln!(text, "    {name}_{i}: {kind},")?;
            }
        }
        writeln!(text, "}}\n\n@group(0) @binding(0) var<uniform> params: Params;")?;
        for (i, access) in self.access.iter().enumerate() {
            let access = if access.writes() { "read_write" } else { "read" };
            let element = if self.is_addressed(i) { self.dtype.wgsl_word() } else { self.dtype.wgsl_vector() };
            writeln!(text, "@group(0) @binding({}) var<storage, {access}> b{i}: array<{element}>;", i + 1)?;
        }
        text.push_str(ROUNDED);
        self.write_functions(text)?;
        text.push_str(MAIN);
        writeln!(text, "    if (4u * i >= params.length) {{ return; }}")?;
        for i in 0..self.access.len() {
            if self.loads(i) {
                writeln!(text, "    let x{i} = {};", self.dtype.wgsl_load(&format!("b{i}[i]")))?;
            }
        }
        let functions = self.functions();
        for (i, instruction) in self.instructions.iter().enumerate() {
            writeln!(text, "    let v{i} = {};", self.expression(i, instruction, &functions))?;
        }
        writeln!(text, "    let count = params.length - 4u * i;")?;
        for (i, store) in self.stores.iter().enumerate() {
            match store {
                None => {}
                Some((value, false)) => {
                    let kept = self.dtype.wgsl_store(&format!("keep_first(v{value}, count)"));
                    writeln!(text, "    b{i}[i] = {kept};")?;
                }
                Some((value, true)) if self.dtype.size() == 2 => {
                    let stored = self.dtype.wgsl_store(&format!("v{value}"));
                    writeln!(text, "    b{i}[i] = first_halves(b{i}[i], {stored}, count);")?;
                }
                Some((value, true)) => {
                    let lanes = "vec4u(0u, 1u, 2u, 3u) < vec4u(count)";
                    writeln!(text, "    // Memory after the last element belongs to another tensor.")?;
                    writeln!(text, "    if (count >= 4u) {{ b{i}[i] = v{value}; }}")?;
                    writeln!(text, "    else {{ b{i}[i] = select(b{i}[i], v{value}, {lanes}); }}")?;
                }
            }
        }
        writeln!(text, "}}")
    }

    /// Returns whether a binding is read with its own addressing rather than at the lane's index.
    pub(super) fn is_addressed(&self, binding: usize) -> bool {
        self.instructions.iter().any(|instruction| {
            matches!(instruction.operation, Operation::Single | Operation::Repeated)
                && instruction.operands[0] == Source::Binding(binding)
        })
    }

    fn loads(&self, binding: usize) -> bool {
        !self.is_addressed(binding)
            && self.instructions.iter().any(|instruction| instruction.operands.contains(&Source::Binding(binding)))
    }

    /// Writes each function once: for one element, and for four.
    fn write_functions(&self, text: &mut String) -> std::fmt::Result {
        for (i, function) in self.functions().into_iter().enumerate() {
            function.write_wgsl(&wgsl_name(i, function), text)?;
        }
        if self.instructions.iter().any(|instruction| instruction.operation == Operation::Repeated) {
            text.push_str(PLACE);
        }
        if self.dtype.size() == 2 && self.stores.iter().flatten().any(|(_, exact)| *exact) {
            text.push_str(FIRST_HALVES);
        }
        Ok(())
    }

    /// Returns the functions that are applied, each once, in the order of their first application.
    fn functions(&self) -> Vec<&'static Function> {
        let mut functions = Vec::new();
        for instruction in &self.instructions {
            if let Operation::Apply(function) = instruction.operation
                && !functions.contains(&function)
            {
                functions.push(function);
            }
        }
        functions
    }
}

const ROUNDED: &str = "
// A value as if it had been stored and loaded: by way of its bits and a zero, through which no compiler sees, so that
// it neither contracts nor reorders what were operations of their own.
fn rounded(value: vec4f, zero: u32) -> vec4f {
    return bitcast<vec4f>(bitcast<vec4u>(value) ^ vec4u(zero));
}
";

const FIRST_HALVES: &str = "
// The first elements of two words of results, and the rest as it was, since it belongs to another.
fn first_halves(before: vec2u, results: vec2u, count: u32) -> vec2u {
    let low = select(vec2u(0u), vec2u(0xffffu), vec2u(0u, 2u) < vec2u(count));
    let high = select(vec2u(0u), vec2u(0xffff0000u), vec2u(1u, 3u) < vec2u(count));
    return (before & ~(low | high)) | (results & (low | high));
}
";

const PLACE: &str = "
fn place(i: u32, offset: u32, divisor: u32, modulus: u32, stride: u32) -> u32 {
    return offset + ((i / divisor) % modulus) * stride;
}
";

/// Returns the name of a function in the text. Its number distinguishes it from others of the same name, and from the
/// functions that it calls.
fn wgsl_name(number: usize, function: &Function) -> String {
    format!("{}_{number}", function.name)
}

/// Returns the names and types of an instruction's numbers.
fn number_names(instruction: &Instruction) -> impl Iterator<Item = (&'static str, &'static str)> {
    let (names, kind): (&[&'static str], _) = match instruction.operation {
        Operation::Apply(function) => (function.numbers, "f32"),
        Operation::Single | Operation::Repeated => (&["offset", "divisor", "modulus", "stride"], "u32"),
        Operation::Copy => (&[], "f32"),
    };
    names.iter().map(move |name| (*name, kind)).take(instruction.numbers.len())
}

impl Program {
    /// Returns the WGSL expression of an instruction. `functions` are those of the program.
    fn expression(&self, i: usize, instruction: &Instruction, functions: &[&Function]) -> String {
        let value = |source: &Source| match source {
            Source::Binding(binding) => format!("x{binding}"),
            Source::Value(value) => format!("v{value}"),
        };
        let numbers: String = number_names(instruction).map(|(name, _)| format!(", params.{name}_{i}")).collect();
        match (instruction.operation, &instruction.operands[0]) {
            (Operation::Apply(function), _) => {
                let zeros = ["left", "right", "third"];
                let rounded = |(operand, zero)| format!("rounded({}, params.{zero})", value(operand));
                let operands: Vec<String> = instruction.operands.iter().zip(zeros).map(rounded).collect();
                let number = functions.iter().position(|known| *known == function).unwrap_or_default();
                let call = format!("{}_each({}{numbers})", wgsl_name(number, function), operands.join(", "));
                // Rounded as if it had been stored and loaded.
                self.dtype.wgsl_load(&self.dtype.wgsl_store(&call))
            }
            (Operation::Single, Source::Binding(b)) => {
                format!("vec4f({})", self.dtype.wgsl_at(&format!("b{b}"), &format!("params.offset_{i}")))
            }
            (Operation::Repeated, Source::Binding(b)) => {
                let at = |c: u32| self.dtype.wgsl_at(&format!("b{b}"), &format!("place(4u * i + {c}u{numbers})"));
                format!("vec4f(\n        {},\n    )", [0, 1, 2, 3].map(at).join(",\n        "))
            }
            (_, source) => value(source),
        }
    }
}
