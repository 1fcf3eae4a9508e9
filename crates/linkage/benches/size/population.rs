//! An invented population of any size: every registration is made from its number alone, so none has to be kept.
//!
//! What matters to the linker's indexes is like in the populations that `tiermesh synth` makes: how often names, villages and birthdays are shared,
//! how often a telephone or an address is a family's, how many visits a person pays, and how much of what is written is missing or mistyped.
//! It is no test of the linker's judgement: nobody marries, moves or is a twin.

use model::body::{Address, Contact, Identifier, Registration};

/// Registrations per person on average.
const VISITS: f64 = 2.5;
/// Persons of a household.
const HOUSEHOLD: u64 = 3;
/// Counties of Yunnan.
const COUNTIES: u64 = 129;

/// Surnames of Yunnan with their weights.
const SURNAMES: &str = "李88杨68王66张62陈42刘40赵30周24黄20马20罗19何17吴17徐13段12朱12孙11高11郭10胡10普9林8唐8董8谢7尹7曾7彭7曹7邓7\
                        田6许6肖6蒋6余6苏6沈6郑6梁6宋5白5袁5施5杜5汪5熊5陆5代5和5毛4谭4范4丁4龙4钱4姚4夏4冯4字3严3叶3方3卢3金3孔3石3\
                        蔡3潘3江3任3韩3韦3农3陶3刀3雷3木2浦2贺2保2纳2晏2万2顾2史2孟2崔2贾2邱2秦2程2廖2魏2侬1矣1者1撒1自1夷1薛1阮1";
/// Characters of given names, the commoner first, by era (born before 1962, 1982, 2002, and later), men before women.
const GIVEN: [[&str; 2]; 4] = [
    [
        "国明文华德光荣正福建林成云发忠学贵富祥生有兴永家保金清志龙朝洪绍应顺世万宝才良昌元开自仁义春水",
        "秀英兰桂珍玉凤芝美莲芬香琼翠仙菊淑会素华云芳梅丽清珠惠娥琴连珠巧存焕竹彩春贞月金银花粉枝",
    ],
    [
        "建军伟强勇志华文明平林波辉斌刚红云海峰涛东永兵国光宏春忠杰良祥金玉贵荣学庆生龙毅鹏飞俊江",
        "丽艳芳红琼梅燕玲霞敏萍琳英娟兰莉华云秀美春静晓凤仙会芬琴珍翠莲青菊香慧雪平娅薇群蓉惠荣洁",
    ],
    [
        "伟杰鹏超俊磊明波勇涛浩文凯强飞宇龙斌峰辉军林志晓东亮鑫旭海帅阳建华雄永健刚坤亚翔江春云",
        "婷丽艳娟燕敏静雪倩梅玲娇萍芳霞莹琳琴佳晓红春丹云慧颖瑞娅玉洁蕾思雨菊美仙欢欣怡文秀蓉露",
    ],
    [
        "浩宇轩子俊杰梓文博睿涵晨嘉泽铭天皓煜辰佳一诺航奕瑞恒哲鑫昊家豪宸熙彦明羽阳凯思源逸楷峻帆启",
        "梓涵欣怡子萱雨诗佳琪思可馨语桐悦艺心妍若汐紫瑶梦婷雅静嘉晨熙雪芮一诺依沐钰菲璇玥欢颖珂淇苒潼",
    ],
];
const ERAS: [u64; 3] = [1962, 1982, 2002];
/// Percent of given names of two characters, by era.
const TWO_CHARACTERS: [u64; 4] = [82, 55, 60, 86];
/// Words that names of counties, towns and villages are made of.
const PLACES: &str =
    "太平东川永安新街龙泉大河白水中和金平凤山石门青云马老厂坝田庄双兴隆江边口仁三岔羊小普乐碧溪";

/// Draws by what for and by number: the finaliser of SplitMix64.
#[derive(Clone, Copy)]
struct Draws(u64);

impl Draws {
    fn of(purpose: u64, number: u64) -> Self {
        Self(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ purpose << 56)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn per_mille(&mut self, share: u64) -> bool {
        self.below(1000) < share
    }

    /// The earlier the likelier: half of the draws fall on the first quarter.
    fn common(&mut self, from: &[char]) -> char {
        let place = self.below(1 << 32) as f64 / (1u64 << 32) as f64;
        from[(place * place * from.len() as f64) as usize]
    }
}

/// Tables made ready for drawing, and how many persons there are.
pub struct Population {
    /// Each surname as often as its weight.
    surnames: Vec<char>,
    given: [[Vec<char>; 2]; 4],
    places: Vec<char>,
    persons: u64,
}

struct Person {
    name: String,
    sex: u64,
    born: (u64, u64, u64),
    id: String,
    phone: String,
}

impl Population {
    /// The persons whom so many registrations are of.
    pub fn of(registrations: u64) -> Self {
        let mut surnames = Vec::new();
        let mut rest = SURNAMES.chars().filter(|c| !c.is_whitespace()).peekable();
        while let Some(surname) = rest.next() {
            let mut weight = 0;
            while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
                weight = weight * 10 + digit as usize;
                rest.next();
            }
            surnames.extend(std::iter::repeat_n(surname, weight));
        }
        let given = GIVEN.map(|era| era.map(|characters| characters.chars().collect()));
        let persons = ((registrations as f64 / VISITS) as u64).max(1);
        Self { surnames, given, places: PLACES.chars().collect(), persons }
    }

    /// A registration and the county it was made at.
    pub fn registration(&self, number: u64) -> (Registration, String) {
        let mut draws = Draws::of(1, number);
        let of = draws.below(self.persons);
        let person = self.person(of);
        let household = of / HOUSEHOLD;
        let county = Draws::of(2, household).below(COUNTIES);
        let (year, month, day) = person.born;
        let mut name = person.name;
        if draws.per_mille(15) {
            // Somebody heard or wrote another character.
            name.pop();
            name.push(draws.common(&self.given[1][0]));
        }
        let id = (!draws.per_mille(110)).then(|| slip(person.id, draws.per_mille(10), &mut draws));
        let phone = (!draws.per_mille(60)).then(|| slip(person.phone, draws.per_mille(13), &mut draws));
        let address = (!draws.per_mille(70)).then(|| self.home(county, household));
        let mother = (year > 2008).then(|| self.person(household * HOUSEHOLD + HOUSEHOLD).name);
        let at = if draws.per_mille(850) { county } else { draws.below(COUNTIES) };
        let registration = Registration {
            name,
            sex: person.sex.to_string(),
            birth_date: match draws.below(1000) {
                0..7 => String::new(),
                7..14 => format!("{year}-01-01"),
                _ => format!("{year}-{month:02}-{day:02}"),
            },
            identifiers: id
                .map(|value| Identifier { r#type: "01".into(), value, assigner: String::new() })
                .into_iter()
                .collect(),
            phones: phone.into_iter().collect(),
            addresses: address.map(|text| Address { text, region_code: String::new() }).into_iter().collect(),
            ethnicity: format!("{:02}", [1, 1, 7, 18][(household % 4) as usize]),
            contacts: mother
                .map(|name| Contact { name, relation: "母亲".into(), phone: String::new() })
                .into_iter()
                .collect(),
            born_ms: 1_420_000_000_000 + draws.below(3_600) * 86_400_000,
            ..Registration::default()
        };
        (registration, region(at))
    }

    fn person(&self, number: u64) -> Person {
        let (mut draws, household) = (Draws::of(3, number), number / HOUSEHOLD);
        let (year, month, day) = (1935 + draws.below(80), 1 + draws.below(12), 1 + draws.below(28));
        let sex = 1 + draws.below(2);
        let era = ERAS.iter().filter(|start| year >= **start).count();
        // Father and children have one surname, the mother another.
        let mut family =
            if number % HOUSEHOLD == 1 { Draws::of(10, number) } else { Draws::of(4, household) };
        let mut name = self.surnames[family.below(self.surnames.len() as u64) as usize].to_string();
        let given = &self.given[era][(sex - 1) as usize];
        name.push(draws.common(given));
        if draws.below(100) < TWO_CHARACTERS[era] {
            name.push(draws.common(given));
        }
        let county = Draws::of(2, household).below(COUNTIES);
        let sequence = draws.below(500) * 2 + sex % 2;
        let own_phone = (1990..2010).contains(&year) || draws.per_mille(600);
        let mut phone = if own_phone { draws } else { Draws::of(5, household) };
        Person {
            name,
            sex,
            born: (year, month, day),
            id: with_check(format!("{}{year}{month:02}{day:02}{sequence:03}", region(county))),
            phone: format!("1{}{:09}", 3 + phone.below(7), phone.below(1_000_000_000)),
        }
    }

    fn home(&self, county: u64, household: u64) -> String {
        let word = |purpose: u64, number: u64| -> String {
            let mut draws = Draws::of(purpose, number);
            (0..2).map(|_| self.places[draws.below(self.places.len() as u64) as usize]).collect()
        };
        let mut draws = Draws::of(6, household);
        let town = county * 100 + draws.below(10);
        let village = town * 100 + draws.below(25);
        let (group, house) = (1 + draws.below(18), 1 + draws.below(120));
        let (county, town, village) = (word(7, county), word(8, town), word(9, village));
        format!("云南省{county}县{town}镇{village}村委会{group}组{house}号")
    }
}

fn region(county: u64) -> String {
    format!("53{:02}{:02}", 1 + county / 9, 21 + county % 9)
}

/// A resident ID with its check character (ISO 7064 MOD 11-2).
fn with_check(mut digits: String) -> String {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = digits.bytes().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    digits.push(char::from(b"10X98765432"[(sum % 11) as usize]));
    digits
}

/// The text with one of its characters another, if so.
fn slip(text: String, slips: bool, draws: &mut Draws) -> String {
    let at = draws.below(text.len() as u64) as usize;
    let other = |(place, c)| if slips && place == at { char::from(b'0' + draws.below(10) as u8) } else { c };
    text.chars().enumerate().map(other).collect()
}
