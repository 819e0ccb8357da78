//! Replays on a GPU: commands with their bind groups, encoded anew for each replay.

use std::sync::Arc;

use super::pace::{self, Pace};
use super::stream::{self, Command, UNIFORM_SLOT};
use super::{Gpu, create_buffer, fold};
use crate::Result;
use crate::kernel::Work;

/// The most commands of one submission of replays.
const MOST_REPLAYED: usize = 1024;

/// A recording, prepared for replays on a GPU.
#[derive(Debug)]
pub(crate) struct GpuRecording {
    commands: Vec<Command>,
    /// The guessed time of one replay, and its correction.
    guessed: f64,
    pace: Arc<Pace>,
}

impl Gpu {
    /// Creates everything that a replay needs: bind groups, and a buffer with the parameters of the launches.
    pub(crate) fn prepare(&self, work: &[Work]) -> Result<GpuRecording> {
        self.failure.check()?;
        let mut uniforms = Vec::new();
        let offsets: Vec<u32> = work
            .iter()
            .map(|work| match work {
                Work::Launch(launch) if launch.kernel.uniform > 0 => {
                    stream::push_uniform(&mut uniforms, &launch.params)
                }
                _ => 0,
            })
            .collect();
        let size = uniforms.len().max(UNIFORM_SLOT) as u64;
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let uniform_buffer = create_buffer(&self.device, &self.failure, "parameters of a recording", size, usage)?;
        self.queue.write_buffer(&uniform_buffer, 0, &uniforms);
        let command = |(work, uniform_offset): (&Work, u32)| {
            Ok(match work {
                Work::Launch(launch) => {
                    let pipeline = self.pipelines.get(&self.device, &self.failure, launch)?;
                    Command::Dispatch {
                        bind_group: self.bind(&pipeline, launch, &uniform_buffer),
                        groups: fold(launch, self.info.max_workgroups_per_dimension)?,
                        cost: launch.cost(),
                        origin: launch.origin.clone(),
                        uniform_offset,
                        pipeline,
                    }
                }
                Work::Copy { source, source_offset, target, target_offset, bytes } => Command::Copy {
                    source: source.gpu().buffer.clone(),
                    source_offset: *source_offset as u64,
                    target: target.gpu().buffer.clone(),
                    target_offset: *target_offset as u64,
                    bytes: *bytes as u64,
                },
                Work::Clear { buffer, offset, bytes } => {
                    Command::Clear { target: buffer.gpu().buffer.clone(), offset: *offset as u64, bytes: *bytes as u64 }
                }
            })
        };
        let commands = work.iter().zip(offsets).map(command).collect::<Result<Vec<_>>>()?;
        let guessed = commands.iter().map(|command| pace::guess(command.cost())).sum();
        Ok(GpuRecording { commands, guessed, pace: Arc::default() })
    }

    /// Replays a recording `times` times, after all collected work.
    ///
    /// A submission contains as many replays as its target time allows, or only a part of one. Work of other threads
    /// may run between replays, but not within one.
    pub(crate) fn replay(&self, recording: &GpuRecording, times: usize) -> Result<()> {
        let GpuRecording { commands, guessed, pace } = recording;
        let mut left = times;
        while left > 0 {
            self.failure.check()?;
            let mut stream = self.stream();
            self.submit(&mut stream)?;
            let at_once = pace.times(*guessed).min(MOST_REPLAYED / commands.len().max(1)).clamp(1, left);
            if at_once > 1 || pace.fits(*guessed) {
                let all = std::iter::repeat_n(commands, at_once).flatten();
                let guessed = at_once as f64 * guessed;
                self.hand_over(&mut stream, all, guessed, pace)?;
            } else {
                let mut rest = &commands[..];
                while !rest.is_empty() {
                    let (count, guessed) = first_of(rest, pace);
                    let (first, after) = rest.split_at(count);
                    self.hand_over(&mut stream, first.iter(), guessed, pace)?;
                    rest = after;
                }
            }
            left -= at_once;
        }
        self.flight.look();
        self.failure.check()
    }
}

/// Returns how many of the commands fit into one submission, at least one, and their guessed time.
fn first_of(commands: &[Command], pace: &Pace) -> (usize, f64) {
    let mut guessed = 0.0;
    let fits = |command: &&Command| {
        let with_it = guessed + pace::guess(command.cost());
        let fits = guessed == 0.0 || pace.fits(with_it);
        guessed = if fits { with_it } else { guessed };
        fits
    };
    let count = commands.iter().take_while(fits).count();
    (count, guessed)
}
