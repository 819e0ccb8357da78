//! Times of dispatches on a GPU, taken while a profile is made.
//!
//! With timestamps each dispatch is a compute pass of its own, which the device stamps at its start and its end. The
//! stamps are resolved into a buffer with the submission and read when the profile ends: nothing waits in between.
//! Without timestamps each dispatch is submitted and waited for alone.

use std::time::{Duration, Instant};

use super::stream::{self, Command};
use crate::profile::{LaunchProfile, MOST_LAUNCHES, TimeSource, Times};
use crate::{Error, Result};

/// Bytes of a timestamp.
const STAMP: u64 = wgpu::QUERY_SIZE as u64;

/// Dispatches that one query set has stamps for.
const SET: usize = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;

/// What is being timed.
#[derive(Debug)]
pub(super) struct Timing {
    began: Instant,
    source: TimeSource,
    /// Submissions whose stamps have not been read.
    pending: Vec<Pending>,
    /// Dispatches in them.
    stamped: usize,
    times: Times,
}

/// A submission: its dispatches, with neither start nor duration yet, and where their stamps lie.
#[derive(Debug)]
struct Pending {
    submitted: Duration,
    launches: Vec<LaunchProfile>,
    stamps: wgpu::Buffer,
}

impl Timing {
    pub(super) fn new(device: &wgpu::Device, began: Instant) -> Self {
        let has_stamps = device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let source = if has_stamps { TimeSource::Timestamps } else { TimeSource::Waits };
        Self { began, source, pending: Vec::new(), stamped: 0, times: Times::default() }
    }

    pub(super) fn source(&self) -> TimeSource {
        self.source
    }

    /// Encodes commands and submits them, each dispatch timed.
    pub(super) fn submit<'a>(
        &mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        commands: impl Iterator<Item = &'a Command>,
    ) {
        match self.source {
            TimeSource::Waits => self.submit_one_by_one(device, queue, commands),
            TimeSource::Timestamps | TimeSource::Twins => self.submit_stamped(device, queue, commands),
        }
    }

    fn submit_stamped<'a>(
        &mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        commands: impl Iterator<Item = &'a Command>,
    ) {
        let span = tracing::debug_span!("encode").entered();
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("timed") });
        let mut sets: Vec<wgpu::QuerySet> = Vec::new();
        let mut launches = Vec::new();
        for command in commands {
            let Some(launch) = describe(command) else {
                stream::encode(&mut encoder, std::iter::once(command));
                continue;
            };
            if self.stamped == MOST_LAUNCHES {
                self.times.omitted += 1;
                stream::encode(&mut encoder, std::iter::once(command));
                continue;
            }
            let place = launches.len() % SET;
            if place == 0 {
                sets.push(device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("times of dispatches"),
                    ty: wgpu::QueryType::Timestamp,
                    count: 2 * SET as u32,
                }));
            }
            let timestamp_writes = sets.last().map(|query_set| wgpu::ComputePassTimestampWrites {
                query_set,
                beginning_of_pass_write_index: Some(2 * place as u32),
                end_of_pass_write_index: Some(2 * place as u32 + 1),
            });
            let mut pass = encoder
                .begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some(launch.kernel), timestamp_writes });
            stream::dispatch(&mut pass, command);
            launches.push(launch);
            self.stamped += 1;
        }
        if launches.is_empty() {
            queue.submit([encoder.finish()]);
            return;
        }
        let buffer = |size, usage| {
            let label = Some("times of dispatches");
            device.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: false })
        };
        let bytes = 2 * STAMP * launches.len() as u64;
        let resolved = buffer(bytes, wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
        let stamps = buffer(bytes, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        for (i, set) in sets.iter().enumerate() {
            let count = (launches.len() - i * SET).min(SET);
            encoder.resolve_query_set(set, 0..2 * count as u32, &resolved, 2 * STAMP * (i * SET) as u64);
        }
        encoder.copy_buffer_to_buffer(&resolved, 0, &stamps, 0, bytes);
        let encoded = encoder.finish();
        drop(span);
        let submitted = self.began.elapsed();
        let _span = tracing::debug_span!("submit").entered();
        queue.submit([encoded]);
        self.pending.push(Pending { submitted, launches, stamps });
    }

    fn submit_one_by_one<'a>(
        &mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        commands: impl Iterator<Item = &'a Command>,
    ) {
        for command in commands {
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("timed") });
            stream::encode(&mut encoder, std::iter::once(command));
            let encoded = encoder.finish();
            let start = self.began.elapsed();
            queue.submit([encoded]);
            // What goes wrong reaches the failure handler, or shows in the wait at the end of the profile.
            let _ = device.poll(wgpu::PollType::wait_indefinitely());
            let duration = self.began.elapsed() - start;
            match describe(command) {
                Some(_) if self.times.launches.len() == MOST_LAUNCHES => self.times.omitted += 1,
                Some(launch) => self.times.launches.push(LaunchProfile { start, duration, ..launch }),
                None => {}
            }
        }
    }

    /// Reads the stamps. The work must be done.
    pub(super) fn finish(mut self, device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Times> {
        let lost = |reason: String| Error::DeviceLost { reason };
        for pending in &self.pending {
            // An error shows where the range is asked for.
            pending.stamps.slice(..).map_async(wgpu::MapMode::Read, |_| ());
        }
        device.poll(wgpu::PollType::wait_indefinitely()).map_err(|error| lost(error.to_string()))?;
        let period = f64::from(queue.get_timestamp_period());
        let mut submissions = Vec::with_capacity(self.pending.len());
        for pending in self.pending {
            let mapped = pending.stamps.slice(..).get_mapped_range().map_err(|error| lost(error.to_string()))?;
            let stamps: Vec<[u64; 2]> = bytemuck::pod_collect_to_vec(&mapped);
            submissions.push((pending.submitted, pending.launches, stamps));
        }
        // Differences of stamps are small where stamps themselves may pass what f64 counts.
        let first = submissions.iter().filter_map(|(_, _, stamps)| Some(stamps.first()?[0])).min().unwrap_or(0);
        let since =
            |stamp: u64, origin: u64| Duration::from_nanos((stamp.saturating_sub(origin) as f64 * period) as u64);
        // The least shift by which no submission's first launch begins before it was handed over.
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

/// A dispatch, without its times; nothing for copies and clears.
fn describe(command: &Command) -> Option<LaunchProfile> {
    match command {
        Command::Dispatch { pipeline, groups, cost, .. } => Some(LaunchProfile {
            kernel: pipeline.name,
            workgroups: groups.iter().map(|&groups| u64::from(groups)).product(),
            start: Duration::ZERO,
            duration: Duration::ZERO,
            cost: *cost,
        }),
        Command::Copy { .. } | Command::Clear { .. } => None,
    }
}
