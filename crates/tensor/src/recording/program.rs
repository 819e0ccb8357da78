//! [`Program`]: several element-wise operations in a row, of which a kernel is generated.
//!
//! Each value is computed for all elements by one instruction; what is stored goes to the bindings at the end. What
//! differs from one program of a structure to the next, numbers and places, are parameters, so that all of them share one
//! kernel: its text is written in `text.rs`, its twin is [`Chain`].

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use thalweg_shaders::Shader;

use super::chain::{self, Chain};
use crate::kernel::{Access, Kernel, MOST_PARAMETERS};
use crate::ops::binary::BinaryOp;
use crate::ops::unary::UnaryOp;

/// Parameters that every chain has: its length and two zeros.
pub(super) const FIRST_NUMBER: usize = 3;

/// Numbers that the operations of a chain have room for.
pub(super) const MOST_NUMBERS: usize = MOST_PARAMETERS / 4 - FIRST_NUMBER;

/// What an instruction does. The numbers of a function are not part of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Function {
    Unary(UnaryOp),
    Binary(BinaryOp),
    /// The operand itself.
    Copy,
    /// One element of a binding, everywhere; its place is a number.
    Single,
    /// Elements of a binding by offset, divisor, modulus and stride, which are numbers.
    Repeated,
}

impl Function {
    pub(super) fn name(self) -> String {
        let lower = |op: String| op.split('(').next().unwrap_or_default().to_lowercase();
        match self {
            Self::Unary(op) => lower(format!("{op:?}")),
            Self::Binary(op) => op.name().to_string(),
            Self::Copy => "copy".to_string(),
            Self::Single => "single".to_string(),
            Self::Repeated => "repeated".to_string(),
        }
    }
}

/// Where an operand comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// What a binding holds before the chain.
    Binding(usize),
    /// The result of an instruction.
    Value(usize),
}

/// One step of a program. A function of one argument has it twice.
#[derive(Debug, Clone)]
pub(crate) struct Instruction {
    pub(crate) function: Function,
    pub(crate) operands: [Source; 2],
    /// Its own numbers, as bits.
    pub(crate) numbers: Vec<u32>,
}

/// A program: instructions in order, and what is stored when all are done.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) instructions: Vec<Instruction>,
    /// For each binding what is stored in it, if anything, and whether what lies behind the last element must stay.
    pub(super) stores: Vec<Option<(usize, bool)>>,
    /// For each binding whether it is bound to be written.
    pub(super) access: Vec<Access>,
}

impl Program {
    /// The parameters of a launch over so many elements.
    pub(super) fn params(&self, length: usize) -> Vec<u8> {
        let mut words = vec![length as u32, 0, 0];
        words.extend(self.instructions.iter().flat_map(|instruction| &instruction.numbers));
        bytemuck::cast_slice(&words).to_vec()
    }

    /// The kernel for this structure; the same one every time.
    pub(super) fn kernel(&self) -> (&'static Kernel, &'static Chain) {
        static GENERATED: LazyLock<Mutex<HashMap<&'static str, (&'static Kernel, &'static Chain)>>> =
            LazyLock::new(Mutex::default);
        let text = self.text();
        let mut generated = GENERATED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&known) = generated.get(text.as_str()) {
            return known;
        }
        // Kernels live as long as the process, as those that are written by hand do: there are as many as structures.
        let name = self.name();
        let path: &str = Box::leak(format!("generated/{name}.wgsl").into_boxed_str());
        let text: &str = Box::leak(text.into_boxed_str());
        let shader = Box::leak(Box::new(Shader { name: Box::leak(name.into_boxed_str()), path, text, shared: &[] }));
        let numbers: usize = self.instructions.iter().map(|instruction| instruction.numbers.len()).sum();
        let kernel: &Kernel = Box::leak(Box::new(Kernel {
            shader,
            uniform: 4 * (FIRST_NUMBER + numbers),
            access: Box::leak(self.access.clone().into_boxed_slice()),
            variants: &[&[]],
            twin: chain::twin,
        }));
        let chain: &Chain = Box::leak(Box::new(Chain::new(self)));
        tracing::debug!(kernel = kernel.name(), wgsl = text, "generated");
        generated.insert(text, (kernel, chain));
        (kernel, chain)
    }

    fn name(&self) -> String {
        const MOST_NAMES: usize = 6;
        let operations = self.instructions.iter().map(|instruction| instruction.function);
        let names: Vec<String> = operations
            .filter(|function| !matches!(function, Function::Single | Function::Repeated))
            .map(Function::name)
            .collect();
        let shown = names[..names.len().min(MOST_NAMES)].join("_");
        match names.len().saturating_sub(MOST_NAMES) {
            0 => format!("chain_{shown}"),
            more => format!("chain_{shown}_and_{more}_more"),
        }
    }
}
