//! Candidates for somebody of whom a name, or a part of it, and perhaps a birth date, a sex and a region are known.
//!
//! ```text
//! name ─▶ sounds × birth years ─▶ terms of the index ─▶ registrations ─▶ those that agree ─▶ weighed, best first ─▶ their persons
//! ```
//! The work of one question is bounded at every step, and a question beyond a bound is refused with what to add to it: a list
//! that was cut short unseen would hide the very person who is looked for. How a candidate is weighed is `linkage`'s to say.

use std::collections::BTreeSet;

use linkage::search::{Lookups, Match as Weighed, Sought};
use model::body::Registration;
use model::query::{FoundRegistration, Match, MatchField, Person, Search};
use model::{NodePath, PartialDate, RecordKey, RegionCode};

use super::Groups;
use crate::terms::{YEARS, name_value, space, year_of};
use crate::{Exchange, ExchangeError};

/// Most terms that one question looks up. A name typed in pinyin without a birth date has the most.
const MAX_TERMS: usize = 8192;
/// Most registrations under one part of a name; a part that more have does not narrow the search down.
const MAX_POSTINGS: usize = 20_000;
/// Most registrations that one question reads.
const MAX_READ: usize = 2000;
/// Below so many persons, chance is reckoned as among these, as the linker does.
const MIN_PERSONS: f32 = 2000.0;
/// How many years of birth a population spreads over, to reckon how many persons share one.
const BIRTH_YEARS: f32 = 75.0;

/// A question made ready.
#[derive(Debug)]
pub(super) struct Asked {
    sought: Sought,
    year: Option<u16>,
    region: Option<RegionCode>,
    /// Whether everything of the region asked for comes to this node.
    pub is_of_own_region: bool,
}

/// What candidates are weighed with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// How many of the persons have a name that agrees as well.
    share: f32,
    persons: f32,
}

/// What the search here brought.
#[derive(Debug)]
pub(super) struct Candidates {
    pub groups: Groups,
    /// There are more persons than were asked for.
    pub truncated: bool,
    /// How many registrations agree.
    pub agreeing: usize,
}

fn too_wide(message: impl Into<String>) -> ExchangeError {
    ExchangeError::unusable("TOO_WIDE", message)
}

impl Exchange {
    /// Reads a question and refuses one that cannot be told from very many others whatever is held here.
    pub(super) fn asked(&self, search: &Search) -> Result<Asked, ExchangeError> {
        let known = Registration {
            name: search.name.clone(),
            birth_date: search.birth_date.map(|date| date.to_string()).unwrap_or_default(),
            sex: search.sex.clone(),
            ..Registration::default()
        };
        let sought = Sought::read(&known, search.part).ok_or_else(|| {
            ExchangeError::unusable("NAME_NEEDED", "name: a search needs a character or letter of it")
        })?;
        let year = search.birth_date.map(PartialDate::year);
        if search.part && sought.length() < 2 && year.is_none() && search.region.is_none() {
            return Err(too_wide("name: one character of a name needs birth_date or region_code beside it"));
        }
        if sought.is_initials() && year.is_none() {
            return Err(too_wide("name: initials need birth_date beside them"));
        }
        let is_of_own_region = match search.region {
            None => false,
            Some(region) => self.holds_region(region)? && self.has_all_of_its_own(),
        };
        Ok(Asked { sought, year, region: search.region, is_of_own_region })
    }

    /// Whether the nodes of a region are this one or below it.
    fn holds_region(&self, region: RegionCode) -> Result<bool, ExchangeError> {
        let view = self.parts.directory.snapshot();
        let own = &self.parts.node.path;
        let mut paths = view
            .nodes()
            .map(|node| &node.path)
            .chain([own])
            .filter(|path| path.region() == region)
            .peekable();
        if paths.peek().is_none() {
            return Err(ExchangeError::unusable(
                "REGION_UNKNOWN",
                "region_code: no node of the mesh has this region code",
            ));
        }
        Ok(paths.all(|path| own.contains(path)))
    }

    /// Whether all that was ever filed in this node's subtree is held here: it lost nothing that is not back, and whoever moved in has
    /// brought everything along.
    fn has_all_of_its_own(&self) -> bool {
        let (view, own) = (self.parts.directory.snapshot(), &self.parts.node.path);
        let is_own = |writer| view.path_of(writer).is_some_and(|path| own.contains(path));
        let arrived = || view.moved().all(|now| !is_own(&now.writer) || view.awaited(&now.origin).is_none());
        !replication::is_restoring(&self.parts.store) && arrived()
    }

    /// The best candidates held here, at most `limit` persons.
    pub(super) fn search(&self, asked: &Asked, limit: usize) -> Result<Candidates, ExchangeError> {
        let mut found = Vec::new();
        for key in self.under_terms(asked)? {
            if let Some(one) = self.registration(&key)?
                && asked.is_met_by(&one)
            {
                found.push(one);
            }
        }
        let agreeing = found.len();
        let scale = self.scale(asked, agreeing);
        let weigh = |one: FoundRegistration| {
            let weighed = self.weigh(asked, scale, &one.registration)?;
            Some((weighed.weight, one))
        };
        let mut ranked: Vec<(f32, FoundRegistration)> = found.into_iter().filter_map(weigh).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.key.cmp(&b.1.key)));
        let (groups, truncated) = self.first_persons(ranked.iter().map(|(_, one)| &one.key), limit)?;
        Ok(Candidates { groups, truncated, agreeing })
    }

    /// Keys of registrations that may agree.
    fn under_terms(&self, asked: &Asked) -> Result<BTreeSet<RecordKey>, ExchangeError> {
        let years: Vec<u16> = match asked.year {
            // Those whose birth date is not known may be anybody.
            Some(year) => vec![year_of(year), 0],
            None => YEARS.chain([0]).collect(),
        };
        let lookups = asked.sought.lookups(asked.year.is_some());
        let sounds = match &lookups {
            Lookups::Whole(sounds) => sounds.len(),
            Lookups::Parts(ways) => ways.iter().flatten().map(Vec::len).sum(),
        };
        if sounds * years.len() > MAX_TERMS {
            return Err(too_wide(
                "name: it can be read in too many ways; add birth_date, or write it in characters",
            ));
        }
        let keys = match &lookups {
            Lookups::Whole(sounds) => self.under(space::NAME, sounds, &years, MAX_READ)?,
            Lookups::Parts(ways) => self.under_parts(ways, &years)?,
        };
        keys.filter(|keys| keys.len() <= MAX_READ).ok_or_else(|| {
            too_wide(format!(
                "name: more than {MAX_READ} registrations held here may fit; add birth_date, or more of the name"
            ))
        })
    }

    /// Registrations that have every part of one of the ways to read the question; none when they are too many to be told.
    fn under_parts(
        &self,
        ways: &[Vec<Vec<String>>],
        years: &[u16],
    ) -> Result<Option<BTreeSet<RecordKey>>, ExchangeError> {
        let mut found = BTreeSet::new();
        for parts in ways {
            let mut common: Option<BTreeSet<RecordKey>> = None;
            for sounds in parts {
                let under = self.under(space::NAME_PART, sounds, years, MAX_POSTINGS)?;
                common = match (common, under) {
                    (Some(held), Some(under)) => Some(&held & &under),
                    // A part that very many have narrows nothing down; whether it is there, the registration itself will say.
                    (held, under) => held.or(under),
                };
            }
            let Some(common) = common else { return Ok(None) };
            found.extend(common);
        }
        Ok(Some(found))
    }

    /// Registrations under any of these sounds in any of these years; none when there are more than `most`.
    fn under(
        &self,
        space: u8,
        sounds: &[String],
        years: &[u16],
        most: usize,
    ) -> Result<Option<BTreeSet<RecordKey>>, ExchangeError> {
        let mut keys = BTreeSet::new();
        for sound in sounds {
            for year in years {
                let term = self.parts.terms.term(space, &name_value(sound, *year));
                keys.extend(self.parts.store.lookup(space, &term, None, most + 1)?);
                if keys.len() > most {
                    return Ok(None);
                }
            }
        }
        Ok(Some(keys))
    }

    fn scale(&self, asked: &Asked, agreeing: usize) -> Scale {
        let persons = (self.judge.status().persons as f32).max(MIN_PERSONS);
        let born_then = if asked.year.is_some() { persons / BIRTH_YEARS } else { persons };
        // One of them is the one who is looked for; half is for those not met yet.
        let share = (agreeing as f32 - 0.5).max(0.5) / born_then;
        Scale { share: share.min(1.0), persons }
    }

    fn weigh(&self, asked: &Asked, scale: Scale, candidate: &Registration) -> Option<Weighed> {
        asked.sought.weigh(self.judge.scorer(), candidate, scale.share, scale.persons)
    }

    /// Orders persons by how well they fit, best first: all by one scale, also those whom the parent has weighed by its own. Whoever
    /// does not fit, as the merged answer knows them, is left out. `agreeing` registrations were found here.
    pub(super) fn rank(&self, asked: &Asked, agreeing: usize, persons: Vec<Person>) -> Vec<Person> {
        let registrations = persons.iter().flat_map(|person| &person.registrations);
        let together = registrations.filter(|one| asked.is_met_by(one)).count();
        let scale = self.scale(asked, agreeing.max(together));
        let matched = |person: &Person| {
            let fitting = person.registrations.iter().filter(|one| asked.is_met_by(one));
            let weighed = fitting
                .filter_map(|one| Some(explained(one.key, self.weigh(asked, scale, &one.registration)?)));
            weighed.max_by(|a, b| a.weight.total_cmp(&b.weight))
        };
        let with_match = |person: Person| Some(Person { matched: Some(matched(&person)?), ..person });
        let mut ranked: Vec<Person> = persons.into_iter().filter_map(with_match).collect();
        let weight = |person: &Person| person.matched.as_ref().map_or(f32::MIN, |matched| matched.weight);
        ranked.sort_by(|a, b| weight(b).total_cmp(&weight(a)).then(a.number.cmp(&b.number)));
        ranked
    }
}

impl Asked {
    /// Whether a registration has a name that agrees, a birth year that may be the one asked for, and is of the region.
    fn is_met_by(&self, one: &FoundRegistration) -> bool {
        let in_region = |region: &RegionCode| {
            one.node_path.parse::<NodePath>().is_ok_and(|path| path.regions().contains(region))
        };
        let held = one.registration.birth_date.get(..4).and_then(|year| year.parse().ok()).unwrap_or(0);
        self.region.as_ref().is_none_or(in_region)
            && self.year.is_none_or(|year| held == 0 || held == year)
            && self.sought.agreement(&one.registration.name).is_some()
    }
}

fn explained(registration: RecordKey, weighed: Weighed) -> Match {
    let field = |field: linkage::explain::Field| MatchField {
        comparison: field.comparison.to_owned(),
        level: field.level.to_owned(),
        weight: field.weight,
    };
    Match {
        registration,
        weight: weighed.weight,
        probability: weighed.probability,
        fields: weighed.fields.into_iter().map(field).collect(),
    }
}
