//! Conversions between the floating-point types of elements.

use std::fmt::Write;
use std::sync::LazyLock;

use thalweg_shaders::{GRID, Shader, TAIL};

use crate::elementwise::MAIN;
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::threads::for_each_chunk;
use crate::{DType, Error, Float, Result, Tensor, bf16, f16};

/// The types, in the order of [`KERNELS`].
const TYPES: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

/// A kernel for each pair of types: from, then to. Those with equal types are unused.
static KERNELS: LazyLock<[[&'static Kernel; 3]; 3]> =
    LazyLock::new(|| TYPES.map(|from| TYPES.map(|to| generate(from, to))));

/// Returns the kernels of the conversions.
pub(super) fn conversion_kernels() -> impl Iterator<Item = &'static Kernel> {
    let all = KERNELS.iter().enumerate();
    all.flat_map(|(from, kernels)| kernels.iter().enumerate().filter(move |(to, _)| from != *to))
        .map(|(_, kernel)| *kernel)
}

fn generate(from: DType, to: DType) -> &'static Kernel {
    let name: &str = Box::leak(format!("{from}_to_{to}").into_boxed_str());
    let mut text = String::new();
    write_text(from, to, &mut text).unwrap_or_else(|_| unreachable!("writing to a string cannot fail"));
    let mut shared = vec![GRID, TAIL];
    shared.extend(from.wgsl_text());
    shared.extend(to.wgsl_text().filter(|_| from != to));
    let shader = Box::leak(Box::new(Shader {
        name,
        path: Box::leak(format!("generated/{name}.wgsl").into_boxed_str()),
        text: Box::leak(text.into_boxed_str()),
        shared: Box::leak(shared.into_boxed_slice()),
    }));
    Box::leak(Box::new(Kernel {
        shader,
        uniform: 4,
        access: Box::leak(Box::new([Access::ReadAs(from), Access::WriteAs(to)])),
        variants: &[&[]],
        twin: match (from, to) {
            (DType::F16, DType::F16) => twin::<f16, f16>,
            (DType::F16, DType::BF16) => twin::<f16, bf16>,
            (DType::F16, _) => twin::<f16, f32>,
            (DType::BF16, DType::F16) => twin::<bf16, f16>,
            (DType::BF16, DType::BF16) => twin::<bf16, bf16>,
            (DType::BF16, _) => twin::<bf16, f32>,
            (_, DType::F16) => twin::<f32, f16>,
            (_, DType::BF16) => twin::<f32, bf16>,
            _ => twin::<f32, f32>,
        },
    }))
}

fn write_text(from: DType, to: DType, text: &mut String) -> std::fmt::Result {
    writeln!(text, "// Elements of {from} as {to}, rounded to the nearest, ties to even; generated.\n//")?;
    writeln!(text, "// bindings  1: x read   2: y [length] write")?;
    writeln!(text, "// bytes     {} read, {} written per element", from.size(), to.size())?;
    writeln!(text, "// twin      crates/tensor/src/functions/convert.rs\n")?;
    writeln!(text, "@group(0) @binding(0) var<uniform> length: u32;")?;
    writeln!(text, "@group(0) @binding(1) var<storage, read> x: array<{}>;", from.wgsl_vector())?;
    writeln!(text, "@group(0) @binding(2) var<storage, read_write> y: array<{}>;", to.wgsl_vector())?;
    text.push_str(MAIN);
    writeln!(text, "    if (4u * i >= length) {{ return; }}")?;
    let kept = format!("keep_first({}, length - 4u * i)", from.wgsl_load("x[i]"));
    writeln!(text, "    y[i] = {};\n}}", to.wgsl_store(&kept))
}

/// y[i] = x[i], rounded.
fn twin<F: Float, T: Float>(call: Call<'_>) {
    const BLOCK: usize = 256;
    let [x, y] = call.bindings();
    let x = x.read::<F>();
    for_each_chunk(y.write::<T>(), |start, y| {
        let mut values = [0.0; BLOCK];
        for (block, y) in y.chunks_mut(BLOCK).enumerate() {
            let values = &mut values[..y.len()];
            F::load(&x[start + block * BLOCK..][..y.len()], values);
            T::store(values, y);
        }
    });
}

impl Tensor {
    /// Returns the elements converted to another floating-point type; the same tensor if it already has that type.
    ///
    /// # Numerics
    /// Rounds to the nearest element, ties to even, like PyTorch's `Tensor.to`. Numbers beyond the range become
    /// infinities, and NaN stays NaN. The conversion to f32 is exact.
    ///
    /// # Errors
    /// If one of the types is u32, or the device has no room.
    ///
    /// ```
    /// use thalweg_tensor::{DType, Device, Tensor, f16};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::from_slice(&Device::best(), &[1.0f32, 0.1, 65_519.0, 65_520.0], &[4])?;
    /// let y = x.to_dtype(DType::F16)?;
    /// let expected = [f16::ONE, f16::from_f32(0.1), f16::MAX, f16::INFINITY];
    /// assert_eq!(y.to_vec::<f16>()?, expected);
    /// assert_eq!(y.to_dtype(DType::F32)?.to_vec::<f32>()?[1], 0.099975586);
    /// # Ok(())
    /// # }
    /// ```
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        if self.dtype() == dtype {
            return Ok(self.clone());
        }
        let place = |dtype: DType| {
            let place = TYPES.iter().position(|&known| known == dtype);
            place.ok_or(Error::DType { op: "to_dtype", expected: DType::F32, found: dtype })
        };
        let kernel = KERNELS[place(self.dtype())?][place(dtype)?];
        let y = Self::uninitialized(self.device(), dtype, self.shape())?;
        Launch::new(kernel, self.len() as u32)
            .bind(&self.contiguous()?)
            .bind(&y)
            .workgroups(self.len().div_ceil(256))
            .run(self.device())?;
        Ok(y)
    }

    /// Computes an operation of 16-bit elements in f32, and rounds its result to their type; `None` for other elements.
    pub(crate) fn through_f32(&self, operation: impl FnOnce(&Self) -> Result<Self>) -> Option<Result<Self>> {
        let rounded = || operation(&self.to_dtype(DType::F32)?)?.to_dtype(self.dtype());
        self.dtype().is_half().then(rounded)
    }

    /// Returns the elements as f32, to compute with.
    pub(crate) fn in_f32(&self) -> Result<Self> {
        if self.dtype().is_half() { self.to_dtype(DType::F32) } else { Ok(self.clone()) }
    }
}
