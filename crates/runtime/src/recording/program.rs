//! [`Program`]: a sequence of element-wise operations from which a kernel is generated.
//!
//! Each instruction computes one value for all elements; results are stored in the bindings at the end. Numbers and
//! addressing are parameters, so that all programs of the same structure share one kernel. Its text is written in
//! `text.rs`; its twin is [`Chain`].

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use thalweg_shaders::Shader;

use super::chain::{self, Chain};
use crate::DType;
use crate::elementwise::{Function, MOST_ARGUMENTS};
use crate::kernel::{Access, Kernel, MOST_PARAMETERS};

/// The parameters of every chain: its length, and a zero for each operand.
pub(super) const FIRST_NUMBER: usize = 1 + MOST_ARGUMENTS;

/// The most numbers of all operations of a chain.
pub(super) const MOST_NUMBERS: usize = MOST_PARAMETERS / 4 - FIRST_NUMBER;

/// The operation of an instruction, without its numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Operation {
    /// A function of the operands.
    Apply(&'static Function),
    /// The operand itself.
    Copy,
    /// One element of a binding, for all; its offset is a number.
    Single,
    /// Elements of a binding by offset, divisor, modulus and stride, which are numbers.
    Repeated,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Apply(function) => function.name,
            Self::Copy => "copy",
            Self::Single => "single",
            Self::Repeated => "repeated",
        }
    }
}

/// The source of an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The contents of a binding before the chain.
    Binding(usize),
    /// The result of an instruction.
    Value(usize),
}

/// One step of a program.
#[derive(Debug, Clone)]
pub(crate) struct Instruction {
    pub(crate) operation: Operation,
    pub(crate) operands: Vec<Source>,
    /// Its numbers, as bits.
    pub(crate) numbers: Vec<u32>,
}

/// A program: instructions in order, and the values stored at the end.
#[derive(Debug)]
pub(super) struct Program {
    /// The storage type of all bindings. The result of each function is rounded to it.
    pub(super) dtype: DType,
    pub(super) instructions: Vec<Instruction>,
    /// For each binding the value stored in it, if any, and whether memory after the last element must be preserved.
    pub(super) stores: Vec<Option<(usize, bool)>>,
    /// The access of each binding.
    pub(super) access: Vec<Access>,
}

impl Program {
    /// Returns the parameters of a launch over so many elements.
    pub(super) fn params(&self, length: usize) -> Vec<u8> {
        let mut words = vec![0; FIRST_NUMBER];
        words[0] = length as u32;
        words.extend(self.instructions.iter().flat_map(|instruction| &instruction.numbers));
        bytemuck::cast_slice(&words).to_vec()
    }

    /// Returns the kernel for this structure, which is created once.
    pub(super) fn kernel(&self) -> (&'static Kernel, &'static Chain) {
        /// The text, and the addresses of the functions: functions with the same text may have different twins.
        type Key = (String, Vec<usize>);
        type Known = HashMap<Key, (&'static Kernel, &'static Chain)>;
        static GENERATED: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
        let text = self.text();
        let address = |instruction: &Instruction| match instruction.operation {
            Operation::Apply(function) => Some(std::ptr::from_ref(function).addr()),
            _ => None,
        };
        let key: Key = (text, self.instructions.iter().filter_map(address).collect());
        let mut generated = GENERATED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&known) = generated.get(&key) {
            return known;
        }
        // Kernels live as long as the process, like hand-written ones. There is one for each structure.
        let name = self.name();
        let path: &str = Box::leak(format!("generated/{name}.wgsl").into_boxed_str());
        let text: &str = Box::leak(key.0.clone().into_boxed_str());
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
        generated.insert(key, (kernel, chain));
        (kernel, chain)
    }

    fn name(&self) -> String {
        const MOST_NAMES: usize = 6;
        let operations = self.instructions.iter().map(|instruction| instruction.operation);
        let names: Vec<&str> = operations
            .filter(|operation| !matches!(operation, Operation::Single | Operation::Repeated))
            .map(Operation::name)
            .collect();
        let shown = names[..names.len().min(MOST_NAMES)].join("_");
        match names.len().saturating_sub(MOST_NAMES) {
            0 => format!("chain_{shown}"),
            more => format!("chain_{shown}_and_{more}_more"),
        }
    }
}
