//! [`Call`]: the arguments of a twin.

use super::*;

/// The arguments of a twin: the parameters and the bindings of a launch.
#[derive(Debug)]
pub struct Call<'a> {
    pub(crate) params: &'a [u8],
    pub(crate) constants: &'a [(&'static str, f64)],
    pub(crate) slices: [Slice<'a>; MOST_BINDINGS],
    /// The number of bindings of the kernel.
    pub(crate) count: usize,
    pub(crate) extra: Option<Extra>,
    pub(crate) application: Option<&'a Application>,
}

impl<'a> Call<'a> {
    /// Returns the parameters that the launch was created with.
    ///
    /// # Panics
    /// If `P` has a different size.
    #[must_use]
    pub fn params<P: Pod>(&self) -> P {
        bytemuck::pod_read_unaligned(self.params)
    }

    /// Returns the parameters as bytes, for a twin that decodes them itself.
    #[must_use]
    pub fn param_bytes(&self) -> &'a [u8] {
        self.params
    }

    /// Returns the bindings in order, followed by empty ones.
    #[must_use]
    pub fn slices(self) -> [Slice<'a>; MOST_BINDINGS] {
        self.slices
    }

    /// Returns the element-wise function that the launch applies, with its numbers, if one is declared.
    #[must_use]
    pub fn application(&self) -> Option<&'a Application> {
        self.application
    }

    /// Returns an override constant; 0 if the launch does not set it.
    #[must_use]
    pub fn constant(&self, name: &str) -> f64 {
        self.constants.iter().find(|(n, _)| *n == name).map_or(0.0, |&(_, value)| value)
    }

    /// Returns the bindings, in order.
    ///
    /// # Panics
    /// If `N` is not the length of the kernel's access list.
    #[must_use]
    pub fn bindings<const N: usize>(self) -> [Slice<'a>; N] {
        assert!(N == self.count, "a twin asks for {N} bindings of {}", self.count);
        let mut slices = self.slices.into_iter();
        std::array::from_fn(|_| slices.next().unwrap_or_else(|| unreachable!("there are at most {MOST_BINDINGS}")))
    }

    /// Returns the elements of the other bindings, to read, and those of the last one, to write.
    ///
    /// # Panics
    /// If the kernel has a different number of bindings.
    #[must_use]
    pub fn operands<const N: usize>(self) -> ([&'a [f32]; N], &'a mut [f32]) {
        self.operands_as()
    }

    /// Returns the same as [`operands`](Self::operands), for any element type.
    ///
    /// # Panics
    /// If the kernel has a different number of bindings.
    #[must_use]
    pub fn operands_as<T: Element, const N: usize>(self) -> ([&'a [T]; N], &'a mut [T]) {
        assert!(N + 1 == self.count, "a twin asks for {} bindings of {}", N + 1, self.count);
        let mut slices = self.slices.into_iter();
        let mut next = || slices.next().unwrap_or_else(|| unreachable!("there are at most {MOST_BINDINGS}"));
        (std::array::from_fn(|_| next().read()), next().write())
    }
}

/// A binding of a twin: the bytes of its elements.
#[derive(Debug)]
pub enum Slice<'a> {
    /// To read.
    Read(&'a [u8]),
    /// To write.
    Write(&'a mut [u8]),
}

impl<'a> Slice<'a> {
    /// Returns the elements to read. `T` is the type of the binding or one of the same size.
    #[must_use]
    pub fn read<T: Element>(self) -> &'a [T] {
        match self {
            // An empty placeholder is not aligned.
            Self::Read([]) | Self::Write([]) => &[],
            Self::Read(bytes) => bytemuck::cast_slice(bytes),
            Self::Write(bytes) => bytemuck::cast_slice(bytes),
        }
    }

    /// Returns the elements to write.
    ///
    /// # Panics
    /// If the kernel declares the binding as [`Access::Read`].
    #[must_use]
    pub fn write<T: Element>(self) -> &'a mut [T] {
        match self {
            Self::Read(_) => unreachable!("a twin writes a binding that its kernel declares as read"),
            Self::Write([]) => &mut [],
            Self::Write(bytes) => bytemuck::cast_slice_mut(bytes),
        }
    }
}
