//! [`StateDict`]: the tensors of a model by name, for files that other programs read and write.

use std::path::Path;

use crate::checkpoint::{read_state, state_to_bytes};
use crate::{CheckpointTensor, Error, Result, write_whole};

/// The parameters and buffers of a model by name, on the host.
///
/// [`Parts::state_dict`](crate::Parts::state_dict) makes one from any module, with PyTorch's names;
/// [`Parts::load_state_dict`](crate::Parts::load_state_dict) loads one. The shapes are PyTorch's too: the weight of a
/// [`Linear`](crate::Linear) is `[outputs, inputs]`.
///
/// The file is a plain safetensors file without metadata. `safetensors.torch.load_file` reads it, and
/// [`read`](Self::read) reads files from `safetensors.torch.save_file`.
///
/// ```
/// use thalweg_nn::{Linear, ParamsBuilder, Parts, Sequential, StateDict};
/// use thalweg_tensor::Device;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("weights.safetensors");
/// let mut builder = ParamsBuilder::new(0);
/// let trained = Linear::new(&mut builder, "fc", 3, 2)?;
/// builder.build(&Device::cpu())?;
/// trained.state_dict()?.save(&path)?;
///
/// let mut builder = ParamsBuilder::new(1);
/// let head = Linear::new(&mut builder, "head", 3, 2)?;
/// builder.build(&Device::cpu())?;
/// head.load_state_dict(&StateDict::read(&path)?)?;
/// assert_eq!(head.weight().value()?.to_vec::<f32>()?, trained.weight().value()?.to_vec::<f32>()?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StateDict {
    tensors: Vec<CheckpointTensor>,
}

/// The names that did not match when a [`StateDict`] was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LoadReport {
    /// Names of the model that the state dict does not have. Their values are unchanged.
    pub missing: Vec<String>,
    /// Names of the state dict that the model does not have.
    pub unexpected: Vec<String>,
}

impl LoadReport {
    /// Returns whether every name matched.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty()
    }

    /// Returns an error if a name did not match.
    pub(crate) fn require_complete(&self) -> Result<()> {
        const MOST: usize = 5;
        let list = |kind: &str, names: &[String]| {
            let more = if names.len() > MOST { format!(" and {} more", names.len() - MOST) } else { String::new() };
            (!names.is_empty()).then(|| format!("{kind} {}{more}", names[..names.len().min(MOST)].join(", ")))
        };
        let problems: Vec<String> =
            [list("missing", &self.missing), list("unexpected", &self.unexpected)].into_iter().flatten().collect();
        if problems.is_empty() {
            return Ok(());
        }
        let advice = "rename them with StateDict::rename, or load those that match with load_matching";
        Err(Error::state("state dict", format!("{}; {advice}", problems.join("; "))))
    }
}

impl StateDict {
    /// Makes a state dict of these tensors.
    #[must_use]
    pub fn new(tensors: Vec<CheckpointTensor>) -> Self {
        Self { tensors }
    }

    /// Reads a safetensors file of any program. F16 and BF16 are widened to F32. Whole numbers and booleans become U32.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::Model`] if it is not a safetensors file or is damaged, or has a
    /// tensor of another type.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self { tensors: read_state(path.as_ref())? })
    }

    /// Writes a safetensors file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written; [`Error::Model`] if two tensors have the same name, or the number of
    /// elements does not fit the shape.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let problem = |problem: String| Error::model(path, problem);
        if let Some(name) = self.repeated() {
            return Err(problem(format!("the name {name:?} is taken; every tensor needs its own")));
        }
        write_whole(path, &state_to_bytes(&self.tensors).map_err(problem)?)
    }

    /// Returns the tensors.
    #[must_use]
    pub fn tensors(&self) -> &[CheckpointTensor] {
        &self.tensors
    }

    /// Returns the tensor with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&CheckpointTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// Replaces the beginnings of names. An entry `(from, to)` applies to the name `from` itself and to every name that
    /// starts with `from` and a dot. The first entry that applies counts. An empty `from` applies to every name, and an
    /// empty `to` removes the beginning.
    ///
    /// ```
    /// use thalweg_nn::{CheckpointTensor, StateDict};
    /// # fn main() -> thalweg_nn::Result<()> {
    /// let names = ["module.fc1.weight", "module.fc10.weight", "module.norm"];
    /// let tensor = |name: &str| CheckpointTensor { name: name.into(), shape: vec![1], values: vec![0f32].into() };
    /// let state = StateDict::new(names.map(tensor).to_vec());
    /// let state = state.rename(&[("module.fc1", "layers.0"), ("module", "")])?;
    /// let names: Vec<&str> = state.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
    /// assert_eq!(names, ["layers.0.weight", "fc10.weight", "norm"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::State`] if two tensors would have the same name, or one would have none.
    pub fn rename(mut self, map: &[(&str, &str)]) -> Result<Self> {
        for tensor in &mut self.tensors {
            let replaced = map.iter().find_map(|(from, to)| replace_beginning(&tensor.name, from, to));
            if let Some(name) = replaced {
                if name.is_empty() {
                    return Err(Error::state(&tensor.name, "nothing would be left of the name"));
                }
                tensor.name = name;
            }
        }
        match self.repeated() {
            Some(name) => Err(Error::state(name, "two tensors would have this name")),
            None => Ok(self),
        }
    }

    /// Returns a name that two tensors have.
    fn repeated(&self) -> Option<&str> {
        let mut names: Vec<&str> = self.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        names.sort_unstable();
        names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
    }
}

/// Returns the name with `to` instead of `from`, if it starts with `from` as a whole path.
fn replace_beginning(name: &str, from: &str, to: &str) -> Option<String> {
    let rest = if from.is_empty() { name } else { name.strip_prefix(from)? };
    let rest = match rest.strip_prefix('.') {
        Some(rest) if !from.is_empty() => rest,
        _ if rest.is_empty() || from.is_empty() => rest,
        _ => return None,
    };
    Some(match (to, rest) {
        ("", rest) => rest.to_string(),
        (to, "") => to.to_string(),
        (to, rest) => format!("{to}.{rest}"),
    })
}

#[cfg(test)]
mod tests {
    use safetensors::Dtype;
    use safetensors::tensor::TensorView;
    use thalweg_tensor::Device;

    use super::*;
    use crate::{Init, Mlp, MlpConfig, ParamsBuilder, Parts, Values};

    fn mlp(seed: u64) -> Mlp {
        let mut builder = ParamsBuilder::new(seed);
        let config = MlpConfig { inputs: 3, hidden: vec![4], outputs: 2, ..MlpConfig::default() };
        let mlp = Mlp::new(&mut builder, &config).unwrap();
        builder.build(&Device::cpu()).unwrap();
        mlp
    }

    fn tensor(name: &str, shape: &[usize], values: Values) -> CheckpointTensor {
        CheckpointTensor { name: name.into(), shape: shape.into(), values }
    }

    #[test]
    fn a_model_takes_the_values_of_another_by_name() {
        let (from, to) = (mlp(0), mlp(1));
        let state = from.state_dict().unwrap();
        let names: Vec<&str> = state.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"]);
        assert_eq!(state.get("layers.0.weight").unwrap().shape, [4, 3]);
        assert_ne!(to.state_dict().unwrap(), state);
        to.load_state_dict(&state).unwrap();
        assert_eq!(to.state_dict().unwrap(), state);
    }

    #[test]
    fn names_that_do_not_match_are_reported_and_a_strict_load_changes_nothing() {
        let model = mlp(0);
        let before = model.state_dict().unwrap();
        let state = StateDict::new(vec![
            tensor("layers.0.weight", &[4, 3], vec![1f32; 12].into()),
            tensor("fc.weight", &[1], vec![0f32].into()),
        ]);
        let error = model.load_state_dict(&state).unwrap_err().to_string();
        assert!(
            error.contains("missing layers.0.bias, layers.1.weight, layers.1.bias; unexpected fc.weight"),
            "{error}"
        );
        assert_eq!(model.state_dict().unwrap(), before);
        let report = model.load_matching(&state).unwrap();
        assert_eq!((report.missing.len(), &report.unexpected[..]), (3, &["fc.weight".to_string()][..]));
        assert!(!report.is_complete());
        let after = model.state_dict().unwrap();
        assert_eq!(after.get("layers.0.weight").unwrap().values, Values::F32(vec![1.0; 12]));
        assert_eq!(after.get("layers.1.weight"), before.get("layers.1.weight"));
    }

    #[test]
    fn a_wrong_shape_or_type_changes_nothing() {
        let model = mlp(0);
        let before = model.state_dict().unwrap();
        for wrong in [
            tensor("layers.1.bias", &[3], vec![0f32; 3].into()),
            tensor("layers.1.bias", &[2], vec![0f64; 2].into()),
            tensor("layers.1.bias", &[2], vec![0f32; 1].into()),
        ] {
            let weight = tensor("layers.0.weight", &[4, 3], vec![1f32; 12].into());
            let error = model.load_matching(&StateDict::new(vec![weight, wrong])).unwrap_err().to_string();
            assert!(error.contains("layers.1.bias"), "{error}");
            assert_eq!(model.state_dict().unwrap(), before);
        }
    }

    #[test]
    fn files_of_other_programs_are_read_with_their_types() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("foreign.safetensors");
        let half: Vec<u8> = [0.5f32, -2.0].iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect();
        let count = 7i64.to_le_bytes();
        let views = [
            ("weight", TensorView::new(Dtype::F16, vec![2], &half).unwrap()),
            ("num_batches_tracked", TensorView::new(Dtype::I64, vec![], &count).unwrap()),
        ];
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        let state = StateDict::read(&path).unwrap();
        assert_eq!(state.get("weight").unwrap().values, Values::F32(vec![0.5, -2.0]));
        assert_eq!(state.get("num_batches_tracked").unwrap().values, Values::U32(vec![7]));

        let negative = (-1i64).to_le_bytes();
        let views = [("count", TensorView::new(Dtype::I64, vec![], &negative).unwrap())];
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        let error = StateDict::read(&path).unwrap_err().to_string();
        assert!(error.contains("\"count\" has a whole number that is no u32"), "{error}");
    }

    #[test]
    fn a_saved_state_is_a_plain_safetensors_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.safetensors");
        let state = mlp(0).state_dict().unwrap();
        state.save(&path).unwrap();
        let mut read = StateDict::read(&path).unwrap();
        read.tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let mut sorted = state.clone();
        sorted.tensors.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(read, sorted);
        let bytes = std::fs::read(&path).unwrap();
        assert!(safetensors::SafeTensors::read_metadata(&bytes).unwrap().1.metadata().is_none());

        let twice = tensor("a", &[1], vec![0f32].into());
        let error = StateDict::new(vec![twice.clone(), twice]).save(&path).unwrap_err().to_string();
        assert!(error.contains("\"a\" is taken"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn beginnings_of_names_are_replaced_as_whole_paths() {
        let state =
            |names: &[&str]| StateDict::new(names.iter().map(|name| tensor(name, &[], vec![0f32].into())).collect());
        let rename = |names: &[&str], map: &[(&str, &str)]| {
            let state = state(names).rename(map)?;
            Ok::<_, Error>(state.tensors.into_iter().map(|tensor| tensor.name).collect::<Vec<_>>())
        };
        assert_eq!(rename(&["a.b", "ab", "a"], &[("a", "x.y")]).unwrap(), ["x.y.b", "ab", "x.y"]);
        assert_eq!(rename(&["a"], &[("", "x")]).unwrap(), ["x.a"]);
        assert!(rename(&["a", "b"], &[("a", "b")]).unwrap_err().to_string().contains("two tensors"));
        assert!(rename(&["a"], &[("a", "")]).unwrap_err().to_string().contains("nothing would be left"));
    }

    #[test]
    fn buffers_are_part_of_the_state() {
        struct Counted {
            count: crate::Buffer,
        }
        crate::parts!(Counted { count });
        let mut builder = ParamsBuilder::new(0);
        let model = Counted { count: builder.buffer("count", &[1], Init::Zeros).unwrap() };
        builder.build(&Device::cpu()).unwrap();
        model.load_state_dict(&StateDict::new(vec![tensor("count", &[1], vec![3f32].into())])).unwrap();
        assert_eq!(model.count.value().unwrap().to_vec::<f32>().unwrap(), [3.0]);
    }
}
