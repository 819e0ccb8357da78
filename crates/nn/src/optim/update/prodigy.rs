//! Prodigy: sums over all parameters, an estimate of the distance to the solution, and the update by it.

use thalweg_tensor::optim::ROW_ELEMENTS;
use thalweg_tensor::optim::math::{self, LANES};
use thalweg_tensor::optim::{Block, Elements, Span};
use thalweg_tensor::optim::{ClockWords, Now, Timing};
use thalweg_tensor::optim::{Decay, Head, Pages, StepArguments, UPDATE_VARIANTS, Update};
use thalweg_tensor::{Access, Call, Kernel, Launch};
use thalweg_tensor::{DType, Error, Result, Tensor};

/// One step of Prodigy (Mishchenko, Defazio 2023), which estimates the distance d from the start to the solution, and
/// with it the step size of Adam:
///
/// ```text
/// g         = clip_factor grad                    (-g where maximize)
/// dlr       = d lr √(1 - beta2ᵗ) / (1 - beta1ᵗ)   (d lr without bias correction)
/// s         = beta3 s + d / d0 dlr g              (d for dlr where safeguard_warmup)
/// numerator = beta3 numerator + d / d0 Σ dlr g (param0 - param)
/// d_hat     = d_coef numerator / Σ |s|
/// d_max     = max(d_max, d_hat)
/// moment1   = beta1 moment1 + (1 - beta1) d g
/// moment2   = beta2 moment2 + (1 - beta2) (d g)²
/// d         = min(d_max, growth_rate d)           (growth_rate max(d, d_hat) while d = d0)
/// param     = param - dlr (weight_decay param + moment1 / (√moment2 + d eps))
/// ```
///
/// as `optax.contrib.prodigy` and, without bias correction, the authors' program compute it. State: both moments, s, the
/// parameters of the start, and d, d_max, the numerator and the d of the step before in the first four elements of the fifth
/// arena. The sums run over all parameters but the frozen ones, in a fixed order.
///
/// Four launches on one page, five with clipping by the global norm: the clock, the sums, d, the update. An element
/// moves 48 bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProdigyUpdate {
    /// Decay rates of the first and the second moment.
    pub betas: (f64, f64),
    /// The decay rate of the sums.
    pub beta3: f64,
    /// Times d, added to the root of the second moment.
    pub eps: f64,
    /// The first d.
    pub d0: f64,
    /// What estimates of d are multiplied by.
    pub d_coef: f64,
    /// The most that d grows by in a step; infinite where there is no limit.
    pub growth_rate: f64,
    /// Whether moments are corrected for having begun at zero.
    pub bias_correction: bool,
    /// Whether s leaves the learning rate out, so that a warm-up from a small one does not spoil it.
    pub safeguard_warmup: bool,
    /// Weight decay, decoupled.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

/// Parameters that a partial sum is of.
const SUM_BLOCK: usize = 8192;

/// Of these so many go beside each other in the sums of a workgroup.
const TURN: usize = 16 * LANES;

/// Numbers of the estimate: d, d_max, the numerator, the d before.
const ESTIMATE: usize = 4;

impl Update for ProdigyUpdate {
    fn state_count(&self) -> usize {
        5
    }

    fn bytes_per_parameter(&self) -> u64 {
        // The sums read parameter, gradient, s and param0 and write s; the update is as Adam's.
        20 + 28
    }

    fn state_shapes(&self, number: usize, _parameters: &[Vec<usize>]) -> Option<Vec<Vec<usize>>> {
        (number == 4).then(|| vec![vec![ESTIMATE]])
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let StepArguments { values, grads, state, clock, clip } = step;
        let [moment1, moment2, s, param0, estimate] = state else {
            return Err(Error::Argument {
                op: "prodigy",
                name: "state",
                value: format!("{} arenas", state.len()),
                rule: "one arena for each that the update keeps",
            });
        };
        values.same_layout("prodigy", &[grads, moment1, moment2, s, param0])?;
        let Some(estimate) = estimate.pages().first().filter(|page| page.len() >= ESTIMATE) else {
            // There is no parameter either.
            return Ok(());
        };
        let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize)
            .momentum(self.betas.0)
            .decay(Decay::ByRule);
        clock.advance(grads, clip, head.timing())?;
        let blocks_of = |page: &Tensor| page.len().div_ceil(SUM_BLOCK);
        let blocks: usize = values.pages().iter().map(blocks_of).sum();
        let partials = Tensor::uninitialized(values.device(), DType::F32, &[2 * blocks])?;
        let has_bias_correction = self.bias_correction.into();
        let pages = || Pages::new(values, grads, clock, clip);
        let mut offset = 0;
        for (number, page) in values.pages().iter().enumerate() {
            let params = SumParams {
                head: pages().head(head, number),
                d0: self.d0 as f32,
                beta3: self.beta3 as f32,
                has_bias_correction,
                safeguard_warmup: self.safeguard_warmup.into(),
                offset: offset as u32,
            };
            let launch = pages().launch(&PRODIGY_SUMS, params, number);
            let launch = launch.bind(&s.pages()[number]).bind(&param0.pages()[number]).bind(estimate).bind(&partials);
            launch.workgroups(blocks_of(page)).run(page.device())?;
            offset += blocks_of(page);
        }
        let params = EstimateParams {
            blocks: blocks as u32,
            d0: self.d0 as f32,
            beta3: self.beta3 as f32,
            d_coef: self.d_coef as f32,
            growth_rate: if self.growth_rate.is_finite() { self.growth_rate as f32 } else { 0.0 },
        };
        Launch::new(&PRODIGY_ESTIMATE, params)
            .bind(&partials)
            .bind(clock.state())
            .bind(estimate)
            .run(clock.device())?;
        for (number, page) in values.pages().iter().enumerate() {
            let (beta2, eps) = (self.betas.1 as f32, self.eps as f32);
            let params = Params { head: pages().head(head, number), beta2, eps, has_bias_correction };
            let launch = pages().over_elements(&PRODIGY, params, number, &[true; 3]);
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

/// √(1 - beta2ᵗ) / (1 - beta1ᵗ), or 1.
fn correction(now: &Now, has_bias_correction: u32) -> f32 {
    if has_bias_correction != 0 { now.bias_correction2.sqrt() / now.bias_correction1 } else { 1.0 }
}

/// s = beta3 s + d / d0 dlr g, and the partial sums of dlr g (param0 - param) and of |s|, in a workgroup's order.
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

/// The sum of what the lanes of a workgroup have: four vectors each, [`LANES`] vectors apart.
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
    /// 0 where there is no limit.
    growth_rate: f32,
}

/// d, d_max and the numerator of the formula of [`ProdigyUpdate`], from the partial sums.
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

/// The rest of the formula of [`ProdigyUpdate`], element by element.
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
