//! The real regions of Yunnan: one province, 16 prefectures, 129 counties (GB/T 2260), and a choice among them for a demo.

use std::collections::{BTreeMap, BTreeSet};

use model::{NodePath, RegionCode};

/// What a region is in its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    Province,
    Prefecture,
    County,
}

impl Tier {
    /// The label of nodes of this tier.
    pub fn label(self) -> &'static str {
        match self {
            Self::Province => "province",
            Self::Prefecture => "prefecture",
            Self::County => "county",
        }
    }
}

/// A region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    pub code: RegionCode,
    /// Official Chinese name.
    pub name: String,
    pub tier: Tier,
    /// None for the province.
    pub parent: Option<RegionCode>,
}

/// A province with its prefectures and counties.
#[derive(Debug, Clone)]
pub struct Tree {
    regions: BTreeMap<RegionCode, Region>,
    root: RegionCode,
}

/// The prefectures a small demo takes first: Kunming, the capital, and Dali. The others follow by code.
const FIRST_PREFECTURES: [&str; 2] = ["530100", "532900"];

impl Tree {
    /// Yunnan, from the table in `data/`.
    pub fn yunnan() -> Self {
        let rows = include_str!("../../data/regions_yunnan.csv").lines().skip(1);
        let regions: BTreeMap<_, _> =
            rows.map(|row| region(row).expect("the compiled-in region table is well formed")).collect();
        let root = regions.values().find(|region| region.parent.is_none()).map(|region| region.code);
        Self { regions, root: root.expect("the compiled-in region table has a province") }
    }

    /// The province.
    pub fn root(&self) -> RegionCode {
        self.root
    }

    /// The region with this code.
    pub fn get(&self, code: RegionCode) -> Option<&Region> {
        self.regions.get(&code)
    }

    /// All regions, by code.
    pub fn regions(&self) -> impl Iterator<Item = &Region> {
        self.regions.values()
    }

    /// The regions of a tier, by code.
    pub fn of_tier(&self, tier: Tier) -> impl Iterator<Item = &Region> {
        self.regions().filter(move |region| region.tier == tier)
    }

    /// The regions directly below this one, by code.
    pub fn children(&self, code: RegionCode) -> impl Iterator<Item = &Region> {
        self.regions().filter(move |region| region.parent == Some(code))
    }

    /// Where a region's node stands in the tree, or none for a region that is not of it.
    pub fn path(&self, code: RegionCode) -> Option<NodePath> {
        let region = self.get(code)?;
        match region.parent {
            None => Some(NodePath::root(code)),
            Some(parent) => self.path(parent)?.child(code).ok(),
        }
    }

    /// Chooses this many counties (at most all), spread evenly: two to a prefecture while prefectures last, then more.
    /// One county is in one prefecture, four are in two, 129 in all 16. By code.
    pub fn select(&self, counties: usize) -> Vec<RegionCode> {
        let first = |code: &RegionCode| FIRST_PREFECTURES.iter().position(|name| *name == code.as_str());
        let mut prefectures: Vec<_> = self.of_tier(Tier::Prefecture).map(|region| region.code).collect();
        prefectures.sort_by_key(|code| (first(code).unwrap_or(FIRST_PREFECTURES.len()), *code));
        prefectures.truncate(counties.div_ceil(2));
        let places: Vec<Vec<_>> =
            prefectures.iter().map(|code| self.children(*code).map(|region| region.code).collect()).collect();
        let deepest = places.iter().map(Vec::len).max().unwrap_or(0);
        let rounds = (0..deepest).flat_map(|round| places.iter().filter_map(move |place| place.get(round)));
        let mut chosen: Vec<_> = rounds.take(counties).copied().collect();
        chosen.sort_unstable();
        chosen
    }

    /// The nodes that serve these regions: their paths and all above them, parents before children.
    /// Regions that are not of the tree are left out.
    pub fn nodes(&self, regions: &[RegionCode]) -> BTreeSet<NodePath> {
        let lowest = regions.iter().filter_map(|code| self.path(*code));
        lowest.flat_map(|path| std::iter::successors(Some(path), NodePath::parent)).collect()
    }
}

fn region(row: &str) -> Option<(RegionCode, Region)> {
    let mut columns = row.split(',');
    let code: RegionCode = columns.next()?.parse().ok()?;
    let tier = match columns.next()? {
        "province" => Tier::Province,
        "prefecture" => Tier::Prefecture,
        "county" => Tier::County,
        _ => return None,
    };
    let name = columns.next()?.to_owned();
    let parent = match columns.next()? {
        "" => None,
        parent => Some(parent.parse().ok()?),
    };
    Some((code, Region { code, name, tier, parent }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> RegionCode {
        text.parse().unwrap()
    }

    #[test]
    fn yunnan_is_whole() {
        let tree = Tree::yunnan();
        let count = |tier| tree.of_tier(tier).count();
        assert_eq!((count(Tier::Province), count(Tier::Prefecture), count(Tier::County)), (1, 16, 129));
        assert_eq!(tree.path(code("532901")).unwrap().to_string(), "530000/532900/532901");
        assert_eq!(tree.get(code("532901")).unwrap().name, "大理市");
        for region in tree.regions() {
            let depth = tree.path(region.code).unwrap().depth();
            assert_eq!(
                depth,
                [Tier::Province, Tier::Prefecture, Tier::County]
                    .iter()
                    .position(|t| *t == region.tier)
                    .unwrap()
            );
        }
        assert_eq!(tree.path(code("440100")), None);
    }

    #[test]
    fn the_default_demo_has_two_prefectures_with_two_counties_each() {
        let tree = Tree::yunnan();
        let nodes: Vec<_> = tree.nodes(&tree.select(4)).iter().map(ToString::to_string).collect();
        assert_eq!(
            nodes,
            [
                "530000",
                "530000/530100",
                "530000/530100/530102",
                "530000/530100/530103",
                "530000/532900",
                "530000/532900/532901",
                "530000/532900/532922",
            ],
        );
    }

    #[test]
    fn any_number_of_counties_can_be_chosen() {
        let tree = Tree::yunnan();
        for wanted in 0..=140 {
            let chosen = tree.select(wanted);
            let distinct: BTreeSet<_> = chosen.iter().collect();
            assert_eq!((chosen.len(), distinct.len()), (wanted.min(129), wanted.min(129)));
            let prefectures: BTreeSet<_> =
                chosen.iter().map(|code| tree.get(*code).unwrap().parent).collect();
            assert_eq!(prefectures.len(), wanted.div_ceil(2).min(16));
        }
        assert_eq!(tree.nodes(&tree.select(129)).len(), 146);
    }
}
