//! [`Profile`]: which launches some work came to, and what each took.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::kernel::{Cost, Launch};
use crate::time::Instant;
use crate::{Error, Origin, Pass, Result};

/// Launches that one profile keeps; those behind them run without being timed and are only counted.
pub(crate) const MOST_LAUNCHES: usize = 1 << 16;

/// One launch of a profile.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LaunchProfile {
    /// The kernel's name.
    pub kernel: &'static str,
    /// Workgroups, those included that folding over x and y adds.
    pub workgroups: u64,
    /// When it began, from the start of the profile. A GPU has a clock of its own: its times are shifted, all by as much,
    /// so that no launch begins before it was submitted.
    pub start: Duration,
    /// How long it ran.
    pub duration: Duration,
    /// What it moved and computed.
    pub cost: Cost,
    /// The module and the part of a training step that it belongs to. A launch of a fused chain belongs to the module around
    /// all that was fused.
    pub origin: Origin,
}

/// Launches of one module in one part of a training step, summed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct LaunchSum {
    /// The number of launches.
    pub launches: u64,
    /// Their durations.
    pub duration: Duration,
    /// Their costs.
    pub cost: Cost,
}

/// All launches of one module in a profile, those of the modules within it not included.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct LayerProfile {
    /// The path of the module, as `layers.0`; `None` for launches outside of modules.
    pub path: Option<Arc<str>>,
    /// Its launches in forward passes.
    pub forward: LaunchSum,
    /// Its launches in backward passes.
    pub backward: LaunchSum,
    /// Its launches in steps of optimizers.
    pub update: LaunchSum,
}

impl LayerProfile {
    /// Returns the durations of all its launches, summed.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.forward.duration + self.backward.duration + self.update.duration
    }
}

/// All launches of one kernel in a profile.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct KernelProfile {
    /// The kernel's name.
    pub kernel: &'static str,
    /// The number of launches.
    pub launches: u64,
    /// Their durations, summed.
    pub duration: Duration,
    /// Their costs, summed.
    pub cost: Cost,
}

/// How durations were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSource {
    /// By the GPU's own clock, at the start and at the end of each launch.
    Timestamps,
    /// By the host's clock: each launch submitted and waited for alone, which adds the cost of both.
    Waits,
    /// By the host's clock, around the twin on the CPU.
    Twins,
}

impl fmt::Display for TimeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Timestamps => "timestamps of the device",
            Self::Waits => "waits for each launch",
            Self::Twins => "the host's clock around each twin",
        })
    }
}

/// The launches of some work, in order, each with its duration: [`Device::profile`](crate::Device::profile) makes it.
///
/// Copies and clears of the driver are no launches and do not appear.
#[derive(Debug, Clone)]
pub struct Profile {
    pub(crate) began: Instant,
    pub(crate) source: TimeSource,
    pub(crate) launches: Vec<LaunchProfile>,
    pub(crate) omitted: u64,
}

impl Profile {
    /// When it was begun, on the host's clock: the zero of [`LaunchProfile::start`].
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// How durations were taken.
    #[must_use]
    pub fn source(&self) -> TimeSource {
        self.source
    }

    /// Returns the launches, in the order in which they ran; the first 65,536.
    #[must_use]
    pub fn launches(&self) -> &[LaunchProfile] {
        &self.launches
    }

    /// Launches behind those, which ran and were not timed.
    #[must_use]
    pub fn omitted(&self) -> u64 {
        self.omitted
    }

    /// Returns the durations of all launches, summed.
    #[must_use]
    pub fn kernel_time(&self) -> Duration {
        self.launches.iter().map(|launch| launch.duration).sum()
    }

    /// Returns the launches summed up by kernel, the one that took longest first.
    #[must_use]
    pub fn by_kernel(&self) -> Vec<KernelProfile> {
        let mut kernels: Vec<KernelProfile> = Vec::new();
        for &LaunchProfile { kernel, duration, cost, .. } in &self.launches {
            match kernels.iter_mut().find(|other| other.kernel == kernel) {
                Some(sum) => {
                    sum.launches += 1;
                    sum.duration += duration;
                    sum.cost = sum.cost + cost;
                }
                None => kernels.push(KernelProfile { kernel, launches: 1, duration, cost }),
            }
        }
        kernels.sort_by_key(|kernel| std::cmp::Reverse(kernel.duration));
        kernels
    }

    /// Returns the launches summed up by module, in the order in which the modules first ran. Modules name themselves by
    /// [`scope`](crate::scope).
    ///
    /// ```
    /// use thalweg_runtime::profile::Profile;
    /// fn print(profile: &Profile) {
    ///     for layer in profile.by_layer() {
    ///         let path = layer.path.as_deref().unwrap_or("(no module)");
    ///         println!("{path}: {:?} forward, {:?} backward", layer.forward.duration, layer.backward.duration);
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn by_layer(&self) -> Vec<LayerProfile> {
        let mut layers: Vec<LayerProfile> = Vec::new();
        for LaunchProfile { origin, duration, cost, .. } in &self.launches {
            let place = layers.iter().position(|layer| layer.path == origin.path).unwrap_or_else(|| {
                layers.push(LayerProfile { path: origin.path.clone(), ..LayerProfile::default() });
                layers.len() - 1
            });
            let sum = match origin.pass {
                Pass::Forward => &mut layers[place].forward,
                Pass::Backward => &mut layers[place].backward,
                Pass::Update => &mut layers[place].update,
            };
            sum.launches += 1;
            sum.duration += *duration;
            sum.cost = sum.cost + *cost;
        }
        layers
    }
}

/// What was timed so far.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub(crate) launches: Vec<LaunchProfile>,
    pub(crate) omitted: u64,
}

struct TwinTimes {
    began: Instant,
    times: Times,
}

thread_local! {
    static TWINS: RefCell<Option<TwinTimes>> = const { RefCell::new(None) };
}

/// Has this thread time the twins that it runs.
pub(crate) fn start_twins(began: Instant) -> Result<()> {
    TWINS.with_borrow_mut(|twins| match twins {
        Some(_) => Err(Error::Profile),
        None => {
            *twins = Some(TwinTimes { began, times: Times::default() });
            Ok(())
        }
    })
}

/// Ends it, with what it came to.
pub(crate) fn take_twins() -> Times {
    TWINS.take().map(|twins| twins.times).unwrap_or_default()
}

/// Runs a twin, and takes its time where this thread does.
pub(crate) fn time_twin(launch: &Launch, run: impl FnOnce()) {
    if TWINS.with_borrow(Option::is_none) {
        return run();
    }
    let start = Instant::now();
    run();
    let duration = start.elapsed();
    TWINS.with_borrow_mut(|twins| {
        let Some(TwinTimes { began, times }) = twins else { return };
        if times.launches.len() == MOST_LAUNCHES {
            times.omitted += 1;
            return;
        }
        times.launches.push(LaunchProfile {
            kernel: launch.kernel.name(),
            workgroups: launch.workgroups as u64,
            start: start.duration_since(*began),
            duration,
            cost: launch.cost(),
            origin: launch.origin.clone(),
        });
    });
}
