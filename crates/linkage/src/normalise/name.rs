//! Names: parts, sounds, and what is no name of the person at all (a newborn under its mother's name, a placeholder).

use smallvec::SmallVec;

use super::characters::{Sound, Sounds, fold, is_han, is_letter, is_mark};

/// Characters of a name that are compared; of a longer one the beginning tells enough.
pub const MAX_CHARS: usize = 24;

/// What is written in the name field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A name in Chinese characters.
    Han,
    /// A name in letters.
    Letters,
    /// The mother's name with `之子` and the like: the child has no name yet, the characters are the mother's.
    Newborn,
    /// Nothing that tells persons apart: empty, `无名氏`, `患者`.
    Absent,
}

/// What is known of a person's age when a name was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Born a few weeks before: the name may not have been chosen yet.
    Weeks,
    /// An infant, or not known.
    Infant,
    Grown,
}

/// A name, ready for comparison. Prints no character of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Name {
    pub kind: NameKind,
    /// Folded characters without separators. Of a newborn, those of the mother.
    pub chars: SmallVec<[char; 6]>,
    /// How many of the first characters are the family name; 0 when that cannot be told.
    pub surname: u8,
    /// Which of twins or triplets, from 1; 0 when not said.
    pub birth_order: u8,
    /// Sex told by the suffix of a newborn: 1, 2 or 0.
    pub suffix_sex: u8,
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Name({:?}, \"...\")", self.kind)
    }
}

/// Family names of two characters (the commonest of them, Baijiaxing).
const COMPOUND_SURNAMES: [&str; 24] = [
    "欧阳", "司徒", "上官", "诸葛", "尉迟", "司马", "夏侯", "皇甫", "令狐", "慕容", "宇文", "长孙", "公孙",
    "轩辕", "端木", "东方", "独孤", "南宫", "西门", "申屠", "闻人", "澹台", "公冶", "太史",
];
/// What stands where no name is known.
const PLACEHOLDERS: [&str; 14] = [
    "无名氏",
    "无名",
    "患者",
    "病人",
    "不详",
    "未知",
    "无",
    "匿名",
    "测试",
    "UNKNOWN",
    "NONAME",
    "TEST",
    "急诊患者",
    "姓名不详",
];
/// Titles and remarks that registration desks append.
const REMARKS: [&str; 12] =
    ["先生", "女士", "小姐", "同志", "老师", "(自费)", "(复诊)", "(医保)", "(急诊)", "自费", "复诊", "医保"];
/// Characters that systems put where they cannot store one.
pub const UNKNOWN_CHAR: char = '?';

impl Name {
    /// Reads a name as written, of somebody who may be a newborn.
    pub fn read(text: &str) -> Self {
        Self::read_of(text, Age::Infant)
    }

    /// Reads a name as written. Of whom is no infant (any more) no ending is taken for a newborn's: 沙马拉子 is a name.
    pub fn read_of(text: &str, age: Age) -> Self {
        let mut folded: String = text.chars().take(256).filter(|c| !is_mark(*c)).map(fold).collect();
        strip_remarks(&mut folded);
        let nameless = age != Age::Grown && !starts_like_nobody(&folded);
        let newborn = if nameless { Newborn::strip(&mut folded, age) } else { None };
        let latin = !folded.chars().any(is_han);
        let keep = |c: &char| is_letter(*c) || *c == UNKNOWN_CHAR;
        let chars: SmallVec<[char; 6]> = if latin {
            let words = folded.split(|c: char| !is_letter(c)).filter(|word| !word.is_empty());
            let mut letters: Vec<char> = words.collect::<Vec<_>>().join(" ").chars().collect();
            letters.truncate(MAX_CHARS);
            letters.into()
        } else {
            folded.chars().map(unreadable).filter(keep).take(MAX_CHARS).collect()
        };
        let kind = match newborn {
            Some(_) if !chars.is_empty() => NameKind::Newborn,
            _ if is_placeholder(&chars) => NameKind::Absent,
            _ if latin => NameKind::Letters,
            _ => NameKind::Han,
        };
        let newborn = newborn.unwrap_or_default();
        Self {
            kind,
            surname: surname_length(&folded, &chars, latin),
            chars,
            birth_order: newborn.order,
            suffix_sex: newborn.sex,
        }
    }

    /// Whether the name is the person's own.
    pub fn is_own(&self) -> bool {
        matches!(self.kind, NameKind::Han | NameKind::Letters)
    }

    /// The commonest reading of every character.
    pub fn reading(&self) -> impl Iterator<Item = Sound> + '_ {
        self.chars.iter().map(|c| Sounds::of(*c).first())
    }

    /// The same characters.
    pub fn same_chars(&self, other: &Self) -> bool {
        !self.chars.is_empty() && self.chars == other.chars
    }

    /// As many characters, each of which can be read as the other's.
    pub fn sounds_like(&self, other: &Self) -> bool {
        self.chars.len() == other.chars.len()
            && !self.chars.is_empty()
            && self.chars.iter().zip(&other.chars).all(|(one, another)| alike(*one, *another))
    }
}

/// What the suffix of a newborn's name tells.
#[derive(Debug, Clone, Copy, Default)]
struct Newborn {
    sex: u8,
    order: u8,
}

impl Newborn {
    /// Takes the suffix off; none when there is none.
    fn strip(name: &mut String, age: Age) -> Option<Self> {
        const TWINS: [(&str, u8); 12] = [
            ("大双", 1),
            ("小双", 2),
            ("双大", 1),
            ("双小", 2),
            ("(大)", 1),
            ("(小)", 2),
            ("大", 1),
            ("小", 2),
            ("1", 1),
            ("2", 2),
            ("3", 3),
            ("4", 4),
        ];
        // Longest first: a shorter one is the end of a longer one.
        const SUFFIXES: [(&str, u8); 20] = [
            ("之男婴", 1),
            ("之女婴", 2),
            ("的儿子", 1),
            ("的女儿", 2),
            ("之婴儿", 0),
            ("新生儿", 0),
            ("之子", 1),
            ("之女", 2),
            ("之儿", 1),
            ("之男", 1),
            ("之婴", 0),
            ("之宝", 0),
            ("男婴", 1),
            ("女婴", 2),
            ("婴儿", 0),
            ("毛毛", 0),
            ("婴", 0),
            ("BABY", 0),
            ("BB", 0),
            ("B", 0),
        ];
        let trimmed = name.trim_end();
        let (stem, order) = TWINS
            .iter()
            .find_map(|(end, order)| Some((trimmed.strip_suffix(end)?.trim_end(), *order)))
            .unwrap_or((trimmed, 0));
        let find = |text: &str| {
            let (end, sex) = SUFFIXES.iter().find(|(end, _)| text.ends_with(end))?;
            let stem = text[..text.len() - end.len()].trim_end();
            (stem.chars().filter(|c| is_han(*c)).count() >= 2).then(|| (stem.to_owned(), *sex))
        };
        if let Some((mother, sex)) = find(stem) {
            *name = mother;
            return Some(Self { sex, order });
        }
        // 李秀英子, 李秀英女: only after a name of three, since 子 and 女 end ordinary names of two and three; but in the first weeks
        // nearly everybody who is called so is a 李秀's.
        let least = if age == Age::Weeks { 2 } else { 3 };
        let short = [("子", 1), ("女", 2)]
            .into_iter()
            .find_map(|(end, sex)| Some((stem.strip_suffix(end)?.to_owned(), sex)));
        let (mother, sex) = short?;
        if mother.chars().filter(|c| is_han(*c)).count() < least {
            return None;
        }
        *name = mother;
        Some(Self { sex, order })
    }
}

/// Whether two characters are the same or can be read alike.
pub fn alike(a: char, b: char) -> bool {
    a == b || Sounds::of(a).alike(Sounds::of(b))
}

/// One character for all that stand for one that a system could not store.
fn unreadable(c: char) -> char {
    if matches!(c, '*' | '〓' | '□') { UNKNOWN_CHAR } else { c }
}

fn strip_remarks(name: &mut String) {
    while let Some(end) = REMARKS.iter().find(|end| {
        name.trim_end()
            .strip_suffix(**end)
            .is_some_and(|stem| stem.chars().filter(|c| is_han(*c)).count() >= 2)
    }) {
        let length = name.trim_end().len() - end.len();
        name.truncate(length);
    }
}

fn is_placeholder(chars: &[char]) -> bool {
    let text: String = chars.iter().filter(|c| **c != ' ').collect();
    text.chars().all(|c| c == UNKNOWN_CHAR)
        || PLACEHOLDERS.contains(&text.as_str())
        || starts_like_nobody(&text)
}

/// 无名男, 未知患者2, 急诊无名氏之子: as many persons as there are registrations.
fn starts_like_nobody(text: &str) -> bool {
    ["无名", "未知", "不详", "三无", "急诊无名", "急诊患者", "佚名"]
        .iter()
        .any(|start| text.starts_with(start))
}

/// Two for a known compound, one for other names of two to four characters, zero where family names are not told apart:
/// letters, names with a separator inside, long transcriptions.
fn surname_length(folded: &str, chars: &[char], latin: bool) -> u8 {
    let separated = folded
        .trim()
        .chars()
        .any(|c| !is_letter(c) && !c.is_numeric() && !c.is_whitespace() && unreadable(c) != UNKNOWN_CHAR);
    if latin || separated || chars.len() > 4 || chars.len() < 2 {
        return 0;
    }
    let first: String = chars.iter().take(2).collect();
    if chars.len() >= 3 && COMPOUND_SURNAMES.contains(&first.as_str()) { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &Name) -> String {
        name.chars.iter().collect()
    }

    #[test]
    fn one_name_in_all_its_forms() {
        let name = Name::read("热合曼·艾合买提");
        for dot in ["", "•", "・", ".", "．", " ", "‧", "。", "-"] {
            assert_eq!(Name::read(&format!("热合曼{dot}艾合买提")).chars, name.chars, "{dot:?}");
        }
        for written in
            ["张　伟", " 张伟 ", "張偉", "张伟1", "张伟(复诊)", "张伟（自费）", "张伟先生", "张伟*"]
        {
            let read = Name::read(written);
            assert!(text(&read).starts_with("张伟") && read.surname == 1, "{written}: {}", text(&read));
        }
        assert_eq!(text(&Name::read("nguyễn  Van-Thi")), "NGUYEN VAN THI");
    }

    #[test]
    fn newborns_bear_their_mothers_name() {
        for (written, mother, sex, order) in [
            ("李秀英之子", "李秀英", 1, 0),
            ("李秀英之女2", "李秀英", 2, 2),
            ("李秀英女", "李秀英", 2, 0),
            ("李秀英之子大双", "李秀英", 1, 1),
            ("李秀之婴", "李秀", 0, 0),
            ("李秀英BB", "李秀英", 0, 0),
            ("玉罕婴儿", "玉罕", 0, 0),
            ("李秀英之女婴", "李秀英", 2, 0),
        ] {
            let name = Name::read(written);
            assert_eq!(
                (name.kind, text(&name).as_str(), name.suffix_sex, name.birth_order),
                (NameKind::Newborn, mother, sex, order)
            );
        }
        for own in ["李子", "王萱子", "张男", "刘女"] {
            assert_eq!(Name::read(own).kind, NameKind::Han, "{own}");
        }
        let kind = |text, age| Name::read_of(text, age).kind;
        assert_eq!(kind("许艳女", Age::Weeks), NameKind::Newborn);
        assert_eq!(kind("许艳女", Age::Infant), NameKind::Han);
        assert_eq!(kind("刘女", Age::Weeks), NameKind::Han);
        assert_eq!(kind("李秀英之女", Age::Grown), NameKind::Han);
    }

    #[test]
    fn placeholders_are_no_names() {
        for nothing in ["", "  ", "无名氏", "???", "unknown", "*", "123"] {
            assert_eq!(Name::read(nothing).kind, NameKind::Absent, "{nothing}");
        }
    }

    #[test]
    fn absurd_names_are_cut() {
        let long = Name::read(&"张".repeat(10_000));
        assert_eq!(long.chars.len(), MAX_CHARS);
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Name::read("张伟")), "Name(Han, \"...\")");
    }
}
