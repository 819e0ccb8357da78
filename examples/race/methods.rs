//! The methods in the race, with their learning rates: the rows of the library's registry.

use thalweg::nn::{METHODS, Method, MethodEntry, MethodFamily, Sophia};

/// The maximum number of methods of a panel, which has six colours.
const MOST: usize = 6;

/// A method in the race.
#[derive(Clone, Copy)]
pub(crate) struct Racer {
    /// The name on the command line of `thalweg train`.
    pub(crate) name: &'static str,
    /// Learning rates for Rosenbrock's and for Beale's function: from `--rates`.
    pub(crate) rates: [f64; 2],
    entry: &'static MethodEntry,
}

impl Racer {
    /// Returns the method with its defaults.
    pub(crate) fn method(&self) -> Box<dyn Method> {
        // The exact diagonal of the Hessian is passed at every step.
        if self.name == "sophia" { Box::new(Sophia::new().update_interval(1)) } else { self.entry.method() }
    }
}

/// Methods that are drawn in one panel.
pub(crate) struct Family {
    pub(crate) title: &'static str,
    pub(crate) racers: Vec<Racer>,
}

/// Returns all families; one with more methods than colours has several panels.
pub(crate) fn families() -> Vec<Family> {
    let mut families = Vec::new();
    for family in MethodFamily::ALL {
        let entries = METHODS.iter().filter(|entry| entry.family == family);
        let racers: Vec<Racer> = entries.map(|entry| Racer { name: entry.name, rates: entry.race, entry }).collect();
        let panels = racers.len().div_ceil(MOST).max(1);
        let of_panel = racers.len().div_ceil(panels).max(1);
        let title = family.title();
        families.extend(racers.chunks(of_panel).map(|racers| Family { title, racers: racers.to_vec() }));
    }
    families
}
