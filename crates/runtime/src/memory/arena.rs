//! [`Pages`]: places for many arrays in a few buffers, so that one launch reaches all of them.

use crate::{DType, Error, Result};

/// Pages are multiples of so many elements, so that kernels that go over a page need no test for a tail.
pub const PAGE_BLOCK: usize = 1024;

/// The place of an array in pages.
#[derive(Debug, Clone, Copy)]
pub struct Placement {
    /// The number of the page.
    pub page: usize,
    /// The elements of the page before the array.
    pub offset: usize,
    /// The elements of the array.
    pub len: usize,
}

/// Places for arrays of one type and known lengths. Each array is in one page, from a multiple of
/// [`DType::alignment`] on.
#[derive(Debug)]
pub struct Pages {
    places: Vec<Placement>,
    /// Elements of each page, padding included.
    elements: Vec<usize>,
}

impl Pages {
    /// Returns places for arrays of these lengths and this type, in pages of at most `most` elements, at least
    /// [`PAGE_BLOCK`]. There is always a page, even for no array.
    ///
    /// # Errors
    /// If one array alone is longer than a page may be.
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

    /// Returns the place of each array.
    pub fn places(&self) -> &[Placement] {
        &self.places
    }

    /// Returns the number of elements of each page, padding included.
    pub fn elements(&self) -> &[usize] {
        &self.elements
    }
}
