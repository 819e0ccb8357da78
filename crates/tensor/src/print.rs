//! Formats tensors like NumPy.

use std::fmt;

use crate::{DType, Element, Float, Result, Tensor, bf16, f16};

/// Tensors with more elements are shortened,
const THRESHOLD: usize = 1000;
/// to this many at both ends of each dimension.
const EDGE_ITEMS: usize = 3;
/// The characters of a line.
const LINE_WIDTH: usize = 75;
/// The digits after the decimal point.
const PRECISION: usize = 8;

/// Writes the elements like NumPy's `str`: columns are aligned, and long rows are wrapped after 75 characters. Of
/// more than 1,000 elements only three at both ends of each dimension are shown.
///
/// Reads from the device, and waits for it. While a recording is made on this thread, or if the read fails, the text
/// contains only type, shape and device.
///
/// ```
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_tensor::Result<()> {
/// let x = Tensor::from_slice(&Device::cpu(), &[1.0, 2.5, -3.0, 0.125], &[2, 2])?;
/// assert_eq!(x.to_string(), "[[ 1.     2.5  ]\n [-3.     0.125]]");
/// assert_eq!(x.sum()?.to_string(), "0.625");
/// # Ok(())
/// # }
/// ```
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shown() {
            Some(Shown::Floats(values)) if self.rank() == 0 => f.write_str(&scalar(values[0])),
            Some(shown) => f.write_str(&self.layout(&shown.words(), " ", "", 0)),
            None => self.describe(f),
        }
    }
}

/// Writes the elements, type, shape and device; like [`Display`](fmt::Display) it may wait for the device.
///
/// ```
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_tensor::Result<()> {
/// let x = Tensor::from_slice(&Device::cpu(), &[1u32, 2, 30], &[3])?;
/// assert_eq!(format!("{x:?}"), format!("Tensor([ 1,  2, 30], u32 [3] on {})", x.device()));
/// # Ok(())
/// # }
/// ```
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PREFIX: &str = "Tensor(";
        f.write_str(PREFIX)?;
        if let Some(shown) = self.shown() {
            // The comma after the elements belongs to their line.
            write!(f, "{}, ", self.layout(&shown.words(), ", ", PREFIX, 1))?;
        }
        self.describe(f)?;
        f.write_str(")")
    }
}

/// The elements to print, in row-major order.
enum Shown {
    Floats(Vec<f32>),
    Whole(Vec<u32>),
}

impl Shown {
    /// Returns the text of each, all of the same width.
    fn words(&self) -> Vec<String> {
        match self {
            Self::Floats(values) => float_words(values),
            Self::Whole(values) => {
                let words: Vec<String> = values.iter().map(u32::to_string).collect();
                let width = words.iter().map(String::len).max().unwrap_or(0);
                words.into_iter().map(|word| format!("{word:>width$}")).collect()
            }
        }
    }
}

impl Tensor {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} on {}", self.dtype(), self.shape(), self.device())
    }

    /// Reads the elements to print; `None` if nothing can be read.
    fn shown(&self) -> Option<Shown> {
        if crate::is_recording(self.device()) {
            return None;
        }
        let shown = match self.dtype() {
            DType::F32 => self.edges().map(Shown::Floats),
            DType::U32 => self.edges().map(Shown::Whole),
            DType::F16 => self.edges::<f16>().map(shortest),
            DType::BF16 => self.edges::<bf16>().map(shortest),
        };
        shown.ok()
    }

    fn is_shortened(&self) -> bool {
        self.len() > THRESHOLD
    }

    /// Reads all elements, or for a large tensor those at the ends of each dimension.
    fn edges<T: Element>(&self) -> Result<Vec<T>> {
        if self.is_shortened() { ends(self, 0) } else { self.to_vec() }
    }

    /// Formats words with brackets and lines. The first line begins after `prefix`, and the last one leaves room for
    /// `room` characters.
    fn layout(&self, words: &[String], separator: &str, prefix: &str, room: usize) -> String {
        if self.is_empty() {
            return "[]".to_string();
        }
        let indent = " ".repeat(prefix.len() + 1);
        let mut lines = Lines { words: words.iter(), separator, is_shortened: self.is_shortened() };
        lines.dimension(self.shape(), &indent, LINE_WIDTH - room)
    }
}

/// Returns 16-bit elements as numbers with the fewest digits that distinguish them from their neighbours. If the
/// exponent requires more digits, they are zeros, whereas NumPy writes those of the exact value.
fn shortest<T: Float>(elements: Vec<T>) -> Shown {
    let is_same = |value: f32, x: T| {
        let mut stored = [T::zeroed()];
        T::store(&[value], &mut stored);
        bytemuck::bytes_of(&stored[0]) == bytemuck::bytes_of(&x)
    };
    let short = |x: T| {
        let tried = (0..5).filter_map(|digits| format!("{:.digits$e}", x.value()).parse().ok());
        tried.into_iter().find(|&value| is_same(value, x)).unwrap_or(x.value())
    };
    Shown::Floats(elements.into_iter().map(short).collect())
}

/// Reads the first and the last elements of each dimension from `dimension` on.
fn ends<T: Element>(tensor: &Tensor, dimension: usize) -> Result<Vec<T>> {
    let shape = tensor.shape();
    let Some(long) = (dimension..shape.len()).find(|&d| shape[d] > 2 * EDGE_ITEMS) else { return tensor.to_vec() };
    let outer: usize = shape[..long].iter().product();
    let first = ends(&tensor.slice(long, 0, EDGE_ITEMS)?, long + 1)?;
    let last = ends(&tensor.slice(long, shape[long] - EDGE_ITEMS, shape[long])?, long + 1)?;
    let inner = first.len() / outer;
    let rows = first.chunks(inner).zip(last.chunks(inner));
    Ok(rows.flat_map(|(first, last)| first.iter().chain(last)).copied().collect())
}

/// NumPy's `_formatArray`: consumes one word after the other.
struct Lines<'a> {
    words: std::slice::Iter<'a, String>,
    separator: &'a str,
    is_shortened: bool,
}

impl Lines<'_> {
    fn word(&mut self) -> &str {
        self.words.next().map_or("", String::as_str)
    }

    /// Writes a tensor of this shape in brackets; lines after the first begin with `indent`.
    fn dimension(&mut self, shape: &[usize], indent: &str, width: usize) -> String {
        let Some((&extent, rest)) = shape.split_first() else { return self.word().to_string() };
        let is_cut = self.is_shortened && extent > 2 * EDGE_ITEMS;
        // `None` represents the omitted elements.
        let shown = if is_cut { 2 * EDGE_ITEMS } else { extent };
        let items = (0..shown).flat_map(|i| (is_cut && i == EDGE_ITEMS).then_some(None).into_iter().chain([Some(i)]));
        let mut text = "[".to_string();
        if rest.is_empty() {
            let mut line = indent.len();
            for item in items {
                let word = if item.is_some() { self.word() } else { "..." }.to_string();
                if item != Some(0) {
                    text.push_str(self.separator);
                    line += self.separator.len();
                    if line + word.len() > width - 1 && line > indent.len() {
                        text.truncate(text.trim_end().len());
                        text.push('\n');
                        text.push_str(indent);
                        line = indent.len();
                    }
                }
                line += word.len();
                text.push_str(&word);
            }
        } else {
            let deeper = format!("{indent} ");
            let end_of_item = self.separator.trim_end().to_string() + &"\n".repeat(rest.len());
            for item in items {
                if item != Some(0) {
                    text.push_str(&end_of_item);
                    text.push_str(indent);
                }
                match item {
                    Some(_) => text.push_str(&self.dimension(rest, &deeper, width - 1)),
                    None => text.push_str("..."),
                }
            }
        }
        text.push(']');
        text
    }
}

/// NumPy's `FloatingFormat`: the shortest digits that distinguish each number from its neighbours, at most eight
/// after the decimal point. It uses exponents if the magnitudes differ by more than a thousand, reach 1e8 or are
/// below 1e-4.
fn float_words(values: &[f32]) -> Vec<String> {
    let finite: Vec<f32> = values.iter().copied().filter(|x| x.is_finite()).collect();
    let sizes = || finite.iter().map(|x| x.abs()).filter(|&x| x > 0.0);
    let (least, most) = (sizes().fold(f32::INFINITY, f32::min), sizes().fold(0f32, f32::max));
    let has_exponents = most > 0.0 && (most >= 1e8 || least < 1e-4 || most / least > 1000.0);
    let parts = |x: f32| if has_exponents { scientific(x) } else { positional(x) };
    let (mut left, fraction) = finite
        .iter()
        .map(|&x| parts(x))
        .fold((0, 0), |(left, fraction), p| (left.max(p.whole.len()), fraction.max(p.fraction.len())));
    // An exponent has a letter, a sign and two digits.
    let right = if has_exponents { fraction + 4 } else { fraction };
    if finite.len() < values.len() {
        let widest = if values.contains(&f32::NEG_INFINITY) { 4 } else { 3 };
        left = left.max(widest - (right + 1).min(widest));
    }
    let text = |&x: &f32| {
        if !x.is_finite() {
            let name = if x.is_nan() {
                "nan"
            } else if x > 0.0 {
                "inf"
            } else {
                "-inf"
            };
            return format!("{name:>width$}", width = left + right + 1);
        }
        let Parts { whole, fraction: digits, exponent } = parts(x);
        if has_exponents {
            format!("{whole:>left$}.{digits:0<fraction$}{exponent}")
        } else {
            format!("{whole:>left$}.{digits:<fraction$}")
        }
    };
    values.iter().map(text).collect()
}

/// A number split at its decimal point, without trailing zeros.
struct Parts {
    /// With the sign.
    whole: String,
    fraction: String,
    exponent: String,
}

fn positional(x: f32) -> Parts {
    let shortest = x.to_string();
    let (whole, fraction) = shortest.split_once('.').unwrap_or((&shortest, ""));
    if fraction.len() <= PRECISION {
        return Parts { whole: whole.to_string(), fraction: fraction.to_string(), exponent: String::new() };
    }
    let rounded = format!("{x:.PRECISION$}");
    let (whole, fraction) = rounded.split_once('.').unwrap_or((&rounded, ""));
    let fraction = fraction.trim_end_matches('0').to_string();
    Parts { whole: whole.to_string(), fraction, exponent: String::new() }
}

fn scientific(x: f32) -> Parts {
    let text = format!("{x:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |size| ('-', size));
    Parts { whole: whole.to_string(), fraction: fraction.to_string(), exponent: format!("e{sign}{exponent:0>2}") }
}

/// Formats one number like a NumPy scalar: with all digits, and an exponent below 1e-4 and from 1e16 on.
fn scalar(x: f32) -> String {
    if !x.is_finite() {
        return float_words(&[x]).concat();
    }
    if x != 0.0 && !(1e-4..1e16).contains(&x.abs()) {
        let Parts { whole, fraction, exponent } = scientific(x);
        let point = if fraction.is_empty() { "" } else { "." };
        return format!("{whole}{point}{fraction}{exponent}");
    }
    let text = x.to_string();
    if text.contains('.') { text } else { text + ".0" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    fn floats(values: &[f32], shape: &[usize]) -> String {
        Tensor::from_slice(&Device::cpu(), values, shape).unwrap().to_string()
    }

    fn counted(shape: &[usize]) -> Tensor {
        let count = shape.iter().product::<usize>() as u32;
        Tensor::from_slice(&Device::cpu(), &(0..count).collect::<Vec<_>>(), shape).unwrap()
    }

    /// From "Printing arrays" in NumPy's quickstart.
    #[test]
    fn whole_numbers_are_aligned_and_large_tensors_shortened() {
        assert_eq!(counted(&[6]).to_string(), "[0 1 2 3 4 5]");
        assert_eq!(counted(&[4, 3]).to_string(), "[[ 0  1  2]\n [ 3  4  5]\n [ 6  7  8]\n [ 9 10 11]]");
        assert_eq!(
            counted(&[2, 3, 4]).to_string(),
            "[[[ 0  1  2  3]\n  [ 4  5  6  7]\n  [ 8  9 10 11]]\n\n [[12 13 14 15]\n  [16 17 18 19]\n  [20 21 22 23]]]"
        );
        assert_eq!(counted(&[10_000]).to_string(), "[   0    1    2 ... 9997 9998 9999]");
        assert_eq!(
            counted(&[100, 100]).to_string(),
            "[[   0    1    2 ...   97   98   99]
 [ 100  101  102 ...  197  198  199]
 [ 200  201  202 ...  297  298  299]
 ...
 [9700 9701 9702 ... 9797 9798 9799]
 [9800 9801 9802 ... 9897 9898 9899]
 [9900 9901 9902 ... 9997 9998 9999]]"
        );
        // A short dimension stays whole.
        assert_eq!(
            counted(&[2, 1000]).to_string(),
            "[[   0    1    2 ...  997  998  999]\n [1000 1001 1002 ... 1997 1998 1999]]"
        );
        assert_eq!(
            counted(&[1000, 2]).t().unwrap().to_string(),
            "[[   0    2    4 ... 1994 1996 1998]\n [   1    3    5 ... 1995 1997 1999]]"
        );
    }

    /// Each text is the output of `print(numpy.array([...], dtype=numpy.float32))`.
    #[test]
    fn floats_have_the_digits_that_they_need() {
        assert_eq!(floats(&[1.0, 2.0, 3.0], &[3]), "[1. 2. 3.]");
        assert_eq!(floats(&[1.5, 2.25, -3.0], &[3]), "[ 1.5   2.25 -3.  ]");
        assert_eq!(floats(&[0.1, 1.0 / 3.0], &[2]), "[0.1        0.33333334]");
        // Nine digits after the decimal point are rounded to eight.
        assert_eq!(floats(&[0.012345679, 0.5], &[2]), "[0.01234568 0.5       ]");
        assert_eq!(floats(&[1.0, 2.0, f32::NAN, f32::INFINITY], &[4]), "[ 1.  2. nan inf]");
        assert_eq!(floats(&[1.0, f32::NEG_INFINITY], &[2]), "[  1. -inf]");
        assert_eq!(floats(&[0.25, f32::NAN], &[2]), "[0.25  nan]");
        assert_eq!(floats(&[f32::NAN, f32::INFINITY], &[2]), "[nan inf]");
        assert_eq!(floats(&[-0.0, 0.0], &[2]), "[-0.  0.]");
        assert_eq!(floats(&[], &[0]), "[]");
    }

    #[test]
    fn halves_have_the_digits_that_they_need() {
        // The output of NumPy 2 for float16 arrays. NumPy has no bf16, which follows the same rule.
        let tensor = |values: &[f32]| Tensor::from_slice(&Device::cpu(), values, &[values.len()]).unwrap();
        let half = |values: &[f32]| tensor(values).to_dtype(DType::F16).unwrap().to_string();
        assert_eq!(half(&[0.1, 0.3333, 12.34]), "[ 0.1     0.3333 12.34  ]");
        assert_eq!(half(&[2049.0, 1.0 / 3.0]), "[2.048e+03 3.333e-01]");
        assert_eq!(half(&[65504.0, 1.0]), "[6.55e+04 1.00e+00]");
        assert_eq!(half(&[f32::NAN, f32::INFINITY, -2.5]), "[ nan  inf -2.5]");
        let upper = tensor(&[0.1, -1.0 / 3.0]).to_dtype(DType::BF16).unwrap();
        assert_eq!(upper.to_string(), "[ 0.1   -0.334]");
        assert_eq!(format!("{upper:?}"), format!("Tensor([ 0.1  , -0.334], bf16 [2] on {})", upper.device()));
    }

    #[test]
    fn exponents_come_where_sizes_differ_or_leave_the_range() {
        assert_eq!(floats(&[1e-5, 2.5], &[2]), "[1.0e-05 2.5e+00]");
        assert_eq!(floats(&[1e8, -1.0], &[2]), "[ 1.e+08 -1.e+00]");
        assert_eq!(floats(&[1.0, 1000.0], &[2]), "[   1. 1000.]");
        assert_eq!(floats(&[1.0, 1001.0], &[2]), "[1.000e+00 1.001e+03]");
        assert_eq!(floats(&[1e-5, f32::NAN], &[2]), "[1.e-05    nan]");
        assert_eq!(floats(&[3.4028235e38, 1e-45], &[2]), "[3.4028235e+38 1.0000000e-45]");
        // Zeros are ignored.
        assert_eq!(floats(&[0.0, 1.0], &[2]), "[0. 1.]");
    }

    #[test]
    fn numbers_without_dimensions_are_written_like_scalars() {
        let texts = [3.0, 0.1, 1e8, 1e-5, -1.5e-5, 1e16, f32::NAN, f32::NEG_INFINITY, 0.0].map(|x| floats(&[x], &[]));
        assert_eq!(texts, ["3.0", "0.1", "100000000.0", "1e-05", "-1.5e-05", "1e+16", "nan", "-inf", "0.0"]);
        assert_eq!(Tensor::scalar(&Device::cpu(), 7u32).unwrap().to_string(), "7");
    }

    /// Like `print(numpy.arange(100))`; and like `numpy.arange(30)`, but with a prefix that is one character longer.
    #[test]
    fn long_rows_are_wrapped() {
        let text = counted(&[100]).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "[ 0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15 16 17 18 19 20 21 22 23");
        assert_eq!(lines[1], " 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47");
        assert_eq!(*lines.last().unwrap(), " 96 97 98 99]");
        let device = Device::cpu();
        assert_eq!(
            format!("{:?}", counted(&[30])),
            format!(
                "Tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15,
        16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29], u32 [30] on {device})"
            )
        );
        assert_eq!(
            format!("{:?}", counted(&[2, 2])),
            format!("Tensor([[0, 1],\n        [2, 3]], u32 [2, 2] on {device})")
        );
        assert_eq!(
            format!("{:?}", Tensor::zeros(&device, DType::F32, &[0, 3]).unwrap()),
            format!("Tensor([], f32 [0, 3] on {device})")
        );
    }

    #[test]
    fn within_a_recording_only_the_shape_is_written_and_nothing_recorded() {
        let device = Device::cpu();
        let x = counted(&[2, 3]).t().unwrap();
        let (recording, texts) = device.record(|| Ok::<_, crate::Error>([x.to_string(), format!("{x:?}")])).unwrap();
        assert_eq!(texts, [format!("u32 [3, 2] on {device}"), format!("Tensor(u32 [3, 2] on {device})")]);
        assert_eq!(recording.launches(), 0);
    }
}
