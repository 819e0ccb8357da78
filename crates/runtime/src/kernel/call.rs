//! [`Call`]: the arguments of a twin.

use super::*;

/// The arguments of a twin: the parameters and the bindings of a launch.
#[derive(Debug)]
pub struct Call<'a> {
    pub(crate) params: &'a [u8],
    pub(crate) constants: &'a [(&'static str, f64)],
    pub(crate) slices: [Slice<'a>; MOST_BINDINGS],
    /// How many of them the kernel has.
    pub(crate) count: usize,
    pub(crate) extra: Option<Extra>,
    pub(crate) application: Option<&'a Application>,
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

    /// Returns the parameters as bytes, for a twin that takes them apart itself.
    #[must_use]
    pub fn param_bytes(&self) -> &'a [u8] {
        self.params
    }

    /// Returns the bindings in order, and after them empty ones.
    #[must_use]
    pub fn slices(self) -> [Slice<'a>; MOST_BINDINGS] {
        self.slices
    }

    /// Returns the element-wise function that the launch applies, with its numbers, if the launch says so.
    #[must_use]
    pub fn application(&self) -> Option<&'a Application> {
        self.application
    }

    /// Returns an override constant; 0 where the launch does not set it.
    #[must_use]
    pub fn constant(&self, name: &str) -> f64 {
        self.constants.iter().find(|(n, _)| *n == name).map_or(0.0, |&(_, value)| value)
    }

    /// Returns the bindings, in order.
    ///
    /// # Panics
    /// Where `N` is not their number in the kernel's access list.
    #[must_use]
    pub fn bindings<const N: usize>(self) -> [Slice<'a>; N] {
        assert!(N == self.count, "a twin asks for {N} bindings of {}", self.count);
        let mut slices = self.slices.into_iter();
        std::array::from_fn(|_| slices.next().unwrap_or_else(|| unreachable!("there are at most {MOST_BINDINGS}")))
    }

    /// Returns the elements of the first bindings, to read, and those of the last one, to write.
    ///
    /// # Panics
    /// If the kernel has another number of bindings.
    #[must_use]
    pub fn operands<const N: usize>(self) -> ([&'a [f32]; N], &'a mut [f32]) {
        self.operands_as()
    }

    /// Returns the same as [`operands`](Self::operands), of any type.
    ///
    /// # Panics
    /// If the kernel has another number of bindings.
    #[must_use]
    pub fn operands_as<T: Element, const N: usize>(self) -> ([&'a [T]; N], &'a mut [T]) {
        assert!(N + 1 == self.count, "a twin asks for {} bindings of {}", N + 1, self.count);
        let mut slices = self.slices.into_iter();
        let mut next = || slices.next().unwrap_or_else(|| unreachable!("there are at most {MOST_BINDINGS}"));
        (std::array::from_fn(|_| next().read()), next().write())
    }
}

/// A binding as a twin sees it: the bytes of its elements.
#[derive(Debug)]
pub enum Slice<'a> {
    /// To read.
    Read(&'a [u8]),
    /// To write.
    Write(&'a mut [u8]),
}

impl<'a> Slice<'a> {
    /// Returns the elements to read, which are of the type of the binding or of one of the same size.
    #[must_use]
    pub fn read<T: Element>(self) -> &'a [T] {
        match self {
            // A placeholder of no elements is at no aligned place.
            Self::Read([]) | Self::Write([]) => &[],
            Self::Read(bytes) => bytemuck::cast_slice(bytes),
            Self::Write(bytes) => bytemuck::cast_slice(bytes),
        }
    }

    /// Returns the elements to write.
    ///
    /// # Panics
    /// Where the kernel declares the binding as [`Access::Read`].
    #[must_use]
    pub fn write<T: Element>(self) -> &'a mut [T] {
        match self {
            Self::Read(_) => unreachable!("a twin writes a binding that its kernel declares as read"),
            Self::Write([]) => &mut [],
            Self::Write(bytes) => bytemuck::cast_slice_mut(bytes),
        }
    }
}
