//! Checks that a model's parts, the declarations of its builder and the optimizer's parameters are the same.

use crate::{Error, Params, Parts, Result};

/// Checks that the model consists of exactly the parameters and buffers that were built with those of the optimizer.
pub(super) fn check_parts(model: &impl Parts, params: &Params) -> Result<()> {
    let (parameters, buffers) = (model.named_parameters(), model.named_buffers());
    let strange = |name: &str| {
        let problem = "the model has this tensor, but the optimizer's parameters were built without it; build the model and \
                       make the optimizer by one builder";
        Err(Error::state(name, problem))
    };
    if let Some((_, parameter)) = parameters.iter().find(|(_, p)| !params.parameters().iter().any(|own| own.is_same(p)))
    {
        return strange(parameter.name());
    }
    if let Some((_, buffer)) = buffers.iter().find(|(_, b)| !params.buffers().iter().any(|own| own.is_same(b))) {
        return strange(buffer.name());
    }
    let forgotten = |name: &str| {
        let problem = "the builder declared this tensor, but the model's visit leaves it out; list the field in visit";
        Err(Error::state(name, problem))
    };
    if let Some(own) = params.parameters().iter().find(|own| !parameters.iter().any(|(_, p)| p.is_same(own))) {
        return forgotten(own.name());
    }
    if let Some(own) = params.buffers().iter().find(|own| !buffers.iter().any(|(_, b)| b.is_same(own))) {
        return forgotten(own.name());
    }
    Ok(())
}
