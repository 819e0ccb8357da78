//! The stream of commands, which are collected in order and submitted together.

use std::sync::Arc;

use super::failure::Failure;
use super::pipeline::Pipeline;
use super::timing::Stopwatch;
use super::{create_buffer, pace};
use crate::kernel::{Cost, Launch};
use crate::{Origin, Result};

/// The bytes of a slot in the uniform ring, one per launch: the portable alignment of dynamic offsets.
pub(super) const UNIFORM_SLOT: usize = 256;

/// The most commands of one submission. A submission costs as much as some ten dispatches. More dispatches in one
/// would only delay the first.
const MOST_COMMANDS: usize = 64;

#[derive(Debug)]
pub(super) enum Command {
    Dispatch {
        pipeline: Arc<Pipeline>,
        bind_group: wgpu::BindGroup,
        uniform_offset: u32,
        groups: [u32; 3],
        cost: Cost,
        origin: Origin,
    },
    Copy {
        source: wgpu::Buffer,
        source_offset: u64,
        target: wgpu::Buffer,
        target_offset: u64,
        bytes: u64,
    },
    Clear {
        target: wgpu::Buffer,
        offset: u64,
        bytes: u64,
    },
}

impl Command {
    pub(super) fn cost(&self) -> Cost {
        match *self {
            Self::Dispatch { cost, .. } => cost,
            Self::Copy { bytes, .. } => Cost { bytes_read: bytes, bytes_written: bytes, operations: 0 },
            Self::Clear { bytes, .. } => Cost { bytes_read: 0, bytes_written: bytes, operations: 0 },
        }
    }
}

#[derive(Debug)]
pub(super) struct Stream {
    commands: Vec<Command>,
    /// The guessed time of the commands.
    guessed: f64,
    uniforms: Vec<u8>,
    uniform_ring: wgpu::Buffer,
    batch: u64,
    /// Set while a profile is made.
    pub(super) timing: Option<Stopwatch>,
}

impl Stream {
    pub(super) fn new(device: &wgpu::Device, failure: &Failure) -> Result<Self> {
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let size = (MOST_COMMANDS * UNIFORM_SLOT) as u64;
        let uniform_ring = create_buffer(device, failure, "uniform ring", size, usage)?;
        let (commands, uniforms) = (Vec::new(), Vec::new());
        // Buffers start with batch 0: unused.
        Ok(Self { commands, guessed: 0.0, uniforms, uniform_ring, batch: 1, timing: None })
    }

    /// Returns the number of the batch being collected.
    pub(super) fn batch(&self) -> u64 {
        self.batch
    }

    pub(super) fn is_full(&self) -> bool {
        self.commands.len() >= MOST_COMMANDS
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Returns the guessed time of the collected commands.
    pub(super) fn guessed(&self) -> f64 {
        self.guessed
    }

    /// Returns the buffer for the parameters of launches.
    pub(super) fn uniform_ring(&self) -> &wgpu::Buffer {
        &self.uniform_ring
    }

    pub(super) fn push_dispatch(
        &mut self,
        pipeline: Arc<Pipeline>,
        bind_group: wgpu::BindGroup,
        launch: &Launch,
        groups: [u32; 3],
        cost: Cost,
    ) {
        let uniform_offset = push_uniform(&mut self.uniforms, &launch.params);
        let origin = launch.origin.clone();
        self.push(Command::Dispatch { pipeline, bind_group, uniform_offset, groups, cost, origin });
    }

    pub(super) fn push(&mut self, command: Command) {
        self.guessed += pace::guess(command.cost());
        self.commands.push(command);
    }

    /// Writes the parameters of the collected commands.
    pub(super) fn write_uniforms(&mut self, queue: &wgpu::Queue) {
        if !self.uniforms.is_empty() {
            queue.write_buffer(&self.uniform_ring, 0, &self.uniforms);
            self.uniforms.clear();
        }
    }

    /// Takes the collected commands, with their guessed time, and starts the next batch.
    pub(super) fn take(&mut self) -> (Vec<Command>, f64) {
        self.batch += 1;
        (std::mem::take(&mut self.commands), std::mem::take(&mut self.guessed))
    }

    /// Returns the allocation of submitted commands for reuse.
    pub(super) fn give_back(&mut self, mut commands: Vec<Command>) {
        commands.clear();
        self.commands = commands;
    }
}

/// Appends parameters in a new slot. Returns its offset.
pub(super) fn push_uniform(uniforms: &mut Vec<u8>, params: &[u8]) -> u32 {
    let offset = uniforms.len() as u32;
    uniforms.extend_from_slice(params);
    uniforms.resize(uniforms.len().next_multiple_of(UNIFORM_SLOT), 0);
    offset
}

/// Encodes commands. Dispatches share a pass unless there is a copy between them.
pub(super) fn encode<'a>(encoder: &mut wgpu::CommandEncoder, commands: impl Iterator<Item = &'a Command>) {
    let mut commands = commands.peekable();
    while let Some(command) = commands.next() {
        match command {
            Command::Copy { source, source_offset, target, target_offset, bytes } => {
                encoder.copy_buffer_to_buffer(source, *source_offset, target, *target_offset, *bytes);
            }
            Command::Clear { target, offset, bytes } => encoder.clear_buffer(target, *offset, Some(*bytes)),
            Command::Dispatch { .. } => {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                let mut next = Some(command);
                while let Some(command) = next {
                    dispatch(&mut pass, command);
                    next = commands.next_if(|command| matches!(command, Command::Dispatch { .. }));
                }
            }
        }
    }
}

/// Encodes a dispatch into its pass; other commands are not allowed in one.
pub(super) fn dispatch(pass: &mut wgpu::ComputePass<'_>, command: &Command) {
    if let Command::Dispatch { pipeline, bind_group, uniform_offset, groups, .. } = command {
        pass.set_pipeline(&pipeline.pipeline);
        let offsets = [*uniform_offset];
        pass.set_bind_group(0, bind_group, &offsets[..usize::from(pipeline.has_uniform)]);
        pass.dispatch_workgroups(groups[0], groups[1], groups[2]);
    }
}
