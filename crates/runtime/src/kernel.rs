//! [`Kernel`] and [`Launch`]: the one description of work that both kinds of device run.
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

/// The most bytes of parameters: they share one buffer, in slots of the portable alignment.
pub(crate) const MOST_PARAMETERS: usize = 256;

/// The most bindings of a kernel: what every adapter that WebGPU allows can bind.
pub const MOST_BINDINGS: usize = 8;

/// The most workgroups along one dimension that every device allows.
const MOST_UNFOLDED: usize = 65_535;

/// The use of a binding by a kernel, and the storage type of its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It reads elements of 32 bits, f32 or u32.
    Read,
    /// It writes elements of 32 bits, f32 or u32, and may read them.
    Write,
    /// It reads elements of this type, and of no other.
    ReadAs(DType),
    /// It writes elements of this type, and may read them.
    WriteAs(DType),
}

impl Access {
    /// Returns whether the kernel writes the binding.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::WriteAs(_))
    }

    /// Returns the storage type; f32 if elements of u32 are allowed as well.
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

/// One operation on buffers: the shader, how its bindings are used, and the twin that computes the same on the CPU.
///
/// Binding 0 of the shader is the uniform with the parameters where `uniform` says so; the storage buffers follow from
/// binding 1 on. A kernel of one's own is made as those of this crate are:
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
/// A dimension of a grid has at most 65,535 workgroups on many devices, so a larger number is folded over x and y:
/// `workgroup_id.x` alone is not the number of a workgroup. [`GRID`](crate::GRID) has the function `group_index`, which
/// undoes the fold. There may be workgroups past the end, so a kernel tests its index.
#[derive(Debug)]
pub struct Kernel {
    /// The shader; its name is the kernel's.
    pub shader: &'static Shader,
    /// The size of the parameters in bytes, 0 without any; at most 256.
    pub uniform: usize,
    /// The storage bindings, in order; at most 8.
    pub access: &'static [Access],
    /// The sets of override constants that operations launch it with, for tests that try them all.
    pub variants: &'static [&'static [(&'static str, f64)]],
    /// The same computation on the CPU.
    pub twin: fn(Call<'_>),
}

impl Kernel {
    /// Returns the name that kernel, shader, twin and pipeline share.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.shader.name
    }
}

/// What a launch moves and computes, as its bindings and what was said of it have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Bytes of the elements that it reads, each counted once.
    pub bytes_read: u64,
    /// Bytes of the elements that it writes, and may read as well.
    pub bytes_written: u64,
    /// Arithmetic operations of a matrix product, a product and a sum counting as two; 0 for other kernels.
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

/// A kernel with everything it needs to run.
#[derive(Debug, Clone)]
pub struct Launch {
    pub(crate) kernel: &'static Kernel,
    pub(crate) constants: Vec<(&'static str, f64)>,
    pub(crate) params: Vec<u8>,
    pub(crate) views: Vec<View>,
    pub(crate) workgroups: usize,
    operations: u64,
    /// What its twin needs beside the parameters, where the kernel was generated.
    pub(crate) extra: Option<Extra>,
    /// The element-wise function that it applies, if it does nothing else.
    pub(crate) application: Option<Application>,
    /// The module and the part of a step that it belongs to.
    pub(crate) origin: Origin,
}

/// A value of any type that a launch carries to its twin.
pub(crate) type Extra = &'static (dyn Any + Send + Sync);

impl Launch {
    /// A launch of `kernel` with its parameters; bindings follow by [`bind`](Self::bind).
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

    /// Returns a launch of `kernel` with parameters of as many words as it has.
    #[must_use]
    pub fn with_words(kernel: &'static Kernel, words: &[u32]) -> Self {
        Self { params: bytemuck::cast_slice(words).to_vec(), ..Self::new(kernel, ()) }
    }

    /// A launch of a generated kernel, whose twin gets `extra`.
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

    /// Says that it applies an element-wise function to all bindings but the last, and stores the result there.
    /// Recordings may join it with its neighbours.
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

    /// Binds a tensor that is contiguous, or another view: its first element is the binding's first.
    #[must_use]
    pub fn bind(mut self, operand: &(impl ToView + ?Sized)) -> Self {
        self.views.push(operand.to_view());
        self
    }

    /// Binds the whole buffer of a tensor or of another view. The kernel gets offset and strides as parameters.
    #[must_use]
    pub fn bind_whole(mut self, operand: &(impl ToView + ?Sized)) -> Self {
        self.views.push(operand.to_view().whole());
        self
    }

    /// Sets the number of workgroups. Default: 1. A number above 65,535 may be folded over x and y, so the shader must
    /// find its place by `group_index` of [`GRID`](crate::GRID), as the example of [`Kernel`] does: a launch of a shader
    /// that does not read `num_workgroups` is refused on every device.
    #[must_use]
    pub fn workgroups(mut self, workgroups: usize) -> Self {
        self.workgroups = workgroups;
        self
    }

    /// Says how many elements of a binding it uses, for profiles; all of what is bound unless said.
    #[must_use]
    pub fn uses(mut self, binding: usize, elements: usize) -> Self {
        if let Some(view) = self.views.get_mut(binding) {
            view.used = elements.min(view.length);
        }
        self
    }

    /// Says how many arithmetic operations it is, for profiles; 0 unless said.
    #[must_use]
    pub fn operations(mut self, operations: u64) -> Self {
        self.operations = operations;
        self
    }

    /// What it moves and computes.
    pub(crate) fn cost(&self) -> Cost {
        let bytes = |written: bool| {
            let views = self.views.iter().zip(self.kernel.access).filter(|(_, access)| access.writes() == written);
            views.map(|(view, _)| (view.dtype.size() * view.used) as u64).sum()
        };
        Cost { bytes_read: bytes(false), bytes_written: bytes(true), operations: self.operations }
    }

    /// Checks the launch against its kernel and its device, so that no executor meets a launch that it cannot run.
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

    /// No kernel may take the elements of a view for those of another type.
    fn check_types(&self) -> Result<()> {
        let mut views = self.views.iter().zip(self.kernel.access);
        match views.find(|(view, access)| !access.takes(view.dtype)) {
            None => Ok(()),
            Some((view, access)) => {
                Err(crate::Error::DType { op: self.kernel.name(), expected: access.dtype(), found: view.dtype })
            }
        }
    }

    /// No buffer may be both read and written in one launch, and ranges that are written must not overlap: wgpu tracks
    /// usage by whole buffers, and the CPU locks whole buffers.
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

/// A piece of work of a device.
#[derive(Debug)]
pub(crate) enum Work {
    Launch(Launch),
    /// All in bytes, multiples of four.
    Copy {
        source: Arc<Buffer>,
        source_offset: usize,
        target: Arc<Buffer>,
        target_offset: usize,
        bytes: usize,
    },
    /// All in bytes, multiples of four.
    Clear {
        buffer: Arc<Buffer>,
        offset: usize,
        bytes: usize,
    },
}

impl Work {
    /// Calls `body` with each buffer and what is done with it; with one that is bound several times, several times.
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

    /// Calls `body` with each place where a buffer stands.
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

    /// Whether it uses a buffer.
    pub(crate) fn touches(&self, buffer: &Buffer) -> bool {
        let mut touches = false;
        self.each_buffer(|other, _| touches |= other.id() == buffer.id());
        touches
    }
}
