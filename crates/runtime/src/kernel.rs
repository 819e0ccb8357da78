//! [`Kernel`] and [`Launch`]: a description of work that runs on both CPU and GPU.
//!
//! A kernel is a WGSL shader and its CPU twin, with one list of bindings for both. A launch is a kernel with constants,
//! parameters, buffer views and a number of workgroups. The GPU encodes a launch; the CPU calls the twin with slices in
//! the same order as the bindings.

mod call;

use std::any::Any;
use std::fmt::Display;
use std::sync::Arc;

use bytemuck::Pod;
use thalweg_shaders::Shader;

use crate::elementwise::Application;
use crate::memory::{Buffer, ToView, View};
use crate::{DType, Element, Origin, Result};

pub use call::{Call, Slice};

/// The most bytes of parameters: launches share one buffer, in slots of the portable alignment.
pub(crate) const MOST_PARAMETERS: usize = 256;

/// The most bindings of a kernel, which every WebGPU adapter supports.
pub const MOST_BINDINGS: usize = 8;

/// The most workgroups along one dimension that every device supports.
const MOST_UNFOLDED: usize = 65_535;

/// How a kernel uses a binding, and the storage type of its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads 32-bit elements, f32 or u32.
    Read,
    /// Writes 32-bit elements, f32 or u32, and may read them.
    Write,
    /// Reads elements of this type only.
    ReadAs(DType),
    /// Writes elements of this type, and may read them.
    WriteAs(DType),
}

impl Access {
    /// Returns whether the kernel writes the binding.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::WriteAs(_))
    }

    /// Returns the storage type; f32 if u32 elements are allowed as well.
    #[must_use]
    pub const fn dtype(self) -> DType {
        match self {
            Self::Read | Self::Write => DType::F32,
            Self::ReadAs(dtype) | Self::WriteAs(dtype) => dtype,
        }
    }

    /// Returns whether a view of this type may be bound.
    #[must_use]
    pub fn takes(self, dtype: DType) -> bool {
        match self {
            Self::Read | Self::Write => dtype.size() == 4,
            Self::ReadAs(own) | Self::WriteAs(own) => own == dtype,
        }
    }
}

/// An operation on buffers: the shader, the use of its bindings, and the twin that computes the same on the CPU.
///
/// If `uniform` is not 0, binding 0 of the shader is the uniform with the parameters. The storage buffers follow from
/// binding 1 on. A custom kernel is defined like those of this crate:
///
/// ```
/// use thalweg_runtime::kernel::{Access, Call, Kernel, Launch};
/// use thalweg_runtime::{Device, GRID, Shader};
///
/// static SHADER: Shader = Shader {
///     name: "double",
///     path: "double.wgsl",
///     text: "@group(0) @binding(0) var<uniform> length: u32;
///         @group(0) @binding(1) var<storage, read> x: array<f32>;
///         @group(0) @binding(2) var<storage, read_write> y: array<f32>;
///         @compute @workgroup_size(64)
///         fn main(
///             @builtin(workgroup_id) group: vec3u,
///             @builtin(num_workgroups) groups: vec3u,
///             @builtin(local_invocation_index) lane: u32,
///         ) {
///             let i = 64u * group_index(group, groups) + lane;
///             if (i < length) { y[i] = 2.0 * x[i]; }
///         }",
///     shared: &[GRID],
/// };
///
/// fn twin(call: Call<'_>) {
///     let [x, y] = call.bindings();
///     let x = x.read::<f32>();
///     y.write::<f32>().iter_mut().zip(x).for_each(|(y, x)| *y = 2.0 * x);
/// }
///
/// static DOUBLE: Kernel =
///     Kernel { shader: &SHADER, uniform: 4, access: &[Access::Read, Access::Write], variants: &[&[]], twin };
///
/// # fn main() -> thalweg_runtime::Result<()> {
/// let device = Device::best();
/// let n = 5_000_000;
/// let (x, y) = (device.upload(&vec![2.5f32; n])?, device.upload(&vec![0f32; n])?);
/// Launch::new(&DOUBLE, n as u32).bind(&x).bind(&y).workgroups(n.div_ceil(64)).run(&device)?;
/// assert_eq!(device.download::<f32>(&y)?, vec![5.0; n]);
/// # Ok(())
/// # }
/// ```
///
/// Many devices allow at most 65,535 workgroups along a dimension, so a larger number is folded over x and y. Then
/// `workgroup_id.x` alone is not the number of a workgroup. The function `group_index` of [`GRID`](crate::GRID)
/// undoes the fold. There may be workgroups past the end, so a kernel tests its index.
#[derive(Debug)]
pub struct Kernel {
    /// The shader; its name is the kernel's.
    pub shader: &'static Shader,
    /// The size of the parameters in bytes, at most 256; 0 without parameters.
    pub uniform: usize,
    /// The storage bindings, in order; at most 8.
    pub access: &'static [Access],
    /// The sets of override constants used by operations, so that tests can cover all of them.
    pub variants: &'static [&'static [(&'static str, f64)]],
    /// The same computation on the CPU.
    pub twin: fn(Call<'_>),
}

impl Kernel {
    /// Returns the name shared by kernel, shader, twin and pipeline.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.shader.name
    }
}

/// The memory traffic and the arithmetic of a launch, from its bindings and its declared costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Bytes of the elements read, each counted once.
    pub bytes_read: u64,
    /// Bytes of the elements written, which may also be read.
    pub bytes_written: u64,
    /// Arithmetic operations of a matrix product, where a product and a sum count as two; 0 for other kernels.
    pub operations: u64,
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            bytes_read: self.bytes_read + other.bytes_read,
            bytes_written: self.bytes_written + other.bytes_written,
            operations: self.operations + other.operations,
        }
    }
}

/// A kernel with everything needed to run it.
#[derive(Debug, Clone)]
pub struct Launch {
    pub(crate) kernel: &'static Kernel,
    pub(crate) constants: Vec<(&'static str, f64)>,
    pub(crate) params: Vec<u8>,
    pub(crate) views: Vec<View>,
    pub(crate) workgroups: usize,
    operations: u64,
    /// Data for the twin of a generated kernel, besides the parameters.
    pub(crate) extra: Option<Extra>,
    /// The element-wise function that it applies, if it does nothing else.
    pub(crate) application: Option<Application>,
    /// The module and the part of a step of the launch.
    pub(crate) origin: Origin,
}

/// A value of any type that a launch carries to its twin.
pub(crate) type Extra = &'static (dyn Any + Send + Sync);

impl Launch {
    /// Creates a launch of `kernel` with its parameters. Add its bindings with [`bind`](Self::bind).
    pub fn new<P: Pod>(kernel: &'static Kernel, params: P) -> Self {
        Self {
            kernel,
            constants: Vec::new(),
            params: bytemuck::bytes_of(&params).to_vec(),
            views: Vec::with_capacity(kernel.access.len()),
            workgroups: 1,
            operations: 0,
            extra: None,
            application: None,
            origin: Origin::current(),
        }
    }

    /// Creates a launch of `kernel` with the given words as parameters.
    #[must_use]
    pub fn with_words(kernel: &'static Kernel, words: &[u32]) -> Self {
        Self { params: bytemuck::cast_slice(words).to_vec(), ..Self::new(kernel, ()) }
    }

    /// Creates a launch of a generated kernel, whose twin receives `extra`.
    pub(crate) fn generated(
        kernel: &'static Kernel,
        extra: Extra,
        params: Vec<u8>,
        views: Vec<View>,
        workgroups: usize,
        origin: Origin,
    ) -> Self {
        let (constants, operations, extra, application) = (Vec::new(), 0, Some(extra), None);
        Self { kernel, constants, params, views, workgroups, operations, extra, application, origin }
    }

    /// Declares that the launch applies an element-wise function to all bindings but the last, and stores the result
    /// in the last. Recordings may fuse it with its neighbours.
    #[must_use]
    pub fn applies(mut self, application: Application) -> Self {
        self.application = Some(application);
        self
    }

    /// Sets an override constant of the shader.
    #[must_use]
    pub fn constant(mut self, name: &'static str, value: impl Into<f64>) -> Self {
        self.constants.push((name, value.into()));
        self
    }

    /// Binds a contiguous tensor or another view: its first element is the binding's first.
    #[must_use]
    pub fn bind(mut self, operand: &(impl ToView + ?Sized)) -> Self {
        self.views.push(operand.to_view());
        self
    }

    /// Binds the whole buffer of a tensor or view. The kernel receives offset and strides as parameters.
    #[must_use]
    pub fn bind_whole(mut self, operand: &(impl ToView + ?Sized)) -> Self {
        self.views.push(operand.to_view().whole());
        self
    }

    /// Sets the number of workgroups. The default is 1. A number above 65,535 may be folded over x and y, so the
    /// shader must compute its index with `group_index` of [`GRID`](crate::GRID), as in the example of [`Kernel`].
    /// Every device rejects such a launch if the shader does not read `num_workgroups`.
    #[must_use]
    pub fn workgroups(mut self, workgroups: usize) -> Self {
        self.workgroups = workgroups;
        self
    }

    /// Sets the number of elements of a binding that the kernel uses, for profiles. The default is all bound
    /// elements.
    #[must_use]
    pub fn uses(mut self, binding: usize, elements: usize) -> Self {
        if let Some(view) = self.views.get_mut(binding) {
            view.used = elements.min(view.length);
        }
        self
    }

    /// Sets the number of arithmetic operations, for profiles. The default is 0.
    #[must_use]
    pub fn operations(mut self, operations: u64) -> Self {
        self.operations = operations;
        self
    }

    /// Returns the memory traffic and the arithmetic of the launch.
    pub(crate) fn cost(&self) -> Cost {
        let bytes = |written: bool| {
            let views = self.views.iter().zip(self.kernel.access).filter(|(_, access)| access.writes() == written);
            views.map(|(view, _)| (view.dtype.size() * view.used) as u64).sum()
        };
        Cost { bytes_read: bytes(false), bytes_written: bytes(true), operations: self.operations }
    }

    /// Checks the launch against its kernel and its device, so that executors only receive launches that they can
    /// run.
    pub(crate) fn check(&self, device: &dyn Display, owns: impl Fn(&Buffer) -> bool) -> Result<()> {
        let problem = if self.workgroups > MOST_UNFOLDED && !self.kernel.shader.reads_grid() {
            Some(format!(
                "{} workgroups are folded over x and y, as every number above {MOST_UNFOLDED} may be, but the shader does \
                 not read num_workgroups; add GRID to its shared texts and use group_index",
                self.workgroups
            ))
        } else if self.kernel.access.len() > MOST_BINDINGS {
            Some(format!("has {} bindings, more than {MOST_BINDINGS}", self.kernel.access.len()))
        } else if self.views.len() != self.kernel.access.len() {
            Some(format!("needs {} bindings, got {}", self.kernel.access.len(), self.views.len()))
        } else if self.params.len() != self.kernel.uniform {
            Some(format!("needs {} bytes of parameters, got {}", self.kernel.uniform, self.params.len()))
        } else if self.kernel.uniform > MOST_PARAMETERS {
            Some(format!("has {} bytes of parameters, more than {MOST_PARAMETERS}", self.kernel.uniform))
        } else if let Some(i) = self.views.iter().position(|view| !view.bindable) {
            Some(format!("binding {} is not contiguous, or starts at an unaligned place", i + 1))
        } else {
            let i = self.views.iter().position(|view| !owns(&view.buffer));
            i.map(|i| format!("binding {} lies on another device than {device}", i + 1))
        };
        match problem {
            Some(log) => Err(crate::Error::Kernel { kernel: self.kernel.name(), log }),
            None => {
                self.check_types()?;
                self.check_aliasing()
            }
        }
    }

    /// Checks that the elements of each view have the type of their binding.
    fn check_types(&self) -> Result<()> {
        let mut views = self.views.iter().zip(self.kernel.access);
        match views.find(|(view, access)| !access.takes(view.dtype)) {
            None => Ok(()),
            Some((view, access)) => {
                Err(crate::Error::DType { op: self.kernel.name(), expected: access.dtype(), found: view.dtype })
            }
        }
    }

    /// Checks that no buffer is both read and written in one launch, and that written ranges do not overlap: wgpu
    /// tracks usage by whole buffers, and the CPU locks whole buffers.
    fn check_aliasing(&self) -> Result<()> {
        let access = self.kernel.access;
        for (i, view) in self.views.iter().enumerate().filter(|(i, _)| access[*i].writes()) {
            for (j, other) in self.views.iter().enumerate().filter(|(j, _)| i != *j) {
                let both = view.buffer.id() == other.buffer.id() && !access[j].writes();
                if both || view.overlaps(other) {
                    return Err(crate::Error::Aliasing { op: self.kernel.name() });
                }
            }
        }
        Ok(())
    }
}

/// A piece of work on a device.
#[derive(Debug)]
pub(crate) enum Work {
    Launch(Launch),
    /// All sizes are in bytes, multiples of four.
    Copy {
        source: Arc<Buffer>,
        source_offset: usize,
        target: Arc<Buffer>,
        target_offset: usize,
        bytes: usize,
    },
    /// All sizes are in bytes, multiples of four.
    Clear {
        buffer: Arc<Buffer>,
        offset: usize,
        bytes: usize,
    },
}

impl Work {
    /// Calls `body` with each buffer and its access; several times for a buffer that is bound several times.
    pub(crate) fn each_buffer<'a>(&'a self, mut body: impl FnMut(&'a Arc<Buffer>, Access)) {
        match self {
            Self::Launch(launch) => {
                launch.views.iter().zip(launch.kernel.access).for_each(|(view, access)| body(&view.buffer, *access));
            }
            Self::Copy { source, target, .. } => {
                body(source, Access::Read);
                body(target, Access::Write);
            }
            Self::Clear { buffer, .. } => body(buffer, Access::Write),
        }
    }

    /// Calls `body` with each reference to a buffer.
    pub(crate) fn each_buffer_mut(&mut self, mut body: impl FnMut(&mut Arc<Buffer>)) {
        match self {
            Self::Launch(launch) => launch.views.iter_mut().for_each(|view| body(&mut view.buffer)),
            Self::Copy { source, target, .. } => {
                body(source);
                body(target);
            }
            Self::Clear { buffer, .. } => body(buffer),
        }
    }

    /// Returns whether it uses a buffer.
    pub(crate) fn touches(&self, buffer: &Buffer) -> bool {
        let mut touches = false;
        self.each_buffer(|other, _| touches |= other.id() == buffer.id());
        touches
    }
}
