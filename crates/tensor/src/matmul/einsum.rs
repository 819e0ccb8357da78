//! Einstein's summation, as products of matrices.

use std::collections::BTreeMap;

use crate::{Error, Result, Tensor};

/// The operations that a summation is made of, on tensors or on variables.
#[doc(hidden)]
pub trait Summand: Clone {
    /// The error of its operations.
    type Error: From<Error>;

    /// Returns the shape.
    fn extents(&self) -> Vec<usize>;

    /// Returns the view with the axes in this order.
    fn with_order(&self, order: &[usize]) -> std::result::Result<Self, Self::Error>;

    /// Returns the same elements with another shape.
    fn with_shape(&self, shape: &[usize]) -> std::result::Result<Self, Self::Error>;

    /// Returns the sums over some axes, which are no longer there.
    fn summed(&self, axes: &[usize]) -> std::result::Result<Self, Self::Error>;

    /// Returns the diagonal of two axes as the last axis, in their place.
    fn on_diagonal(&self, first: usize, second: usize) -> std::result::Result<Self, Self::Error>;

    /// Returns the products of matrices in the last two axes.
    fn product(&self, other: &Self) -> std::result::Result<Self, Self::Error>;
}

impl Summand for Tensor {
    type Error = Error;

    fn extents(&self) -> Vec<usize> {
        self.shape().to_vec()
    }

    fn with_order(&self, order: &[usize]) -> Result<Self> {
        self.permute(order)
    }

    fn with_shape(&self, shape: &[usize]) -> Result<Self> {
        self.reshape(shape)
    }

    fn summed(&self, axes: &[usize]) -> Result<Self> {
        self.sum_along(axes, false)
    }

    fn on_diagonal(&self, first: usize, second: usize) -> Result<Self> {
        self.diagonal(0, first, second)
    }

    fn product(&self, other: &Self) -> Result<Self> {
        self.matmul(other)
    }
}

/// The name of an axis: a letter, or the place of an axis of an ellipsis from the back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Ellipsis(usize),
    Letter(char),
}

/// An operand with the names of its axes, each once.
#[derive(Clone)]
struct Named<T> {
    value: T,
    labels: Vec<Label>,
}

impl Tensor {
    /// Returns Einstein's sum of some tensors: of their products over all axes that the result does not name.
    ///
    /// The subscripts name the axes of each operand by letters, and after `->` those of the result, as in `"bij,bjk->bik"`.
    /// Without `->` the result has the letters that occur once, in alphabetical order. A letter that is twice in an operand
    /// means its diagonal. `...` means axes that broadcast.
    ///
    /// # Numerics
    /// The operands are multiplied from the left to the right, each pair as a batch of matrix products.
    ///
    /// # Errors
    /// If the subscripts do not fit the operands, the elements are not f32, or the devices differ.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let a = Tensor::from_slice(&Device::cpu(), &[1.0, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(Tensor::einsum("ij,jk->ik", &[&a, &a])?.to_vec::<f32>()?, [7.0, 10.0, 15.0, 22.0]);
    /// assert_eq!(Tensor::einsum("ii", &[&a])?.item::<f32>()?, 5.0);
    /// assert_eq!(Tensor::einsum("ij->j", &[&a])?.to_vec::<f32>()?, [4.0, 6.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn einsum(subscripts: &str, operands: &[&Self]) -> Result<Self> {
        let operands: Vec<Self> = operands.iter().map(|&operand| operand.clone()).collect();
        einsum(subscripts, &operands)
    }
}

/// See [`Tensor::einsum`].
#[doc(hidden)]
pub fn einsum<T: Summand>(subscripts: &str, operands: &[T]) -> std::result::Result<T, T::Error> {
    let shapes: Vec<Vec<usize>> = operands.iter().map(Summand::extents).collect();
    let (inputs, output) = parse(subscripts, &shapes)?;
    let mut extents = BTreeMap::new();
    for (label, &extent) in inputs.iter().flatten().zip(shapes.iter().flatten()) {
        let known = extents.entry(*label).or_insert(extent);
        if *known == 1 {
            *known = extent;
        } else if extent != 1 && extent != *known {
            let rule = "axes of the same name have one extent";
            return Err(wrong(subscripts, format!("{label:?} of {known} and {extent}"), rule).into());
        }
    }
    let mut rest: Vec<Named<T>> = Vec::new();
    for (value, labels) in operands.iter().zip(inputs) {
        rest.push(Named { value: value.clone(), labels }.with_each_label_once(&extents)?);
    }
    rest.reverse();
    let Some(mut left) = rest.pop() else {
        return Err(wrong(subscripts, "no operand".to_string(), "at least one operand").into());
    };
    while let Some(right) = rest.pop() {
        let is_needed = |label: &Label| output.contains(label) || rest.iter().any(|other| other.labels.contains(label));
        left = multiply(left, right, is_needed)?;
    }
    let left = left.without(|label| !output.contains(label))?;
    // Axes that no operand stretches have an extent of 1 in all of them.
    let place = |label: &Label| left.labels.iter().position(|other| other == label);
    let order: Vec<usize> = output.iter().filter_map(place).collect();
    let shape: Vec<usize> = output.iter().map(|label| extents[label]).collect();
    left.value.with_order(&order)?.with_shape(&shape)
}

impl<T: Summand> Named<T> {
    /// Takes the diagonal of axes of one name, and leaves out axes of extent 1 that are stretched by another operand.
    fn with_each_label_once(mut self, extents: &BTreeMap<Label, usize>) -> std::result::Result<Self, T::Error> {
        while let Some((first, second)) = self.pair() {
            let label = self.labels.remove(second);
            self.labels.remove(first);
            self.labels.push(label);
            self.value = self.value.on_diagonal(first, second)?;
        }
        let shape = self.value.extents();
        let is_stretched = |d: usize| shape[d] == 1 && extents[&self.labels[d]] != 1;
        let kept: Vec<usize> = (0..shape.len()).filter(|&d| !is_stretched(d)).collect();
        if kept.len() < shape.len() {
            self.value = self.value.with_shape(&kept.iter().map(|&d| shape[d]).collect::<Vec<_>>())?;
            self.labels = kept.iter().map(|&d| self.labels[d]).collect();
        }
        Ok(self)
    }

    /// Returns the places of two axes of one name.
    fn pair(&self) -> Option<(usize, usize)> {
        let count = self.labels.len();
        let pairs = (0..count).flat_map(|first| (first + 1..count).map(move |second| (first, second)));
        pairs.into_iter().find(|&(first, second)| self.labels[first] == self.labels[second])
    }

    /// Sums over the axes of some names.
    fn without(self, is_summed: impl Fn(&Label) -> bool) -> std::result::Result<Self, T::Error> {
        let (summed, kept): (Vec<usize>, Vec<usize>) =
            (0..self.labels.len()).partition(|&d| is_summed(&self.labels[d]));
        if summed.is_empty() {
            return Ok(self);
        }
        let labels = kept.iter().map(|&d| self.labels[d]).collect();
        Ok(Self { value: self.value.summed(&summed)?, labels })
    }

    /// Returns the value with its axes in the order of three lists of names, each list one axis.
    fn as_matrices(&self, lists: [&[Label]; 3]) -> std::result::Result<T, T::Error> {
        let place = |label: &Label| self.labels.iter().position(|other| other == label);
        let order: Vec<usize> = lists.iter().flat_map(|list| list.iter().filter_map(place)).collect();
        let shape = self.value.extents();
        let extent = |list: &[Label]| list.iter().filter_map(place).map(|d| shape[d]).product();
        self.value.with_order(&order)?.with_shape(&lists.map(extent))
    }
}

/// Multiplies two operands and sums over their common axes that nothing else needs.
fn multiply<T: Summand>(
    left: Named<T>,
    right: Named<T>,
    is_needed: impl Fn(&Label) -> bool,
) -> std::result::Result<Named<T>, T::Error> {
    let left_labels = left.labels.clone();
    let left = left.without(|label| !is_needed(label) && !right.labels.contains(label))?;
    let right = right.without(|label| !is_needed(label) && !left_labels.contains(label))?;
    let is_common = |label: &Label| right.labels.contains(label);
    let (common, own): (Vec<Label>, Vec<Label>) = left.labels.iter().partition(|&label| is_common(label));
    let (batch, inner): (Vec<Label>, Vec<Label>) = common.into_iter().partition(&is_needed);
    let other: Vec<Label> = right.labels.iter().copied().filter(|label| !left.labels.contains(label)).collect();
    let product = left.as_matrices([&batch, &own, &inner])?.product(&right.as_matrices([&batch, &inner, &other])?)?;
    let extent = |label: &Label| {
        let of =
            |named: &Named<T>| named.labels.iter().position(|other| other == label).map(|d| named.value.extents()[d]);
        of(&left).or_else(|| of(&right)).unwrap_or(1)
    };
    let labels = [batch, own, other].concat();
    let shape: Vec<usize> = labels.iter().map(extent).collect();
    Ok(Named { value: product.with_shape(&shape)?, labels })
}

/// Returns the names of the axes of each operand and of the result.
fn parse(subscripts: &str, shapes: &[Vec<usize>]) -> Result<(Vec<Vec<Label>>, Vec<Label>)> {
    let text: String = subscripts.chars().filter(|c| !c.is_whitespace()).collect();
    let (inputs, output) = match text.split_once("->") {
        Some((inputs, output)) => (inputs, Some(output)),
        None => (&text[..], None),
    };
    let inputs: Vec<&str> = inputs.split(',').collect();
    if inputs.len() != shapes.len() {
        let value = format!("{} operands", shapes.len());
        return Err(wrong(subscripts, value, "as many lists of axes as operands"));
    }
    let mut widest = 0;
    let mut named = Vec::with_capacity(inputs.len());
    for (input, shape) in inputs.iter().zip(shapes) {
        let letters = input.replace("...", "").len();
        let axes = shape.len().checked_sub(letters).filter(|&axes| axes == 0 || input.contains("..."));
        let Some(axes) = axes else {
            let value = format!("{input} for shape {shape:?}");
            return Err(wrong(subscripts, value, "a letter for each axis"));
        };
        widest = widest.max(axes);
        named.push(labels(subscripts, input, axes)?);
    }
    let output = match output {
        Some(output) => labels(subscripts, output, if output.contains("...") { widest } else { 0 })?,
        None => {
            let all: Vec<Label> = named.iter().flatten().copied().collect();
            let once = |label: &Label| {
                matches!(label, Label::Ellipsis(_)) || all.iter().filter(|other| *other == label).count() == 1
            };
            let mut output: Vec<Label> = all.iter().copied().filter(once).collect();
            // The axes of an ellipsis come first, the outermost before the others.
            output.sort_unstable_by_key(|label| match label {
                Label::Ellipsis(place) => (0, usize::MAX - place),
                Label::Letter(letter) => (1, *letter as usize),
            });
            output.dedup();
            output
        }
    };
    for (i, label) in output.iter().enumerate() {
        if output[..i].contains(label) || !named.iter().any(|labels| labels.contains(label)) {
            return Err(wrong(subscripts, format!("{label:?}"), "each axis of the result once, of an operand"));
        }
    }
    Ok((named, output))
}

/// Returns the names in a list of axes, with so many axes for an ellipsis.
fn labels(subscripts: &str, list: &str, axes: usize) -> Result<Vec<Label>> {
    let mut labels = Vec::new();
    let mut parts = list.splitn(2, "...");
    let before = parts.next().unwrap_or_default();
    labels.extend(before.chars().map(Label::Letter));
    if let Some(after) = parts.next() {
        labels.extend((0..axes).rev().map(Label::Ellipsis));
        labels.extend(after.chars().map(Label::Letter));
    }
    let is_name = |label: &Label| matches!(label, Label::Ellipsis(_) | Label::Letter('a'..='z' | 'A'..='Z'));
    match labels.iter().find(|label| !is_name(label)) {
        Some(label) => {
            Err(wrong(subscripts, format!("{label:?}"), "letters, and at most one ellipsis for each operand"))
        }
        None => Ok(labels),
    }
}

fn wrong(subscripts: &str, value: String, rule: &'static str) -> Error {
    Error::Argument { op: "einsum", name: "subscripts", value: format!("{subscripts:?} with {value}"), rule }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    fn numbers(seed: u64, shape: &[usize]) -> Tensor {
        Tensor::uniform(&Device::cpu(), seed, 0, -1.0, 1.0, shape).unwrap()
    }

    #[test]
    fn sums_are_those_of_other_operations() {
        let (a, b, c) = (numbers(1, &[3, 4]), numbers(2, &[2, 4, 5]), numbers(3, &[5, 3]));
        let close = |x: &Tensor, y: &Tensor| {
            assert_eq!(x.shape(), y.shape());
            for (x, y) in x.to_vec::<f32>().unwrap().iter().zip(y.to_vec::<f32>().unwrap()) {
                approx::assert_relative_eq!(*x, y, epsilon = 1e-5);
            }
        };
        let ab = a.matmul(&b).unwrap();
        close(&Tensor::einsum("ij, bjk -> bik", &[&a, &b]).unwrap(), &ab);
        close(&Tensor::einsum("ij,...jk->...ik", &[&a, &b]).unwrap(), &ab);
        close(
            &Tensor::einsum("ij,bjk,ki->bi", &[&a, &b, &c]).unwrap(),
            &ab.mul(&c.t().unwrap()).unwrap().sum_along(2, false).unwrap(),
        );
        close(&Tensor::einsum("bjk,ij", &[&b, &a]).unwrap(), &ab);
        close(
            &Tensor::einsum("ij,kl->ijkl", &[&a, &c]).unwrap(),
            &a.reshape(&[12, 1])
                .unwrap()
                .matmul(&c.reshape(&[1, 15]).unwrap())
                .unwrap()
                .reshape(&[3, 4, 5, 3])
                .unwrap(),
        );
        close(&Tensor::einsum("ij->", &[&a]).unwrap(), &a.sum().unwrap());
        close(&Tensor::einsum("...i->i...", &[&b]).unwrap(), &b.permute(&[2, 0, 1]).unwrap());
        let square = numbers(4, &[3, 3, 2]);
        close(&Tensor::einsum("iij->ji", &[&square]).unwrap(), &square.diagonal(0, 0, 1).unwrap());
        close(&Tensor::einsum("ij,ij->i", &[&a, &a]).unwrap(), &a.square().unwrap().sum_along(1, false).unwrap());
        close(
            &Tensor::einsum("ij,ij->ij", &[&a, &numbers(5, &[1, 4])]).unwrap(),
            &a.mul(&numbers(5, &[1, 4])).unwrap(),
        );
    }

    #[test]
    fn subscripts_that_do_not_fit_are_refused() {
        let (a, b) = (numbers(1, &[3, 4]), numbers(2, &[2, 5]));
        for subscripts in ["ij", "ij,jk", "ijk,jk", "ij,kl->im", "ij,kl->ii", "i1,kl", "i,kl", "......,kl", "ij,kl,mn"]
        {
            assert!(Tensor::einsum(subscripts, &[&a, &b]).is_err(), "{subscripts}");
        }
        assert!(Tensor::einsum("", &[]).is_err());
        assert_eq!(Tensor::einsum(",", &[&numbers(1, &[]), &numbers(2, &[])]).unwrap().rank(), 0);
    }
}
