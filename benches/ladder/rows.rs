//! What became of every contender on every rung, in the order in which it was measured.

use std::collections::BTreeMap;

use crate::options::Contender;
use crate::rungs::Rung;

/// A row for each rung.
#[derive(Debug)]
pub(crate) struct Rows<Outcome>(Vec<(Rung, BTreeMap<Contender, Outcome>)>);

impl<Outcome> Rows<Outcome> {
    /// Without rows.
    pub(crate) fn new() -> Self {
        Rows(Vec::new())
    }

    /// Adds what a contender did on a rung.
    pub(crate) fn add(&mut self, rung: &Rung, contender: Contender, outcome: Outcome) {
        match self.0.iter_mut().find(|(row, _)| row.name == rung.name) {
            Some((_, outcomes)) => _ = outcomes.insert(contender, outcome),
            None => self.0.push((*rung, BTreeMap::from([(contender, outcome)]))),
        }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, (Rung, BTreeMap<Contender, Outcome>)> {
        self.0.iter()
    }

    /// That of a rung.
    pub(crate) fn of(&self, rung: &Rung) -> Option<&BTreeMap<Contender, Outcome>> {
        self.iter().find(|(row, _)| row.name == rung.name).map(|(_, outcomes)| outcomes)
    }
}
