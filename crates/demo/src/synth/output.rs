//! A population as files: what `tiermesh synth` leaves behind.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::chance::VERSION;
use super::csv::{TruthWriter, Writer};
use super::population::{Options, Population};
use super::regions::Tree;
use super::register::Totals;
use super::tags::Tag;
use super::{SynthError, SyntheticRegistration};

/// What was written: the numbers of `meta.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Meta {
    pub totals: Totals,
    /// Registrations without any identifier.
    pub without_id: u64,
    /// Registrations without the person's own identifier.
    pub without_own_id: u64,
    /// How many registrations bear each tag, in the order of [`Tag::ALL`].
    pub tags: Vec<u64>,
}

impl Meta {
    fn new(totals: Totals) -> Self {
        Self { totals, without_id: 0, without_own_id: 0, tags: vec![0; Tag::ALL.len()] }
    }

    fn count(&mut self, row: &SyntheticRegistration) {
        let tags = row.truth.map(|truth| truth.tags).unwrap_or_default();
        for tag in tags.iter() {
            self.tags[tag as usize] += 1;
        }
        let not_own = [Tag::IdMissing, Tag::IdPlaceholder, Tag::GuardianId, Tag::RelativeId];
        self.without_id += u64::from(row.registration.identifiers.is_empty());
        self.without_own_id += u64::from(tags.has_any(&not_own));
    }

    /// How many registrations bear the tag.
    pub fn of(&self, tag: Tag) -> u64 {
        self.tags[tag as usize]
    }

    fn to_json(&self, options: &Options) -> serde_json::Value {
        let all = self.totals.registrations;
        let share = |count: u64| (count as f64 / all.max(1) as f64 * 10_000.0).round() / 10_000.0;
        let tag = |tag: &Tag| (tag.as_str().to_owned(), json!([self.of(*tag), share(self.of(*tag))]));
        let tags: serde_json::Map<_, _> = Tag::ALL.iter().map(tag).collect();
        json!({
            "note": "All persons are invented; resident IDs are random within GB 11643 and any hit on a real one is chance. \
                     Hospitals and their codes are simulated. truth.csv is for judging: a linker never sees it.",
            "persons": self.totals.persons,
            "households": self.totals.households,
            "registrations": all,
            "true_pairs": self.totals.true_pairs,
            "seed": options.seed,
            "noise": options.noise,
            "counties": options.counties.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "id_empty_share": share(self.without_id),
            "id_not_own_share": share(self.without_own_id),
            "twins": self.totals.twins,
            "namesake_pairs": self.totals.namesake_pairs,
            "tags": tags,
            "generator": "tiermesh synth",
            "generator_version": VERSION,
        })
    }
}

/// Writes `registrations.csv`, `truth.csv` and `meta.json` into `dir`, which is made if missing; files of these names are
/// replaced. `on_progress` hears the number of registrations written, every thousand and at the end.
pub fn write(
    dir: &Path,
    tree: &Tree,
    options: &Options,
    mut on_progress: impl FnMut(u64),
) -> Result<Meta, SynthError> {
    let population = Population::new(tree, options)?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SynthError::Write { path, source }
    };
    fs::create_dir_all(dir).map_err(failed(dir))?;
    let create = |name: &str| {
        let path = dir.join(name);
        File::create(&path).map(BufWriter::new).map_err(failed(&path))
    };
    let mut meta = Meta::new(population.totals());
    let mut registrations = Writer::new(create("registrations.csv")?)?;
    let mut truth = TruthWriter::new(create("truth.csv")?)?;
    let mut written = 0;
    for row in population {
        meta.count(&row);
        registrations.write(&row)?;
        truth.write(&row)?;
        written += 1;
        if written % 1000 == 0 {
            on_progress(written);
        }
    }
    registrations.finish()?;
    truth.finish()?;
    let mut file = create("meta.json")?;
    write_json(&mut file, &meta.to_json(options))?;
    on_progress(written);
    Ok(meta)
}

fn write_json(file: &mut impl Write, value: &impl Serialize) -> Result<(), SynthError> {
    serde_json::to_writer_pretty(&mut *file, value).map_err(std::io::Error::from)?;
    file.write_all(b"\n")?;
    Ok(file.flush()?)
}
