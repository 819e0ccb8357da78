//! Every schedule of the oracle, at every step: PyTorch's, optax's, and formulas of the literature.

use crate::common::oracle::{Case, Oracle};
use thalweg::nn::schedule::{Curve, PlateauMode, PlateauSettings, ThresholdMode};
use thalweg::nn::{
    Chain, Constant, Cosine, Cyclic, CyclicMode, Exponential, Interpolated, InverseSqrt, InverseTime, Join, LinearRamp,
    MultiStep, OneCycle, PiecewiseConstant, Polynomial, ReduceOnPlateau, Scaled, Schedule, Step, WarmRestarts, Warmup,
    WarmupCosine, WarmupStableDecay,
};

const NAME: &str = "lr_schedules/lr_schedules";

/// The bound that the oracle gives for f64, relative to the largest value.
const TOLERANCE: f64 = 1e-12;

/// The number of cases in the whole oracle and in the small copy, and how many of them also have a momentum. Thalweg
/// has all of them.
const CASES: (usize, usize) = (78, 12);
const MOMENTA: (usize, usize) = (8, 2);

type Boxed = Box<dyn Schedule>;

#[test]
fn every_schedule_has_the_values_of_the_oracle_at_every_step() {
    let oracle = Oracle::open(NAME);
    let (mut cases, mut momenta) = (0, 0);
    for case in oracle.cases() {
        let expected = case.array("lr").values;
        assert_eq!(expected.len(), 500);
        let values = match case.text("source") {
            "torch.ReduceLROnPlateau" => plateau(&oracle, case),
            _ => values(&*schedule(case)),
        };
        assert_close(&case.name("lr"), &values, &expected);
        if let Some(expected) = case.find("momentum") {
            assert_close(&case.name("momentum"), &values_of_momentum(case), &expected.values);
            momenta += 1;
        }
        cases += 1;
    }
    let of_this = |(whole, small): (usize, usize)| if oracle.is_whole { whole } else { small };
    assert_eq!((cases, momenta), (of_this(CASES), of_this(MOMENTA)));
}

/// Returns the values of 500 steps, with the checks of a run.
fn values(schedule: &dyn Schedule) -> Vec<f64> {
    thalweg::nn::schedule::table(schedule, 500).unwrap()
}

fn assert_close(name: &str, values: &[f64], expected: &[f64]) {
    assert_eq!(values.len(), expected.len());
    let largest = expected.iter().copied().fold(0.0, f64::max);
    for (step, (value, expected)) in values.iter().zip(expected).enumerate() {
        let error = (value - expected).abs() / largest;
        assert!(error <= TOLERANCE, "{name}, step {step}: {value}, and the oracle's is {expected}");
    }
}

/// Returns the schedule of a case, as one of the library.
fn schedule(case: Case<'_>) -> Boxed {
    let number = |name: &str| case.number(&format!("args.{name}"));
    // An argument that the case does not set, with PyTorch's default.
    let number_or = |name: &str, default: f64| {
        if case.get(&format!("args.{name}")).is_null() { default } else { number(name) }
    };
    let steps = |name: &str| number(name) as u64;
    let lr = case.get("base_lr").as_f64().unwrap_or(f64::NAN);
    match case.text("source") {
        "torch.StepLR" => boxed(Step { lr, step_size: steps("step_size"), gamma: number_or("gamma", 0.1) }),
        "torch.MultiStepLR" => {
            let milestones = case.get("args.milestones").as_array().unwrap();
            let milestones = milestones.iter().map(|step| step.as_u64().unwrap()).collect();
            boxed(MultiStep { lr, milestones, gamma: number("gamma") })
        }
        "torch.ExponentialLR" => boxed(Exponential::new(lr, number("gamma"))),
        // Ours stays at its end and PyTorch's rises again, which points of a cosine describe.
        "torch.CosineAnnealingLR" if steps("T_max") < 500 => {
            let (period, min_lr) = (steps("T_max"), number("eta_min"));
            let point = |i: u64| (i * period, if i.is_multiple_of(2) { lr } else { min_lr });
            boxed(Interpolated { points: (0..=500 / period).map(point).collect(), curve: Curve::Cosine })
        }
        "torch.CosineAnnealingLR" => boxed(Cosine { lr, min_lr: number_or("eta_min", 0.0), steps: steps("T_max") }),
        "torch.CosineAnnealingWarmRestarts" => boxed(WarmRestarts {
            lr,
            min_lr: number_or("eta_min", 0.0),
            cycle_steps: steps("T_0"),
            cycle_factor: number_or("T_mult", 1.0) as u64,
        }),
        "torch.LinearLR" => boxed(LinearRamp {
            initial_lr: lr * number_or("start_factor", 1.0 / 3.0),
            final_lr: lr * number_or("end_factor", 1.0),
            steps: number_or("total_iters", 5.0) as u64,
        }),
        "torch.PolynomialLR" => {
            boxed(Polynomial { lr, min_lr: 0.0, power: number_or("power", 1.0), steps: steps("total_iters") })
        }
        "torch.ConstantLR" => {
            boxed(PiecewiseConstant { points: vec![(0, lr * number("factor")), (steps("total_iters"), lr)] })
        }
        "torch.CyclicLR" => boxed(cyclic(case)),
        "torch.OneCycleLR" => boxed(one_cycle(case)),
        "optax.polynomial_schedule" => {
            let (lr, min_lr) = (number("init_value"), number("end_value"));
            let fall = Polynomial { lr, min_lr, power: number("power"), steps: steps("transition_steps") };
            boxed(Join::new(Constant { lr }).then(steps("transition_begin"), fall))
        }
        "optax.linear_schedule" => boxed(LinearRamp {
            initial_lr: number("init_value"),
            final_lr: number("end_value"),
            steps: steps("transition_steps"),
        }),
        "optax.piecewise_constant_schedule" => boxed(PiecewiseConstant { points: points(case) }),
        "optax.piecewise_interpolate_schedule" => {
            let curve = match case.text("args.interpolate_type") {
                "linear" => Curve::Linear,
                "cosine" => Curve::Cosine,
                other => panic!("{}: an interpolation {other:?}", case.id()),
            };
            boxed(Interpolated { points: points(case), curve })
        }
        "optax.cosine_decay_schedule" => {
            let lr = number("init_value");
            boxed(Cosine { lr, min_lr: lr * number("alpha"), steps: steps("decay_steps") })
        }
        "optax.exponential_decay" => optax_exponential(case, "init_value"),
        "optax.warmup_exponential_decay_schedule" => boxed(Warmup {
            initial_lr: number("init_value"),
            warmup_steps: steps("warmup_steps"),
            curve: Curve::Linear,
            then: optax_exponential(case, "peak_value"),
        }),
        // The exponent of 2 is the product of two cosines.
        "optax.warmup_cosine_decay_schedule" if number_or("exponent", 1.0) == 2.0 => {
            assert_eq!(number("end_value"), 0.0);
            let (lr, warmup_steps) = (number("peak_value"), steps("warmup_steps"));
            let fall = |lr| Cosine { lr, min_lr: 0.0, steps: steps("decay_steps") - warmup_steps };
            boxed(Warmup {
                initial_lr: number("init_value"),
                warmup_steps,
                curve: Curve::Linear,
                then: boxed(Chain::new(fall(lr)).times(fall(1.0))),
            })
        }
        "optax.warmup_cosine_decay_schedule" => boxed(warmup_cosine(case.get("args"))),
        "optax.sgdr_schedule" => {
            let cycles = case.get("args.cosine_kwargs").as_array().unwrap();
            assert_eq!(cycles.len(), 2);
            let (first, second) = (warmup_cosine(&cycles[0]), warmup_cosine(&cycles[1]));
            boxed(Join::new(first).then(first.steps, second))
        }
        "optax.cosine_onecycle_schedule" => {
            boxed(Interpolated { points: optax_one_cycle(case, &[0.3]), curve: Curve::Cosine })
        }
        "optax.linear_onecycle_schedule" => {
            boxed(Interpolated { points: optax_one_cycle(case, &[0.3, 0.85]), curve: Curve::Linear })
        }
        "optax.warmup_constant_schedule" => boxed(Warmup {
            initial_lr: number("init_value"),
            warmup_steps: steps("warmup_steps"),
            curve: Curve::Linear,
            then: boxed(Constant { lr: number("peak_value") }),
        }),
        _ => by_name(case),
    }
}

/// Returns the schedule of a case whose arguments are words.
fn by_name(case: Case<'_>) -> Boxed {
    let number = |name: &str| case.number(&format!("args.{name}"));
    let lr = case.get("base_lr").as_f64().unwrap_or(f64::NAN);
    let curve = match case.id() {
        "sequential_linear50_cosine450" => {
            let warmup = LinearRamp { initial_lr: 0.1 * lr, final_lr: lr, steps: 50 };
            return boxed(Join::new(warmup).then(50, Cosine { lr, min_lr: 1e-4, steps: 450 }));
        }
        "sequential_three" => {
            let (second, third) = (Exponential::new(lr, 0.98), Step { lr, step_size: 50, gamma: 0.5 });
            return boxed(Join::new(Scaled::new(0.1, Constant { lr })).then(20, second).then(200, third));
        }
        "chained_constant_exponential" => {
            let constant = PiecewiseConstant { points: vec![(0, 0.1), (40, 1.0)] };
            return boxed(Chain::new(constant).times(Exponential::new(lr, 0.995)));
        }
        "lambda_0.95_epoch10" => return boxed(Step { lr, step_size: 10, gamma: 0.95 }),
        "lambda_inv" => return boxed(InverseTime { lr, decay_rate: 0.01 }),
        "multiplicative" => return boxed(Step { lr, step_size: 5, gamma: 0.97 }),
        "noam_d512_w100" | "noam_d64_w40" => return boxed(InverseSqrt::noam(number("d") as u64, number("w") as u64)),
        "inverse_sqrt_w50" => return boxed(InverseSqrt { lr: number("peak"), warmup_steps: number("w") as u64 }),
        "wsd_linear" => Curve::Linear,
        "wsd_cosine" => Curve::Cosine,
        "wsd_1-sqrt" => Curve::SquareRoot,
        other => panic!("{other}: a schedule that is not known here"),
    };
    let steps = |name: &str| number(name) as u64;
    boxed(WarmupStableDecay {
        lr: number("peak"),
        min_lr: number("min"),
        warmup_steps: steps("w"),
        decay_steps: steps("decay"),
        steps: steps("w") + steps("stable") + steps("decay"),
        curve,
    })
}

fn boxed(schedule: impl Schedule + 'static) -> Boxed {
    Box::new(schedule)
}

fn cyclic(case: Case<'_>) -> Cyclic {
    let number = |name: &str| case.number(&format!("args.{name}"));
    let has = |name: &str| !case.get(&format!("args.{name}")).is_null();
    let mut cyclic = Cyclic::new(number("base_lr"), number("max_lr"), number("step_size_up") as u64);
    if has("step_size_down") {
        cyclic.step_size_down = number("step_size_down") as u64;
    }
    if has("mode") {
        cyclic.mode = match case.text("args.mode") {
            "triangular" => CyclicMode::Triangular,
            "triangular2" => CyclicMode::Triangular2,
            "exp_range" => CyclicMode::ExpRange { gamma: number("gamma") },
            other => panic!("{}: a mode {other:?}", case.id()),
        };
    }
    if has("base_momentum") {
        (cyclic.base_momentum, cyclic.max_momentum) = (number("base_momentum"), number("max_momentum"));
    }
    cyclic
}

fn one_cycle(case: Case<'_>) -> OneCycle {
    let number = |name: &str| case.number(&format!("args.{name}"));
    let has = |name: &str| !case.get(&format!("args.{name}")).is_null();
    let steps = if has("total_steps") { number("total_steps") } else { number("epochs") * number("steps_per_epoch") };
    let mut cycle = OneCycle::new(number("max_lr"), steps as u64);
    cycle.three_phase = case.is("args.three_phase");
    if has("anneal_strategy") {
        assert_eq!(case.text("args.anneal_strategy"), "linear");
        cycle.curve = Curve::Linear;
    }
    for (name, field) in [
        ("pct_start", &mut cycle.pct_start),
        ("div_factor", &mut cycle.div_factor),
        ("final_div_factor", &mut cycle.final_div_factor),
        ("base_momentum", &mut cycle.base_momentum),
        ("max_momentum", &mut cycle.max_momentum),
    ] {
        if has(name) {
            *field = number(name);
        }
    }
    cycle
}

fn values_of_momentum(case: Case<'_>) -> Vec<f64> {
    match case.text("source") {
        "torch.CyclicLR" => values(&cyclic(case).momentum()),
        "torch.OneCycleLR" => values(&one_cycle(case).momentum()),
        other => panic!("{}: a momentum of {other}", case.id()),
    }
}

fn warmup_cosine(settings: &serde_json::Value) -> WarmupCosine {
    let number = |name: &str| settings[name].as_f64().unwrap();
    WarmupCosine {
        initial_lr: number("init_value"),
        lr: number("peak_value"),
        min_lr: number("end_value"),
        warmup_steps: number("warmup_steps") as u64,
        steps: number("decay_steps") as u64,
    }
}

/// Returns optax's exponential decay, which may begin late and fall in steps.
fn optax_exponential(case: Case<'_>, first: &str) -> Boxed {
    let number = |name: &str| case.number(&format!("args.{name}"));
    let number_or_0 = |name: &str| if case.get(&format!("args.{name}")).is_null() { 0.0 } else { number(name) };
    let (lr, gamma, decay_steps) = (number(first), number("decay_rate"), number("transition_steps") as u64);
    if case.is("args.staircase") {
        return boxed(Step { lr, step_size: decay_steps, gamma });
    }
    let fall = Exponential { lr, min_lr: number_or_0("end_value"), gamma, decay_steps };
    boxed(Join::new(Constant { lr }).then(number_or_0("transition_begin") as u64, fall))
}

/// Returns the points that optax gives as factors.
fn points(case: Case<'_>) -> Vec<(u64, f64)> {
    let mut value = case.number("args.init_value");
    let factors = case.get("args.boundaries_and_scales").as_object().unwrap();
    let mut factors: Vec<(u64, f64)> =
        factors.iter().map(|(step, factor)| (step.parse().unwrap(), factor.as_f64().unwrap())).collect();
    factors.sort_by_key(|&(step, _)| step);
    let mut points = vec![(0, value)];
    for (step, factor) in factors {
        value *= factor;
        points.push((step, value));
    }
    points
}

/// Returns optax's one cycle: up to the peak, perhaps back to the first value, and down, with its default factors.
fn optax_one_cycle(case: Case<'_>, shares: &[f64]) -> Vec<(u64, f64)> {
    let (steps, peak) = (case.number("args.transition_steps"), case.number("args.peak_value"));
    let first = peak / 25.0;
    let ends = shares.iter().map(|share| (share * steps) as u64).zip([peak, first]);
    [(0, first)].into_iter().chain(ends).chain([(steps as u64, first / 1e4)]).collect()
}

/// Returns the learning rates of 500 steps, each followed by its metric.
fn plateau(oracle: &Oracle, case: Case<'_>) -> Vec<f64> {
    let number = |name: &str| case.number(&format!("args.{name}"));
    let settings = PlateauSettings {
        lr: case.number("base_lr"),
        mode: match case.text("args.mode") {
            "min" => PlateauMode::Min,
            "max" => PlateauMode::Max,
            other => panic!("{}: a mode {other:?}", case.id()),
        },
        factor: number("factor"),
        patience: number("patience") as u64,
        threshold: number("threshold"),
        threshold_mode: match case.text("args.threshold_mode") {
            "rel" => ThresholdMode::Rel,
            "abs" => ThresholdMode::Abs,
            other => panic!("{}: a threshold mode {other:?}", case.id()),
        },
        cooldown: number("cooldown") as u64,
        min_lr: number("min_lr"),
        eps: number("eps"),
    };
    let mut schedule = ReduceOnPlateau::new(settings).unwrap();
    let metrics = oracle.array(case.text("metric")).values;
    metrics.into_iter().map(|metric| (schedule.lr(), schedule.observe(metric)).0).collect()
}
