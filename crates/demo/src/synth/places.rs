//! Counties as people live in them: how many, which peoples, which codes their register office used before, which
//! townships and villages (those are invented), and how an address is written.

use model::RegionCode;
use rand::Rng;
use rand::rngs::SmallRng;

use super::SynthError;
use super::chance::{Chance, Purpose, stream};
use super::regions::{Region, Tier, Tree};
use super::tables::{ESTATES, ETHNIC_WORDS, ROADS, TOWNSHIPS, VILLAGES};

/// A county that people live in.
#[derive(Debug)]
pub struct County {
    pub code: RegionCode,
    name: String,
    /// Without the peoples' names, as in everyday use: 江城县.
    short_name: String,
    /// The seat of its prefecture, as a place in [`Places::counties`]: the first county by code.
    pub seat: usize,
    prefecture_name: String,
    prefecture_short_name: String,
    /// Share of its prefecture's residents, and of all.
    weight: u32,
    /// Percent of households of the prefecture's minorities.
    pub minority_percent: u32,
    /// Ethnicity codes (GB/T 3304) of those; one named twice is twice as common.
    pub minorities: Vec<u8>,
    /// The code before its prefecture became a city, and the last year it was issued.
    pub former: Option<(RegionCode, i32)>,
    townships: Vec<Township>,
}

#[derive(Debug)]
struct Township {
    name: String,
    villages: Vec<&'static str>,
}

/// All counties of a tree; people are told to live in some of them.
#[derive(Debug)]
pub struct Places {
    province_name: String,
    pub counties: Vec<County>,
    /// Counties that people live in, and the running sum of their weights.
    homes: Vec<(usize, u32)>,
}

/// Where somebody lives.
#[derive(Debug, Clone, Copy)]
pub struct Home {
    /// Place in [`Places::counties`].
    pub county: usize,
    dwelling: Dwelling,
}

#[derive(Debug, Clone, Copy)]
enum Dwelling {
    Town { road: &'static str, number: u32, estate: &'static str, block: u32, unit: u32, room: u32 },
    Village { township: usize, village: usize, group: u32, number: u32 },
}

impl Places {
    /// The counties of `tree`, with people living in `homes` (all if empty).
    pub fn new(tree: &Tree, homes: &[RegionCode]) -> Result<Self, SynthError> {
        let regions: Vec<_> = tree.of_tier(Tier::County).collect();
        let seat = |region: &Region| regions.iter().position(|other| other.parent == region.parent);
        let counties: Vec<_> =
            regions.iter().filter_map(|region| county(tree, region, seat(region)?)).collect();
        if let Some(unknown) = homes.iter().find(|code| counties.iter().all(|county| county.code != **code)) {
            return Err(SynthError::UnknownCounty(*unknown));
        }
        let mut sum = 0;
        let mut cumulative = Vec::new();
        for (place, county) in counties.iter().enumerate() {
            if homes.is_empty() || homes.contains(&county.code) {
                sum += county.weight;
                cumulative.push((place, sum));
            }
        }
        let province_name = tree.get(tree.root()).map(|region| region.name.clone()).unwrap_or_default();
        Ok(Self { province_name, counties, homes: cumulative })
    }

    /// The counties that people live in.
    pub fn homes(&self) -> impl Iterator<Item = usize> {
        self.homes.iter().map(|(county, _)| *county)
    }

    /// A county that people live in, in proportion to its residents.
    pub fn draw(&self, rng: &mut SmallRng) -> usize {
        let sum = self.homes[self.homes.len() - 1].1;
        let draw = rng.random_range(0..sum);
        self.homes[self.homes.partition_point(|(_, upto)| *upto <= draw)].0
    }

    /// A dwelling in a county.
    pub fn home(&self, county: usize, rng: &mut SmallRng) -> Home {
        let dwelling = if self.counties[county].is_city() && rng.odds(0.6) {
            Dwelling::Town {
                road: rng.pick(ROADS),
                number: rng.random_range(1..400),
                estate: if rng.odds(0.7) { rng.pick(ESTATES) } else { "" },
                block: rng.random_range(1..30),
                unit: rng.random_range(1..5),
                room: rng.random_range(1..19) * 100 + rng.random_range(1..5),
            }
        } else {
            let squared = rng.random::<f64>().powi(2);
            Dwelling::Village {
                township: (squared * self.counties[county].townships.len() as f64) as usize,
                village: rng.random_range(0..VILLAGES_PER_TOWNSHIP),
                group: rng.random_range(1..18),
                number: rng.random_range(1..120),
            }
        };
        Home { county, dwelling }
    }

    /// The address as one clerk writes it: with or without the province, in full or in short. `noise` scales how often
    /// parts are left out.
    pub fn write(&self, home: &Home, noise: f64, rng: &mut SmallRng) -> String {
        let county = &self.counties[home.county];
        let mut text = String::with_capacity(96);
        text.push_str(match rng.random::<f64>() {
            draw if draw < 0.05 * noise => "云南",
            draw if draw < 0.35 * noise => "",
            _ => &self.province_name,
        });
        text.push_str(match rng.random::<f64>() {
            draw if draw < 0.12 * noise => &county.prefecture_short_name,
            draw if draw < 0.30 * noise => "",
            _ => &county.prefecture_name,
        });
        text.push_str(if rng.odds(0.45 * noise) { &county.short_name } else { &county.name });
        match home.dwelling {
            Dwelling::Town { road, number, estate, block, unit, room } => {
                text.push_str(road);
                if !rng.odds(0.2 * noise) {
                    text.extend([number.to_string().as_str(), "号"]);
                }
                text.push_str(estate);
                text.push_str(&flat(block, unit, room, rng));
            }
            Dwelling::Village { township, village, group, number } => {
                let township = &county.townships[township];
                text.push_str(&township.name);
                text.push_str(township.villages[village]);
                text.push_str(&hamlet(group, number, rng));
            }
        }
        text
    }

    /// Nothing but the county, with or without its prefecture.
    pub fn write_county(&self, home: &Home, rng: &mut SmallRng) -> String {
        let county = &self.counties[home.county];
        let prefecture = if rng.odds(0.5) { county.prefecture_name.as_str() } else { "" };
        format!("{prefecture}{}", county.name)
    }
}

impl County {
    fn is_city(&self) -> bool {
        self.name.ends_with(['区', '市'])
    }
}

const TOWNSHIPS_PER_COUNTY: usize = 9;
const VILLAGES_PER_TOWNSHIP: usize = 8;

fn flat(block: u32, unit: u32, room: u32, rng: &mut SmallRng) -> String {
    match rng.random_range(0..20) {
        0..11 => format!("{block}栋{unit}单元{room}室"),
        11..15 => format!("{block}-{unit}-{room}"),
        15..17 => format!("{block}幢{room}号"),
        _ => String::new(),
    }
}

fn hamlet(group: u32, number: u32, rng: &mut SmallRng) -> String {
    let committee = ["村委会", "村民委员会", "村", ""][rng.weighted(&[40, 15, 30, 15])];
    let group = if rng.odds(0.7) { group.to_string() } else { chinese_number(group) };
    let group = match rng.weighted(&[45, 20, 10, 25]) {
        0 => format!("{group}组"),
        1 => format!("{group}村民小组"),
        2 => format!("{group}社"),
        _ => String::new(),
    };
    if rng.odds(0.55) { format!("{committee}{group}{number}号") } else { format!("{committee}{group}") }
}

/// 1 to 19 in Chinese.
fn chinese_number(value: u32) -> String {
    const DIGITS: [&str; 11] = ["", "一", "二", "三", "四", "五", "六", "七", "八", "九", "十"];
    let digit = |value: u32| DIGITS[value as usize];
    if value <= 10 { digit(value).to_owned() } else { format!("十{}", digit(value - 10)) }
}

fn county(tree: &Tree, region: &Region, seat: usize) -> Option<County> {
    let prefecture = tree.get(region.parent?)?;
    let facts = prefecture_facts(prefecture.code)?;
    let siblings = tree.children(prefecture.code).count() as u32;
    let city = region.name.ends_with(['区', '市']);
    Some(County {
        code: region.code,
        name: region.name.clone(),
        short_name: without_peoples(&region.name).replace("自治县", "县"),
        seat,
        prefecture_name: prefecture.name.clone(),
        prefecture_short_name: without_peoples(&prefecture.name).replace("自治州", "州"),
        weight: facts.residents_10k * 100 / siblings * if city { 16 } else { 9 } / 10,
        minority_percent: facts.minority_percent,
        minorities: facts.minorities,
        former: former_code(region.code),
        townships: townships(region.code),
    })
}

fn without_peoples(name: &str) -> String {
    ETHNIC_WORDS.iter().fold(name.to_owned(), |name, word| name.replace(word, ""))
}

/// Townships are part of the country, so every seed has the same ones.
fn townships(county: RegionCode) -> Vec<Township> {
    let mut rng = stream(0, Purpose::County, county.as_str().parse().unwrap_or(0), 0);
    let rng = &mut rng;
    let names = draw_distinct(TOWNSHIPS, TOWNSHIPS_PER_COUNTY, rng);
    let township = |name: &str| {
        let kind = if rng.odds(0.6) { "镇" } else { "乡" };
        Township {
            name: format!("{name}{kind}"),
            villages: draw_distinct(VILLAGES, VILLAGES_PER_TOWNSHIP, rng),
        }
    };
    names.into_iter().map(township).collect()
}

fn draw_distinct(from: &[&'static str], count: usize, rng: &mut SmallRng) -> Vec<&'static str> {
    rand::seq::index::sample(rng, from.len(), count).into_iter().map(|place| from[place]).collect()
}

struct PrefectureFacts {
    residents_10k: u32,
    minority_percent: u32,
    minorities: Vec<u8>,
}

fn prefecture_facts(code: RegionCode) -> Option<PrefectureFacts> {
    let row = row_of(include_str!("../../data/prefectures_yunnan.csv"), code)?;
    let (residents, rest) = row.split_once(',')?;
    let (percent, minorities) = rest.split_once(',')?;
    Some(PrefectureFacts {
        residents_10k: residents.parse().ok()?,
        minority_percent: percent.parse().ok()?,
        minorities: minorities.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?,
    })
}

fn former_code(code: RegionCode) -> Option<(RegionCode, i32)> {
    let (former, until) =
        row_of(include_str!("../../data/former_codes_yunnan.csv"), code)?.split_once(',')?;
    Some((former.parse().ok()?, until.parse().ok()?))
}

/// What stands behind a code in a table.
fn row_of(table: &'static str, code: RegionCode) -> Option<&'static str> {
    table.lines().find_map(|line| line.strip_prefix(code.as_str())?.strip_prefix(','))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_county_has_its_facts() {
        let places = Places::new(&Tree::yunnan(), &[]).unwrap();
        assert_eq!(places.counties.len(), 129);
        for county in &places.counties {
            assert!(county.weight > 0 && county.minority_percent > 0 && !county.minorities.is_empty());
            assert!(county.minorities.iter().all(|code| (2..=56).contains(code)));
        }
        assert_eq!(places.counties.iter().filter(|county| county.former.is_some()).count(), 57);
    }

    #[test]
    fn people_live_where_they_are_told() {
        let tree = Tree::yunnan();
        let homes = tree.select(4);
        let places = Places::new(&tree, &homes).unwrap();
        let mut rng = stream(1, Purpose::Home, 0, 0);
        for _ in 0..1000 {
            let county = places.draw(&mut rng);
            assert!(homes.contains(&places.counties[county].code));
        }
        assert!(Places::new(&tree, &["440103".parse().unwrap()]).is_err());
    }

    #[test]
    fn addresses_name_their_county() {
        let places = Places::new(&Tree::yunnan(), &[]).unwrap();
        let mut rng = stream(1, Purpose::Home, 0, 0);
        for county in 0..places.counties.len() {
            let home = places.home(county, &mut rng);
            let full = places.write(&home, 0.0, &mut rng);
            let expected = &places.counties[county];
            assert!(
                full.starts_with(&format!("云南省{}{}", expected.prefecture_name, expected.name)),
                "{full}"
            );
            let any = places.write(&home, 1.0, &mut rng);
            assert!(any.contains(&expected.name) || any.contains(&expected.short_name), "{any}");
        }
    }

    #[test]
    fn short_names() {
        let places = Places::new(&Tree::yunnan(), &[]).unwrap();
        let short = |code: &str| {
            let county = places.counties.iter().find(|county| county.code.as_str() == code).unwrap();
            (county.short_name.as_str(), county.prefecture_short_name.as_str())
        };
        assert_eq!(short("530826"), ("江城县", "普洱市"));
        assert_eq!(short("533124"), ("陇川县", "德宏州"));
        assert_eq!(short("532503"), ("蒙自市", "红河州"));
    }
}
