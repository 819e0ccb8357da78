//! [`Pages`]: the layout of many arrays in a few buffers, so that one launch covers all of them.

use crate::{DType, Error, Result};

/// Page lengths are multiples of this many elements, so that kernels over a page need no test for a tail.
pub const PAGE_BLOCK: usize = 1024;

/// The position of an array in pages.
#[derive(Debug, Clone, Copy)]
pub struct Placement {
    /// The number of the page.
    pub page: usize,
    /// The index of the array's first element in the page.
    pub offset: usize,
    /// The number of elements of the array.
    pub len: usize,
}

/// The layout of arrays of one type and known lengths. Each array is in one page, at a multiple of
/// [`DType::alignment`].
#[derive(Debug)]
pub struct Pages {
    places: Vec<Placement>,
    /// The number of elements of each page, padding included.
    elements: Vec<usize>,
}

impl Pages {
    /// Lays out arrays of these lengths and this type, in pages of at most `most` elements, but at least
    /// [`PAGE_BLOCK`]. There is always a page, even without arrays.
    ///
    /// # Errors
    /// If a single array is longer than a page may be.
    pub fn new(lengths: impl IntoIterator<Item = usize>, dtype: DType, most: usize) -> Result<Self> {
        let most = most.min(u32::MAX as usize) / PAGE_BLOCK * PAGE_BLOCK;
        let (mut places, mut elements, mut used) = (Vec::new(), Vec::new(), 0);
        for len in lengths {
            let padded = len.next_multiple_of(dtype.alignment());
            if padded > most {
                return Err(Error::Limit {
                    op: "arena",
                    limit: "max_storage_buffer_binding_size",
                    asked: (dtype.size() * padded) as u64,
                    allowed: (dtype.size() * most) as u64,
                });
            }
            if used + padded > most {
                elements.push(used);
                used = 0;
            }
            places.push(Placement { page: elements.len(), offset: used, len });
            used += padded;
        }
        elements.push(used);
        elements.iter_mut().for_each(|used| *used = used.next_multiple_of(PAGE_BLOCK));
        Ok(Self { places, elements })
    }

    /// Returns the position of each array.
    pub fn places(&self) -> &[Placement] {
        &self.places
    }

    /// Returns the number of elements of each page, padding included.
    pub fn elements(&self) -> &[usize] {
        &self.elements
    }
}
