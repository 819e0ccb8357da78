//! Fuses each chain of element-wise operations in a recording into one launch of a generated kernel.
//!
//! Neighbouring operations are fused if they have the same number of elements and access each range of memory through
//! the same view. Then no lane depends on another one. A value that only the chain uses is never stored. All elements
//! of a chain have one storage type.

use std::collections::HashMap;
use std::ops::Range;

use super::plan::temporaries;
use super::program::{Instruction, MOST_NUMBERS, Operation, Program, Source};
use crate::elementwise::Addressing;
use crate::kernel::{Access, Kernel, Launch, MOST_BINDINGS, Work};
use crate::memory::View;
use crate::{DType, Origin};

/// The most operations of one kernel, so that texts stay readable and registers few.
const MOST_STEPS: usize = 64;

/// An element-wise operation of the list.
struct Step {
    operation: Operation,
    /// Its numbers, as bits.
    numbers: Vec<u32>,
    operands: Vec<Operand>,
    target: View,
    /// Whether memory after the last element of the target must be preserved.
    exact: bool,
}

enum Operand {
    Same(View),
    /// Elements of the whole buffer by offset, or by offset, divisor, modulus and stride.
    Addressed(View, Vec<u32>),
}

impl Step {
    fn new(work: &Work) -> Option<Self> {
        match work {
            Work::Launch(launch) => Self::of_launch(launch),
            Work::Copy { source, source_offset, target, target_offset, bytes } => {
                let views = [(source, *source_offset), (target, *target_offset)]
                    .map(|(buffer, offset)| View::new(buffer.clone(), DType::F32, offset / 4, bytes / 4));
                let [source, target] = views;
                (source.is_bindable() && target.is_bindable()).then(|| Self {
                    operation: Operation::Copy,
                    numbers: Vec::new(),
                    operands: vec![Operand::Same(source)],
                    target,
                    exact: true,
                })
            }
            Work::Clear { .. } => None,
        }
    }

    /// Returns the application of a launch, if it has one and its operands have simple addressing.
    fn of_launch(launch: &Launch) -> Option<Self> {
        let application = launch.application.as_ref()?;
        let (target, views) = launch.views.split_last()?;
        let dtype = target.dtype;
        if !dtype.is_float() || views.iter().any(|view| view.dtype != dtype) {
            return None;
        }
        let operand = |(view, place): (&View, &Option<Addressing>)| {
            Some(match (*place)? {
                Addressing::AsBound => Operand::Same(view.clone()),
                Addressing::Plain { offset } => {
                    Operand::Same(View::new(view.buffer.clone(), dtype, offset as usize, target.length))
                }
                Addressing::Single { offset } => Operand::Addressed(view.clone(), vec![offset]),
                Addressing::Repeated { offset, divisor, modulus, stride } => {
                    Operand::Addressed(view.clone(), vec![offset, divisor, modulus, stride])
                }
            })
        };
        Some(Self {
            operation: Operation::Apply(application.function),
            numbers: application.numbers().iter().map(|number| number.to_bits()).collect(),
            operands: views.iter().zip(application.places()).map(operand).collect::<Option<_>>()?,
            target: target.clone(),
            exact: false,
        })
    }

    /// Returns a copy as a copy of elements of another type.
    fn as_type(&self, dtype: DType) -> Self {
        let operand = |operand: &Operand| match operand {
            Operand::Same(view) => Operand::Same(view.as_type(dtype)),
            Operand::Addressed(view, numbers) => Operand::Addressed(view.as_type(dtype), numbers.clone()),
        };
        let operands = self.operands.iter().map(operand).collect();
        Self { operands, target: self.target.as_type(dtype), numbers: self.numbers.clone(), ..*self }
    }
}

/// A view that a chain reads or writes.
struct Bound {
    view: View,
    /// Whether it is the whole buffer, read with its own addressing.
    addressed: bool,
    /// Whether the chain reads its previous contents.
    loaded: bool,
    /// The current value, if the chain has written it.
    value: Option<usize>,
    /// Whether memory after its last element must be preserved.
    exact: bool,
}

/// A chain under construction.
#[derive(Default)]
struct ChainBuilder {
    /// The type of all elements; `None` while there is no step.
    dtype: Option<DType>,
    length: usize,
    instructions: Vec<Instruction>,
    bound: Vec<Bound>,
}

impl ChainBuilder {
    /// Adds a step, unless it would access memory of another step through a different view.
    fn join(&mut self, step: &Step) -> bool {
        let copy;
        let step = match (step.operation, self.dtype) {
            // A copy moves bytes, so it can have the type of the chain.
            (Operation::Copy, Some(dtype)) => {
                copy = step.as_type(dtype);
                &copy
            }
            _ => step,
        };
        if !self.takes(step) {
            return false;
        }
        self.dtype = Some(step.target.dtype);
        self.length = step.target.length;
        let sources: Vec<Source> = step.operands.iter().map(|operand| self.source(operand)).collect();
        let value = match (step.operation, sources[0]) {
            (Operation::Copy, Source::Value(value)) => value,
            (operation, _) => self.push(Instruction { operation, operands: sources, numbers: step.numbers.clone() }),
        };
        let target = self.bind(&step.target, false);
        self.bound[target].value = Some(value);
        self.bound[target].exact |= step.exact;
        true
    }

    fn takes(&self, step: &Step) -> bool {
        let fits = |view: &View| {
            self.bound.iter().all(|bound| bound.addressed || bound.view.is_same(view) || !bound.view.overlaps(view))
        };
        let known = |view: &View| self.bound.iter().any(|bound| !bound.addressed && bound.view.is_same(view));
        // Addressed elements may be anywhere in a buffer, so no part of it may be written.
        let unwritten = |view: &View| {
            !self.bound.iter().any(|b| b.value.is_some() && b.view.buffer.id() == view.buffer.id())
                && step.target.buffer.id() != view.buffer.id()
        };
        // The operands of the step itself must not partially overlap either.
        let views = step.operands.iter().filter_map(|operand| match operand {
            Operand::Same(view) => Some(view),
            Operand::Addressed(..) => None,
        });
        let askew = views.clone().any(|x| views.clone().any(|y| !x.is_same(y) && x.overlaps(y)));
        let addressed_already =
            self.bound.iter().any(|bound| bound.addressed && bound.view.buffer.id() == step.target.buffer.id());
        (self.bound.is_empty() || self.length == step.target.length)
            && self.dtype.is_none_or(|dtype| dtype == step.target.dtype)
            && !addressed_already
            && !askew
            && fits(&step.target)
            && step.operands.iter().all(|operand| match operand {
                // A copy may have any type; a copy of a value of the chain has the chain's type.
                Operand::Same(view) => fits(view) && (step.operation != Operation::Copy || known(view)),
                Operand::Addressed(view, _) => unwritten(view),
            })
    }

    fn push(&mut self, instruction: Instruction) -> usize {
        self.instructions.push(instruction);
        self.instructions.len() - 1
    }

    fn bind(&mut self, view: &View, addressed: bool) -> usize {
        let known = self.bound.iter().position(|bound| bound.addressed == addressed && bound.view.is_same(view));
        known.unwrap_or_else(|| {
            self.bound.push(Bound { view: view.clone(), addressed, loaded: false, value: None, exact: false });
            self.bound.len() - 1
        })
    }

    fn source(&mut self, operand: &Operand) -> Source {
        match operand {
            Operand::Same(view) => {
                let binding = self.bind(view, false);
                match self.bound[binding].value {
                    Some(value) => Source::Value(value),
                    None => {
                        self.bound[binding].loaded = true;
                        Source::Binding(binding)
                    }
                }
            }
            Operand::Addressed(view, numbers) => {
                let binding = Source::Binding(self.bind(view, true));
                let operation = if numbers.len() == 1 { Operation::Single } else { Operation::Repeated };
                let is_same =
                    |i: &Instruction| i.operation == operation && i.operands[0] == binding && i.numbers == *numbers;
                let known = self.instructions.iter().position(is_same);
                Source::Value(known.unwrap_or_else(|| {
                    self.push(Instruction { operation, operands: vec![binding], numbers: numbers.clone() })
                }))
            }
        }
    }

    /// Returns whether a device can bind it. Bindings for which `is_needless` returns `true` are not bound.
    fn fits(&self, is_needless: impl Fn(&Bound) -> bool) -> bool {
        let numbers: usize = self.instructions.iter().map(|instruction| instruction.numbers.len()).sum();
        self.bound.iter().filter(|bound| !is_needless(bound)).count() <= MOST_BINDINGS && numbers <= MOST_NUMBERS
    }

    /// Returns the launch without unused values, or `None` if nothing is used.
    fn into_launch(mut self, origin: Origin, is_needless: impl Fn(&Bound) -> bool) -> Option<Launch> {
        let is_needless: Vec<bool> = self.bound.iter().map(is_needless).collect();
        let stored = |binding: usize| self.bound[binding].value.filter(|_| !is_needless[binding]);
        let mut alive = vec![false; self.instructions.len()];
        (0..self.bound.len()).filter_map(stored).for_each(|value| alive[value] = true);
        let mut loaded = vec![false; self.bound.len()];
        for i in (0..alive.len()).rev() {
            if alive[i] {
                for operand in &self.instructions[i].operands {
                    match *operand {
                        Source::Value(value) => alive[value] = true,
                        Source::Binding(binding) => loaded[binding] = true,
                    }
                }
            }
        }
        let bindings: Vec<usize> =
            (0..self.bound.len()).filter(|&binding| loaded[binding] || stored(binding).is_some()).collect();
        let is_written = |view: &View| {
            (0..self.bound.len()).any(|b| stored(b).is_some() && self.bound[b].view.buffer.id() == view.buffer.id())
        };
        // Renumbers the values and bindings that are left.
        let place_among = |kept: &[usize], all: usize| -> Vec<usize> {
            let mut places = vec![usize::MAX; all];
            kept.iter().enumerate().for_each(|(place, &number)| places[number] = place);
            places
        };
        let values: Vec<usize> = (0..alive.len()).filter(|&value| alive[value]).collect();
        let value_place = place_among(&values, alive.len());
        let binding_place = place_among(&bindings, self.bound.len());
        let dtype = self.dtype.unwrap_or(DType::F32);
        let [read, write] = match dtype {
            DType::F32 => [Access::Read, Access::Write],
            _ => [Access::ReadAs(dtype), Access::WriteAs(dtype)],
        };
        let program = Program {
            dtype,
            stores: bindings.iter().map(|&b| stored(b).map(|v| (value_place[v], self.bound[b].exact))).collect(),
            // A buffer that is written anywhere must not be bound as read elsewhere.
            access: bindings.iter().map(|&b| if is_written(&self.bound[b].view) { write } else { read }).collect(),
            instructions: values
                .iter()
                .map(|&value| {
                    let instruction = &mut self.instructions[value];
                    let operand = |operand: &Source| match *operand {
                        Source::Value(value) => Source::Value(value_place[value]),
                        Source::Binding(binding) => Source::Binding(binding_place[binding]),
                    };
                    Instruction {
                        operation: instruction.operation,
                        operands: instruction.operands.iter().map(operand).collect(),
                        numbers: std::mem::take(&mut instruction.numbers),
                    }
                })
                .collect(),
        };
        if program.instructions.is_empty() {
            return None;
        }
        let views = bindings.iter().map(|&binding| self.bound[binding].view.clone()).collect();
        let params = program.params(self.length);
        let (kernel, chain) = program.kernel();
        Some(Launch::generated(kernel, chain, params, views, self.length.div_ceil(256), origin))
    }
}

/// Fuses chains of element-wise operations.
pub(super) fn join_chains(work: Vec<Work>, first_buffer: u64) -> Vec<Work> {
    let lives: HashMap<u64, (usize, usize)> = temporaries(&work, first_buffer)
        .into_iter()
        .map(|temporary| (temporary.buffer.id(), (temporary.first, temporary.last)))
        .collect();
    let needless_in = |range: Range<usize>| {
        let lives = &lives;
        move |bound: &Bound| {
            let life = lives.get(&bound.view.buffer.id());
            !bound.loaded && life.is_some_and(|&(first, last)| range.contains(&first) && range.contains(&last))
        }
    };
    let steps: Vec<Option<Step>> = work.iter().map(Step::new).collect();
    let mut joined = Vec::with_capacity(work.len());
    let mut work = work.into_iter();
    let mut start = 0;
    while start < steps.len() {
        // The longest chain from here on that a device can bind.
        let (mut group, mut best) = (ChainBuilder::default(), 0);
        for (i, step) in steps[start..].iter().take(MOST_STEPS).enumerate() {
            if !step.as_ref().is_some_and(|step| group.join(step)) {
                break;
            }
            if group.fits(needless_in(start..start + i + 1)) {
                best = i + 1;
            }
        }
        let end = start + best.max(1);
        let members = work.by_ref().take(end - start);
        if best < 2 {
            joined.extend(members);
        } else {
            let origin =
                members.filter_map(|work| if let Work::Launch(launch) = work { Some(launch.origin) } else { None });
            let origin = origin.reduce(|one, other| one.common(&other)).unwrap_or_default();
            let mut group = ChainBuilder::default();
            let all_join = steps[start..end].iter().flatten().all(|step| group.join(step));
            debug_assert!(all_join, "the same steps have joined before");
            joined.extend(group.into_launch(origin, needless_in(start..end)).map(Work::Launch));
        }
        start = end;
    }
    joined
}

/// Returns the generated kernels of a list, each once, in the order of their first launch.
pub(super) fn generated(work: &[Work]) -> Vec<&'static Kernel> {
    let mut kernels: Vec<&'static Kernel> = Vec::new();
    for work in work {
        if let Work::Launch(Launch { kernel, extra: Some(_), .. }) = work
            && !kernels.iter().any(|known| std::ptr::eq(*known, *kernel))
        {
            kernels.push(kernel);
        }
    }
    kernels
}
