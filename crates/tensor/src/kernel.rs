//! [`Kernel`] and [`Launch`]: the one description of work that both kinds of device run.
//!
//! A kernel is a WGSL shader and its CPU twin, with one list of bindings for both. A launch is a kernel with constants,
//! parameters, buffer views and a number of workgroups. The GPU encodes a launch; the CPU calls the twin with slices in
//! the same order as the bindings.

use std::sync::Arc;

use bytemuck::Pod;
use thalweg_shaders::Shader;

use crate::buffer::{ALIGNMENT, Buffer};
use crate::profile::Cost;
use crate::recording::Chain;
use crate::{DType, Device, Element, Result, Tensor};

/// The most bytes of parameters: they share one buffer, in slots of the portable alignment.
pub(crate) const MOST_PARAMETERS: usize = 256;

/// The most bindings of a kernel: what every adapter that WebGPU allows can bind.
pub(crate) const MOST_BINDINGS: usize = 8;

/// What a kernel does with a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It reads.
    Read,
    /// It writes, and may read.
    Write,
}

/// One operation on buffers: the shader, how its bindings are used, and the twin that computes the same on the CPU.
///
/// Binding 0 of the shader is the uniform with the parameters where `uniform` says so; the storage buffers follow from
/// binding 1 on. A kernel of one's own is made as those of this crate are:
///
/// ```
/// use thalweg_tensor::{Access, Call, Device, Kernel, Launch, Shader, Tensor};
///
/// static SHADER: Shader = Shader {
///     name: "double",
///     path: "double.wgsl",
///     text: "@group(0) @binding(0) var<uniform> length: u32;
///         @group(0) @binding(1) var<storage, read> x: array<f32>;
///         @group(0) @binding(2) var<storage, read_write> y: array<f32>;
///         @compute @workgroup_size(64)
///         fn main(@builtin(global_invocation_id) id: vec3u) {
///             if (id.x < length) { y[id.x] = 2.0 * x[id.x]; }
///         }",
///     shared: &[],
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
/// # fn main() -> thalweg_tensor::Result<()> {
/// let device = Device::best();
/// let x = Tensor::from_slice(&device, &[1.0, 2.5], &[2])?;
/// let y = Tensor::full(&device, 0.0f32, &[2])?;
/// Launch::new(&DOUBLE, 2u32).bind(&x).bind(&y).workgroups(1).run(&device)?;
/// assert_eq!(y.to_vec::<f32>()?, [2.0, 5.0]);
/// # Ok(())
/// # }
/// ```
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
    /// The name that kernel, shader, twin and pipeline share.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.shader.name
    }
}

/// A range of a buffer, in elements.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) buffer: Arc<Buffer>,
    pub(crate) offset: usize,
    pub(crate) length: usize,
    /// Elements that the kernel uses of them.
    used: usize,
    /// Whether it may be bound as it lies.
    bindable: bool,
}

impl View {
    /// A range that starts at an aligned place.
    pub(crate) fn new(buffer: Arc<Buffer>, offset: usize, length: usize) -> Self {
        Self { buffer, offset, length, used: length, bindable: offset.is_multiple_of(ALIGNMENT) }
    }

    pub(crate) fn is_bindable(&self) -> bool {
        self.bindable
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.buffer.id() == other.buffer.id() && (self.offset, self.length) == (other.offset, other.length)
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.buffer.id() == other.buffer.id()
            && self.offset < other.offset + other.length
            && other.offset < self.offset + self.length
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
    /// What a generated kernel computes, for its twin.
    pub(crate) chain: Option<&'static Chain>,
}

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
            chain: None,
        }
    }

    /// A launch of a kernel that was generated for a chain of element-wise operations.
    pub(crate) fn of_chain(
        (kernel, chain): (&'static Kernel, &'static Chain),
        params: Vec<u8>,
        views: Vec<View>,
        workgroups: usize,
    ) -> Self {
        Self { kernel, constants: Vec::new(), params, views, workgroups, operations: 0, chain: Some(chain) }
    }

    /// Sets an override constant of the shader.
    #[must_use]
    pub fn constant(mut self, name: &'static str, value: impl Into<f64>) -> Self {
        self.constants.push((name, value.into()));
        self
    }

    /// Binds a tensor that is contiguous, as [`Tensor::contiguous`] gives it: the first element is the binding's first.
    #[must_use]
    pub fn bind(mut self, tensor: &Tensor) -> Self {
        let (buffer, offset, length) = (tensor.buffer().clone(), tensor.offset(), tensor.len());
        self.views.push(View { buffer, offset, length, used: length, bindable: tensor.is_bindable() });
        self
    }

    /// Binds the whole buffer behind a tensor; the kernel gets offset and strides as parameters.
    #[must_use]
    pub fn bind_whole(mut self, tensor: &Tensor) -> Self {
        let buffer = tensor.buffer().clone();
        let length = buffer.words();
        self.views.push(View { buffer, offset: 0, length, used: tensor.len().min(length), bindable: true });
        self
    }

    /// The number of workgroups, folded over the grid by the device.
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
        let bytes = |wanted: Access| {
            let views = self.views.iter().zip(self.kernel.access).filter(|(_, access)| **access == wanted);
            views.map(|(view, _)| 4 * view.used as u64).sum()
        };
        Cost { bytes_read: bytes(Access::Read), bytes_written: bytes(Access::Write), operations: self.operations }
    }

    /// Holds the launch against its kernel and its device, so that neither executor meets what it cannot run.
    pub(crate) fn check(&self, device: &Device) -> Result<()> {
        let problem = if self.kernel.access.len() > MOST_BINDINGS {
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
            let i = self.views.iter().position(|view| !device.owns(&view.buffer));
            i.map(|i| format!("binding {} lies on another device than {device}", i + 1))
        };
        match problem {
            Some(log) => Err(crate::Error::Kernel { kernel: self.kernel.name(), log }),
            None => self.check_aliasing(),
        }
    }

    /// No buffer may be both read and written in one launch, and ranges that are written must not overlap: wgpu tracks
    /// usage by whole buffers, and the CPU locks whole buffers.
    fn check_aliasing(&self) -> Result<()> {
        let access = self.kernel.access;
        for (i, view) in self.views.iter().enumerate().filter(|(i, _)| access[*i] == Access::Write) {
            for (j, other) in self.views.iter().enumerate().filter(|(j, _)| i != *j) {
                let both = view.buffer.id() == other.buffer.id() && access[j] == Access::Read;
                if both || view.overlaps(other) {
                    return Err(crate::Error::Aliasing { op: self.kernel.name() });
                }
            }
        }
        Ok(())
    }

    /// Hands the launch to the device that its tensors lie on.
    ///
    /// # Errors
    /// Where the device refuses the launch: bindings or parameters that are not the kernel's, a buffer both read and
    /// written, a shader that does not compile, a limit.
    pub fn run(self, device: &Device) -> Result<()> {
        device.run(&self)
    }
}

/// What a twin gets: the parameters and the bindings of a launch.
#[derive(Debug)]
pub struct Call<'a> {
    pub(crate) params: &'a [u8],
    pub(crate) constants: &'a [(&'static str, f64)],
    pub(crate) slices: [Slice<'a>; MOST_BINDINGS],
    /// How many of them the kernel has.
    pub(crate) count: usize,
    pub(crate) chain: Option<&'static Chain>,
}

impl<'a> Call<'a> {
    /// The parameters, as the launch was made with.
    ///
    /// # Panics
    /// Where `P` has another size.
    #[must_use]
    pub fn params<P: Pod>(&self) -> P {
        bytemuck::pod_read_unaligned(self.params)
    }

    /// An override constant; 0 where the launch does not set it.
    #[must_use]
    pub fn constant(&self, name: &str) -> f64 {
        self.constants.iter().find(|(n, _)| *n == name).map_or(0.0, |&(_, value)| value)
    }

    /// The bindings, in order.
    ///
    /// # Panics
    /// Where `N` is not their number in the kernel's access list.
    #[must_use]
    pub fn bindings<const N: usize>(self) -> [Slice<'a>; N] {
        assert!(N == self.count, "a twin asks for {N} bindings of {}", self.count);
        let mut slices = self.slices.into_iter();
        std::array::from_fn(|_| slices.next().unwrap_or_else(|| unreachable!("there are at most {MOST_BINDINGS}")))
    }
}

/// A binding as a twin sees it.
#[derive(Debug)]
pub enum Slice<'a> {
    /// To read.
    Read(&'a [u32]),
    /// To write.
    Write(&'a mut [u32]),
}

impl<'a> Slice<'a> {
    /// The elements to read.
    #[must_use]
    pub fn read<T: Element>(self) -> &'a [T] {
        match self {
            Self::Read(words) => bytemuck::cast_slice(words),
            Self::Write(words) => bytemuck::cast_slice(words),
        }
    }

    /// The elements to write.
    ///
    /// # Panics
    /// Where the kernel declares the binding as [`Access::Read`].
    #[must_use]
    pub fn write<T: Element>(self) -> &'a mut [T] {
        match self {
            Self::Read(_) => unreachable!("a twin writes a binding that its kernel declares as read"),
            Self::Write(words) => bytemuck::cast_slice_mut(words),
        }
    }
}

/// Checks that a tensor has the type an operation works on.
pub(crate) fn expect_dtype(op: &'static str, tensor: &Tensor, expected: DType) -> Result<()> {
    if tensor.dtype() == expected { Ok(()) } else { Err(crate::Error::DType { op, expected, found: tensor.dtype() }) }
}
