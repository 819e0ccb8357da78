//! A replayed training step on the CPU allocates no heap memory, on any thread.

#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]
#![allow(unsafe_code, reason = "an allocator that counts is an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use thalweg::autograd::Tape;
use thalweg::nn::data::{Batches, Dataset};
use thalweg::nn::{
    Adafactor, AdamW, AdamW8bit, Clip, CrossEntropy, Lamb, Loss, Mlp, MlpConfig, Module, Muon, NovoGrad, Optimizer,
    Params, ParamsBuilder, Prodigy, Sm3, Soap, Sophia,
};
use thalweg::tensor::{Device, ValueLog};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with a counter.
struct Counting;

// SAFETY: except for the counter, everything is forwarded to the system.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: guaranteed by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The whole program is this test: the usual harness allocates in its own thread, for instance if a test takes more
/// than a minute.
fn main() {
    hold(50, |params| Optimizer::new(params, AdamW::new(), 1e-3).unwrap().with_clip_norm(1.0).unwrap());
    hold(50, |params| Optimizer::new(params, AdamW8bit::new(), 1e-3).unwrap().with_clip_norm(1.0).unwrap());
    hold(50, |params| Optimizer::new(params, Sophia::new(), 1e-3).unwrap().with_clip_norm(1.0).unwrap());
    hold(50, |params| Optimizer::new(params, Prodigy::new(), 1.0).unwrap().with_clip_norm(1.0).unwrap());
    // Norms of tensors and of units, and statistics.
    hold(50, |params| {
        let optimizer = Optimizer::new(params, Lamb::new(), 1e-3).unwrap().with_clip(Clip::TensorNorm(1.0)).unwrap();
        optimizer.with_adaptive_clip(0.01, 1e-3).unwrap().with_statistics().unwrap()
    });
    hold(50, |params| {
        let clip = Clip::PNorm { max_norm: 1.0, p: 3.5 };
        Optimizer::new(params, NovoGrad::new(), 1e-3).unwrap().with_clip(clip).unwrap()
    });
    // Methods with matrices, in fewer steps.
    hold(5, |params| Optimizer::new(params, Muon::new().ns_steps(2), 1e-3).unwrap());
    hold(5, |params| Optimizer::new(params, Adafactor::new(), 0.01).unwrap().with_clip_norm(1.0).unwrap());
    hold(5, |params| Optimizer::new(params, Sm3::new(), 0.01).unwrap());
    let soap = Soap::new().precondition_frequency(5).max_precondition_dim(10);
    hold(5, |params| Optimizer::new(params, soap, 3e-3).unwrap());
}

fn hold(steps: usize, make: impl Fn(&Params) -> Optimizer) {
    const BATCH: usize = 64;
    const ROWS: usize = 1000;
    let device = Device::cpu();
    let features: Vec<f32> = (0..ROWS * 784).map(|i| ((i * 7919) % 1009) as f32 / 1009.0).collect();
    let classes: Vec<u32> = (0..ROWS as u32).map(|row| row % 10).collect();
    let data = Dataset::classification(&device, &features, 784, &classes, 10).unwrap();
    let mut builder = ParamsBuilder::new(1);
    let config = MlpConfig { inputs: 784, hidden: vec![256, 128], outputs: 10, dropout: 0.1, ..MlpConfig::default() };
    let model = Mlp::new(&mut builder, &config).unwrap();
    let params = builder.build(&device).unwrap();
    let mut optimizer = make(&params);
    let mut batches = Batches::new(data, 3).unwrap();
    batches.start_epoch(0).unwrap();
    let log = ValueLog::new(&device, 64).unwrap();
    let mut step = || -> Result<(), thalweg::nn::Error> {
        let (x, y) = batches.next(BATCH)?;
        let tape = Tape::new();
        let loss = CrossEntropy.of(model.forward(tape.constant(&x))?, &y)?;
        params.zero_grad();
        tape.backward(loss)?;
        optimizer.step()?;
        if optimizer.hessian_interval().is_some() {
            let tape = Tape::new();
            optimizer.estimate_hessian(model.forward(tape.constant(&x))?, &CrossEntropy)?;
        }
        Ok(log.push(&loss.value())?)
    };
    let before_eager = ALLOCATIONS.load(Ordering::SeqCst);
    step().unwrap();
    assert!(ALLOCATIONS.load(Ordering::SeqCst) > before_eager, "the counter does not count");
    let (recording, ()) = device.record(&mut step).unwrap();
    recording.replay(steps.min(20)).unwrap();

    let before = ALLOCATIONS.load(Ordering::SeqCst);
    for _ in 0..steps {
        recording.replay(1).unwrap();
    }
    recording.replay(steps).unwrap();
    assert_eq!(ALLOCATIONS.load(Ordering::SeqCst) - before, 0);

    let losses = log.take().unwrap();
    assert!(losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
}
