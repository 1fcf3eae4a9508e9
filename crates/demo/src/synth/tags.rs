//! What was done to a registration on purpose, so that linkage can be judged error by error. Never shown to a linker.

macro_rules! tags {
    ($($name:ident = $text:literal,)*) => {
        /// A deliberate flaw or circumstance of a registration.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Tag { $($name,)* }

        impl Tag {
            /// All of them, in the order in which they are written.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As `truth.csv` has it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

tags! {
    NewbornName = "newborn_name",
    FormerName = "former_name",
    Nickname = "nickname",
    LatinName = "latin_name",
    DotVariant = "dot_variant",
    Translit = "translit",
    Truncated = "truncated",
    Homophone = "homophone",
    Shape = "shape",
    SwapGiven = "swap_given",
    DropChar = "drop_char",
    Space = "space",
    Suffix = "suffix",
    Trad = "trad",
    RareChar = "rare_char",
    IdMissing = "id_missing",
    IdTypo = "id_typo",
    GuardianId = "guardian_id",
    BirthCert = "birth_cert",
    IdPlaceholder = "id_placeholder",
    RelativeId = "relative_id",
    Id15 = "id15",
    IdSubst = "id_subst",
    IdTransp = "id_transp",
    IdShort = "id_short",
    IdLong = "id_long",
    LowerX = "lower_x",
    FullWidth = "full_width",
    IdSpace = "id_space",
    LunarBirthday = "lunar_birthday",
    DobError = "dob_error",
    DobDefault = "dob_default",
    DobMissing = "dob_missing",
    SexWrong = "sex_wrong",
    SexUnknown = "sex_unknown",
    ParentPhone = "parent_phone",
    FamilyPhone = "family_phone",
    PhoneMissing = "phone_missing",
    PhonePlaceholder = "phone_placeholder",
    PhoneTypo = "phone_typo",
    PhonePrefix = "phone_prefix",
    PhoneFullwidth = "phone_fullwidth",
    AddrMissing = "addr_missing",
    AddrCountyOnly = "addr_county_only",
    Card = "card",
}

/// The tags of one registration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tags(u64);

impl Tags {
    /// Adds a tag.
    pub fn add(&mut self, tag: Tag) {
        self.0 |= 1 << tag as u8;
    }

    /// Whether the tag is set.
    pub fn has(self, tag: Tag) -> bool {
        self.0 & (1 << tag as u8) != 0
    }

    /// Whether one of these is set.
    pub fn has_any(self, tags: &[Tag]) -> bool {
        tags.iter().any(|tag| self.has(*tag))
    }

    /// The tags, in the order of [`Tag::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Tag> {
        Tag::ALL.iter().copied().filter(move |tag| self.has(*tag))
    }

    /// Reads tags joined by `|`; none if one of them is not known.
    pub fn parse(text: &str) -> Option<Self> {
        let mut tags = Self::default();
        for name in text.split('|').filter(|name| !name.is_empty()) {
            tags.add(*Tag::ALL.iter().find(|tag| tag.as_str() == name)?);
        }
        Some(tags)
    }
}

impl std::fmt::Display for Tags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, tag) in self.iter().enumerate() {
            if place > 0 {
                f.write_str("|")?;
            }
            f.write_str(tag.as_str())?;
        }
        Ok(())
    }
}

// A set of bits: one more tag than bits would be lost in silence.
const _: () = assert!(Tag::ALL.len() <= 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_survive_text() {
        let mut tags = Tags::default();
        assert_eq!(tags.to_string(), "");
        for tag in Tag::ALL {
            tags.add(*tag);
            assert_eq!(Tags::parse(&tags.to_string()), Some(tags));
        }
        assert!(tags.has_any(&[Tag::Card]) && !Tags::default().has_any(Tag::ALL));
        assert_eq!(Tags::parse("card|no_such_tag"), None);
    }
}
