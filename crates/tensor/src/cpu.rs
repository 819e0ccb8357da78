//! The executor of the CPU: it locks the buffers of a launch and calls the twin. It takes no memory from the heap.

use std::sync::{PoisonError, RwLockReadGuard, RwLockWriteGuard};

use crate::buffer::Buffer;
use crate::kernel::{Access, Call, Launch, MOST_BINDINGS, Slice};
use crate::parallel::for_each_chunk;

enum Guard<'a> {
    Read(RwLockReadGuard<'a, Vec<u32>>),
    Write(RwLockWriteGuard<'a, Vec<u32>>),
}

impl<'a> Guard<'a> {
    /// Locks a buffer. A panic inside of a twin would poison a lock; the words behind it are still words, so it is passed
    /// over.
    fn new(buffer: &'a Buffer, access: Access) -> Self {
        match access {
            Access::Read => Self::Read(buffer.cpu().read().unwrap_or_else(PoisonError::into_inner)),
            Access::Write => Self::Write(buffer.cpu().write().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

/// Runs a launch that [`Launch::check`] has passed.
pub(crate) fn run(launch: &Launch) {
    let (access, views) = (launch.kernel.access, &launch.views[..]);
    let count = views.len();
    // By buffers, and within a buffer by places. Each buffer is locked once, in the order of the ids: two threads with
    // the same buffers cannot block each other.
    let mut order: [usize; MOST_BINDINGS] = std::array::from_fn(|i| i);
    let order = &mut order[..count];
    order.sort_unstable_by_key(|&i| (views[i].buffer.id(), views[i].offset, views[i].length));
    let mut guards: [Option<Guard<'_>>; MOST_BINDINGS] = [const { None }; MOST_BINDINGS];
    let mut slices = [const { Slice::Read(&[]) }; MOST_BINDINGS];
    let groups = order.chunk_by(|&i, &j| views[i].buffer.id() == views[j].buffer.id());
    for (guard, group) in guards.iter_mut().zip(groups) {
        match guard.insert(Guard::new(&views[group[0]].buffer, access[group[0]])) {
            Guard::Read(words) => {
                for &i in group {
                    slices[i] = Slice::Read(&words[views[i].offset..][..views[i].length]);
                }
            }
            Guard::Write(words) => {
                // Several disjoint ranges, from the last to the first.
                let mut rest: &mut [u32] = words;
                for &i in group.iter().rev() {
                    let (before, from) = rest.split_at_mut(views[i].offset);
                    slices[i] = Slice::Write(&mut from[..views[i].length]);
                    rest = before;
                }
            }
        }
    }
    (launch.kernel.twin)(Call {
        params: &launch.params,
        constants: &launch.constants,
        slices,
        count,
        extra: launch.extra,
    });
}

/// Copies words between two buffers.
pub(crate) fn copy(source: &Buffer, source_offset: usize, target: &Buffer, target_offset: usize, length: usize) {
    let (read, write);
    if source.id() < target.id() {
        read = source.cpu().read().unwrap_or_else(PoisonError::into_inner);
        write = target.cpu().write().unwrap_or_else(PoisonError::into_inner);
    } else {
        write = target.cpu().write().unwrap_or_else(PoisonError::into_inner);
        read = source.cpu().read().unwrap_or_else(PoisonError::into_inner);
    }
    let (source, mut target) = (&read[source_offset..][..length], write);
    for_each_chunk(
        &mut target[target_offset..][..length],
        #[inline(always)]
        |start, target| {
            target.copy_from_slice(&source[start..][..target.len()]);
        },
    );
}

/// Sets words to zero.
pub(crate) fn clear(buffer: &Buffer, offset: usize, length: usize) {
    let mut words = buffer.cpu().write().unwrap_or_else(PoisonError::into_inner);
    for_each_chunk(
        &mut words[offset..][..length],
        #[inline(always)]
        |_, words| words.fill(0),
    );
}

#[cfg(test)]
mod tests {
    use crate::parallel::with_threads;
    use crate::{
        AdamUpdate, Arena, Clip, Clock, DType, Device, DropoutState, MomentumUpdate, Result, SgdUpdate, StepArguments,
        Tensor, Update, next_batch,
    };

    /// Every twin that shares out its work, on more than one piece; the bits of all results.
    fn results() -> Result<Vec<u32>> {
        let device = Device::cpu();
        let x = Tensor::normal(&device, 1, 0, 0.0, 1.0, &[300, 257])?;
        let y = Tensor::uniform(&device, 2, 0, 0.5, 1.5, &[300, 257])?;
        let rows: Vec<u32> = (0..300).rev().collect();
        let rows = Tensor::from_slice(&device, &rows, &[300])?;
        let cursor = Tensor::zeros(&device, DType::U32, &[2])?;
        let (batch, _) = next_batch(&x, &rows, &rows, &cursor, 290)?;
        let (dropped, mask) = x.dropout(0.3, &DropoutState::new(&device, 3, 0)?)?;
        let filled = Tensor::full(&device, 2.5f32, &[100_000])?;
        let weight = y.slice(0, 0, 129)?.copy()?;
        let bias = Tensor::uniform(&device, 4, 0, -1.0, 1.0, &[129])?;
        let layer = x.linear(&weight, &bias, true)?;
        let (dw, db) = (weight.copy()?, bias.copy()?);
        layer.linear_weight_grad_into(&x, &dw, &db, true)?;
        let mut all = vec![
            x.tanh()?,
            x.mul(&y)?,
            x.add(&y.slice(0, 0, 1)?)?,
            x.t()?.copy()?,
            x.softmax()?,
            x.sum()?,
            x.max()?,
            x.sum_along(0)?,
            x.min_along(1)?,
            x.argmax()?,
            x.gather_rows(&rows)?,
            layer.linear_input_grad(&weight, &x)?,
            x.t()?.matmul(&y)?,
        ];
        let (recording, chain) = device.record(|| x.square()?.affine(0.5, 1.0)?.mul(&y)?.add(&y.slice(0, 0, 1)?))?;
        recording.replay(1)?;
        all.extend([batch, dropped, mask, filled, layer, dw, db, chain]);

        let values = Arena::new(&device, &[vec![70_000]])?;
        let (grads, moments) = (values.zeros_like()?, [values.zeros_like()?, values.zeros_like()?]);
        Tensor::normal(&device, 5, 0, 0.0, 1.0, &[70_000])?.copy_into(grads.get(0))?;
        let mut clock = Clock::new(&device, 0.01)?;
        let adam = AdamUpdate { betas: (0.9, 0.99), eps: 1e-8, weight_decay: 0.1, decoupled: true, maximize: false };
        let mut step = |update: &dyn Update, state: &[Arena]| {
            update.step(StepArguments {
                values: &values,
                grads: &grads,
                state,
                clock: &mut clock,
                clip: Clip::Norm(0.5),
            })
        };
        step(&adam, &moments)?;
        let momentum =
            MomentumUpdate { momentum: 0.9, dampening: 0.0, weight_decay: 0.1, nesterov: true, maximize: false };
        step(&momentum, &moments[..1])?;
        step(&SgdUpdate { weight_decay: 0.1, maximize: false }, &[])?;
        all.extend([values.get(0).clone(), moments[0].get(0).clone(), moments[1].get(0).clone()]);

        let mut bits = Vec::new();
        for tensor in all {
            match tensor.dtype() {
                DType::F32 => bits.extend(tensor.to_vec::<f32>()?.into_iter().map(f32::to_bits)),
                DType::U32 => bits.extend(tensor.to_vec::<u32>()?),
            }
        }
        Ok(bits)
    }

    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        let one = with_threads(1, results).unwrap();
        for threads in [2, 3] {
            assert!(with_threads(threads, results).unwrap() == one, "{threads} threads");
        }
    }

    #[test]
    fn a_kernel_with_too_many_bindings_is_refused() {
        use crate::kernel::{Access, Kernel, Launch};
        static MANY: Kernel = Kernel {
            shader: &thalweg_shaders::COPY_ROOF,
            uniform: 0,
            access: &[Access::Read; 9],
            variants: &[&[]],
            twin: |_| (),
        };
        let x = Tensor::zeros(&Device::cpu(), DType::F32, &[4]).unwrap();
        let launch = (0..9).fold(Launch::new(&MANY, ()), |launch, _| launch.bind(&x));
        let error = launch.run(&Device::cpu()).unwrap_err().to_string();
        assert!(error.contains("more than 8"), "{error}");
    }
}
