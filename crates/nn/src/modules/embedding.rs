//! [`Embedding`].

use std::fmt;

use thalweg_autograd::{Parameter, Var};

use crate::setting::check;
use crate::{Init, Module, ParamsBuilder, Parts, Result, Visitor};

/// A table of learned vectors, looked up by number: PyTorch's `Embedding`.
///
/// The input of [`forward`](Module::forward) is a variable of u32 numbers. An invalid number gives a vector of NaN.
///
/// # Shapes
/// u32 numbers of any shape, weight `[num_embeddings, embedding_dim]` → that shape, then `[embedding_dim]`.
///
/// The weight starts normal with a deviation of 1. A vector of padding starts at zero and is not learned.
///
/// # Errors
/// [`forward`](Module::forward) fails if the numbers are not u32 or on another device, or if the parameters have no memory
/// yet.
#[derive(Debug, Clone)]
pub struct Embedding {
    weight: Parameter,
    padding_idx: Option<usize>,
}

impl Embedding {
    /// Makes a table whose parameter is `name.weight`.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if a number is 0, `padding_idx` is no row of the table, or the name is taken.
    pub fn new(
        builder: &mut ParamsBuilder,
        name: impl fmt::Display,
        num_embeddings: usize,
        embedding_dim: usize,
        padding_idx: impl Into<Option<usize>>,
    ) -> Result<Self> {
        let padding_idx = padding_idx.into();
        check("num_embeddings", num_embeddings, num_embeddings > 0, "at least 1")?;
        check("embedding_dim", embedding_dim, embedding_dim > 0, "at least 1")?;
        let init = match padding_idx {
            Some(row) => {
                check("padding_idx", row, row < num_embeddings, "a row of the table")?;
                Init::PaddedNormal { row }
            }
            None => Init::Normal { mean: 0.0, deviation: 1.0 },
        };
        let weight = builder.path(name).add("weight", &[num_embeddings, embedding_dim], init)?;
        Ok(Self { weight, padding_idx })
    }

    /// Returns the weight, `[num_embeddings, embedding_dim]`.
    #[must_use]
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }
}

impl Parts for Embedding {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.part("weight", &self.weight);
        if let Some(row) = &self.padding_idx {
            visitor.setting("padding_idx", row);
        }
    }
}

impl Module for Embedding {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        let tape = input.tape();
        let name = self.weight.name();
        let _scope = tape.scope(name.strip_suffix(".weight").unwrap_or(name));
        tape.parameter(&self.weight)?.embedding(&input.value(), self.padding_idx)
    }
}

#[cfg(test)]
mod tests {
    use thalweg_autograd::Tape;
    use thalweg_tensor::Tensor;

    use super::*;
    use crate::testing::devices;

    #[test]
    fn rows_are_found_and_padding_is_not_learned() {
        for device in devices() {
            let mut builder = ParamsBuilder::new(3);
            let table = Embedding::new(&mut builder, "words", 50, 4, 2).unwrap();
            let _params = builder.build(&device).unwrap();
            let weight: Vec<f32> = table.weight().value().unwrap().to_vec().unwrap();
            assert_eq!(weight[8..12], [0.0; 4], "{device}");
            let deviation = (weight.iter().map(|x| x * x).sum::<f32>() / 200.0).sqrt();
            assert!((deviation - 1.0).abs() < 0.2, "{device}: {deviation}");
            let tape = Tape::new();
            let words = Tensor::from_slice(&device, &[1u32, 2, 1, 0, 2, 2], &[2, 3]).unwrap();
            let y = table.forward(tape.constant(&words)).unwrap();
            assert_eq!(y.shape(), [2, 3, 4]);
            assert_eq!(y.value().to_vec::<f32>().unwrap()[..4], weight[4..8], "{device}");
            tape.backward(y.sum().unwrap()).unwrap();
            let gradient: Vec<f32> = table.weight().grad().unwrap().to_vec().unwrap();
            assert_eq!(gradient[..16], [[1.0; 4], [2.0; 4], [0.0; 4], [0.0; 4]].concat(), "{device}");
        }
    }

    #[test]
    fn what_makes_no_table_is_refused() {
        let mut builder = ParamsBuilder::new(0);
        assert!(Embedding::new(&mut builder, "a", 0, 1, None).is_err());
        assert!(Embedding::new(&mut builder, "a", 1, 0, None).is_err());
        assert!(Embedding::new(&mut builder, "a", 3, 1, 3).is_err());
        let table = Embedding::new(&mut builder, "a", 3, 1, None).unwrap();
        assert_eq!((table.weight().name(), table.settings()), ("a.weight", String::new()));
    }
}
