//! The target column: its task, its classes, its values.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Table;
use super::label::{Decimal, is_number};
use super::numbers::parse_number;
use crate::error::DataProblem;
use crate::{Error, Result};

/// The kind of prediction for a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// One class of several.
    Classification,
    /// A number.
    Regression,
}

impl Task {
    /// Every task.
    pub const ALL: [Self; 2] = [Self::Classification, Self::Regression];
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classification => "classification",
            Self::Regression => "regression",
        })
    }
}

impl FromStr for Task {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|task| task.to_string() == text).ok_or_else(|| Error::Setting {
            field: "task",
            value: text.to_string(),
            rule: "classification or regression",
        })
    }
}

/// The maximum number of classes for which whole numbers count as classes.
const MAX_NUMERIC_CLASSES: usize = 50;

/// The minimum number of rows per class, on average, for which whole numbers count as classes.
const MIN_ROWS_PER_CLASS: usize = 5;

impl Table {
    /// Returns the task that a target column suggests.
    ///
    /// Words are a classification. Whole numbers are one if at most 50 of them differ, with at least 5 rows each on
    /// average. Other numbers are a regression.
    ///
    /// # Errors
    /// [`Error::Data`] if the column does not exist, has a cell that is empty or not finite, or if most cells but not
    /// all are numbers: a word there is more often a mistake than a class.
    pub fn infer_task(&self, target: &str) -> Result<Task> {
        let column = self.column_index(target)?;
        let (mut numbers, mut first_word) = (0, None);
        let (mut whole, mut distinct) = (true, HashSet::new());
        for (line, cell) in self.cells(column) {
            match parse_number(cell) {
                Ok(_) => {
                    numbers += 1;
                    // A few more than the limit decide as well as all of them.
                    if whole && distinct.len() <= MAX_NUMERIC_CLASSES {
                        let value = Decimal::of(cell);
                        whole = value.is_whole();
                        distinct.insert(value);
                    }
                }
                Err(problem @ (DataProblem::NotANumber { .. } | DataProblem::Missing { .. })) => {
                    first_word = first_word.or(Some((line, problem)));
                }
                Err(problem) => return Err(self.problem(Some(line), Some(target), problem)),
            }
        }
        if let Some((line, problem)) = first_word {
            if 2 * numbers > self.row_count() {
                let problem = match problem {
                    DataProblem::NotANumber { cell } => DataProblem::MixedTarget { cell },
                    missing => missing,
                };
                return Err(self.problem(Some(line), Some(target), problem));
            }
            return Ok(Task::Classification);
        }
        let few = distinct.len() <= MAX_NUMERIC_CLASSES && distinct.len() * MIN_ROWS_PER_CLASS <= self.row_count();
        Ok(if whole && few { Task::Classification } else { Task::Regression })
    }

    /// Returns the classes of a target column: sorted by value if all cells are numbers, else by text.
    ///
    /// If all cells are numbers, equal values are one class, such as `1` and `1.0`, and its label is the text of the
    /// first of them. Otherwise each text is a class as written: `007` and `7` are two.
    ///
    /// # Errors
    /// [`Error::Data`] if the column does not exist, has a cell that is empty or not finite, or has one class only.
    pub fn class_labels(&self, target: &str) -> Result<Vec<String>> {
        let column = self.column_index(target)?;
        let mut are_numbers = true;
        for (line, cell) in self.cells(column) {
            are_numbers &= is_number(cell).map_err(|problem| self.problem(Some(line), Some(target), problem))?;
        }
        let cells = self.cells(column).map(|(_, cell)| cell);
        let labels: Vec<String> = if are_numbers {
            let mut first_texts = BTreeMap::new();
            cells.for_each(|cell| _ = first_texts.entry(Decimal::of(cell)).or_insert(cell));
            first_texts.into_values().map(str::to_string).collect()
        } else {
            cells.collect::<BTreeSet<_>>().into_iter().map(str::to_string).collect()
        };
        if let [label] = &labels[..] {
            let class = label.clone();
            return Err(self.problem(None, Some(target), DataProblem::OneClass { class }));
        }
        Ok(labels)
    }

    /// Returns the class of every row, as its position in `labels`, which come from
    /// [`class_labels`](Self::class_labels) or from a model. Labels and cells are compared by value if all labels are
    /// numbers, else by text.
    ///
    /// # Errors
    /// [`Error::Data`] if the column does not exist, and with the line if no label matches a cell.
    pub fn class_indices<S: AsRef<str>>(&self, target: &str, labels: &[S]) -> Result<Vec<u32>> {
        let column = self.column_index(target)?;
        let texts = || labels.iter().map(AsRef::as_ref).zip(0..);
        let are_numbers = texts().all(|(label, _)| is_number(label) == Ok(true));
        let by_value: HashMap<Decimal, u32> = if are_numbers {
            texts().map(|(label, class)| (Decimal::of(label), class)).collect()
        } else {
            HashMap::new()
        };
        let by_text: HashMap<&str, u32> = texts().collect();
        let class = |(line, cell): (u64, &str)| {
            // Most cells are written like their label.
            let class = match by_text.get(cell) {
                Some(&class) => Ok(Some(class)),
                None => is_number(cell).map(|number| by_value.get(&Decimal::of(cell)).filter(|_| number).copied()),
            };
            let problem = match class {
                Ok(Some(class)) => return Ok(class),
                Ok(None) => {
                    let classes = labels.iter().map(|label| label.as_ref().to_string()).collect();
                    DataProblem::UnknownClass { cell: cell.to_string(), classes }
                }
                Err(problem) => problem,
            };
            Err(self.problem(Some(line), Some(target), problem))
        };
        self.cells(column).map(class).collect()
    }

    /// Returns the values of a target column of numbers.
    ///
    /// # Errors
    /// Same as [`numeric_columns`](Self::numeric_columns), and [`Error::Data`] if all are the same.
    pub fn regression_target(&self, target: &str) -> Result<Vec<f64>> {
        let values = self.numeric_columns(&[target])?;
        match values.first() {
            Some(&value) if values.iter().all(|other| *other == value) => {
                Err(self.problem(None, Some(target), DataProblem::ConstantTarget { value }))
            }
            _ => Ok(values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(cells: impl IntoIterator<Item = impl fmt::Display>) -> Table {
        let rows = cells.into_iter().map(|cell| [cell.to_string(), "0".to_string()]);
        Table::from_rows("t.csv", &["y", "x"], rows).unwrap()
    }

    #[test]
    fn the_task_is_inferred_from_the_column() {
        let task = |table: Table| table.infer_task("y").unwrap();
        assert_eq!(task(column(["a", "b", "a"])), Task::Classification);
        assert_eq!(task(column((0..50).map(|i| i % 10))), Task::Classification);
        assert_eq!(task(column((0..49).map(|i| i % 10))), Task::Regression);
        assert_eq!(task(column((0..250).map(|i| i % 50))), Task::Classification);
        assert_eq!(task(column((0..1000).map(|i| i % 51))), Task::Regression);
        assert_eq!(task(column((0..100).map(|i| f64::from(i % 2) / 2.0))), Task::Regression);
        assert_eq!(task(column((0..100).map(|i| format!("{}.0", i % 2)))), Task::Classification);
    }

    #[test]
    fn a_slip_in_a_column_of_numbers_makes_no_classes() {
        let error = column(["1.5", "2.5", "x1.0", "0.5"]).infer_task("y").unwrap_err().to_string();
        assert!(error.starts_with("t.csv, line 4, column \"y\": \"x1.0\" is not a number, but most"), "{error}");
        assert!(error.ends_with("if the column holds classes, set the task to classification"), "{error}");
        assert_eq!(column(["1", "a", "b", "2"]).infer_task("y").unwrap(), Task::Classification);
        assert!(column(["1", "", "2"]).infer_task("y").unwrap_err().to_string().contains("line 3"));
        assert!(column(["1", "nan", "2"]).infer_task("y").is_err());
        assert!(column(["1"]).infer_task("z").is_err());
    }

    #[test]
    fn a_missing_value_among_numbers_is_no_class() {
        for marker in ["NA", "?", "n/a"] {
            let error = column(["1.5", "2.5", marker, "0.5"]).infer_task("y").unwrap_err().to_string();
            let expected =
                format!("t.csv, line 4, column \"y\": {marker:?} marks a missing value; fill it, or leave the row out");
            assert_eq!(error, expected);
        }
        assert_eq!(column(["yes", "no", "NA", "?"]).infer_task("y").unwrap(), Task::Classification);
    }

    #[test]
    fn values_that_differ_by_less_than_a_float_are_counted_apart() {
        let seconds = column((0..60).map(|i| 1_700_000_000u64 + i));
        assert_eq!(seconds.infer_task("y").unwrap(), Task::Regression);
        assert_eq!(seconds.regression_target("y").unwrap()[59], 1_700_000_059.0);
        // Two hundred ids of 17 digits, of which an f64 distinguishes few.
        assert_eq!(column((0..200).map(|i| 90_071_992_547_409_900u64 + i)).infer_task("y").unwrap(), Task::Regression);
    }

    #[test]
    fn numbers_are_classes_by_value_and_are_called_by_their_first_text() {
        let table = column(["10", "9", "9.0", "-1", "-0", "0"]);
        let labels = table.class_labels("y").unwrap();
        assert_eq!(labels, ["-1", "-0", "9", "10"]);
        assert_eq!(table.class_indices("y", &labels).unwrap(), [3, 2, 2, 0, 1, 1]);
        assert_eq!(column(["1.10", "1.1", "01.2"]).class_labels("y").unwrap(), ["1.10", "01.2"]);
    }

    #[test]
    fn long_whole_numbers_are_classes_by_their_digits() {
        let ids = ["12345678901234567", "9007199254740992", "9007199254740993"];
        let table = column(ids);
        let labels = table.class_labels("y").unwrap();
        assert_eq!(labels, [ids[1], ids[2], ids[0]]);
        assert_eq!(table.class_indices("y", &labels).unwrap(), [2, 0, 1]);
    }

    #[test]
    fn classes_among_words_are_kept_as_they_are_written() {
        let table = column(["b", "a", "10", "9", "b"]);
        let labels = table.class_labels("y").unwrap();
        assert_eq!(labels, ["10", "9", "a", "b"]);
        assert_eq!(table.class_indices("y", &labels).unwrap(), [3, 2, 0, 1, 3]);
        let table = column(["007", "7", "A1", "7.0", "7"]);
        let labels = table.class_labels("y").unwrap();
        assert_eq!(labels, ["007", "7", "7.0", "A1"]);
        assert_eq!(table.class_indices("y", &labels).unwrap(), [0, 1, 3, 2, 1]);
    }

    #[test]
    fn cells_are_found_among_the_labels_of_a_model() {
        let table = column(["1", "2.0", "3"]);
        assert_eq!(table.class_indices("y", &["1", "2", "3"]).unwrap(), [0, 1, 2]);
        // One label is a word, so texts are compared.
        assert!(table.class_indices("y", &["1", "2", "3", "none"]).is_err());
        assert!(
            column(["1", "a"]).class_indices("y", &["1", "2"]).unwrap_err().to_string().contains("\"a\" is no class")
        );
    }

    #[test]
    fn hopeless_targets_are_errors() {
        let error = column(["1", "1.0"]).class_labels("y").unwrap_err().to_string();
        assert_eq!(
            error,
            "t.csv, column \"y\": every row is of class \"1\"; a classification needs at least two classes"
        );
        assert!(column(["a", ""]).class_labels("y").unwrap_err().to_string().contains("line 3"));
        assert!(column(["a", "NaN"]).class_labels("y").unwrap_err().to_string().contains("not a finite"));
        let error = column(["a", "c"]).class_indices("y", &["a", "b"]).unwrap_err().to_string();
        assert_eq!(error, "t.csv, line 3, column \"y\": \"c\" is no class of the model; it has a, b");
        assert!(column(["2", "2.0"]).regression_target("y").unwrap_err().to_string().contains("the same value, 2"));
        assert_eq!(column(["2", "3"]).regression_target("y").unwrap(), [2.0, 3.0]);
    }

    #[test]
    fn tasks_are_called_by_name() {
        for task in Task::ALL {
            assert_eq!(task.to_string().parse::<Task>().unwrap(), task);
            assert_eq!(serde_json::to_value(task).unwrap(), task.to_string());
        }
        assert!("ranking".parse::<Task>().unwrap_err().to_string().starts_with("task = ranking, but it must be"));
    }
}
