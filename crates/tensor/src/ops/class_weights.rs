//! Weights of classes that are given by their numbers.

use crate::kernel::{Access, Call, Kernel, Launch};
use crate::tensor::expect_dtype;
use crate::{DType, Error, Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    length: u32,
    classes: u32,
    stride: u32,
    ignored: u32,
    ignores: u32,
}

/// places[i] = i stride + labels[i], weights[i] = of_classes[labels[i]], except for labels that are ignored or invalid.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let is_weighted = call.constant("WEIGHTED") != 0.0;
    let [labels, of_classes, places, weights] = call.bindings();
    let of_classes = is_weighted.then(|| of_classes.read::<f32>());
    let (labels, places, weights) = (labels.read::<u32>(), places.write::<u32>(), weights.write::<f32>());
    for (i, &label) in labels.iter().enumerate() {
        let (column, weight) = if params.ignores == 1 && label == params.ignored {
            (0, 0.0)
        } else if label >= params.classes {
            (0, f32::NAN)
        } else {
            (label, of_classes.map_or(1.0, |of_classes| of_classes[label as usize]))
        };
        places[i] = i as u32 * params.stride + column;
        weights[i] = weight;
    }
}

pub(super) static CLASS_WEIGHTS: Kernel = Kernel {
    shader: &thalweg_shaders::CLASS_WEIGHTS,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Write, Access::Write],
    variants: &[&[("WEIGHTED", 0.0)], &[("WEIGHTED", 1.0)]],
    twin,
};

impl Tensor {
    /// Returns the places of the elements that a list of classes names in rows of scores, and the weights of the classes.
    ///
    /// An ignored class has the weight 0, and a number that is no class has the weight NaN. Both have the place of the
    /// first element of their row, which exists. Without weights all classes have the weight 1. It is one launch.
    ///
    /// # Shapes
    /// u32 `[n]`, weights `[classes]` → u32 `[n]`, f32 `[n]`. Rows are `stride` elements apart; with a stride of 0 the places
    /// are the classes.
    ///
    /// # Errors
    /// If it is no list of u32, the weights are not f32 or not as many as classes, or the devices differ.
    pub fn class_weights(
        &self,
        classes: usize,
        weights: Option<&Self>,
        ignored: Option<u32>,
        stride: usize,
    ) -> Result<(Self, Self)> {
        let op = "class_weights";
        expect_dtype(op, self, DType::U32)?;
        if self.rank() != 1 {
            return Err(Error::Rank { op, expected: "one dimension", shape: self.shape().to_vec() });
        }
        if let Some(weights) = weights {
            expect_dtype(op, weights, DType::F32)?;
            self.same_device(op, weights)?;
            if weights.shape() != [classes] {
                return Err(Error::Shape {
                    op,
                    rule: "there must be a weight for each class",
                    left: weights.shape().to_vec(),
                    right: vec![classes],
                });
            }
        }
        let places = Self::uninitialized(self.device(), DType::U32, self.shape())?;
        let of_labels = Self::uninitialized(self.device(), DType::F32, self.shape())?;
        if self.is_empty() {
            return Ok((places, of_labels));
        }
        let labels = self.contiguous()?;
        let weights = weights.filter(|weights| !weights.is_empty()).map(Self::contiguous).transpose()?;
        let params = Params {
            length: self.len() as u32,
            classes: classes as u32,
            stride: stride as u32,
            ignored: ignored.unwrap_or_default(),
            ignores: u32::from(ignored.is_some()),
        };
        Launch::new(&CLASS_WEIGHTS, params)
            .constant("WEIGHTED", weights.is_some())
            .bind(&labels)
            .bind(weights.as_ref().unwrap_or(&labels))
            .bind(&places)
            .bind(&of_labels)
            .workgroups(self.len().div_ceil(64))
            .run(self.device())?;
        Ok((places, of_labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    #[test]
    fn ignored_classes_have_no_weight_and_unknown_ones_have_nan() {
        let device = Device::cpu();
        let labels = Tensor::from_slice(&device, &[2u32, 7, 0, 255], &[4]).unwrap();
        let weights = Tensor::from_slice(&device, &[0.5, 1.0, 2.0], &[3]).unwrap();
        let (places, of_labels) = labels.class_weights(3, Some(&weights), Some(255), 3).unwrap();
        assert_eq!(places.to_vec::<u32>().unwrap(), [2, 3, 6, 9]);
        let of_labels = of_labels.to_vec::<f32>().unwrap();
        assert!(of_labels[1].is_nan() && [of_labels[0], of_labels[2], of_labels[3]] == [2.0, 0.5, 0.0]);
        assert_eq!(labels.class_weights(8, None, None, 0).unwrap().0.to_vec::<u32>().unwrap(), [2, 7, 0, 0]);
        assert!(labels.class_weights(4, Some(&weights), None, 0).is_err());
        assert!(weights.class_weights(4, None, None, 0).is_err());
    }
}
