//! Settings in the text of format 1, which was the `Debug` output.

use serde_json::{Map, Number, Value};

/// Parses settings of format 1 into a JSON object: `AdamW { lr: 0.001, betas: (0.9, 0.999), … }`.
///
/// The fields have today's names: the learning rate is no longer a setting, [`Muon`](super::Muon) has its other rate as
/// a ratio, and [`Rprop`](super::Rprop) has a name for its first step. Returns `None` if the text does not have this
/// form.
pub(super) fn settings(text: &str) -> Option<Value> {
    let mut parser = Parser(text);
    let name = parser.word()?;
    parser.skip("{")?;
    let mut fields = Map::new();
    while parser.skip("}").is_none() {
        let field = parser.word()?.to_string();
        parser.skip(":")?;
        fields.insert(field, parser.value()?);
        let _ = parser.skip(",");
    }
    parser.0.is_empty().then_some(())?;
    let lr = fields.remove("lr").unwrap_or_default();
    if name == "Rprop" {
        fields.insert("first_step".to_string(), lr);
    } else if name == "Muon" {
        let (lr, adamw_lr) = (lr.as_f64()?, fields.remove("adamw_lr")?.as_f64()?);
        let ratio = if lr > 0.0 { adamw_lr / lr } else { 0.0 };
        fields.insert("adamw_rate".to_string(), ratio.into());
    }
    Some(Value::Object(fields))
}

/// The rest of a text.
struct Parser<'a>(&'a str);

impl<'a> Parser<'a> {
    /// Skips this text, and spaces before it.
    fn skip(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(text)?;
        Some(())
    }

    /// Takes letters, digits and the other characters of numbers.
    fn word(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start();
        let is_of_word = |c: char| c.is_ascii_alphanumeric() || "_.-+".contains(c);
        let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    fn value(&mut self) -> Option<Value> {
        if self.skip("(").is_some() {
            let mut parts = Vec::new();
            while self.skip(")").is_none() {
                parts.push(self.value()?);
                let _ = self.skip(",");
            }
            return Some(Value::Array(parts));
        }
        let word = self.word()?;
        if word == "Some" {
            self.skip("(")?;
            let value = self.value()?;
            self.skip(")")?;
            return Some(value);
        }
        Some(match word {
            // Infinity was the value for no limit.
            "None" | "inf" => Value::Null,
            "true" | "false" => Value::Bool(word == "true"),
            number if number.starts_with(|c: char| c.is_ascii_digit() || c == '-') => match number.parse::<u64>() {
                Ok(whole) => whole.into(),
                Err(_) => Value::Number(Number::from_f64(number.parse().ok()?)?),
            },
            variant => variant.into(),
        })
    }
}

/// Returns whether a saved setting equals a method's own. Ratios of saved numbers are rounded. `None` matches any first
/// step, which then comes from the rate.
pub(super) fn is_same(field: &str, saved: &Value, own: &Value) -> bool {
    match (field, saved.as_f64(), own.as_f64()) {
        ("adamw_rate", Some(saved), Some(own)) => (saved - own).abs() <= 1e-12 * own.abs(),
        ("first_step", _, None) => true,
        _ => saved == own,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::MethodEntry;

    #[test]
    fn texts_of_format_1_are_settings() {
        let text =
            "Some_ { lr: 0.1, a: 1e-8, b: (0.9, -2.5), c: None, d: Some(0.5), e: inf, f: true, g: 10, h: Original }";
        let expected = json!({
            "a": 1e-8, "b": [0.9, -2.5], "c": null, "d": 0.5, "e": null, "f": true, "g": 10, "h": "Original",
        });
        assert_eq!(settings(text), Some(expected));
        for wrong in ["", "AdamW", "AdamW {", "AdamW { lr }", "AdamW { lr: }", "AdamW { lr: (1, } x", "AdamW { } x"] {
            assert_eq!(settings(wrong), None, "{wrong}");
        }
    }

    /// The file has the program's output for every method: its name and its default settings.
    #[test]
    fn the_program_s_methods_have_the_settings_of_format_1() {
        let texts = include_str!("../../../../tests/fixtures/format1/settings.txt");
        assert_eq!(texts.lines().count(), 30);
        for line in texts.lines() {
            let (name, text) = line.split_once(": ").unwrap();
            let entry = MethodEntry::find(name).unwrap();
            let saved = settings(text).unwrap();
            let own = entry.program_method().settings();
            assert_eq!(saved.as_object().unwrap().len(), own.as_object().unwrap().len(), "{line}");
            for (field, own) in own.as_object().unwrap() {
                assert!(is_same(field, &saved[field], own), "{line}: {field} is {own}");
            }
        }
    }
}
