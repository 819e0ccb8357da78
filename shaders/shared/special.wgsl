// Scalar functions that few kernels call: trigonometric, hyperbolic and their inverses, other bases, remainders. They hold
// on every driver, as those of math.wgsl, which they need.
//
// The polynomials for the arc sine and the arc tangent are Moshier's (Cephes: asinf, atanf).
//
// twin: crates/runtime/src/math.rs, and the standard library

const PI: f32 = 3.14159265;
const HALF_PI: f32 = 1.57079633;
const LN_2: f32 = 0.693147181;

// x with the sign bit of `sign`, also if that is a zero.
fn with_sign_of(x: f32, sign: f32) -> f32 {
    return bitcast<f32>((bitcast<u32>(x) & 0x7fffffffu) | (bitcast<u32>(sign) & 0x80000000u));
}

fn is_infinite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) == INFINITY_BITS;
}

// 2^x = 2^n e^(r ln 2) with |r| <= 1/2.
fn safe_exp2(x: f32) -> f32 {
    if (is_nan(x)) { return x; }
    if (x >= 128.0) { return infinity(); }
    if (x < -150.0) { return 0.0; }
    let n = floor(x + 0.5);
    let half = i32(n) / 2;
    return (1.0 + expm1((x - n) * LN_2)) * power_of_two(half) * power_of_two(i32(n) - half);
}

// log2(e) is 1.4375 + 0.0051950409: the product with the first is nearly exact.
fn safe_log2(x: f32) -> f32 {
    if (is_nan(x) || x < 0.0) { return nan(); }
    if (x == 0.0) { return -infinity(); }
    if (!is_finite(x)) { return x; }
    let parts = log_parts(x);
    return parts.x + (parts.y * 1.4375 + parts.y * 5.1950408890e-3);
}

fn safe_log10(x: f32) -> f32 {
    if (is_nan(x) || x < 0.0) { return nan(); }
    if (x == 0.0) { return -infinity(); }
    if (!is_finite(x)) { return x; }
    let parts = log_parts(x);
    return parts.x * 0.301025390625 + (parts.x * 4.6050389811e-6 + parts.y * 0.434294482);
}

fn safe_tan(x: f32) -> f32 {
    if (abs(x) > 8192.0) { return tan(x); }
    let both = sine_cosine(x);
    return both.x / both.y;
}

// The arc sine of 0 <= x <= 1/2.
fn small_asin(x: f32) -> f32 {
    let z = x * x;
    return x + x * z * (0.16666752422 + z * (0.074953002686 + z * (0.045470025998
        + z * (0.024181311049 + z * 0.042163199048))));
}

fn safe_asin(x: f32) -> f32 {
    let magnitude = abs(x);
    if (is_nan(x) || magnitude > 1.0) { return nan(); }
    if (magnitude <= 0.5) { return with_sign_of(small_asin(magnitude), x); }
    return with_sign_of(HALF_PI - 2.0 * small_asin(sqrt(0.5 - 0.5 * magnitude)), x);
}

fn safe_acos(x: f32) -> f32 {
    let magnitude = abs(x);
    if (is_nan(x) || magnitude > 1.0) { return nan(); }
    if (magnitude <= 0.5) { return HALF_PI - with_sign_of(small_asin(magnitude), x); }
    let angle = 2.0 * small_asin(sqrt(0.5 - 0.5 * magnitude));
    return select(angle, PI - angle, x < 0.0);
}

// The arc tangent of x >= 0.
fn positive_atan(x: f32) -> f32 {
    var base = 0.0;
    var reduced = x;
    if (x > 2.41421356) {
        base = HALF_PI;
        reduced = -1.0 / x;
    } else if (x > 0.414213562) {
        base = 0.785398163;
        reduced = (x - 1.0) / (x + 1.0);
    }
    let z = reduced * reduced;
    return base + (reduced + reduced * z * (-0.333329491539 + z * (0.199777106478
        + z * (-0.138776856032 + z * 0.0805374449538))));
}

fn safe_atan(x: f32) -> f32 {
    if (is_nan(x)) { return x; }
    if (is_infinite(x)) { return with_sign_of(HALF_PI, x); }
    return with_sign_of(positive_atan(abs(x)), x);
}

// The angle of the point (x, y), as C's `atan2`: signs of zeros count.
fn safe_atan2(y: f32, x: f32) -> f32 {
    if (is_nan(x) || is_nan(y)) { return nan(); }
    let large = max(abs(x), abs(y));
    let small = min(abs(x), abs(y));
    var angle = 0.0;
    if (is_infinite(small)) {
        angle = 0.785398163;
    } else if (large > 0.0 && !is_infinite(large)) {
        angle = positive_atan(small / large);
    }
    if (abs(y) > abs(x)) { angle = HALF_PI - angle; }
    if ((bitcast<u32>(x) >> 31u) == 1u) { angle = PI - angle; }
    return with_sign_of(angle, y);
}

fn safe_sinh(x: f32) -> f32 {
    if (is_nan(x)) { return x; }
    let magnitude = abs(x);
    if (magnitude < 1.0) {
        let e = expm1(magnitude);
        return with_sign_of(0.5 * (e + e / (1.0 + e)), x);
    }
    return with_sign_of(half_exp(magnitude) - 0.25 / half_exp(magnitude), x);
}

fn safe_cosh(x: f32) -> f32 {
    if (is_nan(x)) { return x; }
    return half_exp(abs(x)) + 0.25 / half_exp(abs(x));
}

// e^x / 2 for x >= 0, finite where e^x is just not.
fn half_exp(x: f32) -> f32 {
    if (x < 80.0) { return 0.5 * safe_exp(x); }
    return (0.5 * safe_exp(x - 64.0)) * 6.23514908e27;
}

fn safe_asinh(x: f32) -> f32 {
    if (is_nan(x)) { return x; }
    let magnitude = abs(x);
    if (magnitude > 1e9) { return with_sign_of(safe_log(magnitude) + LN_2, x); }
    let square = magnitude * magnitude;
    return with_sign_of(log1p(magnitude + square / (1.0 + sqrt(square + 1.0))), x);
}

fn safe_acosh(x: f32) -> f32 {
    if (is_nan(x) || x < 1.0) { return nan(); }
    if (x > 1e9) { return safe_log(x) + LN_2; }
    let above = x - 1.0;
    return log1p(above + sqrt(2.0 * above + above * above));
}

fn safe_atanh(x: f32) -> f32 {
    let magnitude = abs(x);
    if (is_nan(x) || magnitude > 1.0) { return nan(); }
    if (magnitude == 1.0) { return with_sign_of(infinity(), x); }
    return with_sign_of(0.5 * log1p(2.0 * magnitude / (1.0 - magnitude)), x);
}

// x - tanh x, by its series near 0.
fn tanhshrink(x: f32) -> f32 {
    if (is_nan(x) || abs(x) >= 0.5) { return x - safe_tanh(x); }
    let q = x * x;
    return x * q * (0.333333333 + q * (-0.133333333 + q * (0.0539682540 + q * (-0.0218694885
        + q * (0.00886323553 + q * (-0.00359212804 + q * 0.00145583438))))));
}

fn erfc(x: f32) -> f32 {
    if (is_nan(x)) { return x; }
    if (abs(x) < 0.5) { return 1.0 - erf(x); }
    let tail = erfc_positive(min(abs(x), 20.0));
    return select(tail, 2.0 - tail, x < 0.0);
}

// x tanh(softplus(x)), with tanh(ln(1 + e)) = e (e + 2) / (e (e + 2) + 2).
fn mish(x: f32) -> f32 {
    if (is_nan(x)) { return x; }
    let e = safe_exp(-abs(x));
    let above = (1.0 + 2.0 * e) / (1.0 + 2.0 * e * (1.0 + e));
    let below = e * (e + 2.0) / (e * (e + 2.0) + 2.0);
    return x * select(above, below, x < 0.0);
}

// sqrt(x^2 + y^2) without overflow on the way.
fn safe_hypot(x: f32, y: f32) -> f32 {
    if (is_infinite(x) || is_infinite(y)) { return infinity(); }
    if (is_nan(x) || is_nan(y)) { return nan(); }
    let large = max(abs(x), abs(y));
    if (large == 0.0) { return 0.0; }
    let ratio = min(abs(x), abs(y)) / large;
    return large * sqrt(1.0 + ratio * ratio);
}

// x - y trunc(x / y), exact, as C's `fmod`: long division in base 2, every difference of which is exact.
fn exact_fmod(x: f32, y: f32) -> f32 {
    if (is_nan(x) || is_nan(y) || is_infinite(x) || y == 0.0) { return nan(); }
    if (is_infinite(y)) { return x; }
    let divisor = abs(y);
    var rest = abs(x);
    // A turn halves the rest at least; a driver that takes a subnormal divisor for zero ends all the same.
    for (var turn = 0u; turn < 300u && rest >= divisor; turn++) {
        let exponent = exponent_of(rest) - exponent_of(divisor);
        let third = exponent / 3;
        var multiple = divisor * power_of_two(third) * power_of_two(third) * power_of_two(exponent - 2 * third);
        if (multiple > rest) { multiple *= 0.5; }
        rest -= multiple;
    }
    return with_sign_of(rest, x);
}

// The exponent of a positive number, subnormal ones as well.
fn exponent_of(x: f32) -> i32 {
    if (x < 1.17549435e-38) { return i32(bitcast<u32>(x * 16777216.0) >> 23u) - 24; }
    return i32(bitcast<u32>(x) >> 23u);
}

// As Python's %: the sign is that of y.
fn exact_remainder(x: f32, y: f32) -> f32 {
    let rest = exact_fmod(x, y);
    if (is_nan(rest) || rest == 0.0 || (rest < 0.0) == (y < 0.0)) { return rest; }
    return rest + y;
}
