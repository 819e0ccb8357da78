// AdamW with both moments in eight bits, over the whole arena of parameters, in one launch.
//
//   m       = beta1 decode(codes1) scale1 + (1 - beta1) clip_factor grad       (-grad where maximize)
//   v       = beta2 decode(codes2) scale2 + (1 - beta2) (clip_factor grad)^2
//   param   = (1 - lr weight_decay) param - lr / correction1  m / (sqrt(v) / sqrt(correction2) + eps)
//   scale1  = max |m|,  scale2 = max v              over a block of 64 parameters
//   codes1  = encode(m / scale1),  codes2 = encode(v / scale2)
//
// bindings  1 to 4: shared/update.wgsl   5: codes1 [4 words of 4 codes] read_write   6: codes2 read_write
//           7: scales1 [blocks] read_write   8: scales2 read_write
// bytes     10.125 read, 6.125 written per parameter
// twin      crates/nn/src/optim/methods/adamw8bit.rs
// source    Dettmers, Lewis, Shleifer, Zettlemoyer: 8-bit optimizers via block-wise quantization (ICLR 2022)
//
// A code is a small floating-point number with three bits of mantissa, cut from the bits of an f32. A code of m has a
// sign and four bits of exponent, a code of v five bits of exponent. The largest code is 1, code 0 is 0. Rounding is
// stochastic: the cut-off part is rounded up with a probability equal to its size. So a moment that moves by less
// than a step of the code moves on average. A v that is not 0 never becomes 0, since parameters are divided by its
// root. The random bits are a hash of parameter and step.
//
// A lane takes 16 consecutive parameters, so four lanes share a block and exchange its largest moments through
// workgroup memory. A workgroup takes 1,024 parameters, to which the arena is padded. If there are fewer workgroups,
// each takes several such pieces: in software a workgroup itself costs microseconds.

const EXTRA = NO_EXTRA;
const IS_FOLLOWED = false;

struct Params {
    timing: Timing,
    settings: Settings,
    beta2: f32,
    eps: f32,
}

@group(0) @binding(5) var<storage, read_write> codes1: array<vec4u>;
@group(0) @binding(6) var<storage, read_write> codes2: array<vec4u>;
@group(0) @binding(7) var<storage, read_write> scales1: array<f32>;
@group(0) @binding(8) var<storage, read_write> scales2: array<f32>;

// The largest |m| and v of each lane.
var<workgroup> largest: array<vec2f, 64>;

// Upper bits of the f32 of code 1, less 1: codes are consecutive, as these bits are.
const FIRST1 = 889u;
const FIRST2 = 761u;
// 2^20 / 1.25 2^-16: the factor that converts the part of m below code 1 to chances of 2^-20.
const CHANCES = 54975582208.0;
// Scales below it are set to 0, since their inverse might not be finite.
const LEAST_SCALE = 1e-37;

fn bytes(word: u32) -> vec4u {
    return (vec4u(word) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(0xffu);
}

fn word(bytes: vec4u) -> u32 {
    return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
}

fn decode1(word: u32) -> vec4f {
    let code = bytes(word);
    let magnitude = code & vec4u(0x7fu);
    let bits = ((magnitude + FIRST1) << vec4u(20u)) | ((code & vec4u(0x80u)) << vec4u(24u));
    return bitcast<vec4f>(select(vec4u(0u), bits, magnitude > vec4u(0u)));
}

fn decode2(word: u32) -> vec4f {
    let code = bytes(word);
    return bitcast<vec4f>(select(vec4u(0u), (code + FIRST2) << vec4u(20u), code > vec4u(0u)));
}

// `chance` contains 20 random bits for each.
fn encode1(x: vec4f, chance: vec4u) -> u32 {
    let all = bitcast<vec4u>(x);
    let bits = all & vec4u(0x7fffffffu);
    let small = select(vec4u(0u), vec4u(1u), vec4f(chance) < bitcast<vec4f>(bits) * CHANCES);
    let normal = min(((bits + chance) >> vec4u(20u)) - FIRST1, vec4u(127u));
    let magnitude = select(small, normal, bits >= vec4u((FIRST1 + 1u) << 20u));
    // No negative zero: padding is 0.
    return word(magnitude | select(vec4u(0u), (all >> vec4u(24u)) & vec4u(0x80u), magnitude > vec4u(0u)));
}

fn encode2(x: vec4f, chance: vec4u) -> u32 {
    let bits = bitcast<vec4u>(x);
    let code = min(max((bits + chance) >> vec4u(20u), vec4u(FIRST2 + 1u)) - FIRST2, vec4u(255u));
    return word(select(vec4u(0u), code, bits > vec4u(0u)));
}

// Appleby's finaliser of MurmurHash3: every bit of the result depends on every bit of `x`.
fn hash(x: vec4u) -> vec4u {
    var h = x;
    h = (h ^ (h >> vec4u(16u))) * 0x85ebca6bu;
    h = (h ^ (h >> vec4u(13u))) * 0xc2b2ae35u;
    return h ^ (h >> vec4u(16u));
}

fn inverse(scale: f32) -> f32 {
    return select(0.0, 1.0 / scale, scale >= LEAST_SCALE);
}

fn largest_of(x: vec4f) -> f32 {
    return max(max(x.x, x.y), max(x.z, x.w));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let now = current_time(lane);
    let pieces = params.settings.vectors / 256u;
    for (var piece = group_index(group, groups); piece < pieces; piece += groups.x * groups.y) {
        update_piece(64u * piece + lane, lane, now);
    }
    finish_time(now, lane, groups);
}

// Four vectors, a vector of four words of codes, and a quarter of a block. All lanes of a workgroup must call it.
fn update_piece(n: u32, lane: u32, now: Now) {
    let own = time_of(4u * n, now);
    let step = step_of(own);
    let f = factors(own);
    let old1 = codes1[n];
    let old2 = codes2[n];
    let scale1 = scales1[n / 4u];
    let scale2 = scales2[n / 4u];
    var m = array<vec4f, 4>();
    var v = array<vec4f, 4>();
    var most = vec2f(0.0);
    for (var k = 0u; k < 4u; k++) {
        let i = 4u * n + k;
        let value = values[i];
        let grad = gradient(i, value, step);
        let new_m = step.momentum * (decode1(old1[k]) * scale1) + step.one_minus_momentum * grad;
        let new_v = params.beta2 * (decode2(old2[k]) * scale2) + params.timing.one_minus_beta2 * (grad * grad);
        let new_value = value * step.kept - f.step_size * (new_m / (sqrt(new_v) * f.inverse_root + params.eps));
        values[i] = stored(value, new_value, step);
        m[k] = new_m;
        v[k] = new_v;
        most = max(most, vec2f(largest_of(abs(new_m)), largest_of(new_v)));
    }
    // Waits until the values of the previous piece have been read.
    workgroupBarrier();
    largest[lane] = most;
    workgroupBarrier();
    let first = lane & ~3u;
    most = max(max(largest[first], largest[first + 1u]), max(largest[first + 2u], largest[first + 3u]));
    if (!step.skip) {
        let inverse1 = inverse(most.x);
        let inverse2 = inverse(most.y);
        let key = hash(vec4u(now.step)).x;
        var new1 = vec4u(0u);
        var new2 = vec4u(0u);
        for (var k = 0u; k < 4u; k++) {
            let chance = hash((vec4u(16u * n + 4u * k) + vec4u(0u, 1u, 2u, 3u)) ^ vec4u(key));
            new1[k] = encode1(m[k] * inverse1, chance >> vec4u(12u));
            new2[k] = encode2(v[k] * inverse2, (chance & vec4u(0xffffu)) << vec4u(4u));
        }
        codes1[n] = new1;
        codes2[n] = new2;
        if (lane == first) {
            scales1[n / 4u] = select(0.0, most.x, most.x >= LEAST_SCALE);
            scales2[n / 4u] = select(0.0, most.y, most.y >= LEAST_SCALE);
        }
    }
}
