//! Guesses without a network, which a network should beat.

use thalweg::nn::data::{Dataset, Task};
use thalweg::nn::{History, TabularData};

use crate::error::Result;

/// The guess of a network that has learned nothing. It is the most frequent class of the training rows, with its share
/// in some rows, and the loss of predicting each class by its share in training.
struct Guess {
    class: u32,
    share: f64,
    loss: f64,
}

/// Returns the guess that the network does not beat, in words: on the test rows, or on the training rows if there are
/// none.
pub(super) fn no_better_than(data: &TabularData, history: &History) -> Result<Option<String>> {
    let test = history.epochs.last().and_then(|report| report.test).zip(data.test.as_ref());
    let (evaluation, rows, which) = match test {
        Some((evaluation, rows)) => (evaluation, rows, "test"),
        None => (history.train, &data.train, "training"),
    };
    if data.schema.task == Task::Regression {
        let fails = evaluation.r2.is_some_and(|r2| r2 <= 0.0);
        return Ok(fails.then(|| format!("the mean of {:?} on the {which} rows", data.schema.target)));
    }
    let classes = |rows: &Dataset| rows.targets().to_vec::<u32>();
    let guess = Guess::new(&classes(&data.train)?, &classes(rows)?, data.schema.classes.len());
    Ok(guess.is_as_good_as(evaluation.accuracy.unwrap_or(1.0), evaluation.loss, rows.len()).then(|| {
        let class = &data.schema.classes[guess.class as usize];
        format!("always saying {class:?}, which is right for {:.2} % of the {which} rows", 100.0 * guess.share)
    }))
}

impl Guess {
    fn new(train: &[u32], rows: &[u32], classes: usize) -> Self {
        let mut counts = vec![0u32; classes];
        train.iter().for_each(|&class| counts[class as usize] += 1);
        let most = (0..classes as u32).rev().max_by_key(|&class| counts[class as usize]).unwrap_or(0);
        let share = rows.iter().filter(|&&class| class == most).count() as f64 / rows.len() as f64;
        // Each class has a training row.
        let loss = |&class: &u32| -(f64::from(counts[class as usize].max(1)) / train.len() as f64).ln();
        Self { class: most, share, loss: rows.iter().map(loss).sum::<f64>() / rows.len() as f64 }
    }

    /// Returns whether the network's accuracy may be that of the guess by chance, and its loss is no lower either.
    ///
    /// The accuracy of a guess with the same share on `rows` rows is above `share + 2 √(share (1 − share) / rows)` once
    /// in 40 times. The loss must be lower by 1 %, because a network that gives each row the same probabilities can
    /// come that close. A network that is no better by accuracy, but is by its loss, has learned something: if a class
    /// is rare, the most probable class hardly changes.
    fn is_as_good_as(&self, accuracy: f64, loss: f64, rows: usize) -> bool {
        let chance = 2.0 * (self.share * (1.0 - self.share) / rows as f64).sqrt();
        accuracy <= self.share + chance && (loss >= 0.99 * self.loss || !loss.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guess_is_the_most_frequent_class_of_the_training_rows() {
        let guess = Guess::new(&[0, 1, 1, 2], &[1, 1, 0, 2, 2], 3);
        assert_eq!((guess.class, guess.share), (1, 0.4));
        let expected = (2.0 * 2f64.ln() + 3.0 * 4f64.ln()) / 5.0;
        assert!((guess.loss - expected).abs() < 1e-12, "{}", guess.loss);
        assert_eq!(Guess::new(&[0, 1], &[0, 1], 2).class, 0);
    }

    #[test]
    fn a_network_must_beat_it_by_accuracy_or_by_loss() {
        let half = Guess { class: 0, share: 0.5, loss: 2f64.ln() };
        // With 100 rows, 60 correct ones are still chance.
        for (accuracy, loss, as_good) in [
            (0.5, 0.69, true),
            (0.6, 4.0, true),
            (0.61, 4.0, false),
            (0.5, 0.5, false),
            (0.4, f64::NAN, true),
            (0.97, 0.1, false),
        ] {
            assert_eq!(half.is_as_good_as(accuracy, loss, 100), as_good, "{accuracy}, {loss}");
        }
        // For a rare class, the probabilities may be right although the most probable class is the other.
        let rare = Guess { class: 0, share: 0.95, loss: 0.2 };
        assert!(!rare.is_as_good_as(0.95, 0.12, 1000) && rare.is_as_good_as(0.95, 0.199, 1000));
    }
}
