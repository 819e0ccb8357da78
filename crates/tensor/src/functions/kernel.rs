//! The generated kernels of element-wise functions: one for contiguous operands, one for operands that are read
//! through strides; each for every storage type.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{PoisonError, RwLock};

use thalweg_shaders::Shader;

use super::convert::conversion_kernels;
use crate::elementwise::{Function, MAIN, shared_texts};
use crate::kernel::{Access, Call, Kernel};
use crate::threads::for_each_chunk;
use crate::{DType, Float, bf16, f16};

/// The kernels of a function.
#[derive(Clone, Copy)]
pub(super) struct Kernels {
    /// The operands are contiguous and have the shape of the result.
    pub(super) plain: &'static Kernel,
    /// The operands are read through strides, which are 0 where they broadcast.
    pub(super) strided: &'static Kernel,
}

/// Returns the kernels of a function for elements of a floating-point type, which are created once.
pub(super) fn kernels_of(function: &'static Function, dtype: DType) -> Kernels {
    /// The kernels by the address of their function. They live as long as the process, like the function.
    type Known = HashMap<(usize, DType), Kernels>;
    static KERNELS: RwLock<Option<Known>> = RwLock::new(None);
    let key = (std::ptr::from_ref(function).addr(), dtype);
    let known = KERNELS.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(kernels) = known.as_ref().and_then(|known| known.get(&key)) {
        return *kernels;
    }
    drop(known);
    let mut known = KERNELS.write().unwrap_or_else(PoisonError::into_inner);
    *known.get_or_insert_default().entry(key).or_insert_with(|| Kernels {
        plain: generate(function, dtype, false),
        strided: generate(function, dtype, true),
    })
}

/// Returns the kernels of all functions of the table and of [`Tensor::to_dtype`](crate::Tensor::to_dtype), for tests.
/// A function of one argument has no strided kernel.
#[must_use]
pub fn function_kernels() -> Vec<&'static Kernel> {
    let functions = super::all().into_iter().chain(super::slopes());
    let of_functions = functions.flat_map(|function| {
        [DType::F32, DType::F16, DType::BF16].into_iter().flat_map(|dtype| {
            let kernels = kernels_of(&function.function, dtype);
            let strided = (function.function.arguments.len() > 1).then_some(kernels.strided);
            std::iter::once(kernels.plain).chain(strided)
        })
    });
    of_functions.chain(conversion_kernels()).collect()
}

/// Returns the number of elements that a lane of a strided kernel writes: one, or the two of a word.
pub(super) fn elements_of_lane(dtype: DType) -> usize {
    4 / dtype.size()
}

/// Returns the accesses of `arguments` operands and a result of a type.
fn access_of(arguments: usize, dtype: DType) -> &'static [Access] {
    const fn all(dtype: DType) -> [Access; 4] {
        let read = Access::ReadAs(dtype);
        [read, read, read, Access::WriteAs(dtype)]
    }
    static WORDS: [Access; 4] = [Access::Read, Access::Read, Access::Read, Access::Write];
    static F16: [Access; 4] = all(DType::F16);
    static BF16: [Access; 4] = all(DType::BF16);
    let all = match dtype {
        DType::F32 | DType::U32 => &WORDS,
        DType::F16 => &F16,
        DType::BF16 => &BF16,
    };
    &all[3 - arguments..]
}

/// Returns the plain and strided twins for a number of arguments and a storage type.
fn twins<T: Float>(arguments: usize) -> [fn(Call<'_>); 2] {
    match arguments {
        1 => [stored_twin::<T, 1>, strided_twin::<T, 1>],
        2 => [stored_twin::<T, 2>, strided_twin::<T, 2>],
        _ => [stored_twin::<T, 3>, strided_twin::<T, 3>],
    }
}

fn generate(function: &'static Function, dtype: DType, strided: bool) -> &'static Kernel {
    let of_type = if dtype == DType::F32 { String::new() } else { format!("_{dtype}") };
    let name = format!("{}{of_type}{}", function.name, if strided { "_broadcast" } else { "" });
    let mut text = String::new();
    write_text(function, dtype, strided, &mut text).unwrap_or_else(|_| unreachable!("writing to a string cannot fail"));
    let (arguments, numbers) = (function.arguments.len(), function.numbers.len());
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let (path, shared) = (leak(format!("generated/{name}.wgsl")), shared_texts(&text));
    let shared = match dtype.wgsl_text() {
        None => shared,
        Some(storage) => Box::leak([shared, &[storage]].concat().into_boxed_slice()),
    };
    let shader = Box::leak(Box::new(Shader { name: leak(name), path, text: leak(text), shared }));
    Box::leak(Box::new(Kernel {
        shader,
        uniform: if strided { 4 * (first_strided_number(arguments) + numbers) } else { 4 * (1 + numbers) },
        access: access_of(arguments, dtype),
        variants: &[&[]],
        twin: match (dtype, arguments, strided) {
            (DType::F16, _, _) => twins::<f16>(arguments)[usize::from(strided)],
            (DType::BF16, _, _) => twins::<bf16>(arguments)[usize::from(strided)],
            (_, 1, false) => plain_twin::<1>,
            (_, 2, false) => plain_twin::<2>,
            (_, _, false) => plain_twin::<3>,
            (_, _, true) => twins::<f32>(arguments)[1],
        },
    }))
}

/// Returns the number of parameter words before the numbers of a strided kernel: extents, strides of each operand,
/// length, rank and offsets.
fn first_strided_number(arguments: usize) -> usize {
    8 + 8 * arguments + 2 + arguments
}

fn write_text(function: &Function, dtype: DType, strided: bool, text: &mut String) -> std::fmt::Result {
    let arguments = function.arguments;
    let (size, bytes) = (dtype.size(), dtype.size() * arguments.len());
    writeln!(text, "// The result of {}, element by element; generated.\n//", signature(function))?;
    write!(text, "// bindings ")?;
    for (i, argument) in arguments.iter().enumerate() {
        write!(text, " {}: {argument} read  ", i + 1)?;
    }
    writeln!(text, " {}: result [length] write", arguments.len() + 1)?;
    writeln!(text, "// bytes     {bytes} read, {size} written per element")?;
    writeln!(text, "// twin      crates/tensor/src/functions/kernel.rs\n")?;
    writeln!(text, "struct Params {{")?;
    if strided {
        writeln!(text, "    // In elements, the last dimension fastest; a stride of 0 repeats an operand.")?;
        writeln!(text, "    extents: array<vec4u, 2>,")?;
        (0..arguments.len()).try_for_each(|i| writeln!(text, "    strides{i}: array<vec4u, 2>,"))?;
    }
    writeln!(text, "    length: u32,")?;
    if strided {
        writeln!(text, "    rank: u32,")?;
        (0..arguments.len()).try_for_each(|i| writeln!(text, "    offset{i}: u32,"))?;
    }
    function.numbers.iter().try_for_each(|number| writeln!(text, "    own_{number}: f32,"))?;
    writeln!(text, "}}\n\n@group(0) @binding(0) var<uniform> params: Params;")?;
    let element = if strided { dtype.wgsl_word() } else { dtype.wgsl_vector() };
    for i in 0..=arguments.len() {
        let access = if i < arguments.len() { "read" } else { "read_write" };
        writeln!(text, "@group(0) @binding({}) var<storage, {access}> b{i}: array<{element}>;", i + 1)?;
    }
    function.write_wgsl("apply", text)?;
    let numbers: String = function.numbers.iter().map(|number| format!(", params.own_{number}")).collect();
    let list =
        |operand: &dyn Fn(usize) -> String| (0..arguments.len()).map(operand).collect::<Vec<_>>().join(", ") + &numbers;
    text.push_str(MAIN);
    let result = arguments.len();
    if !strided {
        writeln!(text, "    if (4u * i >= params.length) {{ return; }}")?;
        let operands = list(&|i| dtype.wgsl_load(&format!("b{i}[i]")));
        let kept = format!("keep_first(apply_each({operands}), params.length - 4u * i)");
        return writeln!(text, "    b{result}[i] = {};\n}}", dtype.wgsl_store(&kept));
    }
    if elements_of_lane(dtype) == 2 {
        let length = "    if (2u * i >= params.length) { return; }";
        let (low, high) = ("element(2u * i)", "element(2u * i + 1u)");
        writeln!(text, "{length}\n    var high = 0.0;\n    if (2u * i + 1u < params.length) {{ high = {high}; }}")?;
        writeln!(text, "    b{result}[i] = {dtype}_pair({low}, high);\n}}")?;
        writeln!(text, "\n// The result at place i.\nfn element(i: u32) -> f32 {{")?;
    } else {
        writeln!(text, "    if (i >= params.length) {{ return; }}")?;
    }
    (0..arguments.len()).try_for_each(|i| writeln!(text, "    var place{i} = params.offset{i};"))?;
    text.push_str(
        "    var rest = i;
    for (var d = params.rank; d > 0u; d--) {
        let extent = params.extents[(d - 1u) / 4u][(d - 1u) % 4u];
        let coordinate = rest % extent;
        rest = rest / extent;
",
    );
    for i in 0..arguments.len() {
        let stride = format!("params.strides{i}[(d - 1u) / 4u][(d - 1u) % 4u]");
        writeln!(text, "        place{i} += coordinate * {stride};")?;
    }
    let operands = list(&|i| dtype.wgsl_at(&format!("b{i}"), &format!("place{i}")));
    let target = if elements_of_lane(dtype) == 2 { "return".to_string() } else { format!("b{result}[i] =") };
    writeln!(text, "    }}\n    {target} apply({operands});\n}}")
}

/// Returns a function's name with its arguments and, after a semicolon, its numbers.
pub(crate) fn signature(function: &Function) -> String {
    let numbers =
        if function.numbers.is_empty() { String::new() } else { format!("; {}", function.numbers.join(", ")) };
    format!("{}({}{numbers})", function.name, function.arguments.join(", "))
}

/// result[i] = f(x[i], …).
fn plain_twin<const A: usize>(call: Call<'_>) {
    let Some(application) = call.application() else { unreachable!("a launch of this kernel carries its function") };
    let (operands, result) = call.operands::<A>();
    for_each_chunk(
        result,
        #[inline(always)]
        |start, result| {
            let operands = operands.map(|operand| &operand[start..start + result.len()]);
            (application.function.twin)(&operands, application.numbers(), result);
        },
    );
}

/// The number of elements that a twin loads or gathers before it applies the function to them.
const BLOCK: usize = 256;

/// result[i] = f(x[i], …), each element loaded as f32 and the result rounded.
fn stored_twin<T: Float, const A: usize>(call: Call<'_>) {
    let Some(application) = call.application() else { unreachable!("a launch of this kernel carries its function") };
    let (operands, result) = call.operands_as::<T, A>();
    for_each_chunk(result, |start, result| {
        let (mut loaded, mut computed) = ([[0.0; BLOCK]; A], [0.0; BLOCK]);
        for (block, result) in result.chunks_mut(BLOCK).enumerate() {
            let (first, count) = (start + block * BLOCK, result.len());
            let pairs = operands.iter().zip(&mut loaded);
            pairs.for_each(|(operand, loaded)| T::load(&operand[first..][..count], &mut loaded[..count]));
            let loaded = loaded.each_ref().map(|operand| &operand[..count]);
            T::store_computed(result, &mut computed, |result| {
                (application.function.twin)(&loaded, application.numbers(), result);
            });
        }
    });
}

/// result[i] = f(x[…], …), with indices from coordinates and strides.
fn strided_twin<T: Float, const A: usize>(call: Call<'_>) {
    let Some(application) = call.application() else { unreachable!("a launch of this kernel carries its function") };
    let params = call.param_bytes();
    let word = |i: usize| -> u32 { bytemuck::pod_read_unaligned(&params[4 * i..4 * i + 4]) };
    let extents: [u32; 8] = std::array::from_fn(word);
    let strides: [[u32; 8]; A] = std::array::from_fn(|i| std::array::from_fn(|d| word(8 + 8 * i + d)));
    let rank = word(8 + 8 * A + 1) as usize;
    let offsets: [u32; A] = std::array::from_fn(|i| word(8 + 8 * A + 2 + i));
    let (operands, result) = call.operands_as::<T, A>();
    for_each_chunk(
        result,
        #[inline(always)]
        |start, result| {
            let (mut gathered, mut computed) = ([[0.0; BLOCK]; A], [0.0; BLOCK]);
            for (block, result) in result.chunks_mut(BLOCK).enumerate() {
                (0..result.len()).for_each(|element| {
                    let (mut places, mut rest) = (offsets, (start + block * BLOCK + element) as u32);
                    for d in (0..rank).rev() {
                        let coordinate = rest % extents[d];
                        rest /= extents[d];
                        places.iter_mut().zip(strides).for_each(|(place, strides)| *place += coordinate * strides[d]);
                    }
                    let read = operands.iter().zip(places).map(|(operand, place)| operand[place as usize].value());
                    gathered.iter_mut().zip(read).for_each(|(operand, value)| operand[element] = value);
                });
                let operands = gathered.each_ref().map(|operand| &operand[..result.len()]);
                T::store_computed(result, &mut computed, |result| {
                    (application.function.twin)(&operands, application.numbers(), result);
                });
            }
        },
    );
}
