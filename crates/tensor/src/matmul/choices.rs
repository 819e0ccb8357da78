//! Choices of kernels for classes of matrix products: created by the tuner, stored by a program, and set again.

use std::collections::HashMap;
use std::sync::PoisonError;

use super::candidates::{Candidate, Extents};
use super::generated::form::{Layout, Loads};
use super::plan::products;
use crate::Device;

/// The version of the generator. Measurements of another version's kernels are invalid.
pub const PRODUCT_KERNELS_VERSION: u32 = 3;

/// The name of the operation's strided kernel among the candidates.
const STRIDED: &str = "strided";

/// The products that share one choice: extents up to a power of two, and the layouts of the operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "tune", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Class {
    m: usize,
    n: usize,
    k: usize,
    layout: ClassLayout,
}

/// The direction in which a and b are contiguous, if both are loaded as vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "tune", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "tune", serde(rename_all = "snake_case"))]
enum ClassLayout {
    InnerInner,
    InnerOuter,
    OuterInner,
    OuterOuter,
    Strided,
}

impl Class {
    pub(super) fn of(extents: Extents, loads: Loads) -> Self {
        let layout = match loads {
            Loads::Vectors(Layout::Inner, Layout::Inner) => ClassLayout::InnerInner,
            Loads::Vectors(Layout::Inner, Layout::Outer) => ClassLayout::InnerOuter,
            Loads::Vectors(Layout::Outer, Layout::Inner) => ClassLayout::OuterInner,
            Loads::Vectors(Layout::Outer, Layout::Outer) => ClassLayout::OuterOuter,
            Loads::Scalars | Loads::Tables => ClassLayout::Strided,
        };
        let Extents { m, n, k } = extents;
        Self { m: m.next_power_of_two(), n: n.next_power_of_two(), k: k.next_power_of_two(), layout }
    }
}

/// The chosen kernel of each class. `None` is the strided kernel.
pub(super) type Choices = HashMap<Class, Option<Candidate>>;

/// The kernel for the products of one class: those whose extents round up to the same powers of two, and whose
/// operands are stored the same way. A program can store it in a file and set it again with
/// [`DeviceProducts::set_product_choices`](super::DeviceProducts::set_product_choices).
///
/// The kernels' names are valid for one adapter, one driver and one [`PRODUCT_KERNELS_VERSION`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "tune", derive(serde::Serialize, serde::Deserialize))]
pub struct ProductChoice {
    #[cfg_attr(feature = "tune", serde(flatten))]
    pub(super) class: Class,
    pub(super) kernel: String,
}

impl ProductChoice {
    /// Returns whether both choices are for the same products.
    #[must_use]
    pub fn is_for_same_products(&self, other: &Self) -> bool {
        self.class == other.class
    }
}

/// Returns the name of a choice.
pub(super) fn name(choice: Option<Candidate>) -> String {
    match choice {
        None => STRIDED.to_string(),
        Some(Candidate { family, swapped }) => family.name() + if swapped { "_swapped" } else { "" },
    }
}

/// See [`DeviceProducts::set_product_choices`](super::DeviceProducts::set_product_choices).
pub(super) fn set_choices(device: &Device, choices: &[ProductChoice]) {
    let Some(products) = products(device) else { return };
    let candidates = products.profile.candidates();
    let kernel = |kernel: &str| match kernel {
        STRIDED => Some(None),
        _ => candidates.iter().find(|&&candidate| name(Some(candidate)) == kernel).map(|&candidate| Some(candidate)),
    };
    let known = choices.iter().filter_map(|choice| Some((choice.class, kernel(&choice.kernel)?)));
    *products.tuned.write().unwrap_or_else(PoisonError::into_inner) = known.collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_set_by_name_and_unknown_kernels_are_left_out() {
        let device = match Device::open_new("gpu") {
            Ok(device) => device,
            Err(error) => {
                let required = std::env::var_os("THALWEG_REQUIRE_GPU").is_some_and(|value| value != "0");
                assert!(!required, "THALWEG_REQUIRE_GPU is set, but: {error}");
                return;
            }
        };
        let products = products(&device).unwrap();
        let candidate = products.profile.candidates()[1];
        let choice = |m, kernel: String| {
            let class = Class { m, n: 64, k: 64, layout: ClassLayout::InnerOuter };
            ProductChoice { class, kernel }
        };
        let choices =
            [choice(16, name(Some(candidate))), choice(32, STRIDED.to_string()), choice(64, "no such".to_string())];
        set_choices(&device, &choices);
        let expected = Choices::from([(choices[0].class, Some(candidate)), (choices[1].class, None)]);
        assert_eq!(*products.tuned.read().unwrap(), expected);
        set_choices(&device, &choices[1..2]);
        assert_eq!(*products.tuned.read().unwrap(), Choices::from([(choices[1].class, None)]));
    }

    #[test]
    fn shapes_of_a_class_share_their_choice() {
        let of = |m, n, k| Class::of(Extents { m, n, k }, Loads::Scalars);
        assert_eq!(of(33, 100, 1), of(64, 128, 1));
        assert_ne!(of(33, 100, 1), of(65, 100, 1));
    }
}
