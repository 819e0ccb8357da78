//! Groups of parameters, by patterns of their names.

use thalweg_autograd::Parameter;
use thalweg_tensor::SegmentSettings;

use super::Method;
use crate::params::matching;
use crate::setting::not_negative;
use crate::{Error, Result};

/// The settings of the parameters whose names match a pattern. See
/// [`Optimizer::with_groups`](super::Optimizer::with_groups).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ParameterGroup {
    /// The pattern: `*` matches any number of characters, `?` matches one.
    pub pattern: String,
    /// The factor of the learning rate: finite and at least 0.
    pub lr_scale: Option<f64>,
    /// The weight decay instead of the method's: finite and at least 0.
    pub weight_decay: Option<f64>,
    /// Whether this optimizer leaves them, and their state, unchanged. Default false.
    ///
    /// Their gradients are still computed, for other optimizers of the same parameters, but do not count in norms of
    /// gradients. [`Params::set_frozen`](crate::Params::set_frozen) freezes parameters for all optimizers, and saves
    /// the gradients.
    pub frozen: bool,
}

impl ParameterGroup {
    /// Makes the group of a pattern, without settings of its own yet.
    #[must_use]
    pub fn of(pattern: impl Into<String>) -> Self {
        Self { pattern: pattern.into(), ..Self::default() }
    }
}

/// Writes the settings of groups into those of each parameter.
pub(super) fn apply(
    groups: &[ParameterGroup],
    method: &dyn Method,
    parameters: &[Parameter],
    settings: &mut [SegmentSettings],
) -> Result<()> {
    for group in groups {
        not_negative("lr_scale", group.lr_scale.unwrap_or(0.0))?;
        not_negative("weight_decay", group.weight_decay.unwrap_or(0.0))?;
        if group.weight_decay.is_some() {
            check_weight_decay(method)?;
        }
        for i in matching(&group.pattern, parameters)? {
            let settings = &mut settings[i];
            settings.lr_scale = group.lr_scale.unwrap_or(settings.lr_scale);
            settings.weight_decay = group.weight_decay.or(settings.weight_decay);
            settings.frozen |= group.frozen;
        }
    }
    Ok(())
}

/// Checks that a method has a weight decay to replace.
pub(super) fn check_weight_decay(method: &dyn Method) -> Result<()> {
    if method.capabilities().weight_decay {
        return Ok(());
    }
    Err(Error::Setting {
        field: "weight_decay",
        value: "a replacement".to_string(),
        rule: "left out for a method without weight decay",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AdamW, Linear, Optimizer, ParamsBuilder, Rprop, Sgd};
    use thalweg_tensor::Device;

    fn params() -> crate::Params {
        let mut builder = ParamsBuilder::new(0);
        Linear::new(&mut builder, "body", 3, 2).unwrap();
        Linear::new(&mut builder, "head", 2, 2).unwrap();
        builder.build(&Device::cpu()).unwrap()
    }

    fn values(params: &crate::Params) -> Vec<Vec<f32>> {
        params.values().tensors().iter().map(|tensor| tensor.to_vec::<f32>().unwrap()).collect()
    }

    #[test]
    fn later_groups_replace_what_they_say_and_frozen_parameters_stay() {
        let params = params();
        params.values().tensors().iter().for_each(|tensor| tensor.fill(1f32).unwrap());
        params.grads().unwrap().tensors().iter().for_each(|tensor| tensor.fill(1f32).unwrap());
        let groups = [
            ParameterGroup { lr_scale: Some(0.5), weight_decay: Some(1.0), ..ParameterGroup::of("body.*") },
            ParameterGroup { weight_decay: Some(0.0), ..ParameterGroup::of("*.bias") },
            ParameterGroup { frozen: true, ..ParameterGroup::of("head.bia?") },
        ];
        let sgd = Sgd::new().weight_decay(2.0);
        let mut optimizer = Optimizer::new(&params, sgd, 0.25).unwrap().with_groups(&groups).unwrap();
        optimizer.step().unwrap();
        // 1 - lr lr_scale (1 + weight_decay), except for the frozen one.
        let expected = [1.0 - 0.125 * 2.0, 1.0 - 0.125, 1.0 - 0.25 * 3.0, 1.0];
        for (values, expected) in values(&params).iter().zip(expected) {
            assert!(values.iter().all(|&value| value == expected), "{values:?} is not {expected}");
        }
        assert!(!params.get("head.bias").unwrap().is_frozen(), "a group has frozen a parameter for all optimizers");
    }

    #[test]
    fn biases_do_not_decay_in_one_line() {
        let params = params();
        params.values().tensors().iter().for_each(|tensor| tensor.fill(1f32).unwrap());
        params.grads().unwrap();
        let adamw = AdamW::new().weight_decay(0.5);
        Optimizer::new(&params, adamw, 0.5).unwrap().without_decay_on_bias_and_norm().unwrap().step().unwrap();
        let expected = [0.75, 1.0, 0.75, 1.0];
        assert!(values(&params).iter().zip(expected).all(|(values, expected)| values.iter().all(|&x| x == expected)));
    }

    #[test]
    fn wrong_groups_and_schedules_name_the_field() {
        let params = params();
        let refused = |groups: &[ParameterGroup]| {
            Optimizer::new(&params, AdamW::new(), 1e-3).unwrap().with_groups(groups).unwrap_err().to_string()
        };
        assert!(
            refused(&[ParameterGroup::of("boddy.*")]).starts_with("pattern = \"boddy.*\", but it must be one that")
        );
        let group = ParameterGroup { lr_scale: Some(-1.0), ..ParameterGroup::of("*") };
        assert!(refused(&[group]).starts_with("lr_scale = -1, but"));
        let group = ParameterGroup { weight_decay: Some(f64::NAN), ..ParameterGroup::of("*") };
        assert!(refused(std::slice::from_ref(&group)).starts_with("weight_decay = NaN, but"));
        let group = ParameterGroup { weight_decay: Some(0.1), ..group };
        let rprop = || Optimizer::new(&params, Rprop::new(), 1e-2).unwrap();
        assert!(rprop().with_groups(&[group]).unwrap_err().to_string().contains("without weight decay"));

        let mut sgd = Optimizer::new(&params, Sgd::new(), 1e-2).unwrap();
        assert!(sgd.set_momentum(0.5).unwrap_err().to_string().contains("without momentum"));
        assert!(rprop().set_weight_decay(0.5).unwrap_err().to_string().contains("without weight decay"));
        let mut adamw = Optimizer::new(&params, AdamW::new(), 1e-3).unwrap();
        adamw.set_momentum(0.5).unwrap();
        let one = adamw.set_momentum(1.0).unwrap_err().to_string();
        assert_eq!(one, "momentum = 1, but it must be at least 0 and less than 1");
    }
}
