//! [`Function`]: an element-wise function, as used by kernels, twins and recordings, independent of tensors and
//! operations.
//!
//! A launch that applies such a function carries an [`Application`]: the function, its numbers and the addressing of
//! its operands. Recordings fuse neighbouring applications into one generated kernel, for built-in and user-defined
//! functions alike.

use std::fmt;

use crate::threads::vectorized;

/// The most arguments of a function.
pub const MOST_ARGUMENTS: usize = 3;

/// The most numbers of a function.
pub const MOST_NUMBERS: usize = 4;

/// The twin of a function. Each element of the result is the function of the corresponding elements of the operands,
/// and of its numbers. The [`twin!`](crate::twin) macro creates it from a formula for one element.
pub type Twin = fn(operands: &[&[f32]], numbers: &[f32], result: &mut [f32]);

/// A function that is applied to tensors element by element.
///
/// It is a `static`, because kernels and recordings refer to it by its address.
pub struct Function {
    /// The name, a lower-case identifier used in kernels and errors.
    pub name: &'static str,
    /// The names of its one to three arguments in [`wgsl`](Self::wgsl).
    pub arguments: &'static [&'static str],
    /// The names of its numbers in [`wgsl`](Self::wgsl): at most four constants, such as a slope or a bound, that are
    /// the same for all elements.
    pub numbers: &'static [&'static str],
    /// The body of a WGSL function of the arguments and the numbers, all of type `f32`, that returns an `f32`. It may
    /// call the functions of `shaders/shared/math.wgsl`.
    pub wgsl: &'static str,
    /// The same computation on the CPU.
    pub twin: Twin,
}

impl Function {
    /// Computes the function for one element of each operand, with the twin.
    ///
    /// # Panics
    /// If there are fewer operands or numbers than the function has.
    #[must_use]
    pub fn of(&self, operands: &[f32], numbers: &[f32]) -> f32 {
        let mut slices: [&[f32]; MOST_ARGUMENTS] = [&[]; MOST_ARGUMENTS];
        for (slice, operand) in slices.iter_mut().zip(operands) {
            *slice = std::slice::from_ref(operand);
        }
        let mut result = [0.0];
        (self.twin)(&slices[..operands.len()], numbers, &mut result);
        result[0]
    }

    /// Writes the function as WGSL under a name: for one element, and as `name_each` for four.
    pub fn write_wgsl(&self, name: &str, text: &mut String) -> fmt::Result {
        use fmt::Write;
        let parameters = |kind: &str| {
            let operands = self.arguments.iter().map(|argument| format!("{argument}: {kind}"));
            operands.chain(self.numbers.iter().map(|number| format!("{number}: f32"))).collect::<Vec<_>>().join(", ")
        };
        let component = |component: &str| {
            let operands = self.arguments.iter().map(|argument| format!("{argument}.{component}"));
            operands.chain(self.numbers.iter().map(|number| number.to_string())).collect::<Vec<_>>().join(", ")
        };
        let body = match self.wgsl.trim().contains('\n') {
            true => format!("\n    {}\n", self.wgsl.trim()),
            false => format!(" {} ", self.wgsl.trim()),
        };
        writeln!(text, "\nfn {name}({}) -> f32 {{{body}}}", parameters("f32"))?;
        let calls = ["x", "y", "z", "w"].map(|c| format!("{name}({})", component(c))).join(", ");
        writeln!(text, "\nfn {name}_each({}) -> vec4f {{\n    return vec4f({calls});\n}}", parameters("vec4f"))
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Function({})", self.name)
    }
}

/// Two functions are the same if they are one `static`.
impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Function {}

/// The beginning of the entry point of an element-wise kernel, up to the lane's number `i`.
pub const MAIN: &str = "
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
";

/// Returns the shared texts that an element-wise kernel needs. There are many scalar functions, so they are appended
/// only if the kernel calls one.
pub fn shared_texts(text: &str) -> &'static [&'static str] {
    use thalweg_shaders::{GRID, MATH, SPECIAL, TAIL};
    let calls = |shared: &str| {
        let mut names = shared.split("\nfn ").skip(1).filter_map(|text| text.split('(').next());
        names.any(|name| text.contains(&format!("{name}(")))
    };
    if calls(SPECIAL) {
        &[GRID, TAIL, MATH, SPECIAL]
    } else if calls(MATH) {
        &[GRID, TAIL, MATH]
    } else {
        &[GRID, TAIL]
    }
}

/// Applies a formula to the elements of slices, in a loop compiled for the widest vectors of the processor. Call it
/// through [`twin!`](crate::twin).
///
/// # Panics
/// If there are fewer than `A` operands or `N` numbers, or an operand is shorter than the result.
#[doc(hidden)]
#[inline(always)]
pub fn for_each_element<const A: usize, const N: usize>(
    operands: &[&[f32]],
    numbers: &[f32],
    result: &mut [f32],
    formula: impl Fn([f32; A], [f32; N]) -> f32,
) {
    let numbers: [f32; N] = std::array::from_fn(|i| numbers[i]);
    let operands: [&[f32]; A] = std::array::from_fn(|i| &operands[i][..result.len()]);
    vectorized(
        #[inline(always)]
        move || {
            for (i, result) in result.iter_mut().enumerate() {
                *result = formula(operands.map(|operand| operand[i]), numbers);
            }
        },
    );
}

/// Creates the [`Twin`] of an element-wise [`Function`] from a formula for one element. The function's numbers follow
/// a semicolon.
///
/// The loop over the elements is compiled for the processor's vectors, so a formula of plain arithmetic is fast.
///
/// ```
/// use thalweg_runtime::elementwise::Twin;
/// use thalweg_runtime::twin;
///
/// const SQUARED_DISTANCE: Twin = twin!(|x, y| (x - y) * (x - y));
/// const LEAKY: Twin = twin!(|x; slope| if x < 0.0 { slope * x } else { x });
/// let mut result = [0.0; 2];
/// LEAKY(&[&[-1.0, 3.0]], &[0.5], &mut result);
/// assert_eq!(result, [-0.5, 3.0]);
/// SQUARED_DISTANCE(&[&[1.0, 5.0], &[4.0, 5.0]], &[], &mut result);
/// assert_eq!(result, [9.0, 0.0]);
/// ```
#[macro_export]
macro_rules! twin {
    (| $($argument:ident),+ $(; $($number:ident),*)? | $formula:expr) => {{
        fn twin(operands: &[&[f32]], numbers: &[f32], result: &mut [f32]) {
            $crate::elementwise::for_each_element(
                operands,
                numbers,
                result,
                #[inline(always)]
                |[$($argument),+], [$($($number),*)?]| -> f32 { $formula },
            );
        }
        twin
    }};
}

/// The addressing of an operand's elements in its binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// Element i of the binding.
    AsBound,
    /// Element i at offset + i.
    Plain {
        /// The index of the first element.
        offset: u32,
    },
    /// The same element for all.
    Single {
        /// The index of the element.
        offset: u32,
    },
    /// Element i is at offset + stride ((i / divisor) mod modulus): a row, a column, or contiguous elements that are
    /// not aligned.
    Repeated {
        /// The index of the first element.
        offset: u32,
        /// The number of consecutive elements that share an index.
        divisor: u32,
        /// The number of indices before they repeat.
        modulus: u32,
        /// The distance between two indices.
        stride: u32,
    },
}

impl Addressing {
    /// Returns the addressing of elements that are read through strides, 0 for repeated dimensions. Returns `None` if
    /// one quotient and one remainder do not suffice. `Plain` offsets are multiples of `alignment`.
    pub fn new(shape: &[u32], strides: &[u32], offset: u32, alignment: u32) -> Option<Self> {
        let stretched = |d: &usize| strides[*d] == 0 || shape[*d] == 1;
        let kept: Vec<usize> = (0..shape.len()).filter(|d| !stretched(d)).collect();
        let (Some(&first), Some(&last)) = (kept.first(), kept.last()) else { return Some(Self::Single { offset }) };
        // Kept dimensions must be adjacent without gaps, so that one quotient and one remainder suffice.
        let dense = (first..last).all(|d| strides[d] == strides[d + 1] * shape[d + 1]);
        let divisor = shape[last + 1..].iter().product();
        let modulus = shape[first..=last].iter().product();
        let stride = strides[last];
        let plain = divisor == 1 && stride == 1 && modulus == shape.iter().product::<u32>();
        match (dense, plain && offset.is_multiple_of(alignment)) {
            (false, _) => None,
            (true, true) => Some(Self::Plain { offset }),
            (true, false) => Some(Self::Repeated { offset, divisor, modulus, stride }),
        }
    }
}

/// The function that a launch applies. Its first bindings are the operands, its last one is the result.
#[derive(Debug, Clone, Copy)]
pub struct Application {
    /// The function.
    pub function: &'static Function,
    numbers: [f32; MOST_NUMBERS],
    /// The addressing of each operand; `None` if it is not simple.
    places: [Option<Addressing>; MOST_ARGUMENTS],
}

impl Application {
    /// Creates an application whose operands are bound directly.
    pub fn new(function: &'static Function, numbers: &[f32]) -> Self {
        Self::at(function, numbers, &[Some(Addressing::AsBound); MOST_ARGUMENTS])
    }

    /// Creates an application whose operands have the given addressing in their bindings.
    pub fn at(function: &'static Function, numbers: &[f32], places: &[Option<Addressing>]) -> Self {
        let mut application = Self { function, numbers: [0.0; MOST_NUMBERS], places: [None; MOST_ARGUMENTS] };
        application.numbers[..numbers.len()].copy_from_slice(numbers);
        application.places[..places.len()].copy_from_slice(places);
        application
    }

    /// Returns the numbers of the function.
    pub fn numbers(&self) -> &[f32] {
        &self.numbers[..self.function.numbers.len()]
    }

    /// Returns the addressing of the function's operands.
    pub fn places(&self) -> &[Option<Addressing>] {
        &self.places[..self.function.arguments.len()]
    }
}
