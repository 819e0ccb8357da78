// Scalar functions that are correct on every driver.
//
// WGSL lets a compiler assume that NaN and infinity do not occur, and leaves the accuracy of `exp`, `log`, `tanh` and
// `sin` to the driver. Measured failures on some driver: `x != x` for NaN (folded to false), `max` and `clamp` with
// NaN (swallowed), `exp(NaN)` (infinity), `exp(-88)` (0), `log(0)`, `log(-1)` (finite), `tanh(89)` (NaN),
// `tanh(1e-7)` (30 % off), `pow` of a negative base. So NaN is tested by its bits, and ranges and small arguments are
// handled here.
//
// twin: crates/runtime/src/math.rs

const INFINITY_BITS: u32 = 0x7f800000u;

// The bits of a NaN or an infinity, computed at run time: WGSL rejects them as constant expressions.
fn from_bits(bits: u32) -> f32 {
    var value = bits;
    return bitcast<f32>(value);
}

fn nan() -> f32 {
    return from_bits(0x7fc00000u);
}

fn infinity() -> f32 {
    return from_bits(INFINITY_BITS);
}

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > INFINITY_BITS;
}

fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & INFINITY_BITS) != INFINITY_BITS;
}

// NaN propagates, as in PyTorch.
fn maximum(x: f32, y: f32) -> f32 {
    if (is_nan(x)) { return x; }
    if (is_nan(y)) { return y; }
    return select(y, x, x > y);
}

fn minimum(x: f32, y: f32) -> f32 {
    if (is_nan(x)) { return x; }
    if (is_nan(y)) { return y; }
    return select(y, x, x < y);
}

fn safe_exp(x: f32) -> f32 {
    if (is_nan(x)) { return x; }
    if (x > 88.72284) { return infinity(); }
    if (x < -103.9721) { return 0.0; }
    // e^x = 2^n e^r with |r| <= ln 2 / 2; the polynomial is Moshier's (Cephes, expf). Drivers lose some 60 ulp at the
    // ends of the range and lose subnormal results. The power of two is applied in two steps, since 2^n alone may not
    // be representable.
    let n = floor(x * 1.44269504 + 0.5);
    let r = (x - n * 0.693359375) + n * 2.12194440e-4;
    let tail = 0.5 + r * (0.16666665459 + r * (0.041665795894 + r * (0.0083334519073
        + r * (0.0013981999507 + r * 0.00019875691500))));
    let half = i32(n) / 2;
    return (1.0 + (r + r * r * tail)) * power_of_two(half) * power_of_two(i32(n) - half);
}

// 2^n for -127 < n < 128.
fn power_of_two(n: i32) -> f32 {
    return bitcast<f32>(u32(n + 127) << 23u);
}

fn safe_log(x: f32) -> f32 {
    if (is_nan(x) || x < 0.0) { return nan(); }
    if (x == 0.0) { return -infinity(); }
    if (!is_finite(x)) { return x; }
    let parts = log_parts(x);
    return parts.x * 0.693359375 + (parts.x * -2.12194440e-4 + parts.y);
}

// The exponent e and ln m of a positive number m 2^e, with m in [sqrt(1/2), sqrt(2)); ln m = 2 artanh(s),
// s = (m - 1) / (m + 1). Drivers lose all relative accuracy near 1, and some return -88 for a subnormal number.
fn log_parts(x: f32) -> vec2f {
    var scaled = x;
    var shift = 0.0;
    if (x < 1.17549435e-38) {
        scaled = x * 8388608.0;
        shift = -23.0;
    }
    let bits = bitcast<u32>(scaled);
    var exponent = f32(i32(bits >> 23u) - 127) + shift;
    var mantissa = bitcast<f32>((bits & 0x007fffffu) | 0x3f800000u);
    if (mantissa > 1.41421356) {
        mantissa = mantissa * 0.5;
        exponent = exponent + 1.0;
    }
    return vec2f(exponent, log_of_ratio((mantissa - 1.0) / (mantissa + 1.0)));
}

// 2 artanh(s) for |s| <= 0.172, by its series.
fn log_of_ratio(s: f32) -> f32 {
    let q = s * s;
    return 2.0 * s + s * q * (0.666666667 + q * (0.4 + q * (0.285714286 + q * (0.222222222 + q * 0.181818182))));
}

fn log1p(x: f32) -> f32 {
    if (is_nan(x) || abs(x) > 0.25) { return safe_log(1.0 + x); }
    return log_of_ratio(x / (2.0 + x));
}

fn expm1(x: f32) -> f32 {
    if (is_nan(x) || abs(x) > 0.35) { return safe_exp(x) - 1.0; }
    return x * (1.0 + x * (0.5 + x * (0.166666667 + x * (0.0416666667 + x * (0.00833333333
        + x * (0.00138888889 + x * 0.000198412698))))));
}

fn safe_tanh(x: f32) -> f32 {
    if (is_nan(x)) { return x; }
    let magnitude = min(abs(x), 20.0);
    var result = 0.0;
    if (magnitude < 0.25) {
        let q = magnitude * magnitude;
        result = magnitude * (1.0 + q * (-0.333333333 + q * (0.133333333 + q * (-0.0539682540
            + q * (0.0218694885 + q * -0.00886323553)))));
    } else {
        let e = safe_exp(-2.0 * magnitude);
        result = (1.0 - e) / (1.0 + e);
    }
    return select(result, -result, x < 0.0);
}

fn sigmoid(x: f32) -> f32 {
    if (is_nan(x)) { return x; }
    let e = safe_exp(-abs(x));
    return select(1.0, e, x < 0.0) / (1.0 + e);
}

// The derivative of the sigmoid, sigmoid(x) sigmoid(-x), which stays accurate far from 0.
fn sigmoid_slope(x: f32) -> f32 {
    let e = safe_exp(-abs(x));
    return e / ((1.0 + e) * (1.0 + e));
}

// ln(1 + e^x) without overflow.
fn softplus(x: f32) -> f32 {
    if (is_nan(x)) { return x; }
    return select(0.0, x, x > 0.0) + log1p(safe_exp(-abs(x)));
}

// The error function: its Taylor series below 0.5, and above it 1 - erfc by the Chebyshev fit of
// Press et al., Numerical Recipes, section 6.2 (relative error of erfc 1.2e-7).
fn erf(x: f32) -> f32 {
    if (is_nan(x)) { return x; }
    let magnitude = min(abs(x), 10.0);
    if (magnitude < 0.5) {
        let q = x * x;
        return x * (1.12837917 + q * (-0.376126389 + q * (0.112837917 + q * (-0.0268661706
            + q * (0.00522397763 + q * -0.000854832701)))));
    }
    let result = 1.0 - erfc_positive(magnitude);
    return select(result, -result, x < 0.0);
}

fn erfc_positive(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.5 * x);
    let polynomial = -1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806
        + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277))))))));
    return t * safe_exp(-x * x + polynomial);
}

// The distribution function of the standard normal, accurate in the lower tail too.
fn normal_cdf(x: f32) -> f32 {
    if (is_nan(x)) { return x; }
    let z = x * 0.707106781;
    if (abs(z) < 0.5) { return 0.5 + 0.5 * erf(z); }
    let tail = 0.5 * erfc_positive(min(abs(z), 20.0));
    return select(1.0 - tail, tail, z < 0.0);
}

fn normal_density(x: f32) -> f32 {
    return 0.398942280 * safe_exp(-0.5 * x * x);
}

// x Phi(x), Phi the distribution function of the standard normal. Below -14 it vanishes in f32.
fn gelu(x: f32) -> f32 {
    if (x < -14.0) { return 0.0; }
    return x * normal_cdf(x);
}

// Reduces x to [-pi/4, pi/4] with Cody and Waite's three constants, accurate up to |x| of some 8,000. Larger
// arguments are passed to the driver. Returns sine and cosine.
fn sine_cosine(x: f32) -> vec2f {
    if (!is_finite(x)) { return vec2f(nan()); }
    if (abs(x) > 8192.0) { return vec2f(sin(x), cos(x)); }
    let quarter = floor(x * 0.636619772 + 0.5);
    let r = ((x - quarter * 1.5703125) - quarter * 4.837512969970703125e-4) - quarter * 7.54978995489188216e-8;
    let q = r * r;
    let s = r + r * q * (-0.166666546 + q * (0.00833216087 + q * -0.000195152959));
    let c = 1.0 - 0.5 * q + q * q * (0.0416666457 + q * (-0.00138873162 + q * 0.0000244331571));
    switch (i32(quarter) & 3) {
        case 0: { return vec2f(s, c); }
        case 1: { return vec2f(c, -s); }
        case 2: { return vec2f(-s, -c); }
        default: { return vec2f(-c, s); }
    }
}

// x to the power y as C's `pow`: a negative base with an integral exponent is valid, and zero to the zero is one.
fn power(x: f32, y: f32) -> f32 {
    if (y == 0.0 || x == 1.0) { return 1.0; }
    if (is_nan(x) || is_nan(y)) { return nan(); }
    if (x == -1.0 && !is_finite(y)) { return 1.0; }
    if (y == 1.0) { return x; }
    if (y == 2.0) { return x * x; }
    if (y == 0.5 && x >= 0.0) { return sqrt(x); }
    let whole = floor(y) == y;
    let odd = whole && abs(y) < 16777216.0 && (i32(y) & 1) != 0;
    if (x == 0.0 || !is_finite(x)) {
        let large = (x == 0.0) == (y < 0.0);
        let result = select(0.0, infinity(), large);
        return select(result, -result, odd && (bitcast<u32>(x) >> 31u) == 1u);
    }
    if (x < 0.0 && !whole) { return nan(); }
    // Small integral exponents by squaring: exact up to rounding.
    if (whole && abs(y) <= 64.0) {
        var base = x;
        var result = 1.0;
        var n = u32(abs(y));
        loop {
            if (n == 0u) { break; }
            if ((n & 1u) == 1u) { result = result * base; }
            base = base * base;
            n = n >> 1u;
        }
        if (y < 0.0) { return 1.0 / result; }
        return result;
    }
    let result = safe_exp(y * safe_log(abs(x)));
    return select(result, -result, odd && x < 0.0);
}
