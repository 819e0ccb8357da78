//! The settings of methods, modules and schedules: checks that name the field and its range, and the macro that
//! declares the settings of a method.

use crate::{Error, Result};

/// Checks that a setting is finite and at least 0.
pub(crate) fn not_negative(field: &'static str, value: f64) -> Result<()> {
    ranges::not_negative().check(field, value)
}

/// Checks a decay rate or a probability.
pub(crate) fn fraction(field: &'static str, value: impl Into<f64> + Copy + ToString) -> Result<()> {
    check(field, value, (ranges::fraction().holds)(value.into()), ranges::fraction().text)
}

/// Checks that a setting is finite and greater than 0.
pub(crate) fn positive(field: &'static str, value: f64) -> Result<()> {
    ranges::positive().check(field, value)
}

/// Returns an error with the rule unless the setting is valid.
pub(crate) fn check(field: &'static str, value: impl ToString, good: bool, rule: &'static str) -> Result<()> {
    if good { Ok(()) } else { Err(Error::Setting { field, value: value.to_string(), rule }) }
}

/// The range of a number, and its text.
pub(crate) struct Range {
    text: &'static str,
    holds: fn(f64) -> bool,
}

impl Range {
    fn check(&self, field: &'static str, value: impl AsNumber) -> Result<()> {
        check(field, value, (self.holds)(value.as_number()), self.text)
    }
}

/// Declares ranges: the function of each, and its text as a literal, for documentation.
macro_rules! ranges {
    ($($name:ident $text:literal $holds:expr;)*) => {
        /// The ranges of settings.
        pub(crate) mod ranges {
            $(pub(crate) fn $name() -> super::Range {
                super::Range { text: $text, holds: $holds }
            })*
        }

        macro_rules! text_of_range {
            $(($name) => { $text };)*
        }
    };
}

ranges! {
    fraction "at least 0 and less than 1" |x| (0.0..1.0).contains(&x);
    inner_fraction "greater than 0 and less than 1" |x| x > 0.0 && x < 1.0;
    share "between 0 and 1" |x| (0.0..=1.0).contains(&x);
    not_negative "a finite number of at least 0" |x| x.is_finite() && x >= 0.0;
    not_positive "finite and at most 0" |x| x.is_finite() && x <= 0.0;
    positive "finite and greater than 0" |x| x.is_finite() && x > 0.0;
    from_one "finite and at least 1" |x| x.is_finite() && x >= 1.0;
    finite "finite" f64::is_finite;
    one_to_a_hundred "at least 1 and at most 100" |x| (1.0..=100.0).contains(&x);
    up_to_1024 "at most 1024" |x| x <= 1024.0;
}
pub(crate) use text_of_range as range_text;

/// A number of any type.
pub(crate) trait AsNumber: Copy + ToString {
    fn as_number(self) -> f64;
}

macro_rules! as_number {
    ($($type:ty)*) => {$(
        impl AsNumber for $type {
            fn as_number(self) -> f64 {
                self as f64
            }
        }
    )*};
}
as_number! { f64 u32 u64 usize }

/// A setting of one or several numbers, all of which must be in a range. `names` has the field's name, then those of
/// its parts.
pub(crate) trait Ranged {
    fn check(&self, names: [&'static str; 4], range: &Range) -> Result<()>;
}

macro_rules! ranged {
    ($($type:ty)*) => {$(
        impl Ranged for $type {
            fn check(&self, names: [&'static str; 4], range: &Range) -> Result<()> {
                range.check(names[0], *self)
            }
        }
    )*};
}
ranged! { f64 u32 u64 usize }

impl<T: Ranged> Ranged for Option<T> {
    fn check(&self, names: [&'static str; 4], range: &Range) -> Result<()> {
        self.as_ref().map_or(Ok(()), |value| value.check(names, range))
    }
}

impl Ranged for (f64, f64) {
    fn check(&self, names: [&'static str; 4], range: &Range) -> Result<()> {
        range.check(names[1], self.0)?;
        range.check(names[2], self.1)
    }
}

impl Ranged for (f64, f64, f64) {
    fn check(&self, names: [&'static str; 4], range: &Range) -> Result<()> {
        (self.0, self.1).check(names, range)?;
        range.check(names[3], self.2)
    }
}

/// Declares the settings of a method from one list of fields: name, type, default and range.
///
/// Makes the struct with its documentation, `Default`, `new`, a setter for each field, its JSON form, and `NAME`,
/// `to_json` and `check`, which [`method_of_settings`] turns into methods of [`Method`](crate::Method). A range applies
/// to each number of a tuple. The closure after `check` has the rules that ranges cannot express.
macro_rules! settings {
    (
        $(#[$attribute:meta])*
        $name:literal $struct:ident {
            $(
                $(#[$field_attribute:meta])*
                $field:ident: $type:ty = $default:expr $(, $range:ident)?;
            )*
        }
        $(check |$settings:ident| $check:expr)?
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        #[non_exhaustive]
        pub struct $struct {
            $(
                $(#[$field_attribute])*
                #[doc = concat!(
                    " Default `", stringify!($default), "`"
                    $(, "; ", crate::setting::range_text!($range))?,
                    "."
                )]
                pub $field: $type,
            )*
        }

        impl Default for $struct {
            fn default() -> Self {
                Self::new()
            }
        }

        impl $struct {
            const NAME: &'static str = $name;

            /// Returns the default settings.
            #[must_use]
            pub const fn new() -> Self {
                Self { $($field: $default),* }
            }

            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ").")]
                #[must_use]
                pub const fn $field(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*

            fn check(&self) -> crate::Result<()> {
                $($(
                    crate::setting::Ranged::check(
                        &self.$field,
                        [
                            stringify!($field),
                            concat!(stringify!($field), ".0"),
                            concat!(stringify!($field), ".1"),
                            concat!(stringify!($field), ".2"),
                        ],
                        &crate::setting::ranges::$range(),
                    )?;
                )?)*
                $(
                    let $settings = self;
                    $check?;
                )?
                Ok(())
            }
        }
    };
}
pub(crate) use settings;

/// The methods of [`Method`](crate::Method) that follow from [`settings`].
macro_rules! method_of_settings {
    () => {
        fn name(&self) -> &'static str {
            Self::NAME
        }

        fn settings(&self) -> serde_json::Value {
            serde_json::to_value(self).unwrap_or_default()
        }

        fn validate(&self) -> crate::Result<()> {
            self.check()
        }
    };
}
pub(crate) use method_of_settings;
