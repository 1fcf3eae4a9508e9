//! Hospitals: what a population file calls `530826-Z`, with a code, a name and the node it registers with.
//!
//! Names and codes are simulated, although the counties are real; every name says so.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use model::{NodePath, RegionCode};

use super::numbers::social_credit_code;
use super::regions::Tree;

/// A hospital that registers patients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facility {
    /// As a population file calls it: county code, hyphen, kind.
    pub label: String,
    /// Unified social credit code (GB 32100), derived from the label.
    pub code: String,
    pub name: String,
    /// The county it stands in.
    pub county: RegionCode,
    /// Path of that county, whether or not it has a node.
    pub county_path: NodePath,
    /// The node it registers with: the county's, or while the county has none the nearest above it.
    pub node: NodePath,
}

/// Why a facility cannot be resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FacilityError {
    #[error("a facility is a county code, a hyphen and 1 to 8 characters of A-Z and 0-9, such as 530826-Z")]
    Form,
    #[error("the facility's county is not in the region table")]
    UnknownCounty,
    #[error("no node serves the facility's county or a region above it")]
    NoNode,
}

/// The hospitals of a tree of nodes, made when first asked for.
#[derive(Debug, Clone)]
pub struct Facilities {
    tree: Tree,
    nodes: BTreeSet<NodePath>,
    known: HashMap<String, Arc<Facility>>,
}

impl Facilities {
    /// Hospitals of `tree`'s regions that register with one of `nodes`.
    pub fn new(tree: Tree, nodes: BTreeSet<NodePath>) -> Self {
        Self { tree, nodes, known: HashMap::new() }
    }

    /// The hospital with this label.
    pub fn get(&mut self, label: &str) -> Result<Arc<Facility>, FacilityError> {
        if let Some(facility) = self.known.get(label) {
            return Ok(Arc::clone(facility));
        }
        let facility = Arc::new(self.make(label)?);
        self.known.insert(label.to_owned(), Arc::clone(&facility));
        Ok(facility)
    }

    /// The hospitals asked for so far, by label.
    pub fn all(&self) -> Vec<Arc<Facility>> {
        let mut all: Vec<_> = self.known.values().cloned().collect();
        all.sort_by(|a, b| a.label.cmp(&b.label));
        all
    }

    fn make(&self, label: &str) -> Result<Facility, FacilityError> {
        let (county, kind) = label.split_once('-').ok_or(FacilityError::Form)?;
        let county: RegionCode = county.parse().map_err(|_| FacilityError::Form)?;
        let allowed = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit();
        if !(1..=8).contains(&kind.len()) || !kind.bytes().all(allowed) {
            return Err(FacilityError::Form);
        }
        let region = self.tree.get(county).ok_or(FacilityError::UnknownCounty)?;
        let county_path = self.tree.path(county).ok_or(FacilityError::UnknownCounty)?;
        let mut upward = std::iter::successors(Some(county_path.clone()), NodePath::parent);
        Ok(Facility {
            label: label.to_owned(),
            code: social_credit_code(county, label),
            name: name(&region.name, kind),
            county,
            node: upward.find(|path| self.nodes.contains(path)).ok_or(FacilityError::NoNode)?,
            county_path,
        })
    }
}

fn name(county: &str, kind: &str) -> String {
    match kind {
        "R" => format!("{county}人民医院（模拟）"),
        "Z" => format!("{county}中医医院（模拟）"),
        "F" => format!("{county}妇幼保健院（模拟）"),
        "W" => format!("{county}中心卫生院（模拟）"),
        "P1" => format!("云南省第一人民医院{county}院区（模拟）"),
        "P2" => format!("云南省第二人民医院{county}院区（模拟）"),
        "P3" => format!("云南省中医医院{county}院区（模拟）"),
        "P4" => format!("云南省妇幼保健院{county}院区（模拟）"),
        other => format!("{county}{other}号医院（模拟）"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facilities(counties: usize) -> Facilities {
        let tree = Tree::yunnan();
        let nodes = tree.nodes(&tree.select(counties));
        Facilities::new(tree, nodes)
    }

    /// GB 32100, computed another way than the generator does.
    fn credit_code_holds(code: &str) -> bool {
        let alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY";
        let values: Option<Vec<u64>> =
            code.chars().map(|c| alphabet.find(c).map(|value| value as u64)).collect();
        let Some(values) = values.filter(|values| values.len() == 18) else { return false };
        let sum: u64 = values.iter().zip(0..).map(|(value, place)| value * (3u64.pow(place) % 31)).sum();
        (sum - values[17] * (3u64.pow(17) % 31) + values[17]).is_multiple_of(31)
    }

    #[test]
    fn every_code_is_valid_and_unique() {
        assert!(credit_code_holds("91350100M000100Y43") && !credit_code_holds("91350100M000100Y44"));
        let mut facilities = facilities(129);
        let tree = Tree::yunnan();
        for county in tree.select(129) {
            for kind in ["R", "Z", "F", "W", "P1", "P2", "P3", "P4"] {
                let facility = facilities.get(&format!("{county}-{kind}")).unwrap();
                assert!(credit_code_holds(&facility.code), "{}", facility.label);
                assert_eq!(facility.node, facility.county_path);
            }
        }
        let codes: BTreeSet<_> = facilities.all().iter().map(|facility| facility.code.clone()).collect();
        assert_eq!(codes.len(), 129 * 8);
    }

    #[test]
    fn a_hospital_of_a_county_without_a_node_registers_above() {
        let mut facilities = facilities(4);
        let mut node = |label: &str| facilities.get(label).map(|facility| facility.node.to_string());
        assert_eq!(node("532901-R").as_deref(), Ok("530000/532900/532901"));
        assert_eq!(node("532932-R").as_deref(), Ok("530000/532900"));
        assert_eq!(node("530826-Z").as_deref(), Ok("530000"));
    }

    #[test]
    fn bad_labels_are_refused() {
        let mut facilities = facilities(4);
        for bad in ["530826", "530826-", "530826-z", "53082-Z", "530826-ZZZZZZZZZ", ""] {
            assert_eq!(facilities.get(bad), Err(FacilityError::Form), "{bad}");
        }
        assert_eq!(facilities.get("440103-R"), Err(FacilityError::UnknownCounty));
        let mut none = Facilities::new(Tree::yunnan(), BTreeSet::new());
        assert_eq!(none.get("530826-Z"), Err(FacilityError::NoNode));
    }
}
