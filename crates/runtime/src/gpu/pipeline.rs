//! Pipelines, each created once, by kernel and constants.

use std::sync::Arc;

use super::failure::Failure;
use super::once_map::OnceMap;
use crate::kernel::{Kernel, Launch};
use crate::{Error, Result};

/// A compiled kernel with the layout of its bindings.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) name: &'static str,
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
    pub(super) has_uniform: bool,
}

/// The kernel, by its address, since names are not unique; and its constants.
type Key = (usize, Vec<(&'static str, u64)>);

#[derive(Debug, Default)]
pub(super) struct Pipelines {
    compiled: OnceMap<Key, Arc<Pipeline>>,
}

impl Pipelines {
    pub(super) fn get(&self, device: &wgpu::Device, failure: &Failure, launch: &Launch) -> Result<Arc<Pipeline>> {
        let constants = launch.constants.iter().map(|&(name, value)| (name, value.to_bits())).collect();
        let key: Key = (std::ptr::from_ref(launch.kernel).addr(), constants);
        self.compiled.get_or_make(key, || Ok(Arc::new(compile(device, failure, launch.kernel, &launch.constants)?)))
    }
}

fn compile(
    device: &wgpu::Device,
    failure: &Failure,
    kernel: &'static Kernel,
    constants: &[(&'static str, f64)],
) -> Result<Pipeline> {
    let _span = tracing::debug_span!("compile", kernel = kernel.name()).entered();
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(kernel.name()),
        source: wgpu::ShaderSource::Wgsl(kernel.shader.source().into()),
    });
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(kernel.name()),
        entries: &layout_entries(kernel),
    });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(kernel.name()),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(kernel.name()),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants,
            // Every kernel writes workgroup memory before it reads it.
            zero_initialize_workgroup_memory: false,
        },
        cache: None,
    });
    failure.close_scope(scope, |error| Error::Kernel { kernel: kernel.name(), log: error.to_string() })?;
    Ok(Pipeline { name: kernel.name(), pipeline, layout, has_uniform: kernel.uniform > 0 })
}

/// Returns the layout for a kernel's access list: the uniform with a dynamic offset, then the storage buffers.
fn layout_entries(kernel: &Kernel) -> Vec<wgpu::BindGroupLayoutEntry> {
    let entry = |binding, ty, has_dynamic_offset, size| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: wgpu::BufferSize::new(size) },
        count: None,
    };
    let mut entries = Vec::new();
    if kernel.uniform > 0 {
        entries.push(entry(0, wgpu::BufferBindingType::Uniform, true, uniform_bytes(kernel.uniform)));
    }
    for (i, access) in kernel.access.iter().enumerate() {
        let read_only = !access.writes();
        entries.push(entry(i as u32 + 1, wgpu::BufferBindingType::Storage { read_only }, false, 0));
    }
    entries
}

/// Rounds a size up to 16 bytes, as WGSL does for a uniform structure.
pub(super) fn uniform_bytes(bytes: usize) -> u64 {
    bytes.next_multiple_of(16) as u64
}
