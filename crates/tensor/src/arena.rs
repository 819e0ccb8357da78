//! [`Arena`]: many tensors as slices of a few large ones, so that one launch covers all.

use std::sync::Arc;

use crate::memory::{PAGE_BLOCK, Pages, Placement};
use crate::{DType, Device, Error, Result, Tensor, shape};

/// The most elements that one workgroup of an update processes. Pages are padded to it, so that updates need no test
/// for a tail.
pub(crate) const UPDATE_BLOCK: usize = PAGE_BLOCK;

/// Shared memory for tensors of one type and fixed shapes. Each tensor starts at a multiple of 256 bytes, and padding
/// is zero. The default element type is f32. Gradients and the state of an optimizer are separate arenas of the same
/// layout; state may be packed ([`zeros_packed`](Self::zeros_packed)).
///
/// If the device cannot bind a buffer of the whole size, the arena is split into pages. Each tensor is in one page.
///
/// ```
/// use thalweg_tensor::{Arena, Device};
/// # fn main() -> thalweg_tensor::Result<()> {
/// let values = Arena::new(&Device::cpu(), &[vec![10, 4], vec![10]])?;
/// let grads = values.zeros_like()?;
/// assert_eq!(values.get(1).shape(), [10]);
/// assert_eq!((grads.len(), grads.pages().len(), grads.element_count()), (2, 1, 50));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Arena {
    layout: Arc<Layout>,
    packing: Packing,
    pages: Vec<Tensor>,
    tensors: Vec<Tensor>,
}

/// How many parameters share a word of an optimizer's state, and the type of the word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// A 32-bit number for each parameter.
    Plain,
    /// Four eight-bit codes in a u32, that of the first parameter in the lowest bits.
    Codes,
    /// A 32-bit number for 64 parameters.
    Blocks,
}

impl Packing {
    /// Returns the type of a word.
    #[must_use]
    pub fn dtype(self) -> DType {
        match self {
            Self::Plain | Self::Blocks => DType::F32,
            Self::Codes => DType::U32,
        }
    }

    /// Returns the number of parameters in a word; the alignment of tensors is a multiple of it.
    #[must_use]
    pub fn parameters(self) -> usize {
        match self {
            Self::Plain => 1,
            Self::Codes => 4,
            Self::Blocks => DType::F32.alignment(),
        }
    }
}

/// The positions of an arena's tensors. Arenas that share a layout have tensors of the same shapes at the same
/// positions.
#[derive(Debug)]
pub struct Layout {
    dtype: DType,
    shapes: Vec<Vec<usize>>,
    pages: Pages,
}

impl Layout {
    /// Returns the layout of f32 tensors of these shapes, in pages of at most `page_elements` elements or the device's limit.
    ///
    /// # Errors
    /// If a single tensor exceeds the device's limit for a binding.
    pub fn new(device: &Device, shapes: &[Vec<usize>], page_elements: usize) -> Result<Self> {
        Self::with_dtype(device, DType::F32, shapes, page_elements)
    }

    /// Returns the layout of tensors of one type, like [`new`](Self::new) for f32.
    ///
    /// # Errors
    /// See [`new`](Self::new).
    pub fn with_dtype(device: &Device, dtype: DType, shapes: &[Vec<usize>], page_elements: usize) -> Result<Self> {
        let counts = shapes.iter().map(|shape| shape::element_count("arena", shape)).collect::<Result<Vec<_>>>()?;
        let device_limit = device.info().max_binding_bytes / dtype.size() as u64;
        let limit = page_elements.max(UPDATE_BLOCK).min(usize::try_from(device_limit).unwrap_or(usize::MAX));
        Ok(Self { dtype, shapes: shapes.to_vec(), pages: Pages::new(counts, dtype, limit)? })
    }

    /// Returns the position of each tensor.
    pub(crate) fn places(&self) -> impl Iterator<Item = Placement> {
        self.pages.places().iter().copied()
    }

    /// Returns the shape of each tensor.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = &[usize]> {
        self.shapes.iter().map(|shape| &**shape)
    }
}

impl Arena {
    /// Returns zeros for tensors of these shapes.
    ///
    /// # Errors
    /// If a single tensor exceeds the device's limit for a binding, or the device has no room.
    pub fn new(device: &Device, shapes: &[Vec<usize>]) -> Result<Self> {
        Self::with_page_size(device, shapes, usize::MAX)
    }

    /// Returns zeros of one type for tensors of these shapes. The updates of optimizers support f32 only.
    ///
    /// ```
    /// use thalweg_tensor::{Arena, DType, Device, f16};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let arena = Arena::with_dtype(&Device::cpu(), DType::F16, &[vec![3], vec![2, 2]])?;
    /// arena.get(0).fill(f16::ONE)?;
    /// assert_eq!(arena.pages()[0].slice(0, 2, 4)?.to_vec::<f16>()?, [f16::ONE, f16::ZERO]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`new`](Self::new).
    pub fn with_dtype(device: &Device, dtype: DType, shapes: &[Vec<usize>]) -> Result<Self> {
        let layout = Arc::new(Layout::with_dtype(device, dtype, shapes, usize::MAX)?);
        Self::with_layout(device, layout, Packing::Plain, Tensor::zeros)
    }

    /// Returns zeros like [`new`](Self::new), in pages of at most `page_elements` elements or the device's limit.
    ///
    /// # Errors
    /// See [`new`](Self::new).
    pub fn with_page_size(device: &Device, shapes: &[Vec<usize>], page_elements: usize) -> Result<Self> {
        Self::with_layout(device, Arc::new(Layout::new(device, shapes, page_elements)?), Packing::Plain, Tensor::zeros)
    }

    /// Returns zeros in the same layout, in separate memory.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn zeros_like(&self) -> Result<Self> {
        Self::with_layout(self.device(), self.layout.clone(), self.packing, Tensor::zeros)
    }

    /// Returns zeros for packed state of these tensors, in which several elements share a word. Order and pages are
    /// the same. A tensor is then flat: the words that contain its elements.
    ///
    /// ```
    /// use thalweg_tensor::{Arena, Device, Packing};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let values = Arena::new(&Device::cpu(), &[vec![10, 9], vec![10]])?;
    /// let (codes, scales) = (values.zeros_packed(Packing::Codes)?, values.zeros_packed(Packing::Blocks)?);
    /// assert_eq!((codes.get(0).shape(), codes.get(1).shape()), (&[23][..], &[3][..]));
    /// assert_eq!((scales.get(0).shape(), scales.get(1).shape()), (&[2][..], &[1][..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the arena's elements are not f32, or the device has no room.
    pub fn zeros_packed(&self, packing: Packing) -> Result<Self> {
        if self.dtype() != DType::F32 {
            return Err(Error::DType { op: "zeros_packed", expected: DType::F32, found: self.dtype() });
        }
        Self::with_layout(self.device(), self.layout.clone(), packing, Tensor::zeros)
    }

    /// Returns an uninitialized arena of this layout, including its padding. It must be written before it is read.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn uninitialized(device: &Device, layout: &Arc<Layout>) -> Result<Self> {
        Self::with_layout(device, layout.clone(), Packing::Plain, Tensor::uninitialized)
    }

    fn with_layout(
        device: &Device,
        layout: Arc<Layout>,
        packing: Packing,
        page: impl Fn(&Device, DType, &[usize]) -> Result<Tensor>,
    ) -> Result<Self> {
        let share = packing.parameters();
        let dtype = if packing == Packing::Plain { layout.dtype } else { packing.dtype() };
        let pages = layout
            .pages
            .elements()
            .iter()
            .map(|&elements| page(device, dtype, &[elements / share]))
            .collect::<Result<Vec<_>>>()?;
        let tensors = layout
            .places()
            .zip(layout.shapes())
            .map(|(place, shape)| {
                let start = place.offset / share;
                let tensor = pages[place.page].slice(0, start, start + place.len.div_ceil(share))?;
                if packing == Packing::Plain { tensor.reshape(shape) } else { Ok(tensor) }
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { layout, packing, pages, tensors })
    }

    /// Returns the type of the elements of its tensors.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.layout.dtype
    }

    /// Returns how many elements share a word.
    #[must_use]
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// Returns its device.
    #[must_use]
    pub fn device(&self) -> &Device {
        // A layout has a page even without tensors.
        self.pages[0].device()
    }

    /// Returns the number of tensors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Returns whether there is no tensor.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Returns the number of elements of all tensors, excluding padding.
    #[must_use]
    pub fn element_count(&self) -> usize {
        self.tensors.iter().map(Tensor::len).sum()
    }

    /// Returns the tensor at an index, as a view of its page.
    ///
    /// # Panics
    /// If the index is out of range.
    #[must_use]
    pub fn get(&self, index: usize) -> &Tensor {
        &self.tensors[index]
    }

    /// Returns all tensors, as views of their pages.
    #[must_use]
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Returns the pages: all elements, including padding.
    #[must_use]
    pub fn pages(&self) -> &[Tensor] {
        &self.pages
    }

    /// Returns the positions of its tensors.
    #[must_use]
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Returns the position of each tensor.
    pub(crate) fn places(&self) -> impl Iterator<Item = Placement> {
        self.layout.places()
    }

    /// Sets all elements to zero.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn clear(&self) -> Result<()> {
        let bytes = |page: &Tensor| page.dtype().size() * page.len();
        self.pages.iter().try_for_each(|page| page.device().clear(page.buffer(), 0, bytes(page)))
    }

    /// Checks that other arenas have the same layout, packing and device; `op` is the operation in the error.
    ///
    /// # Errors
    /// If one of them differs.
    pub fn same_layout(&self, op: &'static str, others: &[&Self]) -> Result<()> {
        others.iter().try_for_each(|other| self.same_packed_layout(op, other, self.packing))
    }

    /// Checks that an arena has the same layout and the given packing.
    pub(crate) fn same_packed_layout(&self, op: &'static str, other: &Self, packing: Packing) -> Result<()> {
        let pages = self.layout.pages.elements();
        if (Arc::ptr_eq(&self.layout, &other.layout) || pages == other.layout.pages.elements())
            && other.packing == packing
            && other.dtype() == self.dtype()
        {
            return self.pages[0].same_device(op, &other.pages[0]);
        }
        Err(Error::Shape {
            op,
            rule: "the arenas have different pages or types",
            left: pages.iter().map(|elements| elements / packing.parameters()).collect(),
            right: other.pages.iter().map(Tensor::len).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_aligned_slices_and_padding_is_zero() {
        let arena = Arena::new(&Device::cpu(), &[vec![3, 5], vec![], vec![0], vec![65]]).unwrap();
        arena.get(0).fill(1f32).unwrap();
        arena.get(1).fill(2f32).unwrap();
        arena.get(3).fill(3f32).unwrap();
        assert_eq!(arena.pages().len(), 1);
        let page = arena.pages()[0].to_vec::<f32>().unwrap();
        assert_eq!(page.len(), 1024);
        assert_eq!(page.iter().sum::<f32>(), 15.0 + 2.0 + 195.0);
        assert_eq!((page[14], page[15], page[64], page[65], page[128]), (1.0, 0.0, 2.0, 0.0, 3.0));
    }

    #[test]
    fn packed_state_lies_beside_its_parameters() {
        let shapes = [vec![900], vec![3, 33], vec![1024], vec![]];
        let arena = Arena::with_page_size(&Device::cpu(), &shapes, 1024).unwrap();
        let codes = arena.zeros_packed(Packing::Codes).unwrap();
        let blocks = arena.zeros_packed(Packing::Blocks).unwrap();
        for (place, (codes, blocks)) in arena.places().zip(codes.tensors().iter().zip(blocks.tensors())) {
            assert_eq!((codes.offset(), blocks.offset()), (place.offset / 4, place.offset / 64));
            assert_eq!((codes.len(), blocks.len()), (place.len.div_ceil(4), place.len.div_ceil(64)));
        }
        assert_eq!((codes.get(1).dtype(), blocks.get(1).dtype()), (DType::U32, DType::F32));
        codes.pages()[1].fill(7u32).unwrap();
        codes.clear().unwrap();
        assert_eq!(codes.get(1).to_vec::<u32>().unwrap(), [0; 25]);
        assert!(arena.same_packed_layout("test", &codes, Packing::Codes).is_ok());
        assert!(arena.same_packed_layout("test", &codes, Packing::Blocks).is_err());
        assert!(arena.same_layout("test", &[&codes]).is_err());
    }

    #[test]
    fn small_pages_split_the_arena_and_a_tensor_over_the_limit_is_refused() {
        let shapes = [vec![900], vec![100], vec![1024]];
        let arena = Arena::with_page_size(&Device::cpu(), &shapes, 1100).unwrap();
        assert_eq!(arena.pages().iter().map(Tensor::len).collect::<Vec<_>>(), [1024, 1024, 1024]);
        assert!(matches!(Arena::with_page_size(&Device::cpu(), &[vec![1100]], 1024), Err(Error::Limit { .. })));
    }
}
