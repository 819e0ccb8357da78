//! Element types.

use std::fmt;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// The portable alignment of a binding in bytes.
pub(crate) const BINDING_ALIGNMENT: usize = 256;

/// The storage type of a tensor's elements. Kernels compute in f32, whatever the storage type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit floating point.
    F32,
    /// 32-bit unsigned integer: indices and classes.
    U32,
    /// 16-bit floating point of IEEE 754, binary16: 11 significant bits, up to 65,504.
    F16,
    /// bfloat16, the upper half of an f32: 8 significant bits, and the range of f32.
    BF16,
}

impl DType {
    /// Returns the size of an element in bytes: 4 or 2.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::F32 | Self::U32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }

    /// Returns whether elements are floating-point numbers.
    #[must_use]
    pub const fn is_float(self) -> bool {
        !matches!(self, Self::U32)
    }

    /// Returns whether elements are floating-point numbers of 16 bits.
    #[must_use]
    pub const fn is_half(self) -> bool {
        matches!(self, Self::F16 | Self::BF16)
    }

    /// Returns the WGSL type in which a storage binding holds four neighbouring elements.
    #[must_use]
    pub const fn wgsl_vector(self) -> &'static str {
        match self {
            Self::F32 => "vec4f",
            Self::U32 => "vec4u",
            Self::F16 | Self::BF16 => "vec2u",
        }
    }

    /// Returns the WGSL type of a word of a storage binding: one element, or two 16-bit elements.
    #[must_use]
    pub const fn wgsl_word(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::U32 | Self::F16 | Self::BF16 => "u32",
        }
    }

    /// Returns the WGSL expression for the values of four elements, a `vec4f`, given the expression for their
    /// [vector](Self::wgsl_vector).
    #[must_use]
    pub fn wgsl_load(self, vector: &str) -> String {
        match self {
            Self::F32 => vector.to_string(),
            Self::U32 => format!("vec4f({vector})"),
            Self::F16 | Self::BF16 => format!("{self}_load({vector})"),
        }
    }

    /// Returns the WGSL expression for the [vector](Self::wgsl_vector) of four elements, given the expression for
    /// their values.
    #[must_use]
    pub fn wgsl_store(self, values: &str) -> String {
        match self {
            Self::F32 => values.to_string(),
            Self::U32 => format!("vec4u({values})"),
            Self::F16 | Self::BF16 => format!("{self}_store({values})"),
        }
    }

    /// Returns the WGSL expression for the value of one element of a binding of [words](Self::wgsl_word).
    #[must_use]
    pub fn wgsl_at(self, binding: &str, place: &str) -> String {
        match self {
            Self::F32 => format!("{binding}[{place}]"),
            Self::U32 => format!("f32({binding}[{place}])"),
            Self::F16 | Self::BF16 => format!("{self}_at({binding}[({place}) / 2u], {place})"),
        }
    }

    /// Returns the shared text with the functions that loads and stores of this type call, if any.
    #[must_use]
    pub const fn wgsl_text(self) -> Option<&'static str> {
        match self {
            Self::F32 | Self::U32 => None,
            Self::F16 => Some(thalweg_shaders::F16),
            Self::BF16 => Some(thalweg_shaders::BF16),
        }
    }

    /// Returns the alignment of a binding in elements.
    #[must_use]
    pub const fn alignment(self) -> usize {
        BINDING_ALIGNMENT / self.size()
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::U32 => "u32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
        })
    }
}

/// A Rust type that can be an element: `f32`, `u32`, [`f16`](struct@f16) or [`bf16`].
pub trait Element: bytemuck::Pod + Send + Sync + sealed::Sealed {
    /// The type at run time.
    const DTYPE: DType;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
}

impl Element for u32 {
    const DTYPE: DType = DType::U32;
}

impl Element for f16 {
    const DTYPE: DType = DType::F16;
}

impl Element for bf16 {
    const DTYPE: DType = DType::BF16;
}

/// A floating-point element type. Twins load it as f32 and round when they store.
///
/// Rounding is to nearest, ties to even. Numbers beyond the range become infinities, and NaN stays NaN.
pub trait Float: Element {
    /// Converts elements to values.
    ///
    /// # Panics
    /// If the lengths differ.
    fn load(elements: &[Self], values: &mut [f32]);

    /// Returns the value of an element.
    fn value(self) -> f32;

    /// Rounds values and stores them as elements.
    ///
    /// # Panics
    /// If the lengths differ.
    fn store(values: &[f32], elements: &mut [Self]);

    /// Returns the values of elements: the elements themselves if they are f32, else the beginning of `room`.
    ///
    /// # Panics
    /// If `room` is needed and shorter than the elements.
    fn loaded<'a>(elements: &'a [Self], room: &'a mut [f32]) -> &'a [f32] {
        let room = &mut room[..elements.len()];
        Self::load(elements, room);
        room
    }

    /// Rounds values to this type.
    fn round(values: &mut [f32]) {
        let mut stored = [Self::zeroed(); 64];
        for values in values.chunks_mut(stored.len()) {
            let stored = &mut stored[..values.len()];
            Self::store(values, stored);
            Self::load(stored, values);
        }
    }

    /// Calls `compute` with a slice for the values of elements, and stores them as rounded elements. The slice is the
    /// elements themselves if they are f32, else the beginning of `scratch`.
    ///
    /// # Panics
    /// If `scratch` is shorter than the elements.
    fn store_computed(elements: &mut [Self], scratch: &mut [f32], compute: impl FnOnce(&mut [f32])) {
        let scratch = &mut scratch[..elements.len()];
        compute(scratch);
        Self::store(scratch, elements);
    }
}

impl Float for f32 {
    #[inline(always)]
    fn load(elements: &[Self], values: &mut [f32]) {
        values.copy_from_slice(elements);
    }

    #[inline(always)]
    fn value(self) -> f32 {
        self
    }

    #[inline(always)]
    fn store(values: &[f32], elements: &mut [Self]) {
        elements.copy_from_slice(values);
    }

    #[inline(always)]
    fn loaded<'a>(elements: &'a [Self], _room: &'a mut [f32]) -> &'a [f32] {
        elements
    }

    #[inline(always)]
    fn round(_values: &mut [f32]) {}

    #[inline(always)]
    fn store_computed(elements: &mut [Self], _scratch: &mut [f32], compute: impl FnOnce(&mut [f32])) {
        compute(elements);
    }
}

macro_rules! half_float {
    ($($half:ty),*) => {$(
        impl Float for $half {
            fn load(elements: &[Self], values: &mut [f32]) {
                elements.convert_to_f32_slice(values);
            }

            fn value(self) -> f32 {
                self.to_f32()
            }

            fn store(values: &[f32], elements: &mut [Self]) {
                elements.convert_from_f32_slice(values);
            }
        }
    )*};
}

half_float!(f16, bf16);

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for u32 {}
    impl Sealed for half::f16 {}
    impl Sealed for half::bf16 {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_rust_types() {
        fn size<T: Element>() -> (usize, usize) {
            (T::DTYPE.size(), size_of::<T>())
        }
        for (of_dtype, of_type) in [size::<f32>(), size::<u32>(), size::<f16>(), size::<bf16>()] {
            assert_eq!(of_dtype, of_type);
        }
        assert_eq!((DType::F32.alignment(), DType::BF16.alignment()), (64, 128));
    }
}
