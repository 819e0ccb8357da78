// A step of LARS over the whole arena of parameters: momentum of gradients scaled by each tensor's trust ratio. The
// last of three launches.
//
//   g      = clip_factor grad                       (-g where maximize), + weight_decay param
//   u      = lr own_factor g                        (own_factor: the trust ratio)
//   moment = momentum moment + u
//   param  = param - moment                         (Nesterov: param - (u + momentum moment))
//
// bindings  1 to 4: shared/update.wgsl   5: moment1 [4 vectors] read_write
// bytes     12 read, 8 written per parameter
// twin      crates/nn/src/optim/methods/lars.rs
// source    You, Gitman, Ginsburg: Large batch training of convolutional networks (2017); optax.lars

const EXTRA = NO_EXTRA;

struct Params {
    timing: Timing,
    settings: Settings,
    nesterov: u32,
}

@group(0) @binding(5) var<storage, read_write> moment1: array<vec4f>;

struct Factors {
    step_size: f32,
}

fn factors(now: Now) -> Factors {
    return Factors(now.learning_rate * now.own_factor);
}

fn update(i: u32, step: Step, f: Factors) {
    let value = values[i];
    let moment = moment1[i];
    let scaled = f.step_size * gradient(i, value, step);
    let new_moment = step.momentum * moment + scaled;
    let direction = select(new_moment, scaled + step.momentum * new_moment, params.nesterov != 0u);
    values[i] = stored(value, value - direction, step);
    moment1[i] = stored(moment, new_moment, step);
}
