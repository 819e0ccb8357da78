//! Timing of work on a device.
//!
//! A GPU works while the host continues, so single calls are not timed. A batch of calls with one wait at its end is
//! timed, long enough that the wait is small. Pieces of work that are compared take turns, so that other load of the
//! machine affects them alike, and the best turn of each counts.

use std::time::{Duration, Instant};

use thalweg::tensor::{Device, Result};

/// The thoroughness of a measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// The minimum duration of a batch.
    batch: Duration,
    /// The time to spend on each piece of work.
    each: Duration,
    /// The minimum number of turns.
    turns: u32,
}

impl Pace {
    /// Reliable results.
    pub(crate) const FULL: Self = Self { batch: Duration::from_millis(50), each: Duration::from_secs(1), turns: 5 };
    /// Reliable results for many pieces of work, for which a second each would be minutes.
    pub(crate) const MANY: Self = Self { batch: Duration::from_millis(15), each: Duration::from_millis(90), turns: 3 };
    /// A check that everything works.
    pub(crate) const QUICK: Self = Self { batch: Duration::from_millis(2), each: Duration::ZERO, turns: 2 };
}

/// A piece of work: one call submits it to the device.
pub(crate) type Work<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

/// The measurement of a piece of work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    /// Seconds per call, in the best turn.
    pub(crate) seconds: f64,
    /// Launches of kernels per call.
    pub(crate) launches: u64,
}

/// The detailed measurement of a piece of work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Detailed {
    pub(crate) work: Measured,
    /// Submissions per call.
    pub(crate) submissions: f64,
    /// Waits for the device per call.
    pub(crate) host_syncs: f64,
    /// The seconds that the host needs to submit a call to an idle device, at best.
    pub(crate) host_seconds: f64,
    /// The seconds of all kernels of a call, at best.
    pub(crate) kernel_seconds: f64,
}

/// Measures pieces of work that take turns. Calls `tick` from time to time.
pub(crate) fn measure(
    device: &Device,
    pace: Pace,
    works: &mut [Work<'_>],
    tick: impl FnMut(),
) -> Result<Vec<Measured>> {
    measure_turns(device, pace, works, &|| device.synchronize(), tick, |_, _| Ok(()))
}

/// Measures as [`measure`] does, and in each turn also the time of the host and of the kernels. `wait` waits for the
/// device and everything else that does the work.
pub(crate) fn measure_in_detail(
    device: &Device,
    pace: Pace,
    works: &mut [Work<'_>],
    wait: &dyn Fn() -> Result<()>,
    tick: impl FnMut(),
) -> Result<Vec<Detailed>> {
    struct Rest {
        submissions: f64,
        host_syncs: f64,
        host_seconds: f64,
        kernel_seconds: f64,
    }
    let most = f64::INFINITY;
    let mut details: Vec<Rest> = works
        .iter()
        .map(|_| Rest { submissions: 0.0, host_syncs: 0.0, host_seconds: most, kernel_seconds: most })
        .collect();
    let measured = measure_turns(device, pace, works, wait, tick, |i, work| {
        let rest = &mut details[i];
        let before = device.counters();
        for _ in 0..HAND_OVERS {
            let start = Instant::now();
            work()?;
            device.flush()?;
            rest.host_seconds = rest.host_seconds.min(start.elapsed().as_secs_f64());
            wait()?;
        }
        let counted = device.counters() - before;
        rest.submissions = counted.submissions as f64 / f64::from(HAND_OVERS);
        // Without the waits of this measurement.
        rest.host_syncs = counted.host_syncs as f64 / f64::from(HAND_OVERS) - 1.0;
        let (profile, ()) = device.profile(work)?;
        rest.kernel_seconds = rest.kernel_seconds.min(profile.kernel_time().as_secs_f64());
        Ok(())
    })?;
    let join = |(work, rest): (Measured, Rest)| Detailed {
        work,
        submissions: rest.submissions,
        host_syncs: rest.host_syncs,
        host_seconds: rest.host_seconds,
        kernel_seconds: rest.kernel_seconds,
    };
    Ok(measured.into_iter().zip(details).map(join).collect())
}

/// The number of timed submissions by the host per turn.
const HAND_OVERS: u32 = 4;

/// Measures in turns; each work's turn ends with `and_then`.
fn measure_turns(
    device: &Device,
    pace: Pace,
    works: &mut [Work<'_>],
    wait: &dyn Fn() -> Result<()>,
    mut tick: impl FnMut(),
    mut and_then: impl FnMut(usize, &mut Work<'_>) -> Result<()>,
) -> Result<Vec<Measured>> {
    let mut measured = Vec::with_capacity(works.len());
    let mut batches = Vec::with_capacity(works.len());
    for work in works.iter_mut() {
        tick();
        // The first call compiles kernels and allocates; the second is like all others.
        time(wait, work, 1)?;
        let before = device.counters().launches;
        time(wait, work, 1)?;
        measured.push(Measured { seconds: f64::INFINITY, launches: device.counters().launches - before });
        batches.push(batch_size(wait, work, pace.batch)?);
    }
    let (start, budget) = (Instant::now(), pace.each * works.len() as u32);
    let mut turn = 0;
    while turn < pace.turns || start.elapsed() < budget {
        for (i, ((work, &calls), measured)) in works.iter_mut().zip(&batches).zip(&mut measured).enumerate() {
            tick();
            // The previous work has evicted the data of a short one from the caches.
            if calls > 1 {
                time(wait, work, 1)?;
            }
            let seconds = time(wait, work, calls)?.as_secs_f64() / f64::from(calls);
            measured.seconds = measured.seconds.min(seconds);
            and_then(i, work)?;
        }
        turn += 1;
    }
    Ok(measured)
}

/// Returns the number of calls that take at least `least`.
fn batch_size(wait: &dyn Fn() -> Result<()>, work: &mut Work<'_>, least: Duration) -> Result<u32> {
    let mut calls = 1u32;
    loop {
        let taken = time(wait, work, calls)?;
        if taken >= least {
            return Ok(calls);
        }
        // A fifth more than the time so far predicts; at most ten times as many, because the first ones are slow.
        let growth = (1.2 * least.as_secs_f64() / taken.as_secs_f64()).min(10.0);
        calls = (f64::from(calls) * growth).ceil() as u32;
    }
}

/// Returns the wall time of some calls and of the wait for their work.
fn time(wait: &dyn Fn() -> Result<()>, work: &mut Work<'_>, calls: u32) -> Result<Duration> {
    let start = Instant::now();
    for _ in 0..calls {
        work()?;
    }
    wait()?;
    Ok(start.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg::tensor::{DType, Tensor};

    #[test]
    fn launches_are_counted_and_every_piece_of_work_gets_a_time() {
        let device = Device::cpu();
        let x = Tensor::zeros(&device, DType::F32, &[64]).unwrap();
        let (x, mut calls) = (&x, 0);
        let mut works: Vec<Work<'_>> = vec![
            Box::new(|| {
                calls += 1;
                x.square()?.square().map(|_| ())
            }),
            Box::new(|| x.fill(1f32)),
        ];
        let measured = measure(&device, Pace::QUICK, &mut works, || {}).unwrap();
        drop(works);
        assert!(measured.iter().all(|m| m.seconds > 0.0 && m.seconds < 1.0), "{measured:?}");
        // The counters of the CPU include all threads, and so other tests.
        assert!(measured[0].launches >= 2 && measured[1].launches >= 1, "{measured:?}");
        assert!(calls > 4);
    }
}
