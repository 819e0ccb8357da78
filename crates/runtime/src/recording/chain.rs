//! [`Chain`]: the twin of generated kernels. It runs a program block by block, so that intermediate values stay in
//! the cache.

use std::cell::RefCell;

use super::program::{FIRST_NUMBER, Operation, Program, Source};
use crate::elementwise::{MOST_ARGUMENTS, MOST_NUMBERS};
use crate::kernel::{Access, Call, MOST_BINDINGS};
use crate::threads::{for_each_chunks, vectorized};
use crate::{DType, Float, bf16, f16};

/// The number of elements that run through the whole program at once.
const BLOCK: usize = 1024;

/// A program prepared for the twin, with values in as few registers as there are live values.
#[derive(Debug)]
pub(crate) struct Chain {
    dtype: DType,
    instructions: Vec<Registered>,
    bindings: Vec<Bound>,
    stores: Vec<Option<usize>>,
    registers: usize,
}

/// How a binding is used.
#[derive(Debug, Clone, Copy)]
enum Bound {
    /// Read with its own addressing.
    Whole,
    Read,
    /// Written, and perhaps read: its index among the written bindings.
    Written(usize),
}

#[derive(Debug)]
struct Registered {
    operation: Operation,
    operands: Vec<Source>,
    /// The index of its first number among the parameters.
    number: usize,
    register: usize,
}

impl Chain {
    pub(super) fn new(program: &Program) -> Self {
        let count = program.instructions.len();
        let mut last_use: Vec<usize> = (0..count).collect();
        for (i, instruction) in program.instructions.iter().enumerate() {
            for operand in &instruction.operands {
                if let Source::Value(value) = *operand {
                    last_use[value] = i;
                }
            }
        }
        program.stores.iter().flatten().for_each(|&(value, _)| last_use[value] = count);
        let mut written = 0..;
        let bound = |(i, access): (usize, &Access)| match access.writes() {
            true => Bound::Written(written.next().unwrap_or_default()),
            false if program.is_addressed(i) => Bound::Whole,
            false => Bound::Read,
        };
        let bindings = program.access.iter().enumerate().map(bound).collect();
        let (dtype, instructions) = (program.dtype, Vec::with_capacity(count));
        let mut chain = Self { dtype, instructions, bindings, stores: Vec::new(), registers: 0 };
        let (mut register_of, mut free, mut number) = (Vec::with_capacity(count), Vec::new(), FIRST_NUMBER);
        for (i, instruction) in program.instructions.iter().enumerate() {
            let register = free.pop().unwrap_or(chain.registers);
            chain.registers = chain.registers.max(register + 1);
            register_of.push(register);
            let in_register = |operand: &Source| match *operand {
                Source::Value(value) => Source::Value(register_of[value]),
                Source::Binding(_) => *operand,
            };
            let operands = instruction.operands.iter().map(in_register).collect();
            chain.instructions.push(Registered { operation: instruction.operation, operands, number, register });
            number += instruction.numbers.len();
            // Free from the next instruction on, so that no result overwrites its own operand.
            free.extend((0..=i).filter(|&value| last_use[value] == i).map(|value| register_of[value]));
        }
        chain.stores = program.stores.iter().map(|store| store.map(|(value, _)| register_of[value])).collect();
        chain
    }

    /// Runs the whole program on the elements from `start` on, as many as the written pieces have.
    fn compute<T: Float>(&self, params: &[u8], start: usize, read: &[&[T]; MOST_BINDINGS], written: &mut [&mut [T]]) {
        thread_local! {
            static REGISTERS: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
        }
        REGISTERS.with_borrow_mut(|registers| {
            // The registers are followed by room for elements that are not f32 in memory.
            let count = self.registers + if T::DTYPE == DType::F32 { 0 } else { MOST_ARGUMENTS };
            if registers.len() < count {
                registers.resize_with(count, || vec![0.0; BLOCK]);
            }
            vectorized(
                #[inline(always)]
                || self.compute_with(registers, params, start, read, written),
            );
        });
    }

    #[inline(always)]
    fn compute_with<T: Float>(
        &self,
        registers: &mut [Vec<f32>],
        params: &[u8],
        start: usize,
        read: &[&[T]; MOST_BINDINGS],
        written: &mut [&mut [T]],
    ) {
        let (registers, room) = registers.split_at_mut(self.registers);
        let length = written.first().map_or(0, |piece| piece.len());
        for block in (0..length).step_by(BLOCK) {
            let count = BLOCK.min(length - block);
            for instruction in &self.instructions {
                // Taken out, so that the other registers can be read.
                let mut result = std::mem::take(&mut registers[instruction.register]);
                let fetch = |operand: Source| match operand {
                    Source::Value(register) => Operand::Value(&registers[register][..count]),
                    Source::Binding(binding) => Operand::Stored(match self.bindings[binding] {
                        Bound::Whole => read[binding],
                        Bound::Read => &read[binding][start + block..][..count],
                        Bound::Written(piece) => &written[piece][block..][..count],
                    }),
                };
                instruction.compute(params, start + block, fetch, room, &mut result[..count]);
                registers[instruction.register] = result;
            }
            for (binding, store) in self.bindings.iter().zip(&self.stores) {
                if let (Bound::Written(piece), Some(register)) = (binding, store) {
                    T::store(&registers[*register][..count], &mut written[*piece][block..][..count]);
                }
            }
        }
    }
}

/// An operand of an instruction.
#[derive(Clone, Copy)]
enum Operand<'a, T> {
    Value(&'a [f32]),
    /// Elements of a binding.
    Stored(&'a [T]),
}

impl<'a, T: Float> Operand<'a, T> {
    /// Returns the values, in `room` if the elements are not f32.
    #[inline(always)]
    fn values(self, room: Option<&'a mut Vec<f32>>) -> &'a [f32] {
        match self {
            Self::Value(values) => values,
            Self::Stored(elements) => T::loaded(elements, room.map_or(&mut [], Vec::as_mut_slice)),
        }
    }

    /// Returns the elements of a binding.
    #[inline(always)]
    fn elements(self) -> &'a [T] {
        match self {
            Self::Value(_) => unreachable!("elements at places of their own are those of a binding"),
            Self::Stored(elements) => elements,
        }
    }
}

impl Registered {
    #[inline(always)]
    fn compute<'a, T: Float>(
        &self,
        params: &[u8],
        start: usize,
        fetch: impl Fn(Source) -> Operand<'a, T>,
        room: &mut [Vec<f32>],
        result: &mut [f32],
    ) {
        let bits = |number: usize| -> u32 {
            let at = 4 * (self.number + number);
            bytemuck::pod_read_unaligned(&params[at..at + 4])
        };
        let x = fetch(self.operands[0]);
        let mut room = room.iter_mut();
        match self.operation {
            Operation::Apply(function) => {
                let mut operands: [&[f32]; MOST_ARGUMENTS] = [&[]; MOST_ARGUMENTS];
                operands.iter_mut().zip(&self.operands).for_each(|(slice, operand)| {
                    *slice = fetch(*operand).values(room.next());
                });
                let mut numbers = [0.0; MOST_NUMBERS];
                let numbers = &mut numbers[..function.numbers.len()];
                numbers.iter_mut().enumerate().for_each(|(i, number)| *number = f32::from_bits(bits(i)));
                (function.twin)(&operands[..self.operands.len()], numbers, result);
                T::round(result);
            }
            Operation::Copy => result.copy_from_slice(x.values(room.next())),
            Operation::Single => result.fill(x.elements()[bits(0) as usize].value()),
            Operation::Repeated => {
                let [offset, divisor, modulus, stride] = [0, 1, 2, 3].map(|i| bits(i) as usize);
                let x = x.elements();
                let (mut within, mut index) = (start % divisor, start / divisor % modulus);
                for result in result {
                    *result = x[offset + index * stride].value();
                    within += 1;
                    if within == divisor {
                        (within, index) = (0, if index + 1 == modulus { 0 } else { index + 1 });
                    }
                }
            }
        }
    }
}

/// Runs the program of the chain, element by element.
pub(super) fn twin(call: Call<'_>) {
    let Some(chain) = call.extra.and_then(|extra| extra.downcast_ref::<Chain>()) else {
        unreachable!("a launch of a generated kernel carries its chain")
    };
    match chain.dtype {
        DType::F32 | DType::U32 => run::<f32>(chain, call),
        DType::F16 => run::<f16>(chain, call),
        DType::BF16 => run::<bf16>(chain, call),
    }
}

fn run<T: Float>(chain: &Chain, call: Call<'_>) {
    let mut read: [&[T]; MOST_BINDINGS] = [&[]; MOST_BINDINGS];
    let mut written: [&mut [T]; MOST_BINDINGS] = std::array::from_fn(|_| Default::default());
    for ((bound, read), slice) in chain.bindings.iter().zip(&mut read).zip(call.slices) {
        match *bound {
            Bound::Whole | Bound::Read => *read = slice.read(),
            Bound::Written(piece) => written[piece] = slice.write(),
        }
    }
    match chain.bindings.iter().filter(|bound| matches!(bound, Bound::Written(_))).count() {
        1 => share_out::<T, 1>(chain, call.params, &read, written),
        2 => share_out::<T, 2>(chain, call.params, &read, written),
        3 => share_out::<T, 3>(chain, call.params, &read, written),
        4 => share_out::<T, 4>(chain, call.params, &read, written),
        5 => share_out::<T, 5>(chain, call.params, &read, written),
        6 => share_out::<T, 6>(chain, call.params, &read, written),
        7 => share_out::<T, 7>(chain, call.params, &read, written),
        _ => share_out::<T, MOST_BINDINGS>(chain, call.params, &read, written),
    }
}

/// Computes the first `N` written slices, on several threads.
fn share_out<T: Float, const N: usize>(
    chain: &Chain,
    params: &[u8],
    read: &[&[T]; MOST_BINDINGS],
    written: [&mut [T]; MOST_BINDINGS],
) {
    let mut written = written.into_iter();
    let written: [&mut [T]; N] = std::array::from_fn(|_| written.next().unwrap_or_default());
    for_each_chunks(written, |start, mut pieces| chain.compute(params, start, read, &mut pieces));
}
