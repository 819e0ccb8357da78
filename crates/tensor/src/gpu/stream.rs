//! The stream of commands: they collect in order and go out together.

use std::sync::Arc;

use super::pipeline::Pipeline;
use super::timing::Timing;
use crate::kernel::Cost;

/// Parameters of a launch take one slot of the uniform ring: the portable alignment of dynamic offsets.
pub(super) const UNIFORM_SLOT: usize = 256;

/// Commands of one submission. A submission costs as much as some ten dispatches; more of them in one would only keep
/// the GPU waiting for its first.
const MOST_COMMANDS: usize = 64;

#[derive(Debug)]
pub(super) enum Command {
    Dispatch { pipeline: Arc<Pipeline>, bind_group: wgpu::BindGroup, uniform_offset: u32, groups: [u32; 3], cost: Cost },
    Copy { source: wgpu::Buffer, source_offset: u64, target: wgpu::Buffer, target_offset: u64, bytes: u64 },
    Clear { target: wgpu::Buffer, offset: u64, bytes: u64 },
}

#[derive(Debug)]
pub(super) struct Stream {
    commands: Vec<Command>,
    uniforms: Vec<u8>,
    uniform_ring: wgpu::Buffer,
    batch: u64,
    /// While a profile is made.
    pub(super) timing: Option<Timing>,
}

impl Stream {
    pub(super) fn new(device: &wgpu::Device) -> Self {
        let uniform_ring = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("uniform ring"),
            size: (MOST_COMMANDS * UNIFORM_SLOT) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        // Buffers start with batch 0: used by none.
        Self { commands: Vec::new(), uniforms: Vec::new(), uniform_ring, batch: 1, timing: None }
    }

    /// The number of the batch that is being collected.
    pub(super) fn batch(&self) -> u64 {
        self.batch
    }

    pub(super) fn is_full(&self) -> bool {
        self.commands.len() >= MOST_COMMANDS
    }

    /// The buffer that parameters of launches go to.
    pub(super) fn uniform_ring(&self) -> &wgpu::Buffer {
        &self.uniform_ring
    }

    pub(super) fn push_dispatch(
        &mut self,
        pipeline: Arc<Pipeline>,
        bind_group: wgpu::BindGroup,
        params: &[u8],
        groups: [u32; 3],
        cost: Cost,
    ) {
        let uniform_offset = push_uniform(&mut self.uniforms, params);
        self.push(Command::Dispatch { pipeline, bind_group, uniform_offset, groups, cost });
    }

    pub(super) fn push(&mut self, command: Command) {
        self.commands.push(command);
    }

    /// Encodes what is collected and submits it. Whether there was anything.
    ///
    /// The uniform ring is written from its start each time: the queue runs this write after the submission before it
    /// and ahead of the one that follows.
    pub(super) fn submit(&mut self, device: &wgpu::Device, queue: &wgpu::Queue) -> bool {
        if self.commands.is_empty() {
            return false;
        }
        if !self.uniforms.is_empty() {
            queue.write_buffer(&self.uniform_ring, 0, &self.uniforms);
        }
        hand_over(device, queue, self.timing.as_mut(), self.commands.iter());
        self.commands.clear();
        self.uniforms.clear();
        self.batch += 1;
        // Takes back what finished work has left; does not wait. What it may report reaches the failure handler.
        let _ = device.poll(wgpu::PollType::Poll);
        true
    }
}

/// Appends parameters in a slot of their own. Returns its offset.
pub(super) fn push_uniform(uniforms: &mut Vec<u8>, params: &[u8]) -> u32 {
    let offset = uniforms.len() as u32;
    uniforms.extend_from_slice(params);
    uniforms.resize(uniforms.len().next_multiple_of(UNIFORM_SLOT), 0);
    offset
}

/// Encodes commands and submits them; timed, while a profile is made.
pub(super) fn hand_over<'a>(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    timing: Option<&mut Timing>,
    commands: impl Iterator<Item = &'a Command>,
) {
    if let Some(timing) = timing {
        return timing.submit(device, queue, commands);
    }
    let span = tracing::debug_span!("encode").entered();
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("stream") });
    encode(&mut encoder, commands);
    let encoded = encoder.finish();
    drop(span);
    let _span = tracing::debug_span!("submit").entered();
    queue.submit([encoded]);
}

/// Encodes commands, dispatches in as few passes as the copies between them allow.
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

/// Encodes a dispatch into its pass; other commands have no place in one.
pub(super) fn dispatch(pass: &mut wgpu::ComputePass<'_>, command: &Command) {
    if let Command::Dispatch { pipeline, bind_group, uniform_offset, groups, .. } = command {
        pass.set_pipeline(&pipeline.pipeline);
        let offsets = [*uniform_offset];
        pass.set_bind_group(0, bind_group, &offsets[..usize::from(pipeline.has_uniform)]);
        pass.dispatch_workgroups(groups[0], groups[1], groups[2]);
    }
}
