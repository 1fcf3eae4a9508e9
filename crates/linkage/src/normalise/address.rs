//! Addresses: region, town, village or estate, and the numbers at the end, from free text.
//!
//! Chinese addresses go from large to small, each part with its suffix, and every part may be left out or shortened. Names are
//! kept as hashes and numbers as they are: addresses are compared part by part for equality, never shown.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::characters::{fold, is_han, is_letter};

/// Characters read of an address.
const MAX_CHARS: usize = 128;
/// Numbers kept: group and house, or street number, building, unit and room.
pub const MAX_NUMBERS: usize = 4;

/// The parts of an address. Zero means not said.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Address {
    /// County by the first characters of its name, which stay when its other ones are shortened.
    pub county: u32,
    /// Town, or the street in a city.
    pub town: u32,
    /// Village, or the estate or the rest of the text in a city.
    pub village: u32,
    numbers: [u32; MAX_NUMBERS],
    count: u8,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Address(\"...\")")
    }
}

/// How far two addresses agree, closest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nearness {
    /// Village or street, and every number of the one that gives fewer, in order; at least one.
    House,
    /// Village; at least one of them gives no number.
    Village,
    /// Village or street, other numbers.
    OtherHouse,
    Town,
    County,
    /// Another county, or no part that both give agrees.
    Elsewhere,
}

impl Address {
    /// Reads an address; none when nothing below the province is told.
    pub fn read(text: &str) -> Option<Self> {
        let mut chars: Vec<char> = text
            .chars()
            .take(MAX_CHARS)
            .map(fold)
            .filter(|c| is_letter(*c) || c.is_numeric() || *c == '-' || *c == ' ')
            .collect();
        if !chars.iter().any(|c| is_han(*c)) {
            return Self::read_letters(&chars);
        }
        chars.retain(|c| *c != ' ');
        let (county, rest) = split_region(&chars);
        let mut address = Self { county, ..Self::default() };
        let rest = address.take_numbers(rest);
        let (town, village) = split_town(&rest);
        address.town = hash(town);
        address.village = hash(strip_village(village));
        (address.county != 0 || address.town != 0 || address.village != 0).then_some(address)
    }

    /// Compares the parts that both give.
    pub fn nearness(&self, other: &Self) -> Nearness {
        let same = |a: u32, b: u32| a != 0 && a == b;
        let differs = |a: u32, b: u32| a != 0 && b != 0 && a != b;
        let town = same(self.town, other.town);
        let village = same(self.village, other.village);
        if differs(self.county, other.county) {
            return Nearness::Elsewhere;
        }
        if village && !differs(self.town, other.town)
            || town && !differs(self.village, other.village) && self.street_only(other)
        {
            return match self.numbers_agree(other) {
                Some(true) => Nearness::House,
                Some(false) => Nearness::OtherHouse,
                None => Nearness::Village,
            };
        }
        if town {
            return Nearness::Town;
        }
        if same(self.county, other.county) { Nearness::County } else { Nearness::Elsewhere }
    }

    /// Whether both give a number: then town or street and number say where it is, without a village.
    fn street_only(&self, other: &Self) -> bool {
        self.count > 0 && other.count > 0
    }

    /// An address of these parts, zero where not said, and its numbers: at most [`MAX_NUMBERS`] are kept.
    pub(crate) fn of_parts([county, town, village]: [u32; 3], numbers: impl Iterator<Item = u32>) -> Self {
        let mut address = Self { county, town, village, ..Self::default() };
        numbers.for_each(|number| address.push(number));
        address
    }

    pub(crate) fn numbers(&self) -> &[u32] {
        &self.numbers[..usize::from(self.count)]
    }

    /// Whether the numbers agree: all of the shorter list stand in the longer one, in order. None if one has none.
    fn numbers_agree(&self, other: &Self) -> Option<bool> {
        let (short, long) = if self.count <= other.count { (self, other) } else { (other, self) };
        if short.count == 0 {
            return None;
        }
        let mut rest = long.numbers().iter();
        Some(short.numbers().iter().all(|number| rest.any(|candidate| candidate == number)))
    }

    /// A key of village or street and the last number, for blocking; none without them.
    pub fn house_key(&self) -> Option<u64> {
        let last = *self.numbers().last()?;
        let place = if self.village != 0 { self.village } else { self.town };
        (place != 0).then(|| u64::from(place) << 32 | u64::from(self.town ^ last.wrapping_mul(0x9e37_79b9)))
    }

    /// A key of town and village, for blocking; none without a village.
    pub fn village_key(&self) -> Option<u64> {
        (self.village != 0).then(|| u64::from(self.village) << 32 | u64::from(self.town))
    }

    /// Letters: the first two words are the street, those from the fourth on the town, the numbers are numbers.
    fn read_letters(chars: &[char]) -> Option<Self> {
        let text: String = chars.iter().collect();
        let mut address = Self::default();
        let mut words: Vec<&str> = Vec::new();
        for word in text.split([' ', '-']).filter(|word| !word.is_empty()) {
            match word.parse() {
                Ok(number) => address.push(number),
                Err(_) => words.push(word),
            }
        }
        let place: Vec<char> = words.iter().take(2).flat_map(|word| word.chars()).collect();
        address.village = hash(&place);
        let town: Vec<char> = words.iter().skip(3).flat_map(|word| word.chars()).collect();
        address.town = hash(&town);
        (address.village != 0).then_some(address)
    }

    fn push(&mut self, number: u32) {
        if usize::from(self.count) < MAX_NUMBERS {
            self.numbers[usize::from(self.count)] = number;
            self.count += 1;
        }
    }

    /// Takes numbers, Arabic and Chinese before their counters, out of the text; a mark stays where they stood.
    fn take_numbers(&mut self, chars: &[char]) -> Vec<char> {
        let mut rest = Vec::with_capacity(chars.len());
        let mut place = 0;
        while place < chars.len() {
            let arabic = chars[place..].iter().take_while(|c| c.is_ascii_digit()).count();
            let chinese = chars[place..].iter().take_while(|c| chinese_digit(**c).is_some()).count();
            let counted = |length: usize| chars.get(place + length).is_some_and(|c| COUNTERS.contains(*c));
            if arabic > 0 {
                self.push(
                    chars[place..place + arabic]
                        .iter()
                        .fold(0u32, |n, c| n.wrapping_mul(10).wrapping_add(c.to_digit(10).unwrap_or(0))),
                );
                place += arabic;
                rest.push(MARK);
            } else if chinese > 0 && counted(chinese) {
                self.push(chinese_number(&chars[place..place + chinese]));
                place += chinese;
                rest.push(MARK);
            } else {
                rest.push(chars[place]);
                place += 1;
            }
        }
        rest
    }
}

/// Stands where a number stood.
const MARK: char = '#';
/// What is counted in addresses; before it a Chinese numeral is a number and not part of a name.
const COUNTERS: &str = "组社号幢栋楼室单队层村";
/// Peoples that stand in names of autonomous counties and are left out in speech.
const PEOPLES: [&str; 16] = [
    "哈尼族",
    "拉祜族",
    "布朗族",
    "纳西族",
    "独龙族",
    "普米族",
    "傈僳族",
    "景颇族",
    "彝族",
    "苗族",
    "回族",
    "傣族",
    "佤族",
    "瑶族",
    "白族",
    "怒族",
];

fn chinese_digit(c: char) -> Option<u32> {
    "零一二三四五六七八九十"
        .chars()
        .position(|digit| digit == c)
        .map(|value| value as u32)
        .or((c == '〇').then_some(0))
}

/// Numerals up to 99 (十七, 二十三), or digit by digit (二〇三).
fn chinese_number(chars: &[char]) -> u32 {
    let digits: Vec<u32> = chars.iter().filter_map(|c| chinese_digit(*c)).collect();
    match digits.iter().position(|digit| *digit == 10) {
        Some(ten) => {
            let tens = if ten == 0 { 1 } else { digits[ten - 1] };
            tens * 10 + digits.get(ten + 1).copied().unwrap_or(0)
        }
        None => digits.iter().fold(0u32, |n, digit| n.wrapping_mul(10).wrapping_add(*digit)),
    }
}

/// The county by its first characters, and what follows the region. Suffixes count only after a name of their own, and only
/// before the first town, street or village: estates and villages have them too.
fn split_region(chars: &[char]) -> (u32, &[char]) {
    let mut start = province_length(chars);
    let mut county = 0;
    let mut place = start;
    while place < chars.len() {
        let (c, length) = (chars[place], place - start);
        let next_is = |text: &str| {
            text.chars().zip(&chars[place..]).filter(|(a, b)| a == *b).count() == text.chars().count()
        };
        if length >= 2 && (matches!(c, '镇' | '乡' | '路' | '村') || next_is("街道") || next_is("大道"))
            || c.is_ascii_digit()
        {
            break;
        }
        let region = match c {
            '州' | '县' | '旗' => length >= 1,
            '市' => length >= 2,
            '区' => length >= 2 && !matches!(chars[place - 1], '小' | '社' | '园' | '新' | '矿'),
            _ => false,
        };
        if region {
            if c != '州' {
                county = stem(&chars[start..=place]);
            }
            start = place + 1;
        }
        place += 1;
    }
    (county, &chars[start..])
}

/// Characters of the province at the start, with or without its suffix.
fn province_length(chars: &[char]) -> usize {
    const PROVINCES: &str = "北京 天津 河北 山西 内蒙古 辽宁 吉林 黑龙江 上海 江苏 浙江 安徽 福建 江西 山东 河南 湖北 湖南 广东 广西 海南 重庆 四川 贵州 云南 西藏 陕西 甘肃 青海 宁夏 新疆";
    const SUFFIXES: [&str; 5] = ["省", "壮族自治区", "回族自治区", "维吾尔自治区", "自治区"];
    let starts =
        |at: usize, text: &str| chars[at..].iter().copied().take(text.chars().count()).eq(text.chars());
    let Some(province) = PROVINCES.split(' ').find(|province| starts(0, province)) else { return 0 };
    let length = province.chars().count();
    // 吉林市, 海南州: a prefecture of that name, whose suffix is still to come.
    if matches!(chars.get(length), Some('市' | '州' | '县')) {
        return 0;
    }
    length + SUFFIXES.iter().find(|suffix| starts(length, suffix)).map_or(0, |suffix| suffix.chars().count())
}

/// The part of a region's name that stays: without peoples, `自治` and the suffix, at most two characters.
fn stem(name: &[char]) -> u32 {
    let mut text: String = name.iter().collect();
    for people in PEOPLES.iter().filter(|_| name.contains(&'族')) {
        text = text.replace(people, "");
    }
    let kept: Vec<char> = text.replace("自治", "").chars().take(2).collect();
    hash(&kept)
}

/// Town or street with its suffix, and the rest.
fn split_town(chars: &[char]) -> (&[char], &[char]) {
    let ends = |place: usize| {
        let c = chars[place];
        let street_office = c == '街' && chars.get(place + 1) == Some(&'道');
        if street_office {
            return Some(place + 2);
        }
        matches!(c, '镇' | '乡' | '路' | '街' | '道' | '巷').then_some(place + 1)
    };
    match (1..chars.len()).find_map(ends) {
        Some(end) => chars.split_at(end),
        None => chars.split_at(0),
    }
}

/// The name of a village or estate: up to its suffix or the first number after some name; without leading marks.
fn strip_village(chars: &[char]) -> &[char] {
    let start = chars.iter().position(|c| *c != MARK && *c != '号').unwrap_or(chars.len());
    let chars = &chars[start..];
    let end = chars.iter().position(|c| *c == MARK).unwrap_or(chars.len());
    let mut name = &chars[..end];
    for suffix in ["村民委员会", "村民小组", "村委会", "居委会", "社区", "村"] {
        let suffix: Vec<char> = suffix.chars().collect();
        if name.len() > suffix.len() && name.ends_with(&suffix) {
            name = &name[..name.len() - suffix.len()];
            break;
        }
    }
    name
}

fn hash(chars: &[char]) -> u32 {
    if chars.iter().all(|c| *c == MARK) {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    chars.hash(&mut hasher);
    (hasher.finish() as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: &str, b: &str) -> Nearness {
        Address::read(a).unwrap().nearness(&Address::read(b).unwrap())
    }

    #[test]
    fn the_same_house_in_all_its_forms() {
        let full = "云南省普洱市江城哈尼族彝族自治县永安镇水井村委会17组110号";
        for written in [
            "普洱市江城县永安镇水井村十七组110号",
            "云南江城县永安镇水井村民委员会17村民小组110号",
            "云南省江城哈尼族彝族自治县永安镇水井村委会十七社１１０号",
            "永安镇水井110号",
        ] {
            assert_eq!(near(full, written), Nearness::House, "{written}");
        }
        assert_eq!(near(full, "江城县永安镇水井村"), Nearness::Village);
        assert_eq!(near(full, "江城县永安镇水井村3组9号"), Nearness::OtherHouse);
        assert_eq!(near(full, "江城县永安镇大坪村110号"), Nearness::Town);
        assert_eq!(near(full, "普洱市江城县"), Nearness::County);
        assert_eq!(near(full, "普洱市澜沧拉祜族自治县永安镇水井村110号"), Nearness::Elsewhere);
    }

    #[test]
    fn cities_have_streets_and_estates() {
        let full = "云南省昆明市五华区人民路387号翠湖家园3幢2单元1201室";
        assert_eq!(near(full, "昆明市五华区人民路387号翠湖家园3栋2单元1201"), Nearness::House);
        assert_eq!(near(full, "五华区人民路翠湖家园3幢1201号"), Nearness::House);
        assert_eq!(near(full, "五华区人民路387号"), Nearness::House);
        assert_eq!(near(full, "昆明市五华区人民路12号世纪城3幢2单元1201室"), Nearness::Town);
    }

    #[test]
    fn absurd_numbers_are_read_without_harm() {
        for digits in ["九九九九九九九九九九九九九九", "十十十十", "99999999999999999999"] {
            assert!(Address::read(&format!("昆明市五华区永安镇水井村{digits}组1号")).is_some());
        }
    }

    #[test]
    fn towns_whose_names_start_like_suffixes() {
        let full = "云南省昭通市镇雄县中和镇大坪村委会3组7号";
        assert_eq!(near(full, "镇雄县中和镇大坪3组7号"), Nearness::House);
        assert_eq!(Address::read("无"), Address::read("无"));
        assert_eq!(Address::read(""), None);
        assert_eq!(Address::read("   "), None);
    }
}
