//! What makes two registrations one person before a linker has looked at them.

use crate::body::Registration;
use crate::normalise::name_key;
use crate::{ResidentId, codes};

/// Whether two registrations carry the same valid resident ID (identifier type `01`) under the same name, however each is written.
///
/// The name must agree because a child is often registered with a parent's ID. What else tells the same person, the linker knows.
pub fn same_by_resident_id(a: &Registration, b: &Registration) -> bool {
    let key = name_key(&a.name);
    !key.is_empty()
        && key == name_key(&b.name)
        && resident_ids(a).any(|id| resident_ids(b).any(|other| id == other))
}

/// The valid resident IDs of a registration.
pub fn resident_ids(registration: &Registration) -> impl Iterator<Item = ResidentId> + '_ {
    let values = registration.identifiers.iter().filter(|identifier| identifier.r#type == codes::RESIDENT_ID);
    values.filter_map(|identifier| ResidentId::parse(&identifier.value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Identifier;

    const ID: &str = "11010519491231002X";

    fn registration(id: &str, name: &str) -> Registration {
        Registration {
            name: name.into(),
            identifiers: vec![Identifier { r#type: "01".into(), value: id.into(), assigner: String::new() }],
            ..Default::default()
        }
    }

    #[test]
    fn who_is_the_same_person() {
        let someone = registration(ID, "热合曼·艾合买提");
        for (id, name, same) in [
            (ID, "热合曼·艾合买提", true),
            ("110105491231002", "热合曼•艾合买提", true),
            ("１１０１０５１９４９１２３１００２ｘ", "热合曼·艾合买提", true),
            (ID, "热合曼", false),
            (ID, "", false),
            ("110105194912310021", "热合曼·艾合买提", false),
            ("440524188001010014", "热合曼·艾合买提", false),
            ("", "热合曼·艾合买提", false),
        ] {
            let other = registration(id, name);
            assert_eq!(same_by_resident_id(&someone, &other), same, "{id} {name}");
            assert_eq!(same_by_resident_id(&other, &someone), same, "{id} {name}");
        }
    }

    #[test]
    fn names_that_are_unknown_on_both_sides_do_not_agree() {
        assert!(!same_by_resident_id(&registration(ID, ""), &registration(ID, "·")));
    }

    #[test]
    fn another_document_with_the_same_number_does_not_count() {
        let (a, mut b) = (registration(ID, "张三"), registration(ID, "张三"));
        b.identifiers[0].r#type = "99".into();
        assert!(!same_by_resident_id(&a, &b));
    }
}
