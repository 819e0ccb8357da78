//! Prodigy: sums over all parameters, an estimate of the distance to the solution, and the update.

use thalweg_tensor::optim::math::{self, LANES};
use thalweg_tensor::optim::{
    Block, ClockWords, Decay, Elements, Head, Now, Pages, ROW_ELEMENTS, Span, StepArguments, Timing, UPDATE_VARIANTS,
};
use thalweg_tensor::{Access, Call, DType, Error, Kernel, Launch, Tensor};

use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// Prodigy, as `optax.contrib.prodigy`: AdamW that estimates the distance d from the start to the solution, and
    /// derives its step size from d:
    ///
    /// ```text
    /// dlr       = d lr √(1 - beta2ᵗ) / (1 - beta1ᵗ)   (d lr without bias_correction)
    /// s         = beta3 s + d / d0 dlr grad           (d for dlr with safeguard_warmup)
    /// numerator = beta3 numerator + d / d0 Σ dlr grad (param0 - param)
    /// d_hat     = d_coef numerator / Σ |s|
    /// d_max     = max(d_max, d_hat)
    /// moment1   = beta1 moment1 + (1 - beta1) d grad
    /// moment2   = beta2 moment2 + (1 - beta2) (d grad)²
    /// d         = min(d_max, growth_rate d)           (growth_rate max(d, d_hat) while d = d0)
    /// param     = param - dlr (weight_decay param + moment1 / (√moment2 + d eps))
    /// ```
    ///
    /// The sums run over all parameters except the frozen ones, on the device and in a fixed order. The rate is a
    /// multiple of d; usual 1. The authors' program leaves out the bias correction by default (`bias_correction:
    /// false`, their `use_bias_correction`). Optax has no limit of growth and does not ascend. Groups that scale the
    /// learning rate scale dlr everywhere. PyTorch does not have this method. The names of the state are those of the
    /// authors' program; its `d` holds d, d_max, the numerator and the previous d. Source: Mishchenko, Defazio:
    /// Prodigy: an expeditiously adaptive parameter-free learner (ICML 2024).
    ///
    /// A step is four launches, five with clipping by the global norm: the clock, the sums, d, the parameters. It moves
    /// 48 bytes per parameter; the state takes 16. In software it reaches 0.4 to 0.7 of a copy's bandwidth: the
    /// arithmetic of the sums, with 20 of the 48 bytes, takes more than half of the time.
    "prodigy" Prodigy {
        /// Decay rates of the first and the second moment.
        betas: (f64, f64) = (0.9, 0.999), fraction;
        /// The decay rate of the sums; `None` for the square root of that of the second moment.
        beta3: Option<f64> = None, fraction;
        /// Added to the root of the second moment, times d.
        eps: f64 = 1e-8, positive;
        /// The first d, certainly smaller than the distance.
        d0: f64 = 1e-6, positive;
        /// The factor of estimates of d.
        d_coef: f64 = 1.0, positive;
        /// The largest factor by which d grows in a step; `None` for no limit.
        growth_rate: Option<f64> = None, from_one;
        /// Whether to correct the moments for their start at zero.
        bias_correction: bool = true;
        /// Whether s leaves out the learning rate, for schedules that warm up.
        safeguard_warmup: bool = false;
        /// Weight decay, times dlr.
        weight_decay: f64 = 0.0, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

/// The number of parameters per partial sum.
const SUM_BLOCK: usize = 8192;

/// The number of parameters that a workgroup sums side by side.
const TURN: usize = 16 * LANES;

/// The numbers of the estimate: d, d_max, the numerator, the previous d.
const ESTIMATE: usize = 4;

impl Method for Prodigy {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        let mut state: Vec<StateArena> = ["exp_avg", "exp_avg_sq", "s", "p0"].map(StateArena::like_parameters).into();
        state.push(StateArena::of_shapes("d", vec![vec![ESTIMATE]]));
        state
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(true).own_step_size(true)
    }

    fn launches(&self, _: &[Vec<usize>]) -> usize {
        4
    }

    fn bytes_per_parameter(&self) -> u64 {
        // The sums read parameter, gradient, s and param0 and write s; the update moves as many bytes as Adam's.
        20 + 28
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let StepArguments { values, grads, state, clock, clip } = step;
        let [moment1, moment2, s, param0, estimate] = state else {
            return Err(Error::Argument {
                op: "prodigy",
                name: "state",
                value: format!("{} arenas", state.len()),
                rule: "one arena for each that the update keeps",
            }
            .into());
        };
        values.same_layout("prodigy", &[grads, moment1, moment2, s, param0])?;
        let Some(estimate) = estimate.pages().first().filter(|page| page.len() >= ESTIMATE) else {
            // There is no parameter either.
            return Ok(());
        };
        let (d0, beta3) = (self.d0 as f32, self.beta3.unwrap_or(self.betas.1.sqrt()) as f32);
        let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize)
            .momentum(self.betas.0)
            .decay(Decay::ByRule);
        clock.advance(grads, clip, head.timing())?;
        let blocks_of = |page: &Tensor| page.len().div_ceil(SUM_BLOCK);
        let blocks: usize = values.pages().iter().map(blocks_of).sum();
        let partials = Tensor::uninitialized(values.device(), DType::F32, &[2 * blocks])?;
        let has_bias_correction = self.bias_correction.into();
        let pages = Pages::new(values, grads, clock, clip);
        let mut offset = 0;
        for (number, page) in values.pages().iter().enumerate() {
            let params = SumParams {
                head: pages.head(head, number),
                d0,
                beta3,
                has_bias_correction,
                safeguard_warmup: self.safeguard_warmup.into(),
                offset: offset as u32,
            };
            let launch = pages.launch(&PRODIGY_SUMS, params, number);
            let launch = launch.bind(&s.pages()[number]).bind(&param0.pages()[number]).bind(estimate).bind(&partials);
            launch.workgroups(blocks_of(page)).run(page.device())?;
            offset += blocks_of(page);
        }
        let params = EstimateParams {
            blocks: blocks as u32,
            d0,
            beta3,
            d_coef: self.d_coef as f32,
            growth_rate: self.growth_rate.unwrap_or(0.0) as f32,
        };
        Launch::new(&PRODIGY_ESTIMATE, params)
            .bind(&partials)
            .bind(clock.state())
            .bind(estimate)
            .run(clock.device())?;
        for (number, page) in values.pages().iter().enumerate() {
            let (beta2, eps) = (self.betas.1 as f32, self.eps as f32);
            let params = Params { head: pages.head(head, number), beta2, eps, has_bias_correction };
            let launch = pages.over_elements(&PRODIGY, params, number, &[true; 3]);
            let launch = launch.bind(&moment1.pages()[number]).bind(&moment2.pages()[number]).bind(estimate);
            launch.run(page.device())?;
        }
        Ok(())
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct SumParams {
    head: Head,
    d0: f32,
    beta3: f32,
    has_bias_correction: u32,
    safeguard_warmup: u32,
    offset: u32,
}

/// Returns √(1 - beta2ᵗ) / (1 - beta1ᵗ), or 1.
fn correction(now: &Now, has_bias_correction: u32) -> f32 {
    if has_bias_correction != 0 { now.bias_correction2.sqrt() / now.bias_correction1 } else { 1.0 }
}

/// Computes s = beta3 s + d / d0 dlr g, and the partial sums of dlr g (param0 - param) and of |s|, in a workgroup's
/// order.
fn sums_twin(call: Call<'_>) {
    let SumParams { d0, beta3, has_bias_correction, safeguard_warmup, offset, .. } = call.params();
    let mut elements = Elements::of(call);
    let estimate = elements.read(2);
    let spans = [
        Span { place: 0, start: 0, words: SUM_BLOCK },
        Span { place: 1, start: 0, words: SUM_BLOCK },
        Span { place: 3, start: 2 * offset as usize, words: 2 },
    ];
    elements.each_group(
        SUM_BLOCK,
        spans,
        #[inline(always)]
        |group, values, time, [s, param0, partial]| {
            let is_first = time.now.step == 1;
            let d = if is_first { d0 } else { estimate[0] };
            let correction = correction(&time.now, has_bias_correction);
            let (s, param0) = (bytemuck::cast_slice_mut::<u32, f32>(s), bytemuck::cast_slice_mut::<u32, f32>(param0));
            let (mut products, mut magnitudes) = ([0f32; TURN], [0f32; TURN]);
            for (number, values) in values.chunks_mut(ROW_ELEMENTS).enumerate() {
                let first = number * ROW_ELEMENTS;
                let block = time.block(group * (SUM_BLOCK / ROW_ELEMENTS) + number, values);
                let Some(Block { now, values, grads }) = block else { continue };
                let (s, param0) = (&mut s[first..][..ROW_ELEMENTS], &mut param0[first..][..ROW_ELEMENTS]);
                let products = &mut products[first % TURN..][..ROW_ELEMENTS];
                let magnitudes = &mut magnitudes[first % TURN..][..ROW_ELEMENTS];
                if is_first {
                    param0.copy_from_slice(values);
                }
                let dlr = d * now.learning_rate * correction;
                let weight = d / d0 * if safeguard_warmup != 0 { d } else { dlr };
                for i in 0..ROW_ELEMENTS {
                    s[i] = beta3 * s[i] + weight * grads[i];
                    products[i] += dlr * (grads[i] * (param0[i] - values[i]));
                    magnitudes[i] += s[i].abs();
                }
            }
            partial[0] = across(&products).to_bits();
            partial[1] = across(&magnitudes).to_bits();
        },
    );
}

/// Sums the values of the lanes of a workgroup: four vectors each, [`LANES`] vectors apart.
fn across(sums: &[f32; TURN]) -> f32 {
    let lanes = std::array::from_fn(|lane| {
        let [x, y, z, w] = [0, 1, 2, 3].map(|i| {
            let [a, b, c, d] = [0, 1, 2, 3].map(|turn| sums[4 * LANES * turn + 4 * lane + i]);
            (a + b) + (c + d)
        });
        (x + y) + (z + w)
    });
    math::tree(lanes, |x, y| x + y)
}

pub(crate) static PRODIGY_SUMS: Kernel = Kernel {
    shader: &thalweg_shaders::PRODIGY_SUMS,
    uniform: size_of::<SumParams>(),
    access: &[
        Access::Write,
        Access::Read,
        Access::Read,
        Access::Write,
        Access::Write,
        Access::Write,
        Access::Read,
        Access::Write,
    ],
    variants: &[
        &[("SELF_CLOCKED", 0.0), ("SEGMENTED", 0.0), ("CLIP_VALUE", 0.0)],
        &[("SELF_CLOCKED", 0.0), ("SEGMENTED", 1.0), ("CLIP_VALUE", 1.0)],
    ],
    twin: sums_twin,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct EstimateParams {
    blocks: u32,
    d0: f32,
    beta3: f32,
    d_coef: f32,
    /// 0 if there is no limit.
    growth_rate: f32,
}

/// Computes d, d_max and the numerator of the formula of [`Prodigy`], from the partial sums.
fn estimate_twin(call: Call<'_>) {
    let EstimateParams { blocks, d0, beta3, d_coef, growth_rate } = call.params();
    let [partials, clock, estimate] = call.bindings();
    let clock: &ClockWords = bytemuck::from_bytes(bytemuck::cast_slice(clock.read::<u32>()));
    if clock.clip_factor < 0.0 {
        return;
    }
    let (pairs, _) = partials.read::<f32>()[..2 * blocks as usize].as_chunks::<2>();
    let [products, magnitudes] = [0, 1].map(|number| {
        let mut lanes = [0f32; LANES];
        for pairs in pairs.chunks(LANES) {
            lanes.iter_mut().zip(pairs).for_each(|(lane, pair)| *lane += pair[number]);
        }
        math::tree(lanes, |x, y| x + y)
    });
    let estimate = estimate.write::<f32>();
    let is_first = clock.step == 1;
    let [d, mut d_max, numerator] = if is_first { [d0, d0, 0.0] } else { [estimate[0], estimate[1], estimate[2]] };
    let numerator = beta3 * numerator + d / d0 * products;
    let mut next = d;
    let d_hat = d_coef * numerator / if magnitudes > 0.0 { magnitudes } else { 1.0 };
    if magnitudes > 0.0 && d_hat.is_finite() {
        d_max = d_max.max(d_hat);
        next = d_max;
        if growth_rate > 0.0 {
            next = d_max.min(growth_rate * if d == d0 { d.max(d_hat) } else { d });
        }
    }
    estimate[..ESTIMATE].copy_from_slice(&[next, d_max, numerator, d]);
}

pub(crate) static PRODIGY_ESTIMATE: Kernel = Kernel {
    shader: &thalweg_shaders::PRODIGY_ESTIMATE,
    uniform: size_of::<EstimateParams>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: &[&[]],
    twin: estimate_twin,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    beta2: f32,
    eps: f32,
    has_bias_correction: u32,
}

/// Computes the rest of the formula of [`Prodigy`], element-wise.
fn twin(call: Call<'_>) {
    let Params { head, beta2, eps, has_bias_correction } = call.params();
    let one_minus_beta2 = head.one_minus_beta2();
    let mut elements = Elements::of(call);
    let estimate = elements.read(2);
    let (d_before, d_eps) = (estimate[3], estimate[0] * eps);
    elements.each_of(
        [0, 1],
        #[inline(always)]
        |now| {
            let dlr = d_before * now.learning_rate * correction(now, has_bias_correction);
            (now.momentum, now.one_minus_momentum, dlr, now.weight_decay)
        },
        #[inline(always)]
        move |(beta1, one_minus_beta1, dlr, weight_decay), param, grad, [m, v]| {
            let grad = d_before * grad;
            *m = beta1 * *m + one_minus_beta1 * grad;
            *v = beta2 * *v + one_minus_beta2 * (grad * grad);
            *param -= dlr * (weight_decay * *param + *m / (v.sqrt() + d_eps));
        },
    );
}

pub(crate) static PRODIGY: Kernel = Kernel {
    shader: &thalweg_shaders::PRODIGY,
    uniform: size_of::<Params>(),
    access: &[Access::Write, Access::Read, Access::Read, Access::Write, Access::Write, Access::Write, Access::Read],
    variants: UPDATE_VARIANTS,
    twin,
};
