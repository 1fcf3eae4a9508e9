//! The text of clinical documents: a plain skeleton of each type, filled with invented findings. Most are XML in the shape of
//! a CDA (HL7 v3), as WS/T 500 asks; some hospitals only have text.

use rand::Rng;

use super::SyntheticRegistration;
use super::chance::Chance;
use super::day::Moment;
use super::tables::SURNAMES;

/// What a document of a type tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outline {
    Visit,
    Prescription,
    Laboratory,
    Imaging,
    Stay,
    Operation,
    Consent,
    FollowUp,
}

/// A document to write.
pub struct Note<'a> {
    pub row: &'a SyntheticRegistration,
    pub document_id: &'a str,
    pub code: &'a str,
    pub title: &'a str,
    pub author: &'a str,
    pub confidentiality: &'a str,
    pub at_ms: u64,
}

/// A part of a document: its heading and its lines.
type Section = (&'static str, Vec<String>);

const MADE_UP: &str = "模拟数据：人物、机构与诊疗内容均为虚构，不得用于诊疗。";
/// Sizes in bytes that notes are filled up to, the commoner first.
const SIZES: [usize; 8] = [1_500, 2_000, 3_000, 4_000, 6_000, 9_000, 13_000, 18_000];
/// What a note is never longer than, closing lines included.
const LONGEST: usize = 20_000;

const COMPLAINTS: &[&str] = &[
    "反复咳嗽、咳痰3天，伴低热",
    "头晕、乏力1周，活动后加重",
    "上腹部隐痛半月，进食后明显",
    "右膝关节疼痛2月，上下楼时加重",
    "发热1天，最高体温38.6℃",
    "心悸、胸闷间断发作1年",
    "腰痛伴左下肢麻木10天",
    "口干、多饮、多尿3月",
    "皮疹伴瘙痒5天",
    "外伤后右前臂肿痛2小时",
];
const DIAGNOSES: &[(&str, &str)] = &[
    ("J06.903", "急性上呼吸道感染"),
    ("I10.x05", "原发性高血压"),
    ("E11.900", "2型糖尿病"),
    ("K29.500", "慢性胃炎"),
    ("M17.900", "膝关节骨性关节病"),
    ("J18.900", "肺炎"),
    ("I25.101", "冠状动脉粥样硬化性心脏病"),
    ("M51.202", "腰椎间盘突出症"),
    ("L50.900", "荨麻疹"),
    ("N39.000", "泌尿道感染"),
];
const DRUGS: &[(&str, &str, &str)] = &[
    ("阿莫西林胶囊", "0.5g×24粒", "一次0.5g，一日3次，口服"),
    ("硝苯地平控释片", "30mg×7片", "一次30mg，一日1次，口服"),
    ("盐酸二甲双胍片", "0.5g×20片", "一次0.5g，一日2次，餐中口服"),
    ("奥美拉唑肠溶胶囊", "20mg×14粒", "一次20mg，一日1次，早餐前口服"),
    ("布洛芬缓释胶囊", "0.3g×20粒", "一次0.3g，一日2次，口服"),
    ("阿托伐他汀钙片", "20mg×7片", "一次20mg，每晚1次，口服"),
    ("氯雷他定片", "10mg×6片", "一次10mg，一日1次，口服"),
    ("三七伤药片", "0.33g×36片", "一次3片，一日3次，口服"),
    ("蒲地蓝消炎口服液", "10ml×10支", "一次10ml，一日3次，口服"),
];
/// Name, unit, lowest and highest usual value, decimals.
const TESTS: &[(&str, &str, f64, f64, usize)] = &[
    ("白细胞计数 WBC", "10^9/L", 3.5, 9.5, 2),
    ("红细胞计数 RBC", "10^12/L", 3.8, 5.8, 2),
    ("血红蛋白 HGB", "g/L", 115.0, 175.0, 0),
    ("血小板计数 PLT", "10^9/L", 125.0, 350.0, 0),
    ("C反应蛋白 CRP", "mg/L", 0.0, 10.0, 1),
    ("葡萄糖 GLU", "mmol/L", 3.9, 6.1, 2),
    ("丙氨酸氨基转移酶 ALT", "U/L", 7.0, 50.0, 0),
    ("肌酐 CREA", "μmol/L", 41.0, 111.0, 0),
    ("尿酸 UA", "μmol/L", 155.0, 428.0, 0),
    ("总胆固醇 TC", "mmol/L", 2.8, 5.7, 2),
    ("甘油三酯 TG", "mmol/L", 0.5, 1.7, 2),
    ("钾 K", "mmol/L", 3.5, 5.3, 2),
];
const REMARKS: &[&str] = &[
    "患者神志清，精神可，饮食、睡眠尚可，二便正常。",
    "查体：双肺呼吸音粗，未闻及明显干湿性啰音；心律齐，各瓣膜听诊区未闻及病理性杂音。",
    "腹平软，无压痛及反跳痛，肝脾肋下未触及，肠鸣音正常。",
    "今日上级医师查房，同意目前诊断及治疗方案，继续观察病情变化。",
    "嘱低盐低脂饮食，适当活动，按时服药，不适随诊。",
    "已向患者及家属交代病情、可能的并发症及注意事项，表示理解。",
    "复查血常规较前好转，体温降至正常，咳嗽减轻。",
    "切口敷料干燥，无渗血渗液，局部无红肿，换药一次。",
    "测血压130/82mmHg，心率76次/分，呼吸18次/分，体温36.5℃。",
    "建议两周后门诊复查，必要时转上级医院进一步检查。",
    "家庭医生已建立随访档案，下次随访时间已告知。",
    "否认药物及食物过敏史，否认手术、外伤及输血史。",
];
const FINDINGS: &[&str] = &[
    "胸廓对称，气管居中，双肺纹理增多，未见实变影，心影不大，膈面光整。",
    "肝脏大小形态正常，实质回声均匀，胆囊壁光滑，胰脾双肾未见明显异常。",
    "腰椎生理曲度变直，L4-5椎间盘向后突出约4mm，相应硬膜囊受压。",
    "右桡骨远端骨皮质连续性中断，断端对位对线可。",
    "颅脑平扫未见明显出血及占位性病变，脑室系统无扩张，中线结构居中。",
];

/// An invented doctor.
pub fn doctor(rng: &mut impl Rng) -> String {
    let surname = SURNAMES[rng.random_range(0..40)].0;
    format!("{surname}{}", rng.pick(&["医生", "主治医师", "副主任医师", "护士"]))
}

impl Note<'_> {
    /// The media type and the bytes.
    pub fn write(&self, outline: Outline, rng: &mut impl Rng) -> (&'static str, Vec<u8>) {
        let mut sections = sections(outline, rng);
        let wanted = rng.pick_common(&SIZES);
        let mut size: usize =
            1_200 + sections.iter().flat_map(|(_, lines)| lines).map(|line| line.len() + 10).sum::<usize>();
        let mut course = vec![];
        while size < wanted && size < LONGEST - 400 {
            let day = course.len() + 1;
            let line = format!("第{day}次记录：{}{}", rng.pick(REMARKS), rng.pick(REMARKS));
            size += line.len() + 10;
            course.push(line);
        }
        if !course.is_empty() {
            sections.push(("记录", course));
        }
        if rng.odds(0.85) {
            ("text/xml", self.xml(&sections).into_bytes())
        } else {
            ("text/plain", self.text(&sections).into_bytes())
        }
    }

    fn xml(&self, sections: &[Section]) -> String {
        let registration = &self.row.registration;
        let mut xml = String::with_capacity(4096);
        xml.push_str(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ClinicalDocument xmlns=\"urn:hl7-org:v3\">\n",
        );
        let head = [
            format!("<!-- {MADE_UP} -->"),
            "<realmCode code=\"CN\"/>".to_owned(),
            "<typeId root=\"2.16.840.1.113883.1.3\" extension=\"POCD_MT000040\"/>".to_owned(),
            format!("<id root=\"2.16.156.10011.1.1\" extension=\"{}\"/>", escaped(self.document_id)),
            format!(
                "<code code=\"{}\" codeSystem=\"2.16.156.10011.2.4\" codeSystemName=\"卫生信息共享文档规范编码体系\"/>",
                self.code
            ),
            format!("<title>{}</title>", escaped(self.title)),
            format!("<effectiveTime value=\"{}\"/>", digits_of(&Moment::of_unix_ms(self.at_ms).to_string())),
            format!(
                "<confidentialityCode code=\"{}\" codeSystem=\"2.16.840.1.113883.5.25\"/>",
                self.confidentiality
            ),
            "<languageCode code=\"zh-CN\"/>".to_owned(),
            format!(
                "<recordTarget><patientRole><id root=\"2.16.156.10011.1.11\" extension=\"{}\"/><patient><name>{}</name>\
                 <administrativeGenderCode code=\"{}\" codeSystem=\"2.16.156.10011.2.3.3.4\"/><birthTime value=\"{}\"/></patient>\
                 </patientRole></recordTarget>",
                escaped(&registration.local_id),
                escaped(&registration.name),
                escaped(&registration.sex),
                digits_of(&registration.birth_date),
            ),
            format!(
                "<author><assignedAuthor><assignedPerson><name>{}</name></assignedPerson></assignedAuthor></author>",
                escaped(self.author)
            ),
            format!(
                "<custodian><assignedCustodian><representedCustodianOrganization><id root=\"2.16.156.10011.1.5\" extension=\"{}\"/>\
                 <name>{}</name></representedCustodianOrganization></assignedCustodian></custodian>",
                escaped(&self.row.facility.code),
                escaped(&self.row.facility.name),
            ),
        ];
        for line in head {
            xml.push_str(&line);
            xml.push('\n');
        }
        xml.push_str("<component><structuredBody>\n");
        for (heading, lines) in sections {
            xml.extend(["<component><section><title>", heading, "</title><text>\n"]);
            for line in lines {
                xml.extend(["<p>", &escaped(line), "</p>\n"]);
            }
            xml.push_str("</text></section></component>\n");
        }
        xml.push_str("</structuredBody></component>\n</ClinicalDocument>\n");
        xml
    }

    fn text(&self, sections: &[Section]) -> String {
        let registration = &self.row.registration;
        let rule = "－".repeat(60);
        let mut text = format!(
            "{}\n{}\n{rule}\n文档编号：{}\n文档类型：{}\n登记号：{}\n姓名：{}\n出生日期：{}\n记录者：{}\n{MADE_UP}\n{rule}\n",
            self.row.facility.name,
            self.title,
            self.document_id,
            self.code,
            registration.local_id,
            registration.name,
            registration.birth_date,
            self.author,
        );
        for (heading, lines) in sections {
            text.extend(["【", heading, "】\n"]);
            for line in lines {
                text.push_str(line);
                text.push('\n');
            }
        }
        text.extend([&rule, "\n以上内容由", &self.row.facility.name, "记录。", MADE_UP, "\n"]);
        text
    }
}

fn sections(outline: Outline, rng: &mut impl Rng) -> Vec<Section> {
    match outline {
        Outline::Visit => vec![
            ("主诉", vec![format!("{}。", rng.pick(COMPLAINTS))]),
            ("体格检查", vec![rng.pick(REMARKS).to_owned()]),
            ("诊断", diagnoses(1, rng)),
            ("处理意见", drugs(2, rng)),
        ],
        Outline::Prescription => {
            let count = rng.random_range(2..6);
            vec![("诊断", diagnoses(1, rng)), ("药品", drugs(count, rng))]
        }
        Outline::Laboratory => vec![("标本", vec!["静脉血，外观合格".to_owned()]), ("结果", tests(rng))],
        Outline::Imaging => vec![
            ("检查所见", vec![rng.pick(FINDINGS).to_owned()]),
            ("检查结论", vec![rng.pick(FINDINGS).to_owned(), "请结合临床。".to_owned()]),
        ],
        Outline::Stay => vec![
            ("主诉", vec![format!("{}。", rng.pick(COMPLAINTS))]),
            ("入院诊断", diagnoses(2, rng)),
            ("诊疗经过", vec![rng.pick(REMARKS).to_owned(), rng.pick(FINDINGS).to_owned()]),
            ("出院诊断", diagnoses(2, rng)),
            ("出院带药", drugs(3, rng)),
        ],
        Outline::Operation => vec![
            ("术前诊断", diagnoses(1, rng)),
            (
                "手术经过",
                vec![
                    "麻醉满意后，常规消毒铺巾，逐层进入，术中顺利，出血约50ml，清点器械敷料无误。".to_owned(),
                ],
            ),
            ("术后情况", vec![rng.pick(REMARKS).to_owned()]),
        ],
        Outline::Consent => vec![
            ("告知事项", vec!["医师已告知手术方式、麻醉方式、可能发生的风险及替代方案。".to_owned()]),
            ("患方意见", vec!["已了解上述内容，同意手术。".to_owned()]),
        ],
        Outline::FollowUp => vec![
            ("随访方式", vec![rng.pick(&["门诊", "家庭", "电话"]).to_owned()]),
            (
                "体征",
                vec![format!(
                    "血压{}/{}mmHg，体重{}kg",
                    rng.random_range(100..160),
                    rng.random_range(60..100),
                    rng.random_range(3..90)
                )],
            ),
            ("评价", vec![rng.pick(REMARKS).to_owned(), "本次随访分类：控制满意。".to_owned()]),
        ],
    }
}

fn diagnoses(count: usize, rng: &mut impl Rng) -> Vec<String> {
    let mut one = || {
        let (code, name) = rng.pick(DIAGNOSES);
        format!("{name}（{code}）")
    };
    (0..count).map(|_| one()).collect()
}

fn drugs(count: usize, rng: &mut impl Rng) -> Vec<String> {
    let mut one = || {
        let (name, pack, usage) = rng.pick(DRUGS);
        format!("{name} {pack}，{usage}")
    };
    (0..count).map(|_| one()).collect()
}

/// Most results lie within the usual range; arrows mark the others.
fn tests(rng: &mut impl Rng) -> Vec<String> {
    let mut one = |(name, unit, low, high, decimals): &(&str, &str, f64, f64, usize)| {
        let value = (low + (high - low) * (rng.random::<f64>() * 1.2 - 0.1)).max(0.0);
        let arrow = match value {
            value if value > *high => " ↑",
            value if value < *low => " ↓",
            _ => "",
        };
        format!("{name}：{value:.decimals$} {unit}{arrow}（参考范围 {low}～{high}）")
    };
    TESTS.iter().map(&mut one).collect()
}

/// A date or moment as HL7 v3 writes it.
fn digits_of(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// Text as XML content or attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escaped("a<b>&\"c\""), "a&lt;b&gt;&amp;&quot;c&quot;");
    }
}
