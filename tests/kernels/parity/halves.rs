//! Tensors of f16 and bf16 on the CPU, on a GPU, and on one without optional features: conversions, copies, fills and
//! element-wise functions, compared with formulas in f64 and with their twins.

mod functions;

use std::fmt::Debug;

use thalweg::autograd::{Error as TapeError, Parameter, Tape};
use thalweg::nn::{CrossEntropy, Loss, Mse};
use thalweg::tensor::{
    Arena, Attention, Cell, Convolution, DType, Device, DropoutState, Error, Float, MaxPooling, RecordOptions,
    Recurrent, Rotary, Tensor, ValueLog, bf16, copy_by_kernel, f16, hold_as, next_batch,
};

use crate::common::{functions_of, numbers};
use crate::parity::{FOLDED, Pair, SIZES};

/// Opens the adapter of the tests without any optional feature.
fn portable_gpu() -> Option<Device> {
    let name = crate::common::gpu()?.info().name;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    let adapter = adapters.into_iter().find(|adapter| adapter.get_info().name == name).unwrap();
    let descriptor = wgpu::DeviceDescriptor { required_limits: adapter.limits(), ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    let device = Device::from_wgpu(device, queue).unwrap();
    assert!(!device.info().features.f16);
    Some(device)
}

fn devices() -> Vec<Device> {
    crate::common::devices().into_iter().chain(portable_gpu()).collect()
}

/// A type of 16 bits, with the numbers of its format.
trait Half: Float + Debug + PartialEq {
    /// Significant bits, the hidden one included.
    const BITS: i32;
    /// The exponent of the smallest normal number.
    const LEAST: i32;
    /// The largest finite number.
    const MOST: f64;

    fn of_bits(bits: u16) -> Self;

    fn bits(self) -> u16 {
        bytemuck::cast(self)
    }
}

impl Half for f16 {
    const BITS: i32 = 11;
    const LEAST: i32 = -14;
    const MOST: f64 = 65_504.0;

    fn of_bits(bits: u16) -> Self {
        Self::from_bits(bits)
    }
}

impl Half for bf16 {
    const BITS: i32 = 8;
    const LEAST: i32 = -126;
    const MOST: f64 = 255.0 / 128.0 * 1.7014118346046923e38;

    fn of_bits(bits: u16) -> Self {
        Self::from_bits(bits)
    }
}

/// Returns the exponent of a number: 2^exponent ≤ |x| < 2^(exponent + 1).
fn exponent(x: f64) -> i32 {
    ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023
}

/// Returns the nearest number of a type, with ties to even: x in units of its last place, rounded, in f64.
fn nearest<T: Half>(x: f64) -> f64 {
    if !x.is_finite() || x == 0.0 {
        return x;
    }
    let unit = 2f64.powi(exponent(x).max(T::LEAST) - (T::BITS - 1));
    let rounded = (x / unit).round_ties_even() * unit;
    if rounded.abs() > T::MOST { f64::INFINITY.copysign(x) } else { rounded }
}

/// Returns the value of an element by its fields.
fn decoded<T: Half>(element: T) -> f64 {
    let (bits, fraction_bits) = (u64::from(element.bits()), T::BITS - 1);
    let (fraction, biased) = (bits & ((1 << fraction_bits) - 1), (bits & 0x7fff) >> fraction_bits);
    let magnitude = match biased as i32 {
        0 => fraction as f64 * 2f64.powi(T::LEAST - fraction_bits),
        biased if biased == 2 - 2 * T::LEAST + 1 && fraction > 0 => f64::NAN,
        biased if biased == 2 - 2 * T::LEAST + 1 => f64::INFINITY,
        biased => (1.0 + fraction as f64 * 2f64.powi(-fraction_bits)) * 2f64.powi(biased - 1 + T::LEAST),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

/// Asserts that an element is the nearest one to a number.
fn assert_nearest<T: Half>(what: &dyn Debug, got: T, x: f64) {
    let expected = nearest::<T>(x);
    let value = decoded(got);
    let same =
        value.is_nan() && expected.is_nan() || value == expected && value.is_sign_negative() == x.is_sign_negative();
    assert!(same, "{what:?}: {x:e} became {value:e} ({:#06x}), expected {expected:e}", got.bits());
}

fn all_bits<T: Half>() -> Vec<T> {
    (0..=u16::MAX).map(T::of_bits).collect()
}

fn elements<T: Half>(seed: u64, count: usize, low: f32, high: f32) -> Vec<T> {
    let mut elements = vec![T::zeroed(); count];
    T::store(&numbers(seed, count, low, high), &mut elements);
    elements
}

fn bits<T: Half>(elements: &[T]) -> Vec<u16> {
    elements.iter().map(|element| element.bits()).collect()
}

/// Returns numbers whose lower halves are at, around and between the ties of both types, for every upper half.
fn ties() -> Vec<f32> {
    const LOWER: [u32; 12] = [0, 1, 0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x3001, 0x7fff, 0x8000, 0x8001, 0xffff];
    (0..=0xffffu32).flat_map(|upper| LOWER.map(|lower| f32::from_bits(upper << 16 | lower))).collect()
}

fn rounds_to<T: Half>() {
    let ties = ties();
    for device in devices() {
        let x = Tensor::from_slice(&device, &ties, &[ties.len()]).unwrap();
        let got: Vec<T> = x.to_dtype(T::DTYPE).unwrap().to_vec().unwrap();
        let flushes = crate::common::flushes_subnormals(&device) && !crate::common::is_software(&device);
        for (&x, &got) in ties.iter().zip(&got) {
            if !(flushes && x.is_subnormal()) {
                assert_nearest(&(device.to_string(), x.to_bits()), got, f64::from(x));
            }
        }
    }
}

#[test]
fn conversions_round_to_the_nearest_f16_and_ties_to_even() {
    rounds_to::<f16>();
    // Half a step below the first number out of range, and half of the smallest number.
    let x = Tensor::from_slice(&Device::cpu(), &[65_519.996f32, 65_520.0, 2.9802322e-8, 2.9802326e-8], &[4]).unwrap();
    let expected = [f16::MAX, f16::INFINITY, f16::ZERO, f16::MIN_POSITIVE_SUBNORMAL];
    assert_eq!(x.to_dtype(DType::F16).unwrap().to_vec::<f16>().unwrap(), expected);
}

#[test]
fn conversions_round_to_the_nearest_bf16_and_ties_to_even() {
    rounds_to::<bf16>();
}

fn widens<T: Half>() {
    let all = all_bits::<T>();
    for device in devices() {
        let x = Tensor::from_slice(&device, &all, &[all.len()]).unwrap();
        let got: Vec<f32> = x.to_dtype(DType::F32).unwrap().to_vec().unwrap();
        let back: Vec<T> = x.to_dtype(DType::F32).unwrap().to_dtype(T::DTYPE).unwrap().to_vec().unwrap();
        let flushes = crate::common::flushes_subnormals(&device) && !crate::common::is_software(&device);
        for ((&x, &got), &back) in all.iter().zip(&got).zip(&back) {
            let expected = decoded(x);
            if flushes && (expected as f32).is_subnormal() {
                continue;
            }
            let same = f64::from(got) == expected && got.is_sign_negative() == (x.bits() >> 15 == 1);
            assert!(same || got.is_nan() && expected.is_nan(), "{device}: {x:?} became {got:e}, expected {expected:e}");
            assert!(back == x || got.is_nan() && decoded(back).is_nan(), "{device}: {x:?} came back as {back:?}");
        }
        let other = if T::DTYPE == DType::F16 { DType::BF16 } else { DType::F16 };
        let by_way = x.to_dtype(DType::F32).unwrap().to_dtype(other).unwrap();
        let direct = x.to_dtype(other).unwrap();
        match other {
            DType::F16 => assert_eq!(bits(&by_way.to_vec::<f16>().unwrap()), bits(&direct.to_vec::<f16>().unwrap())),
            _ => assert_eq!(bits(&by_way.to_vec::<bf16>().unwrap()), bits(&direct.to_vec::<bf16>().unwrap())),
        }
    }
}

#[test]
fn conversions_to_f32_are_exact() {
    widens::<f16>();
    widens::<bf16>();
}

#[test]
fn conversions_of_views_and_of_u32() {
    for device in devices() {
        let x = Tensor::from_slice(&device, &numbers(1, 15, -3.0, 3.0), &[3, 5]).unwrap();
        let turned = x.t().unwrap().to_dtype(DType::F16).unwrap();
        assert_eq!((turned.shape(), turned.dtype()), (&[5, 3][..], DType::F16));
        let expected = x.to_dtype(DType::F16).unwrap().t().unwrap();
        assert_eq!(turned.to_vec::<f16>().unwrap(), expected.to_vec::<f16>().unwrap(), "{device}");
        let words = Tensor::from_slice(&device, &[1u32], &[1]).unwrap();
        assert!(matches!(words.to_dtype(DType::F32), Err(Error::DType { op: "to_dtype", found: DType::U32, .. })));
        assert!(matches!(x.to_dtype(DType::U32), Err(Error::DType { op: "to_dtype", found: DType::U32, .. })));
    }
}

fn round_trips<T: Half>(device: &Device) {
    for size in SIZES {
        let what = format!("{size} of {} on {device}", T::DTYPE);
        let host = elements::<T>(1, size, -3.0, 3.0);
        let x = Tensor::from_slice(device, &host, &[size]).unwrap();
        assert_eq!(x.to_vec::<T>().unwrap(), host, "{what}");
        assert_eq!(x.copy().unwrap().to_vec::<T>().unwrap(), host, "{what}, copied");
        let mut later = x.read_later::<T>().unwrap();
        device.synchronize().unwrap();
        assert_eq!(later.poll().unwrap().unwrap(), host, "{what}, read later");
        for start in [0, 1, size / 2].into_iter().filter(|&start| start < size) {
            let part = x.slice(0, start, size).unwrap();
            assert_eq!(part.to_vec::<T>().unwrap(), host[start..], "{what}, from {start} on");
            assert_eq!(part.copy().unwrap().to_vec::<T>().unwrap(), host[start..], "{what}, copied from {start} on");
        }
        // A write of some elements keeps their neighbours, in either half of a word.
        for (start, end) in [(0, size), (0, size / 2), (size / 3, size), (size / 3, size / 2)] {
            let target = Tensor::from_slice(device, &host, &[size]).unwrap();
            let new = elements::<T>(2, end - start, -3.0, 3.0);
            target.slice(0, start, end).unwrap().write(&new).unwrap();
            let expected = [&host[..start], &new, &host[end..]].concat();
            assert_eq!(target.to_vec::<T>().unwrap(), expected, "{what}, written {start}..{end}");
        }
        let other = if device.is_cpu() { crate::common::gpu() } else { Some(Device::cpu()) };
        if let Some(other) = other {
            let moved = x.to_device(&other).unwrap();
            assert_eq!((moved.dtype(), moved.to_vec::<T>().unwrap()), (T::DTYPE, host), "{what}, moved");
        }
    }
}

#[test]
fn elements_come_back_as_they_went() {
    for device in devices() {
        round_trips::<f16>(&device);
        round_trips::<bf16>(&device);
    }
}

/// Every view is copied like the same view of f32, whose copy other tests check.
fn copies<T: Half>(device: &Device) {
    let count = 36 * 25;
    let host = elements::<T>(1, count, -3.0, 3.0);
    let mut wide = vec![0.0; count];
    T::load(&host, &mut wide);
    let views = |x: &Tensor| {
        let tall = x.reshape(&[3, 12, 5, 5]).unwrap();
        [
            x.t(),
            x.slice(1, 5, 18),
            x.slice(0, 3, 35).unwrap().t(),
            x.slice(0, 1, 2).unwrap().broadcast_to(&[9, 25]),
            x.slice(1, 7, 8).unwrap().broadcast_to(&[36, 3]),
            x.slice(0, 5, 5),
            x.slice(0, 5, 6),
            x.slice(0, 5, 6).unwrap().slice(1, 3, 4),
            tall.permute(&[3, 0, 2, 1]),
        ]
        .map(Result::unwrap)
    };
    let x = Tensor::from_slice(device, &host, &[36, 25]).unwrap();
    let wide = Tensor::from_slice(device, &wide, &[36, 25]).unwrap();
    for (i, (view, wide)) in views(&x).iter().zip(&views(&wide)).enumerate() {
        let got = view.copy().unwrap();
        assert_eq!((got.shape(), got.dtype()), (wide.shape(), T::DTYPE));
        let got: Vec<f32> = got.to_dtype(DType::F32).unwrap().to_vec().unwrap();
        assert_eq!(got, crate::common::floats(wide), "view {i} on {device}");
        // Into elements between others, which keep their values.
        let room = Tensor::full(device, T::of_bits(0x3555), &[view.len() + 300]).unwrap();
        let target = room.slice(0, 128, 128 + view.len()).unwrap().reshape(view.shape()).unwrap();
        view.copy_into(&target).unwrap();
        let mut expected = vec![T::of_bits(0x3555); view.len() + 300];
        expected[128..128 + view.len()].copy_from_slice(&view.to_vec::<T>().unwrap());
        assert_eq!(room.to_vec::<T>().unwrap(), expected, "view {i} into others on {device}");
    }
    let parts = [x.slice(0, 1, 4), x.slice(0, 0, 0), x.slice(0, 30, 31), x.slice(0, 7, 13)].map(Result::unwrap);
    let expected = [&host[25..100], &host[750..775], &host[175..325]].concat();
    assert_eq!(Tensor::concatenate(&parts, 0).unwrap().to_vec::<T>().unwrap(), expected, "joined on {device}");
}

pub(crate) fn copy(_: &Pair) {
    for device in devices() {
        copies::<f16>(&device);
        copies::<bf16>(&device);
    }
    // NaN payloads are copied as they are.
    for device in devices() {
        let all = all_bits::<f16>();
        let x = Tensor::from_slice(&device, &all, &[256, 256]).unwrap();
        let twice = x.t().unwrap().copy().unwrap().t().unwrap().copy().unwrap();
        assert_eq!(bits(&twice.to_vec::<f16>().unwrap()), bits(&all), "{device}");
    }
}

fn fills<T: Half>(device: &Device) {
    for size in SIZES {
        for value in [T::of_bits(0x3c01), T::of_bits(0x8000), T::of_bits(0), T::of_bits(0x7fff)] {
            let full = Tensor::full(device, value, &[size]).unwrap();
            assert_eq!(bits(&full.to_vec::<T>().unwrap()), vec![value.bits(); size], "{size} on {device}");
            let room = Tensor::full(device, T::of_bits(0x3555), &[size + 300]).unwrap();
            room.slice(0, 128, 128 + size).unwrap().fill(value).unwrap();
            let mut expected = vec![0x3555; size + 300];
            expected[128..128 + size].fill(value.bits());
            assert_eq!(bits(&room.to_vec::<T>().unwrap()), expected, "{size} between others on {device}");
        }
        let zeros = Tensor::zeros(device, T::DTYPE, &[size]).unwrap();
        assert_eq!(bits(&zeros.to_vec::<T>().unwrap()), vec![0; size]);
    }
}

pub(crate) fn fill(_: &Pair) {
    for device in devices() {
        fills::<f16>(&device);
        fills::<bf16>(&device);
        let count = 2 * 64 * FOLDED + 1;
        let full = Tensor::full(&device, f16::ONE, &[count]).unwrap();
        assert!(full.to_vec::<f16>().unwrap().iter().all(|&x| x == f16::ONE), "a folded grid on {device}");
    }
}

#[test]
fn elements_of_16_bits_take_two_bytes() {
    let device = Device::open_new("cpu").unwrap();
    let x = hold_as("halves", || Tensor::full(&device, f16::ONE, &[1001])).unwrap();
    // 2,002 bytes are in the size class of 2,048.
    assert_eq!(device.memory().held_by("halves"), 2048);
    let (profile, _) = device.profile(|| x.add(&x)?.to_dtype(DType::F32)).unwrap();
    let bytes = profile.launches().iter().map(|launch| (launch.cost.bytes_read, launch.cost.bytes_written));
    assert_eq!(bytes.collect::<Vec<_>>(), [(4004, 2002), (2002, 4004)]);
    let arena = Arena::with_dtype(&device, DType::BF16, &[vec![3], vec![5, 5], vec![129]]).unwrap();
    assert_eq!((arena.dtype(), arena.pages()[0].len()), (DType::BF16, 1024));
    arena.tensors().iter().zip(1u8..).for_each(|(tensor, i)| tensor.fill(bf16::from(i)).unwrap());
    let page = arena.pages()[0].to_dtype(DType::F32).unwrap().to_vec::<f32>().unwrap();
    assert_eq!((page[2], page[3], page[128], page[153], page[256], page[385]), (1.0, 0.0, 2.0, 0.0, 3.0, 0.0));
    arena.clear().unwrap();
    assert_eq!(arena.get(2).to_vec::<bf16>().unwrap(), [bf16::ZERO; 129]);
    let other = Arena::new(&device, &[vec![3], vec![5, 5], vec![129]]).unwrap();
    assert!(other.same_layout("test", &[&arena]).is_err());
}

#[test]
fn mixed_types_are_refused_with_both_names() {
    for device in devices() {
        let x = Tensor::zeros(&device, DType::F16, &[2]).unwrap();
        let y = Tensor::zeros(&device, DType::BF16, &[2]).unwrap();
        let error = x.add(&y).unwrap_err();
        assert!(matches!(error, Error::MixedTypes { op: "add", left: DType::F16, right: DType::BF16 }));
        assert_eq!(error.to_string(), "add: the operands have the types f16 and bf16; convert one with to_dtype");
        let error = y.mul(&Tensor::zeros(&device, DType::F32, &[2]).unwrap()).unwrap_err().to_string();
        assert_eq!(error, "mul: the operands have the types bf16 and f32; convert one with to_dtype");
        assert!(matches!(x.copy_into(&y), Err(Error::DType { op: "copy", .. })));
        assert!(matches!(x.to_vec::<bf16>(), Err(Error::DType { op: "to_vec", .. })));
        assert!(matches!(x.fill(1f32), Err(Error::DType { op: "fill", .. })));
        let words = Tensor::zeros(&device, DType::U32, &[2]).unwrap();
        assert!(matches!(words.relu(), Err(Error::DType { op: "relu", expected: DType::F32, found: DType::U32 })));
    }
}

/// An operation without a kernel for 16 bits returns an error that names it and the type.
#[test]
fn operations_without_a_kernel_of_16_bits_say_so() {
    for (device, dtype) in
        devices().into_iter().flat_map(|device| [(device.clone(), DType::F16), (device, DType::BF16)])
    {
        let zeros = |dtype, shape: &[usize]| Tensor::zeros(&device, dtype, shape).unwrap();
        let (half, wide, words) = (zeros(dtype, &[4, 4]), zeros(DType::F32, &[4, 4]), zeros(DType::U32, &[4]));
        let (vector, cursor) = (zeros(DType::F32, &[4]), zeros(DType::U32, &[2]));
        let log = ValueLog::new(&device, 4).unwrap();
        let dropout = DropoutState::new(&device, 1, 1).unwrap();
        let refusals: Vec<(&str, Result<(), Error>)> = vec![
            ("matmul", wide.matmul(&half).map(drop)),
            ("matmul", wide.matmul_into(&wide, &half, false)),
            ("linear", half.linear(&wide, &vector, false).map(drop)),
            ("linear", wide.linear(&wide, &zeros(dtype, &[4]), false).map(drop)),
            ("linear_input_grad", half.linear_input_grad(&wide, &wide).map(drop)),
            ("argmax", half.argmax(-1, false).map(drop)),
            ("max_pool1d", half.max_pool1d(&MaxPooling::new([1])).map(drop)),
            ("recurrent", {
                let (gates, state) = (half.unsqueeze(0).unwrap(), zeros(DType::F32, &[4, 4]));
                gates.recurrent(&Recurrent::new(Cell::RnnTanh), &[&state], &wide, None).map(drop)
            }),
            ("cholesky", half.cholesky().map(drop)),
            ("solve_triangular", wide.solve_triangular(&half, true, true, true).map(drop)),
            ("lu", half.lu().map(drop)),
            ("solve", wide.solve(&half).map(drop)),
            ("inv", half.inv().map(drop)),
            ("det", half.det().map(drop)),
            ("slogdet", half.slogdet().map(drop)),
            ("qr", half.qr().map(drop)),
            ("eigh", half.eigh().map(drop)),
            ("svd", half.svd().map(drop)),
            ("bernoulli", half.bernoulli(1, 1).map(drop)),
            ("multinomial", half.multinomial(1, true, 1, 1).map(drop)),
            (
                "scaled_dot_product_attention",
                wide.scaled_dot_product_attention(&half, &half, None, &Attention::default()).map(drop),
            ),
            ("rotary", half.rotary(&vector, &Rotary::default()).map(drop)),
            ("dropout", half.dropout(0.5, &dropout).map(drop)),
            ("class_weights", words.class_weights(2, Some(&half), None, 0).map(drop)),
            ("cumprod", half.cumprod(0).map(drop)),
            ("logcumsumexp", half.logcumsumexp(0).map(drop)),
            ("cummax", half.cummax(0).map(drop)),
            ("cummin", half.cummin(0).map(drop)),
            ("sort", half.sort(0, true).map(drop)),
            ("argsort", half.argsort(0, true).map(drop)),
            ("topk", half.topk(1, 0, true).map(drop)),
            ("median", half.median(0, true).map(drop)),
            ("nonzero", half.nonzero().map(drop)),
            ("masked_select", half.masked_select(&wide).map(drop)),
            ("masked_select", wide.masked_select(&half).map(drop)),
            ("gather", half.gather(0, &words).map(drop)),
            ("gather_last", half.gather_last(0, &words).map(drop)),
            ("index_select", half.index_select(0, &words).map(drop)),
            ("scatter", half.scatter(0, &words, &half).map(drop)),
            ("scatter_add", half.scatter_add(0, &words, &half).map(drop)),
            ("index_add", half.index_add(0, &words, &half).map(drop)),
            ("index_add", wide.index_add(0, &words, &half).map(drop)),
            ("gather_rows", half.gather_rows(&words).map(drop)),
            ("scatter_add_rows", half.scatter_add_rows_into(&words, &wide)),
            ("scatter_add_rows", wide.scatter_add_rows_into(&words, &half)),
            ("batch", next_batch(&half, &words, &words, &cursor, 2).map(drop)),
            ("batch", next_batch(&wide, &half, &words, &cursor, 2).map(drop)),
            ("record_value", log.push(&zeros(dtype, &[]))),
            ("cross_entropy", half.cross_entropy(&words, 1.0).map(drop)),
            ("cross_entropy", half.cross_entropy_mean(&words, None).map(drop)),
            ("squared_error", half.squared_error(&wide, 1.0).map(drop)),
            ("squared_error", wide.squared_error(&half, 1.0).map(drop)),
            ("squared_error", half.squared_error_mean(&half, None).map(drop)),
            ("copy_by_kernel", copy_by_kernel(&half, &half.copy().unwrap(), 1)),
            ("scale", Arena::with_dtype(&device, dtype, &[vec![4]]).unwrap().scale(2.0)),
            ("zeros_packed", {
                let arena = Arena::with_dtype(&device, dtype, &[vec![4]]).unwrap();
                arena.zeros_packed(thalweg::tensor::Packing::Codes).map(drop)
            }),
        ];
        for (name, refused) in refusals {
            let error = refused.expect_err(name);
            let Error::DType { op, expected: DType::F32, found } = error else { panic!("{name}: {error}") };
            assert_eq!(found, dtype, "{name}");
            assert!(name.ends_with(op) || op == "reduce", "{name}: {error}");
        }
    }
}

/// Operations that compute in f32: the result is that of the elements as f32, rounded.
#[test]
fn results_of_16_bits_are_those_of_f32_rounded() {
    type Operation = fn(&[Tensor]) -> Result<Tensor, Error>;
    let operations: [(&str, Operation); 18] = [
        ("matmul", |x| x[0].matmul(&x[1])),
        ("matmul of a batch", |x| x[0].reshape(&[2, 2, 6])?.matmul(&x[1])),
        ("linear", |x| x[0].linear(&x[1].t()?, &x[2], true)),
        ("linear_input_grad", |x| x[0].linear_input_grad(&x[1], &x[3])),
        ("conv2d", |x| {
            x[0].reshape(&[1, 1, 4, 6])?.conv2d(&x[1].reshape(&[5, 1, 2, 3])?, None, &Convolution::default())
        }),
        ("sum", |x| x[0].sum()),
        ("mean", |x| x[0].mean()),
        ("max", |x| x[0].max()),
        ("sum_along", |x| x[0].sum_along(0, true)),
        ("mean_along", |x| x[0].mean_along([0, 1], true)),
        ("min_along", |x| x[0].min_along(1, false)),
        ("sum_to", |x| x[0].sum_to(&[6])),
        ("var_along", |x| x[0].var_along(1, 1.0, false)),
        ("norm_along", |x| x[0].norm_along(2.0, 1, false)),
        ("logsumexp_along", |x| x[0].logsumexp_along(0, false)),
        ("softmax", |x| x[0].softmax(-1)),
        ("log_softmax", |x| x[0].log_softmax(0)),
        ("cumsum", |x| x[0].cumsum(0)),
    ];
    for (device, dtype) in
        devices().into_iter().flat_map(|device| [(device.clone(), DType::F16), (device, DType::BF16)])
    {
        let half = |seed, shape: &[usize]| {
            Tensor::uniform(&device, seed, 0, -2.0, 2.0, shape).unwrap().to_dtype(dtype).unwrap()
        };
        let operands = [half(1, &[4, 6]), half(2, &[6, 5]), half(3, &[5]), half(4, &[4, 5])];
        let wide: Vec<Tensor> = operands.iter().map(|x| x.to_dtype(DType::F32).unwrap()).collect();
        for (name, operation) in operations {
            let got = operation(&operands).unwrap_or_else(|error| panic!("{name}: {error}"));
            let expected = operation(&wide).unwrap().to_dtype(dtype).unwrap();
            assert_eq!((got.dtype(), got.shape()), (dtype, expected.shape()), "{name}");
            let bits = |x: &Tensor| crate::common::floats(&x.to_dtype(DType::F32).unwrap());
            assert_eq!(bits(&got), bits(&expected), "{name} of {dtype} on {device}");
        }
    }
}

#[test]
fn gradients_and_losses_of_16_bits_are_f32() {
    for device in devices() {
        let half = Tensor::zeros(&device, DType::F16, &[2]).unwrap();
        let wide = Tensor::zeros(&device, DType::F32, &[2]).unwrap();
        let is_type = |error: TapeError| matches!(error, TapeError::Tensor(Error::DType { found: DType::F16, .. }));
        assert!(is_type(Parameter::declare("p", &[2]).bind(half.clone(), wide.clone()).unwrap_err()));
        assert!(is_type(Parameter::declare("p", &[2]).bind(wide.clone(), half.clone()).unwrap_err()));
        let tape = Tape::new();
        let x = tape.input(&Tensor::full(&device, f16::from_f32(2.0), &[]).unwrap());
        let y = x.square().unwrap();
        assert_eq!(y.value().to_vec::<f16>().unwrap(), [f16::from_f32(4.0)], "{device}");
        // A backward pass starts from an f32 number.
        assert!(is_type(tape.backward(y).unwrap_err()));
        let gradients = tape.backward(y.to_dtype(DType::F32).unwrap()).unwrap();
        assert_eq!(gradients.get(x).unwrap().to_vec::<f16>().unwrap(), [f16::from_f32(4.0)], "{device}");
        let rows = tape.input(&Tensor::zeros(&device, DType::F16, &[2, 1]).unwrap());
        let targets = Tensor::full(&device, 3f32, &[2, 1]).unwrap();
        let loss = Mse.of(rows, &targets).unwrap();
        assert_eq!((loss.dtype(), loss.item().unwrap()), (DType::F32, 9.0), "{device}");
        let classes = Tensor::zeros(&device, DType::U32, &[2]).unwrap();
        let loss = CrossEntropy.of(rows, &classes).unwrap();
        assert_eq!((loss.dtype(), loss.item().unwrap()), (DType::F32, 0.0), "{device}");
    }
}
