//! Element-wise functions, fills and copies.

use thalweg::tensor::{BinaryOp, Tensor, UnaryOp, copy_by_kernel};

use crate::common::{self, Tolerance, floats, flushes_subnormals, numbers, tensor};
use crate::{FOLDED, Pair, SIZES, kernel};

/// Not numbers, infinities, zeros, the ends of the range and places where functions turn.
const SPECIAL: [f32; 38] = [
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    0.0,
    -0.0,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    1e30,
    -1e30,
    1e-30,
    -1e-30,
    1.0,
    -1.0,
    2.0,
    -2.0,
    3.0,
    -3.0,
    0.5,
    -0.5,
    1e-7,
    -1e-7,
    88.72,
    88.73,
    -87.0,
    -88.0,
    -103.9,
    -104.1,
    20.0,
    -20.0,
    14.0,
    -14.5,
    1000.5,
    -1000.0,
    8191.0,
    0.999_999_9,
    -0.999_999_9,
];

/// Numbers below the smallest normal one: a GPU may take them for zeros.
const SUBNORMAL: [f32; 6] = [1e-38, -1e-38, 1e-40, -1e-40, 1e-45, -1e-45];

/// A function with the range of its ordinary arguments, and how close the two devices come. The twins use the standard
/// library, right to an ulp, where the shaders have functions of their own, right to two or three (1 ulp is at most
/// 1.2e-7 of a number).
struct Unary {
    op: UnaryOp,
    range: (f32, f32),
    tolerance: Tolerance,
}

fn unary_functions(pair: &Pair) -> Vec<Unary> {
    use UnaryOp::*;
    let exact = Tolerance::EXACT;
    // Correctly rounded on the CPU and in software; Vulkan allows hardware 2.5 ulp for a division, and takes the root
    // from an inverse root of 2 ulp.
    let rounded = pair.tolerance(exact, Tolerance::new(0.0, 6e-7));
    let few_ulp = Tolerance::new(0.0, 5e-7);
    // Two inexact steps, or a sum that loses a bit.
    let more_ulp = Tolerance::new(0.0, 1e-6);
    // Both devices share the formula. Contracted, its exponent of at most 100 is off by 100 half-ulps: 6e-6.
    let erfc = pair.tolerance(Tolerance::new(0.0, 1e-6), Tolerance::new(1e-7, 1e-5));
    // Near a zero of the function the reduced argument has an absolute error: 8,192 is 5,215 quarters of a turn, each
    // constant of the reduction right to 2^-36 or better.
    let sine = Tolerance::new(5e-7, 5e-7);
    // a x + b in one rounding rather than two.
    let contracted = pair.tolerance(exact, Tolerance::new(2e-6, 2e-7));
    // e^(y ln x): the exponent, at most 88, is right to an ulp, and its absolute error is the result's relative one.
    let power = Tolerance::new(0.0, 1.5e-5);
    let function = |op, low, high, tolerance| Unary { op, range: (low, high), tolerance };
    vec![
        function(Neg, -10.0, 10.0, exact),
        function(Abs, -10.0, 10.0, exact),
        function(Sign, -1.0, 1.0, exact),
        function(Exp, -100.0, 88.0, few_ulp),
        function(Log, 0.0, 10.0, few_ulp),
        function(Sqrt, 0.0, 10.0, rounded),
        function(Reciprocal, -10.0, 10.0, rounded),
        function(Square, -10.0, 10.0, exact),
        function(Relu, -1.0, 1.0, exact),
        function(Tanh, -10.0, 10.0, few_ulp),
        function(Sigmoid, -90.0, 90.0, more_ulp),
        function(Gelu, -15.0, 15.0, erfc),
        function(Silu, -90.0, 90.0, more_ulp),
        function(Softplus, -90.0, 90.0, more_ulp),
        function(Sin, -8000.0, 8000.0, sine),
        function(Cos, -8000.0, 8000.0, sine),
        function(Expm1, -2.0, 2.0, more_ulp),
        function(Log1p, -0.99, 2.0, more_ulp),
        function(Erf, -5.0, 5.0, more_ulp),
        function(Affine(1.7, -0.3), -10.0, 10.0, contracted),
        function(Pow(1.7), 0.0, 50.0, power),
        function(Pow(-3.0), -10.0, 10.0, power),
        function(Pow(0.0), -10.0, 10.0, exact),
        function(Pow(0.5), -10.0, 10.0, rounded),
        function(Pow(65.0), -3.0, 3.0, power),
        function(Pow(f32::NAN), -10.0, 10.0, exact),
        function(Clamp(-0.5, 0.7), -2.0, 2.0, exact),
        function(LeakyRelu(0.01), -10.0, 10.0, exact),
    ]
}

pub(crate) fn unary(pair: &Pair) {
    let functions = unary_functions(pair);
    let mut names: Vec<String> = functions.iter().map(|f| name(&format!("{:?}", f.op))).collect();
    names.dedup();
    assert_eq!(names.len(), kernel("unary").variants.len(), "a function is left out: {names:?}");

    let flushes = flushes_subnormals(&pair.gpu);
    for Unary { op, range, tolerance } in &functions {
        let absolute = if flushes { tolerance.absolute.max(common::vanishing(&pair.gpu)) } else { tolerance.absolute };
        let tolerance = &Tolerance { absolute, ..*tolerance };
        let x = numbers(1, 1009, range.0, range.1);
        pair.compare(&format!("{op:?}"), *tolerance, |device| vec![tensor(device, &x, &[1009]).unary(*op).unwrap()]);
        hold_special(pair, *op, *tolerance);
        hold_subnormal(pair, *op, *tolerance);
    }
    for size in SIZES {
        let x = numbers(2, size, -3.0, 3.0);
        let compute = |device: &_| vec![tensor(device, &x, &[size]).square().unwrap()];
        pair.compare(&format!("square of {size}"), Tolerance::EXACT, compute);
    }
    let x = numbers(3, 256 * FOLDED, -3.0, 3.0);
    pair.compare("a folded grid", Tolerance::EXACT, |device| vec![tensor(device, &x, &[x.len()]).neg().unwrap()]);

    // What is not contiguous, or starts off the alignment, is copied first.
    let x = numbers(4, 20 * 30, -3.0, 3.0);
    pair.compare("views", Tolerance::EXACT, |device| {
        let x = tensor(device, &x, &[20, 30]);
        let views = [x.t(), x.slice(0, 3, 17), x.slice(1, 1, 2), x.slice(0, 0, 1).unwrap().broadcast_to(&[7, 30])];
        views.into_iter().map(|view| view.unwrap().square().unwrap()).collect()
    });
}

/// The name of a function, without its own numbers.
fn name(text: &str) -> String {
    text.split('(').next().unwrap_or_default().to_string()
}

/// NaN and infinities at the same places, everything else as close as ever. What falls below the smallest normal number
/// may come out as zero.
fn hold_special(pair: &Pair, op: UnaryOp, tolerance: Tolerance) {
    let tolerance = Tolerance { absolute: tolerance.absolute.max(common::vanishing(&pair.gpu)), ..tolerance };
    let compute = |device: &_| vec![tensor(device, &SPECIAL, &[SPECIAL.len()]).unary(op).unwrap()];
    if !matches!(op, UnaryOp::Sin | UnaryOp::Cos) {
        return pair.compare(&format!("{op:?} of special values {SPECIAL:?}"), tolerance, compute);
    }
    // Beyond 8,192 the driver's own sine takes over, of which no more is asked than to be one.
    pair.compare_by(&format!("{op:?} of special values"), compute, |what, got, expected| {
        let holds = |i: usize| {
            if SPECIAL[i].abs() > 8192.0 && SPECIAL[i].is_finite() {
                got[i].abs() <= 1.0001
            } else {
                tolerance.holds(got[i], expected[i])
            }
        };
        common::report(what, got, expected, holds, &format!("{tolerance:?}"));
    });
}

/// The function of the number, or of the zero that a GPU may take it for; and of the result as much.
fn hold_subnormal(pair: &Pair, op: UnaryOp, tolerance: Tolerance) {
    let tolerance = Tolerance { absolute: tolerance.absolute.max(f32::MIN_POSITIVE), ..tolerance };
    let got = floats(&tensor(&pair.gpu, &SUBNORMAL, &[SUBNORMAL.len()]).unary(op).unwrap());
    let expected: Vec<f32> = SUBNORMAL.iter().map(|&x| op.apply(x)).collect();
    let holds = |i: usize| {
        let flushed = 0f32.copysign(SUBNORMAL[i]);
        tolerance.holds(got[i], expected[i]) || tolerance.holds(got[i], op.apply(flushed))
    };
    common::report(&format!("{op:?} of subnormal numbers"), &got, &expected, holds, &format!("{tolerance:?}"));
}

fn binary_functions(pair: &Pair) -> Vec<(BinaryOp, Tolerance)> {
    use BinaryOp::*;
    let exact = Tolerance::EXACT;
    let rounded = pair.tolerance(exact, Tolerance::new(0.0, 6e-7));
    let power = Tolerance::new(0.0, 1.5e-5);
    // Of numbers up to 3: a derivative cancels near its zero, where the error is that of the parts.
    let derivative = Tolerance::new(2e-6, 2e-6);
    vec![
        (Add, exact),
        (Sub, exact),
        (Mul, exact),
        (Div, rounded),
        (Maximum, exact),
        (Minimum, exact),
        (Pow, power),
        (Eq, exact),
        (Lt, exact),
        (Le, exact),
        (Gt, exact),
        (Ge, exact),
        (ReluGrad, exact),
        (TanhGrad, pair.tolerance(exact, derivative)),
        (SigmoidGrad, pair.tolerance(exact, derivative)),
        (GeluGrad, derivative),
        (SiluGrad, derivative),
    ]
}

pub(crate) fn binary(pair: &Pair) {
    let functions = binary_functions(pair);
    assert_eq!(functions.len(), kernel("binary").variants.len(), "a function is left out");
    let pairs = SPECIAL.iter().flat_map(|&x| SPECIAL.iter().map(move |&y| (x, y)));
    let (left, right): (Vec<f32>, Vec<f32>) = pairs.unzip();
    let flushes = flushes_subnormals(&pair.gpu);
    for &(op, tolerance) in &functions {
        for size in [1009, 257] {
            let (x, y) = (numbers(1, size, -3.0, 3.0), numbers(2, size, -3.0, 3.0));
            pair.compare(&format!("{op:?} of {size}"), tolerance, |device| {
                vec![tensor(device, &x, &[size]).binary(op, &tensor(device, &y, &[size])).unwrap()]
            });
        }
        // The products of special values span the whole range, so that absolute errors say nothing but below the
        // smallest normal number.
        let tolerance = Tolerance { absolute: common::vanishing(&pair.gpu), relative: tolerance.relative };
        let compute = |device: &_| {
            let (x, y) = (tensor(device, &left, &[left.len()]), tensor(device, &right, &[right.len()]));
            vec![x.binary(op, &y).unwrap()]
        };
        pair.compare_by(&format!("{op:?} of special values"), compute, |what, got, expected| {
            // The slope there is below the smallest normal number, and may be multiplied by a very large one.
            let is_flushed = |i: usize| flushes && op == BinaryOp::SiluGrad && left[i] < -87.0;
            let holds = |i| tolerance.holds(got[i], expected[i]) || is_flushed(i);
            let rule = |i: usize| format!("{:e} and {:e}", left[i], right[i]);
            let first = (0..got.len()).find(|&i| !holds(i)).map(rule).unwrap_or_default();
            common::report(what, got, expected, holds, &format!("{tolerance:?}; the first of {first}"));
        });
    }
    for size in SIZES {
        let (x, y) = (numbers(3, size, -3.0, 3.0), numbers(4, size, -3.0, 3.0));
        pair.compare(&format!("a sum of {size}"), Tolerance::EXACT, |device| {
            vec![tensor(device, &x, &[size]).add(&tensor(device, &y, &[size])).unwrap()]
        });
    }
    let x = numbers(5, 256 * FOLDED, -3.0, 3.0);
    pair.compare("a folded grid", Tolerance::EXACT, |device| {
        let x = tensor(device, &x, &[x.len()]);
        vec![x.mul(&x).unwrap()]
    });
}

pub(crate) fn binary_broadcast(pair: &Pair) {
    let (x, y) = (numbers(1, 5 * 7 * 3, -3.0, 3.0), numbers(2, 7 * 3, -3.0, 3.0));
    for (op, tolerance) in binary_functions(pair) {
        pair.compare(&format!("{op:?}, broadcast"), tolerance, |device| {
            let (x, y) = (tensor(device, &x, &[5, 7, 3]), tensor(device, &y, &[7, 3]));
            vec![x.binary(op, &y).unwrap(), y.binary(op, &x).unwrap()]
        });
    }
    let shapes: [(&[usize], &[usize]); 12] = [
        (&[], &[]),
        (&[], &[65]),
        (&[257], &[]),
        (&[64, 1], &[1, 65]),
        (&[0, 3], &[1, 3]),
        (&[3, 0], &[1]),
        (&[4, 1, 6], &[3, 1]),
        (&[2, 1, 3, 1, 2], &[1, 4, 1, 5, 2]),
        (&[2, 1, 2, 1, 2, 1, 2, 1], &[1, 3, 1, 2, 1, 2, 1, 3]),
        (&[1009, 1], &[1]),
        (&[1, 1, 1], &[63, 1, 4]),
        (&[2, 3, 4], &[2, 3, 1]),
    ];
    for (left, right) in shapes {
        let x = numbers(3, left.iter().product(), -3.0, 3.0);
        let y = numbers(4, right.iter().product(), -3.0, 3.0);
        pair.compare(&format!("{left:?} - {right:?}"), Tolerance::EXACT, |device| {
            vec![tensor(device, &x, left).sub(&tensor(device, &y, right)).unwrap()]
        });
    }
    // Views: transposed, from an unaligned place, with gaps, stretched; and both operands from one buffer.
    let x = numbers(5, 40 * 40, -3.0, 3.0);
    pair.compare("views", Tolerance::EXACT, |device| {
        let x = tensor(device, &x, &[40, 40]);
        let part = x.slice(0, 1, 31).unwrap().slice(1, 3, 33).unwrap();
        let row = x.slice(0, 7, 8).unwrap().slice(1, 5, 35).unwrap().broadcast_to(&[30, 30]).unwrap();
        [(&x, &x.t().unwrap()), (&part, &part.t().unwrap()), (&part, &row), (&row, &row.t().unwrap())]
            .map(|(a, b)| a.sub(b).unwrap())
            .to_vec()
    });
    // A lane takes one element here.
    let (x, y) = (numbers(6, FOLDED, -3.0, 3.0), numbers(7, 64, -3.0, 3.0));
    pair.compare("a folded grid", Tolerance::EXACT, |device| {
        vec![tensor(device, &x, &[FOLDED, 1]).add(&tensor(device, &y, &[64])).unwrap()]
    });
}

pub(crate) fn fill(pair: &Pair) {
    for size in SIZES {
        pair.compare_bits(&format!("filling {size}"), |device| {
            let part = Tensor::full(device, 1f32, &[size + 70]).unwrap();
            part.slice(0, 64, 64 + size.min(6)).unwrap().fill(-0f32).unwrap();
            vec![
                Tensor::full(device, f32::NAN, &[size]).unwrap(),
                Tensor::full(device, 0xdead_beefu32, &[size]).unwrap(),
                Tensor::full(device, 0f32, &[size]).unwrap(),
                part,
            ]
        });
    }
    pair.compare_bits("a folded grid", |device| vec![Tensor::full(device, 7u32, &[64 * FOLDED]).unwrap()]);
}

pub(crate) fn copy(pair: &Pair) {
    let elements: Vec<u32> = (0..2 * 3 * 2 * 3 * 2 * 2 * 3 * 2).collect();
    pair.compare_bits("views", |device| {
        let x = Tensor::from_slice(device, &elements, &[2, 3, 2, 3, 2, 2, 3, 2]).unwrap();
        let plane = x.reshape(&[36, 24]).unwrap();
        let views = [
            x.permute(&[7, 0, 6, 1, 5, 2, 4, 3]),
            plane.t(),
            plane.slice(1, 5, 18),
            plane.slice(0, 3, 35).unwrap().t(),
            plane.slice(0, 1, 2).unwrap().broadcast_to(&[9, 24]),
            plane.slice(1, 7, 8).unwrap().broadcast_to(&[36, 3]),
            plane.slice(0, 5, 5),
            plane.slice(0, 5, 6),
        ];
        views.into_iter().map(|view| view.unwrap().copy().unwrap()).collect()
    });
    for size in SIZES {
        let x = numbers(1, 2 * size, -1.0, 1.0);
        pair.compare_bits(&format!("every second of {size}"), |device| {
            let x = tensor(device, &x, &[size, 2]).slice(1, 1, 2).unwrap();
            let target = Tensor::full(device, 1f32, &[size, 1]).unwrap();
            x.copy_into(&target).unwrap();
            vec![x.copy().unwrap(), target]
        });
    }
    // 2,049² elements are 65,601 workgroups.
    let x = numbers(2, 2049 * 2049, -1.0, 1.0);
    pair.compare_bits("a folded grid", |device| vec![tensor(device, &x, &[2049, 2049]).t().unwrap().copy().unwrap()]);
    pair.compare_bits("joined", |device| {
        let plane = Tensor::from_slice(device, &elements, &[36, 24]).unwrap();
        let parts = [plane.slice(0, 1, 4).unwrap(), plane.slice(0, 0, 0).unwrap(), plane.slice(0, 30, 36).unwrap()];
        vec![Tensor::concatenate(&parts).unwrap()]
    });
}

pub(crate) fn copy_roof(pair: &Pair) {
    // Sizes that fill all workgroups, and others.
    for vectors_per_lane in [1, 2, 4] {
        for size in [0, 4, 252, 256, 260, 1012, 4096, 256 * FOLDED] {
            if size > 4096 && vectors_per_lane > 1 {
                continue;
            }
            let x = numbers(1, size, -1.0, 1.0);
            pair.compare_bits(&format!("{size} by {vectors_per_lane}"), |device| {
                let target = Tensor::full(device, 1f32, &[size]).unwrap();
                copy_by_kernel(&tensor(device, &x, &[size]), &target, vectors_per_lane).unwrap();
                vec![target]
            });
        }
    }
}
