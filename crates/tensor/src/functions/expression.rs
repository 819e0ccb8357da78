//! [`Expression`]: a derivative, expressed with the functions of the table.

use super::Elementwise;
use crate::MOST_NUMBERS;

/// The numbers of a function, padded with zeros.
pub type Numbers = [f32; MOST_NUMBERS];

/// An expression of element-wise functions. [`functions!`](crate::functions!) creates derivatives in this form.
#[derive(Debug, Clone, Copy)]
pub enum Expression {
    /// An argument of the function, by its index.
    Argument(usize),
    /// The result of the function.
    Result,
    /// The gradient with respect to the result.
    Cotangent,
    /// A number.
    Constant(f32),
    /// A function of expressions.
    Apply {
        /// The function.
        function: &'static Elementwise,
        /// Its operands.
        operands: &'static [Expression],
        /// Its numbers, computed from those of the function whose derivative this is.
        numbers: fn(&[f32]) -> Numbers,
    },
}

impl Expression {
    /// Returns the argument of this name.
    ///
    /// # Panics
    /// If no argument has the name.
    #[doc(hidden)]
    #[must_use]
    pub const fn argument(names: &[&str], name: &str) -> Self {
        let mut i = 0;
        loop {
            let (found, wanted) = (names[i].as_bytes(), name.as_bytes());
            let mut same = 0;
            while same < found.len() && same < wanted.len() && found[same] == wanted[same] {
                same += 1;
            }
            if same == found.len() && same == wanted.len() {
                return Self::Argument(i);
            }
            i += 1;
        }
    }
}

/// Returns the first numbers of a function.
///
/// # Panics
/// If there are fewer.
#[doc(hidden)]
#[must_use]
pub fn first_numbers<const N: usize>(numbers: &[f32]) -> [f32; N] {
    std::array::from_fn(|i| numbers[i])
}

/// Returns numbers padded with zeros.
///
/// # Panics
/// If there are more than a function may have.
#[doc(hidden)]
#[must_use]
pub fn padded_numbers<const N: usize>(numbers: [f32; N]) -> Numbers {
    let mut padded = [0.0; MOST_NUMBERS];
    padded[..N].copy_from_slice(&numbers);
    padded
}

/// Creates the derivatives of a function, given the names of its arguments and numbers.
#[doc(hidden)]
#[macro_export]
macro_rules! derivatives {
    (
        [$($argument:ident),+] $numbers:tt
        $($head:tt $([$($own:tt)*])? $(($($operand:tt)*))?),* $(,)?
    ) => {{
        const NAMES: &[&str] = &[$(stringify!($argument)),+];
        $(
            #[allow(non_upper_case_globals, dead_code, reason = "a name in the text of derivatives")]
            const $argument: $crate::functions::Expression =
                $crate::functions::Expression::argument(NAMES, stringify!($argument));
        )+
        #[allow(non_upper_case_globals, dead_code, reason = "a name in the text of derivatives")]
        const g: $crate::functions::Expression = $crate::functions::Expression::Cotangent;
        #[allow(non_upper_case_globals, dead_code, reason = "a name in the text of derivatives")]
        const result: $crate::functions::Expression = $crate::functions::Expression::Result;
        &[$($crate::derivative!($numbers; $head $([$($own)*])? $(($($operand)*))?)),*]
    }};
}

/// Creates the derivatives of a function as text.
#[doc(hidden)]
#[macro_export]
macro_rules! derivative_texts {
    ($($head:tt $([$($own:tt)*])? $(($($operand:tt)*))?),* $(,)?) => {
        &[$(stringify!($head $([$($own)*])? $(($($operand)*))?)),*]
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! derivative {
    ($numbers:tt; flat) => { None };
    ($numbers:tt; $($expression:tt)+) => { Some($crate::expression!($numbers; $($expression)+)) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! expression {
    ($numbers:tt; $constant:literal) => { $crate::functions::Expression::Constant($constant) };
    ($numbers:tt; $name:ident) => { $name };
    (
        $numbers:tt;
        $function:ident $([$($own:expr),*])? ($($head:tt $([$($head_own:tt)*])? $(($($operand:tt)*))?),*)
    ) => {
        $crate::functions::Expression::Apply {
            function: &$function,
            operands: &[$($crate::expression!($numbers; $head $([$($head_own)*])? $(($($operand)*))?)),*],
            numbers: $crate::own_numbers!($numbers [$($($own),*)?]),
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! own_numbers {
    ($numbers:tt []) => { |_| $crate::functions::padded_numbers([]) };
    ([$($number:ident),*] [$($own:expr),+]) => {
        |numbers| {
            #[allow(unused_variables, reason = "not every number of a function is in every part of its derivative")]
            let [$($number),*] = $crate::functions::first_numbers(numbers);
            $crate::functions::padded_numbers([$($own),+])
        }
    };
}
