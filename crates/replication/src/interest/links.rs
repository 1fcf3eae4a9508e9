//! What goes to a child because of links: the links themselves, whom they join and whom they part.

use std::collections::{HashMap, HashSet};

use model::person_link::Decided;
use model::{Kind, NodePath, Record, RecordKey};
use store::{ReadError, Store};

use super::{Interest, Selected, Selection, is_told};
use crate::DirectoryView;

/// The living registrations that a link is about; none if it is no link, or one of them is not held.
pub(super) fn ends(link: &Record, store: &Store) -> Result<Option<[Record; 2]>, ReadError> {
    let Ok(decided) = Decided::of(link) else { return Ok(None) };
    let living = |key: &RecordKey| Ok(store.get(key)?.filter(|record| !record.envelope().tombstone));
    let (a, b) = (living(&decided.a.key)?, living(&decided.b.key)?);
    Ok(a.zip(b).map(|(a, b)| [a, b]))
}

/// Whether a link is about a registration of which nothing was ever held here: this node has lost something, and what it has not got
/// back yet it cannot say to be of no concern.
pub(crate) fn is_about_unknown(link: &Decided, store: &Store) -> Result<bool, ReadError> {
    Ok(store.known_version(&link.a.key)?.is_none() || store.known_version(&link.b.key)?.is_none())
}

/// What was said of the pair of a link, this one as well.
fn of_the_same_pair(link: &Record, interest: &dyn Interest) -> Result<Vec<Record>, ReadError> {
    let Ok(decided) = Decided::of(link) else { return Ok(Vec::new()) };
    let is_same = |other: &Record| {
        Decided::of(other).is_ok_and(|other| (other.a.key, other.b.key) == (decided.a.key, decided.b.key))
    };
    let mut links = interest.links(&decided.a.key)?;
    links.retain(is_same);
    Ok(links)
}

/// Whether somebody in the child's subtree said something of the same pair: what is said elsewhere counts there, whoever is of concern.
pub(super) fn contradicts_inside(
    link: &Record,
    child: &NodePath,
    interest: &dyn Interest,
    view: &DirectoryView,
) -> Result<bool, ReadError> {
    let inside =
        |other: &Record| view.key_path(&other.envelope().key_id).is_some_and(|path| child.contains(path));
    Ok(of_the_same_pair(link, interest)?.iter().any(inside))
}

impl Selection {
    /// Whatever a link says now: the persons of its two registrations, told or forgotten as they are of concern now, and the link to
    /// whom both are. What was told already is not sent again; what was never told is forgotten without harm.
    pub(super) fn because_of_link(
        &self,
        link: Record,
        view: &DirectoryView,
        store: &Store,
    ) -> Result<Selected, ReadError> {
        let mut selected = Selected::default();
        let Ok(decided) = Decided::of(&link) else { return Ok(selected) };
        let mut met: HashSet<RecordKey> = HashSet::new();
        let mut of_concern = 0;
        // When the other end comes, its turn tells what follows.
        let unknown = is_about_unknown(&decided, store)?;
        for end in [decided.a.key, decided.b.key].into_iter().filter(|_| !unknown) {
            let Some(registration) = store.get(&end)? else { continue };
            if registration.envelope().tombstone {
                // Its own turn may find it parted already, and then nobody of the subtree who was the same person.
                self.retract_with_documents(&registration, view, &mut selected)?;
                continue;
            }
            let person = self.interest.person(&registration)?;
            let concerns = person.iter().any(|member| self.is_of_subtree(member, view));
            of_concern += usize::from(concerns);
            if !met.insert(end) {
                continue;
            }
            met.extend(person.iter().map(Record::key));
            if concerns {
                self.tell_person(person, view, store, &mut selected)?;
            } else {
                for member in &person {
                    self.retract_all(member, view, &mut selected)?;
                }
            }
        }
        if self.is_signed_inside(&link, view) {
            // Whoever is judge now may have overruled it before it came.
            let others = of_the_same_pair(&link, &*self.interest)?;
            selected.records.extend(others.into_iter().filter(|other| !self.is_signed_inside(other, view)));
        } else if of_concern == 2 || contradicts_inside(&link, &self.child, &*self.interest, view)? {
            selected.records.push(link);
        } else if !unknown {
            selected.retract(&link);
        }
        Ok(selected)
    }

    /// Retracts the links of a registration that is of no concern or withdrawn, but for what counts in the subtree whoever is.
    pub(super) fn retract_links(
        &self,
        registration: &Record,
        view: &DirectoryView,
        selected: &mut Selected,
    ) -> Result<(), ReadError> {
        for link in self.interest.links(&registration.key())? {
            let stays =
                self.stays(&link, view) || contradicts_inside(&link, &self.child, &*self.interest, view)?;
            if !stays {
                selected.retract(&link);
            }
        }
        Ok(())
    }

    /// Retracts whom a link to a registration that changed is about and who is of no concern. When several leave a person at about the same
    /// time, the turn of each finds the others gone from it already; but links remain.
    pub(super) fn retract_others(
        &self,
        changed: &Record,
        met: &HashSet<RecordKey>,
        (view, store): (&DirectoryView, &Store),
        selected: &mut Selected,
    ) -> Result<(), ReadError> {
        let key = changed.key();
        let links = self.interest.links(&key)?;
        let others: HashSet<RecordKey> =
            links.iter().filter_map(|link| Decided::of(link).ok()).map(|link| link.other(&key).key).collect();
        for other in others.difference(met) {
            let Some(other) = store.get(other)? else { continue };
            if other.envelope().tombstone || !is_told(&other, &self.child, &*self.interest, view, store)? {
                self.retract_with_documents(&other, view, selected)?;
            }
        }
        Ok(())
    }

    /// Whom a registration or link joined that is gone, and who is of no concern without it.
    pub(super) fn parted_without(
        &self,
        gone: &Record,
        view: &DirectoryView,
        store: &Store,
        selected: &mut Selected,
    ) -> Result<(), ReadError> {
        let mut joined = Vec::new();
        if let Ok(decided) = Decided::of(gone) {
            for end in [decided.a.key, decided.b.key] {
                joined.extend(store.get(&end)?.filter(|record| !record.envelope().tombstone));
            }
        } else if gone.envelope().kind == Kind::Registration as u32 && !gone.envelope().tombstone {
            joined = self.interest.person(gone)?;
        }
        let mut met = HashSet::from([gone.key()]);
        for one in joined {
            if met.contains(&one.key()) || self.is_of_concern(&one, view)? {
                continue;
            }
            let mut person = self.interest.person(&one)?;
            person.retain(|member| met.insert(member.key()));
            for member in &person {
                self.retract_all(member, view, selected)?;
            }
        }
        Ok(())
    }

    /// The links of a person that is of concern: those within it, and those to others of concern.
    pub(super) fn links_of(
        &self,
        person: &[Record],
        view: &DirectoryView,
        store: &Store,
    ) -> Result<Vec<Record>, ReadError> {
        let members: HashSet<RecordKey> = person.iter().map(Record::key).collect();
        let mut met: HashSet<RecordKey> = HashSet::new();
        // Of the others it is asked once whether they are of concern.
        let mut others: HashMap<RecordKey, bool> = HashMap::new();
        let mut told = Vec::new();
        for member in person {
            for link in self.interest.links(&member.key())? {
                let Ok(decided) = Decided::of(&link) else { continue };
                if !met.insert(link.key()) {
                    continue;
                }
                let other = decided.other(&member.key()).key;
                let concerns = match others.get(&other) {
                    _ if members.contains(&other) => true,
                    Some(known) => *known,
                    None => {
                        let living = store.get(&other)?.filter(|record| !record.envelope().tombstone);
                        let concerns = match living {
                            Some(living) => {
                                self.is_of_subtree(&living, view) || self.is_of_concern(&living, view)?
                            }
                            None => false,
                        };
                        others.insert(other, concerns);
                        concerns
                    }
                };
                if concerns {
                    told.push(link);
                }
            }
        }
        Ok(told)
    }
}
