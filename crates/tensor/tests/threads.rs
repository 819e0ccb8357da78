//! The bits of all parallel twins do not depend on the number of threads.

#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

use thalweg_runtime::threads::with_threads;
use thalweg_tensor::optim::{Elements, Head, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{
    Arena, Attention, Cell, Clip, Clock, DType, Device, DropoutState, Kernel, MaxPooling, Recurrent, Result,
    StepArguments, Tensor, next_batch,
};

/// An element-wise update with two arenas of state, for the CPU only.
static UPDATE: Kernel = Kernel {
    shader: &thalweg_shaders::ADAM,
    uniform: size_of::<Head>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin: |call| {
        Elements::of(call).each(
            |now| now.learning_rate,
            move |lr, param, grad, [m, v]| {
                *m += 0.1 * (grad - *m);
                *v += 0.01 * (grad * grad - *v);
                *param -= lr * (*m / (v.sqrt() + 1e-8));
            },
        );
    },
};

/// The states of an LSTM, wide enough for several pieces.
fn recurrent(device: &Device) -> Result<Tensor> {
    let gates = Tensor::uniform(device, 6, 0, -1.0, 1.0, &[2, 260, 4 * 70])?;
    let weight = Tensor::uniform(device, 7, 0, -1.0, 1.0, &[4 * 70, 70])?;
    let state = Tensor::uniform(device, 8, 0, -1.0, 1.0, &[260, 70])?;
    gates.recurrent(&Recurrent::new(Cell::Lstm), &[&state, &state], &weight, None)
}

/// Runs every parallel twin, with several pieces, and returns the bits of all results.
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
    let order = x.argsort(0, false)?;
    let mut all = vec![
        x.tanh()?,
        x.mul(&y)?,
        x.add(&y.slice(0, 0, 1)?)?,
        x.t()?.copy()?,
        x.softmax(-1)?,
        x.sum()?,
        x.max()?,
        x.sum_along(0, true)?,
        x.min_along(1, true)?,
        x.argmax(-1, false)?,
        x.cumsum(0)?,
        x.cumsum(1)?,
        x.reshape(&[300 * 257])?.cumsum_reversed(0)?,
        x.gather_rows(&rows)?,
        x.cumprod(0)?,
        x.logcumsumexp(1)?,
        x.cummax(0)?.1,
        x.gather(0, &order)?,
        x.scatter(0, &order, &y)?,
        x.scatter_add(0, &order, &y)?,
        x.reshape(&[300 * 257])?.argsort(0, true)?,
        x.gt(&y)?.nonzero()?,
        order,
        x.max_pool2d(&MaxPooling { stride: [1, 1], ..MaxPooling::new([2, 3]) })?,
        x.adaptive_avg_pool2d([200, 200])?,
        recurrent(&device)?,
        layer.linear_input_grad(&weight, &x)?,
        x.t()?.matmul(&y)?,
    ];
    let matrices = x.reshape(&[771, 10, 10])?;
    let (q, r) = matrices.qr()?;
    let (u, s, vh) = matrices.svd()?;
    let (values, vectors) = matrices.eigh()?;
    let definite = matrices.matmul(&matrices.transpose(-2, -1)?)?;
    all.extend([q, r, u, s, vh, values, vectors, definite.cholesky()?, matrices.solve(&definite)?]);
    let of_heads = |x: &Tensor| x.slice(1, 0, 256)?.reshape(&[1, 300, 4, 64])?.transpose(1, 2);
    let (query, key) = (of_heads(&x)?, of_heads(&y)?.slice(1, 0, 2)?);
    let settings = Attention { causal: true, ..Attention::default() };
    let (attention, state) = query.attention_forward(&key, &key, None, &settings)?;
    let gradients = query.attention_backward(&key, &key, None, &settings, &attention, &state, &query)?;
    all.extend([attention, state]);
    all.extend(gradients);
    let (recording, chain) = device.record(|| x.square()?.affine(0.5, 1.0)?.mul(&y)?.add(&y.slice(0, 0, 1)?))?;
    recording.replay(1)?;
    all.extend([batch, dropped, mask, filled, layer, dw, db, chain]);

    let values = Arena::new(&device, &[vec![70_000]])?;
    let (grads, moments) = (values.zeros_like()?, [values.zeros_like()?, values.zeros_like()?]);
    Tensor::normal(&device, 5, 0, 0.0, 1.0, &[70_000])?.copy_into(grads.get(0))?;
    let mut clock = Clock::new(&device, 0.01)?;
    for clip in [Clip::Off, Clip::Norm(0.5)] {
        let head = Head::new(Timing::of_betas((0.9, 0.99)), 0.1, false);
        let step = StepArguments { values: &values, grads: &grads, state: &moments, clock: &mut clock, clip };
        step.run(&UPDATE, head, |head| head)?;
    }
    all.extend([values.get(0).clone(), moments[0].get(0).clone(), moments[1].get(0).clone()]);

    let mut bits = Vec::new();
    for tensor in all {
        match tensor.dtype() {
            DType::F32 => bits.extend(tensor.to_vec::<f32>()?.into_iter().map(f32::to_bits)),
            _ => bits.extend(tensor.to_vec::<u32>()?),
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
