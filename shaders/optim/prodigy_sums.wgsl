// Partial sums of a page of the arena for Prodigy's estimate of the distance to the solution: two per 8,192
// parameters.
//
//   g   = clip_factor grad                          (-g where maximize)
//   dlr = d lr sqrt(correction2) / correction1      (d lr without bias correction)
//   s   = beta3 s + d / d0 dlr g                    (d for dlr where safeguard_warmup)
//   partial sums of dlr g (param0 - param) and of |s|
//
// bindings  1 to 4: shared/update.wgsl, the parameters only read   5: s [4 vectors] read_write
//           6: param0 [4 vectors] read_write   7: estimate [4] read   8: partials [2 blocks] write
// bytes     16 read, 4 written per parameter
// twin      crates/nn/src/optim/methods/prodigy.rs
// source    Mishchenko, Defazio: Prodigy: an expeditiously adaptive parameter-free learner (ICML 2024);
//           optax.contrib.prodigy
//
// The first step stores the parameters as param0, and uses d = d0. Frozen parameters do not contribute to the sums. A
// workgroup takes 8,192 parameters in blocks of 1,024, in the order of optim/grad_norm.wgsl.

const EXTRA = NO_EXTRA;
const IS_FOLLOWED = true;

struct Params {
    timing: Timing,
    settings: Settings,
    d0: f32,
    beta3: f32,
    has_bias_correction: u32,
    safeguard_warmup: u32,
    // Where the partial sums of this page begin.
    offset: u32,
}

@group(0) @binding(5) var<storage, read_write> s: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> param0: array<vec4f>;
@group(0) @binding(7) var<storage, read> estimate: array<f32>;
@group(0) @binding(8) var<storage, read_write> partials: array<vec2f>;

struct Terms {
    products: vec4f,
    magnitudes: vec4f,
}

fn terms(i: u32, now: Now, d: f32, correction: f32) -> Terms {
    let own = time_of(i, now);
    let step = step_of(own);
    let value = values[i];
    let old_s = s[i];
    var start = value;
    if (now.step != 1u) { start = param0[i]; } else if (!step.skip) { param0[i] = value; }
    let grad = gradient(i, value, step);
    let dlr = d * own.learning_rate * correction;
    let weight = d / params.d0 * select(dlr, d, params.safeguard_warmup != 0u);
    let new_s = params.beta3 * old_s + weight * grad;
    s[i] = stored(old_s, new_s, step);
    let zero = vec4f(0.0);
    return Terms(select(dlr * (grad * (start - value)), zero, step.skip), select(abs(new_s), zero, step.skip));
}

fn plus(a: Terms, b: Terms) -> Terms {
    return Terms(a.products + b.products, a.magnitudes + b.magnitudes);
}

fn across(x: vec4f) -> f32 {
    return (x.x + x.y) + (x.z + x.w);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = group_index(group, groups);
    let now = current_time(lane);
    let d = select(estimate[0], params.d0, now.step == 1u);
    var correction = 1.0;
    if (params.has_bias_correction != 0u) { correction = sqrt(now.bias_correction2) / now.bias_correction1; }
    let zero = Terms(vec4f(0.0), vec4f(0.0));
    var a = zero;
    var b = zero;
    var c = zero;
    var e = zero;
    let end = min((block + 1u) * 2048u, params.settings.vectors);
    for (var i = block * 2048u + lane; i < end; i += 256u) {
        a = plus(a, terms(i, now, d, correction));
        b = plus(b, terms(i + 64u, now, d, correction));
        c = plus(c, terms(i + 128u, now, d, correction));
        e = plus(e, terms(i + 192u, now, d, correction));
    }
    let sums = plus(plus(a, b), plus(c, e));
    let products = tree_sum(lane, across(sums.products));
    let magnitudes = tree_sum(lane, across(sums.magnitudes));
    // A grid folded over x and y may contain workgroups past the end.
    if (lane == 0u && block * 2048u < params.settings.vectors) {
        partials[params.offset + block] = vec2f(products, magnitudes);
    }
}
