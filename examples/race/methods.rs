//! Who takes part, and with what learning rates.

use thalweg::nn::{
    AdaBelief, Adadelta, Adafactor, Adagrad, Adam, AdamW, AdamW8bit, Adamax, Adan, Amsgrad, Asgd, Lamb, Lars, Lion,
    Method, Muon, NAdam, NovoGrad, Prodigy, RAdam, RmsProp, Rprop, ScheduleFreeAdamW, ScheduleFreeSgd, Sgd, Sm3, Soap,
    Sophia, Yogi,
};

/// A method that takes part.
pub(crate) struct Racer {
    /// As on the command line of `thalweg train`.
    pub(crate) name: &'static str,
    /// Learning rates on Rosenbrock's and on Beale's function: from `--rates`.
    pub(crate) rates: [f64; 2],
    pub(crate) make: fn(f64) -> Box<dyn Method>,
}

/// Methods that are drawn in one panel, at most as many as there are colours.
pub(crate) struct Family {
    pub(crate) title: &'static str,
    pub(crate) racers: Vec<Racer>,
}

/// A racer in a line: name, learning rates, settings.
macro_rules! racer {
    ($name:literal, $rates:expr, $method:ident { $($field:ident: $value:expr),* }) => {
        Racer {
            name: $name,
            rates: $rates,
            #[allow(clippy::needless_update, reason = "some methods have but a learning rate")]
            make: |lr| Box::new($method { lr, $($field: $value,)* ..$method::default() }),
        }
    };
}

/// All that take part.
pub(crate) fn families() -> Vec<Family> {
    vec![
        Family {
            title: "The gradient and its moment",
            racers: vec![
                racer!("sgd", [2e-3, 2e-2], Sgd {}),
                racer!("momentum", [2e-3, 1e-2], Sgd { momentum: 0.9 }),
                racer!("nesterov", [1e-3, 5e-3], Sgd { momentum: 0.9, nesterov: true }),
                racer!("asgd", [2e-3, 2e-2], Asgd {}),
                racer!("schedule-free-sgd", [5e-3, 5e-2], ScheduleFreeSgd {}),
            ],
        },
        Family {
            title: "A scale, or the sign, for each coordinate",
            racers: vec![
                racer!("adagrad", [0.5, 0.5], Adagrad {}),
                racer!("rmsprop", [5e-3, 2e-3], RmsProp {}),
                racer!("adadelta", [0.2, 0.5], Adadelta {}),
                racer!("rprop", [1e-5, 1.0], Rprop {}),
                racer!("lion", [2e-3, 2e-3], Lion {}),
            ],
        },
        Family {
            title: "Adam and its variants",
            racers: vec![
                racer!("adam", [0.1, 0.5], Adam {}),
                racer!("adamw", [0.1, 0.2], AdamW {}),
                racer!("amsgrad", [0.5, 0.5], Amsgrad {}),
                racer!("adamax", [0.5, 0.5], Adamax {}),
                racer!("nadam", [5e-2, 5e-2], NAdam {}),
            ],
        },
        Family {
            title: "After Adam",
            racers: vec![
                racer!("radam", [5e-3, 5e-2], RAdam {}),
                racer!("adabelief", [0.5, 0.2], AdaBelief {}),
                racer!("yogi", [0.5, 0.5], Yogi {}),
                racer!("adan", [5e-3, 2e-2], Adan {}),
                racer!("schedule-free-adamw", [2e-2, 0.2], ScheduleFreeAdamW {}),
            ],
        },
        Family {
            title: "By norms, distance or curvature",
            racers: vec![
                racer!("lamb", [0.1, 2e-3], Lamb {}),
                racer!("lars", [2.0, 0.5], Lars {}),
                racer!("novograd", [5e-4, 2e-3], NovoGrad {}),
                racer!("prodigy", [0.2, 2.0], Prodigy {}),
                // The exact diagonal of the Hessian is handed in at every step.
                racer!("sophia", [5e-2, 5e-2], Sophia { update_interval: 1 }),
            ],
        },
        Family {
            title: "By rows and columns, or in eight bits",
            racers: vec![
                // The point is a matrix of one row, which to make orthogonal is to bring to a length of about 1.
                racer!("muon", [5e-3, 5e-3], Muon {}),
                racer!("adafactor", [0.2, 2e-3], Adafactor {}),
                racer!("sm3", [5.0, 5.0], Sm3 {}),
                racer!("soap", [2e-2, 5e-2], Soap {}),
                racer!("adamw8bit", [0.1, 0.2], AdamW8bit {}),
            ],
        },
    ]
}
