//! Times of dispatches on a GPU, measured while a profile is made.
//!
//! With timestamps each dispatch is a separate compute pass, which the device stamps at its start and its end. The
//! stamps are resolved into a buffer with the submission and read when the profile ends, so nothing waits in between.
//! Without timestamps each dispatch is submitted separately and waited for.

use std::sync::Arc;
use std::time::Duration;

use super::create_buffer;
use super::failure::Failure;
use super::flight::Flight;
use super::pace::{self, Pace};
use super::stream::{self, Command};
use crate::profile::{LaunchProfile, MOST_LAUNCHES, TimeSource, Times};
use crate::time::Instant;
use crate::{Error, Result};

/// The size of a timestamp in bytes.
const STAMP: u64 = wgpu::QUERY_SIZE as u64;

/// The number of dispatches whose stamps fit into one query set.
const SET: usize = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;

/// The timings in progress.
#[derive(Debug)]
pub(super) struct Stopwatch {
    began: Instant,
    source: TimeSource,
    /// Submissions whose stamps have not been read.
    pending: Vec<Pending>,
    /// The number of dispatches in them.
    stamped: usize,
    times: Times,
}

/// A submission: its dispatches, still without start and duration, and the buffer with their stamps.
#[derive(Debug)]
struct Pending {
    submitted: Duration,
    launches: Vec<LaunchProfile>,
    stamps: wgpu::Buffer,
}

/// The queries for the stamps of a submission.
#[derive(Debug, Default)]
struct Stamps {
    /// The number of dispatches that have a query.
    count: usize,
    sets: Vec<wgpu::QuerySet>,
    /// The buffers that they are resolved into, and copied to for reading.
    buffers: Option<[wgpu::Buffer; 2]>,
}

impl Stamps {
    fn new(device: &wgpu::Device, failure: &Failure, count: usize) -> Result<Self> {
        const LABEL: &str = "times of dispatches";
        if count == 0 {
            return Ok(Self::default());
        }
        let bytes = 2 * STAMP * count as u64;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = create_buffer(device, failure, LABEL, bytes, usage)?;
        let stamps =
            create_buffer(device, failure, LABEL, bytes, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST)?;
        let scope = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let set = |_| {
            device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some(LABEL),
                ty: wgpu::QueryType::Timestamp,
                count: 2 * SET as u32,
            })
        };
        let sets = (0..count.div_ceil(SET)).map(set).collect();
        failure.close_scope(scope, move |_| Error::OutOfMemory { bytes })?;
        Ok(Self { count, sets, buffers: Some([resolved, stamps]) })
    }

    fn writes(&self, dispatch: usize) -> wgpu::ComputePassTimestampWrites<'_> {
        let place = 2 * (dispatch % SET) as u32;
        wgpu::ComputePassTimestampWrites {
            query_set: &self.sets[dispatch / SET],
            beginning_of_pass_write_index: Some(place),
            end_of_pass_write_index: Some(place + 1),
        }
    }

    /// Copies the stamps to a buffer that can be read.
    fn resolve(self, encoder: &mut wgpu::CommandEncoder) -> Option<wgpu::Buffer> {
        let [resolved, stamps] = self.buffers?;
        for (i, set) in self.sets.iter().enumerate() {
            let count = (self.count - i * SET).min(SET);
            encoder.resolve_query_set(set, 0..2 * count as u32, &resolved, 2 * STAMP * (i * SET) as u64);
        }
        encoder.copy_buffer_to_buffer(&resolved, 0, &stamps, 0, stamps.size());
        Some(stamps)
    }
}

impl Stopwatch {
    pub(super) fn new(device: &wgpu::Device, began: Instant) -> Self {
        let has_stamps = device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let source = if has_stamps { TimeSource::Timestamps } else { TimeSource::Waits };
        Self { began, source, pending: Vec::new(), stamped: 0, times: Times::default() }
    }

    pub(super) fn source(&self) -> TimeSource {
        self.source
    }

    /// Encodes commands and submits them, timing each dispatch. There is room for one submission.
    pub(super) fn submit<'a>(
        &mut self,
        flight: &Flight,
        commands: impl Iterator<Item = &'a Command>,
        guessed: f64,
        pace: &Arc<Pace>,
    ) -> Result<()> {
        match self.source {
            TimeSource::Waits => self.submit_one_by_one(flight, commands, pace),
            TimeSource::Timestamps | TimeSource::Twins => {
                self.submit_stamped(flight, commands, guessed, pace);
                Ok(())
            }
        }
    }

    fn submit_stamped<'a>(
        &mut self,
        flight: &Flight,
        commands: impl Iterator<Item = &'a Command>,
        guessed: f64,
        pace: &Arc<Pace>,
    ) {
        let span = tracing::debug_span!("encode").entered();
        let device = flight.device();
        let commands: Vec<&Command> = commands.collect();
        let dispatches = commands.iter().filter(|command| matches!(command, Command::Dispatch { .. })).count();
        let room = MOST_LAUNCHES - self.stamped;
        // If there is no memory for stamps, the work runs without them.
        let stamps = Stamps::new(device, flight.failure(), dispatches.min(room)).unwrap_or_default();
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("timed") });
        let mut launches = Vec::new();
        for command in commands {
            let launch = match describe(command) {
                Some(launch) if launches.len() < stamps.count => launch,
                timed => {
                    self.times.omitted += u64::from(timed.is_some());
                    stream::encode(&mut encoder, std::iter::once(command));
                    continue;
                }
            };
            let timestamp_writes = Some(stamps.writes(launches.len()));
            let mut pass = encoder
                .begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some(launch.kernel), timestamp_writes });
            stream::dispatch(&mut pass, command);
            launches.push(launch);
        }
        self.stamped += launches.len();
        let stamps = stamps.resolve(&mut encoder);
        let encoded = encoder.finish();
        drop(span);
        let submitted = self.began.elapsed();
        flight.submit(encoded, guessed, pace);
        self.pending.extend(stamps.map(|stamps| Pending { submitted, launches, stamps }));
    }

    fn submit_one_by_one<'a>(
        &mut self,
        flight: &Flight,
        commands: impl Iterator<Item = &'a Command>,
        pace: &Arc<Pace>,
    ) -> Result<()> {
        for command in commands {
            let descriptor = wgpu::CommandEncoderDescriptor { label: Some("timed") };
            let mut encoder = flight.device().create_command_encoder(&descriptor);
            stream::encode(&mut encoder, std::iter::once(command));
            let encoded = encoder.finish();
            let start = self.began.elapsed();
            flight.submit(encoded, pace::guess(command.cost()), pace);
            flight.wait_for(flight.last())?;
            let duration = self.began.elapsed() - start;
            match describe(command) {
                Some(_) if self.times.launches.len() == MOST_LAUNCHES => self.times.omitted += 1,
                Some(launch) => self.times.launches.push(LaunchProfile { start, duration, ..launch }),
                None => {}
            }
        }
        Ok(())
    }

    /// Reads the stamps. The work must be done.
    pub(super) fn finish(mut self, flight: &Flight) -> Result<Times> {
        let refused = |reason: String| Error::Driver { reason };
        for pending in &self.pending {
            // An error appears when the range is accessed.
            pending.stamps.slice(..).map_async(wgpu::MapMode::Read, |_| ());
        }
        flight.wait()?;
        let period = f64::from(flight.queue().get_timestamp_period());
        let mut submissions = Vec::with_capacity(self.pending.len());
        for pending in self.pending {
            let mapped = pending.stamps.slice(..).get_mapped_range().map_err(|error| refused(error.to_string()))?;
            let stamps: Vec<[u64; 2]> = bytemuck::pod_collect_to_vec(&mapped);
            submissions.push((pending.submitted, pending.launches, stamps));
        }
        // Differences of stamps are small, whereas stamps themselves may exceed the precision of f64.
        let first = submissions.iter().filter_map(|(_, _, stamps)| Some(stamps.first()?[0])).min().unwrap_or(0);
        let since =
            |stamp: u64, origin: u64| Duration::from_nanos((stamp.saturating_sub(origin) as f64 * period) as u64);
        // The smallest shift such that no submission's first launch begins before its submission.
        let shift = submissions
            .iter()
            .filter_map(|(submitted, _, stamps)| Some(submitted.saturating_sub(since(stamps.first()?[0], first))))
            .max()
            .unwrap_or_default();
        for (_, launches, stamps) in submissions {
            self.times.launches.extend(launches.into_iter().zip(stamps).map(|(launch, [start, end])| LaunchProfile {
                start: shift + since(start, first),
                duration: since(end, start),
                ..launch
            }));
        }
        Ok(self.times)
    }
}

/// Returns a dispatch, without its times; `None` for copies and clears.
fn describe(command: &Command) -> Option<LaunchProfile> {
    match command {
        Command::Dispatch { pipeline, groups, cost, origin, .. } => Some(LaunchProfile {
            kernel: pipeline.name,
            workgroups: groups.iter().map(|&groups| u64::from(groups)).product(),
            start: Duration::ZERO,
            duration: Duration::ZERO,
            cost: *cost,
            origin: origin.clone(),
        }),
        Command::Copy { .. } | Command::Clear { .. } => None,
    }
}
