//! The library's work on the host, by its tracing spans.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The maximum number of spans that are kept.
const MOST: usize = 1 << 16;

/// A period of the host's time.
#[derive(Debug, Clone)]
pub(crate) struct HostSpan {
    pub(crate) name: &'static str,
    pub(crate) fields: Map<String, Value>,
    pub(crate) start: Instant,
    pub(crate) end: Instant,
}

/// A subscriber that keeps the library's spans with their times.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By id, counted from 1. The start of a span is set while it is open.
    spans: Vec<(&'static str, Map<String, Value>, Option<Instant>)>,
    ended: Vec<HostSpan>,
}

impl Spans {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the completed spans, ordered by their start, outer ones first.
    pub(crate) fn take(&self) -> Vec<HostSpan> {
        let mut ended = std::mem::take(&mut self.state().ended);
        ended.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
        ended
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("thalweg")
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Fields(Map::new());
        attributes.record(&mut fields);
        let mut state = self.state();
        state.spans.push((attributes.metadata().name(), fields.0, None));
        Id::from_u64(state.spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, id: &Id) {
        self.state().spans[id.into_u64() as usize - 1].2 = Some(Instant::now());
    }

    fn exit(&self, id: &Id) {
        let end = Instant::now();
        let mut state = self.state();
        let (name, fields, entered) = &mut state.spans[id.into_u64() as usize - 1];
        let Some(start) = entered.take() else { return };
        let span = HostSpan { name, fields: fields.clone(), start, end };
        if state.ended.len() < MOST {
            state.ended.push(span);
        }
    }
}

/// The fields of a span as JSON.
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_string(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_string(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_string(), format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_the_library_are_kept_with_fields_and_nest() {
        let spans = std::sync::Arc::new(Spans::default());
        tracing::subscriber::with_default(spans.clone(), || {
            let _outer = tracing::debug_span!(target: "thalweg_tensor", "outer", times = 3u64, what = "x").entered();
            drop(tracing::debug_span!(target: "thalweg_tensor", "inner").entered());
            drop(tracing::debug_span!(target: "another_crate", "foreign").entered());
        });
        let spans = spans.take();
        assert_eq!(spans.iter().map(|span| span.name).collect::<Vec<_>>(), ["outer", "inner"]);
        assert_eq!(Value::from(spans[0].fields.clone()), serde_json::json!({"times": 3, "what": "x"}));
        assert!(spans[0].start <= spans[1].start && spans[1].end <= spans[0].end);
    }
}
