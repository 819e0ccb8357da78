//! Running averages of parameters.

use super::pages::{over_page, vectors};
use super::swap_in::{SwapIn, swap_in};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::ops::advance::Advance;
use crate::threads::for_each_chunks_beside;
use crate::{Arena, DType, Error, Result, Tensor};

/// The weights of a running average.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Averaging {
    /// Equal weights: the mean.
    Equal,
    /// average = decay average + (1 - decay) param; the first parameters are the first average.
    Exponential {
        /// The fraction of the average that is kept; at least 0 and less than 1.
        decay: f64,
    },
    /// Starts with an average of 0, divided by 1 - decay^t: a weighted mean from the first update on.
    Debiased {
        /// The fraction of the average that is kept; at least 0 and less than 1.
        decay: f64,
    },
}

/// The running average of an arena of parameters, with its count on the device. An update is one launch per page.
///
/// ```text
/// average = average + share (param - average)
/// ```
///
/// share: 1 / t, 1 - decay, or (1 - decay) / (1 - decay^t). An update moves 12 bytes per parameter.
#[derive(Debug)]
pub struct RunningAverage {
    averaging: Averaging,
    averages: Arena,
    /// {updates, finished workgroups, 1 - decay^t, spare}
    counter: Tensor,
}

const COUNTER_WORDS: usize = 4;

impl RunningAverage {
    /// Creates an average without updates.
    ///
    /// # Errors
    /// If the decay is not in [0, 1), the device has no room, or this thread records.
    pub fn new(values: &Arena, averaging: Averaging) -> Result<Self> {
        crate::check_state("running average")?;
        if let Averaging::Exponential { decay } | Averaging::Debiased { decay } = averaging
            && !(0.0..1.0).contains(&decay)
        {
            return Err(Error::Argument {
                op: "running average",
                name: "decay",
                value: decay.to_string(),
                rule: "at least 0 and less than 1",
            });
        }
        let counter = Tensor::zeros(values.device(), DType::U32, &[COUNTER_WORDS])?;
        Ok(Self { averaging, averages: values.zeros_like()?, counter })
    }

    /// Returns the weights.
    #[must_use]
    pub fn averaging(&self) -> Averaging {
        self.averaging
    }

    /// Returns the averages.
    #[must_use]
    pub fn averages(&self) -> &Arena {
        &self.averages
    }

    /// Adds the current parameters to the average.
    ///
    /// # Errors
    /// If the layouts differ, or work on the device has failed.
    pub fn update(&self, values: &Arena) -> Result<()> {
        values.same_layout("average", &[&self.averages])?;
        let (kind, decay) = match self.averaging {
            Averaging::Equal => (EQUAL, 0.0),
            Averaging::Exponential { decay } => (EXPONENTIAL, decay),
            Averaging::Debiased { decay } => (DEBIASED, decay),
        };
        let one_minus_decay = (1.0 - decay) as f32;
        let is_counted = values.device().counts_workgroups();
        let count = values.pages().len();
        for (number, (page, averages)) in values.pages().iter().zip(self.averages.pages()).enumerate() {
            let params = Params {
                vectors: vectors(page),
                kind,
                one_minus_decay,
                is_last: (number + 1 == count).into(),
                zero: 0,
            };
            let launch = Launch::new(&AVERAGE, params).constant("COUNTED", is_counted);
            let launch = launch.bind(page).bind(averages).bind(&self.counter);
            over_page(launch, page).run(page.device())?;
        }
        if is_counted || count == 0 {
            return Ok(());
        }
        Advance { amount: 1, modulus: 0, rate: one_minus_decay }.run(&self.counter)
    }

    /// Replaces the parameters by the averages, and stores the parameters in `kept`: one launch per page. Before the
    /// first update the parameters do not change.
    ///
    /// # Errors
    /// If the layouts differ, or work on the device has failed.
    pub fn swap_in(&self, values: &Arena, kept: &Arena) -> Result<()> {
        swap_in(SwapIn {
            values,
            others: &self.averages,
            kept,
            weight: 1.0,
            count: (&self.counter, 0),
            table: &self.counter,
            first_rows: None,
        })
    }

    /// Returns its counter, for saving: updates, and the bits of 1 - decay^t. Waits for the device.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn save(&self) -> Result<[u32; 2]> {
        let words = self.counter.to_vec::<u32>()?;
        Ok([words[0], words[2]])
    }

    /// Sets the counter to the result of [`save`](Self::save); the averages are restored separately.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn restore(&self, [updates, correction]: [u32; 2]) -> Result<()> {
        self.counter.write(&[updates, 0, correction, 0])
    }
}

const EQUAL: u32 = 0;
const EXPONENTIAL: u32 = 1;
const DEBIASED: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    vectors: u32,
    kind: u32,
    one_minus_decay: f32,
    is_last: u32,
    zero: u32,
}

/// The formula of [`RunningAverage`], element by element.
fn twin(call: Call<'_>) {
    let Params { kind, one_minus_decay, is_last, .. } = call.params();
    let is_counted = call.constant("COUNTED") != 0.0;
    let [values, averages, counter] = call.bindings();
    let (values, counter) = (values.read::<f32>(), counter.write::<u32>());
    let updates = counter[0] + 1;
    let before = f32::from_bits(counter[2]);
    let correction = before + one_minus_decay * (1.0 - before);
    let share = match kind {
        EQUAL => 1.0 / updates as f32,
        EXPONENTIAL => one_minus_decay,
        _ => one_minus_decay / correction,
    };
    for_each_chunks_beside(
        averages.write::<f32>(),
        [],
        #[inline(always)]
        move |start, averages, []| {
            for (average, value) in averages.iter_mut().zip(&values[start..]) {
                *average = if updates == 1 { *value } else { *average + share * (value - *average) };
            }
        },
    );
    if is_counted && is_last != 0 {
        (counter[0], counter[2]) = (updates, correction.to_bits());
    }
}

pub(crate) static AVERAGE: Kernel = Kernel {
    shader: &thalweg_shaders::AVERAGE,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Write, Access::Write],
    variants: &[
        &[("SEQUENTIAL", 0.0), ("COUNTED", 0.0)],
        &[("SEQUENTIAL", 1.0), ("COUNTED", 0.0)],
        &[("SEQUENTIAL", 0.0), ("COUNTED", 1.0)],
        &[("SEQUENTIAL", 1.0), ("COUNTED", 1.0)],
    ],
    twin,
};
