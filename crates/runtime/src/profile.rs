//! [`Profile`]: the launches of some work and their durations.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::kernel::{Cost, Launch};
use crate::time::Instant;
use crate::{Error, Origin, Pass, Result};

/// The most launches of a profile; later ones run without being timed and are only counted.
pub(crate) const MOST_LAUNCHES: usize = 1 << 16;

/// One launch of a profile.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LaunchProfile {
    /// The kernel's name.
    pub kernel: &'static str,
    /// The number of workgroups, including those added by folding over x and y.
    pub workgroups: u64,
    /// When it began, relative to the start of the profile. A GPU has a separate clock: all its times are shifted by
    /// the same amount, so that no launch begins before its submission.
    pub start: Duration,
    /// The duration.
    pub duration: Duration,
    /// Its memory traffic and arithmetic.
    pub cost: Cost,
    /// The module and the part of a training step of the launch. A launch of a fused chain belongs to the innermost
    /// module that contains all fused operations.
    pub origin: Origin,
}

/// Launches of one module in one part of a training step, summed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct LaunchSum {
    /// The number of launches.
    pub launches: u64,
    /// The sum of their durations.
    pub duration: Duration,
    /// The sum of their costs.
    pub cost: Cost,
}

/// All launches of one module in a profile, without those of nested modules.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct LayerProfile {
    /// The path of the module, such as `layers.0`; `None` for launches outside modules.
    pub path: Option<Arc<str>>,
    /// Its launches in forward passes.
    pub forward: LaunchSum,
    /// Its launches in backward passes.
    pub backward: LaunchSum,
    /// Its launches in steps of optimizers.
    pub update: LaunchSum,
}

impl LayerProfile {
    /// Returns the sum of the durations of all its launches.
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
    /// The sum of their durations.
    pub duration: Duration,
    /// The sum of their costs.
    pub cost: Cost,
}

/// How durations were measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSource {
    /// By the GPU's clock, at the start and at the end of each launch.
    Timestamps,
    /// By the host's clock: each launch is submitted and waited for separately, which adds the cost of both.
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

/// The launches of some work, in order, each with its duration, returned by
/// [`Device::profile`](crate::Device::profile).
///
/// Copies and clears of the driver are not launches and are not included.
#[derive(Debug, Clone)]
pub struct Profile {
    pub(crate) began: Instant,
    pub(crate) source: TimeSource,
    pub(crate) launches: Vec<LaunchProfile>,
    pub(crate) omitted: u64,
}

impl Profile {
    /// Returns when it began, on the host's clock: the zero of [`LaunchProfile::start`].
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Returns how durations were measured.
    #[must_use]
    pub fn source(&self) -> TimeSource {
        self.source
    }

    /// Returns the first 65,536 launches, in the order in which they ran.
    #[must_use]
    pub fn launches(&self) -> &[LaunchProfile] {
        &self.launches
    }

    /// Returns the number of later launches, which ran but were not timed.
    #[must_use]
    pub fn omitted(&self) -> u64 {
        self.omitted
    }

    /// Returns the sum of the durations of all launches.
    #[must_use]
    pub fn kernel_time(&self) -> Duration {
        self.launches.iter().map(|launch| launch.duration).sum()
    }

    /// Returns the launches summed by kernel, the longest duration first.
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

    /// Returns the launches summed by module, in the order in which the modules first ran. Modules set their names
    /// with [`scope`](crate::scope).
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

/// The times measured so far.
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

/// Starts timing the twins that run on this thread.
pub(crate) fn start_twins(began: Instant) -> Result<()> {
    TWINS.with_borrow_mut(|twins| match twins {
        Some(_) => Err(Error::Profile),
        None => {
            *twins = Some(TwinTimes { began, times: Times::default() });
            Ok(())
        }
    })
}

/// Stops timing and returns the times.
pub(crate) fn take_twins() -> Times {
    TWINS.take().map(|twins| twins.times).unwrap_or_default()
}

/// Runs a twin, and times it if timing is on for this thread.
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
