//! Osimages: definitions as the operator wrote them.

use model::osimage::Osimage;

use crate::v1;
use crate::violation::{FieldViolation, OfField};

impl From<Osimage> for v1::Osimage {
    fn from(osimage: Osimage) -> Self {
        let Osimage { name, revision, attributes, created_ms, modified_ms } = osimage;
        let attributes = attributes.into_iter().collect();
        Self { name: name.into(), revision, attributes, created_ms, modified_ms }
    }
}

impl TryFrom<v1::Osimage> for Osimage {
    type Error = FieldViolation;

    fn try_from(wire: v1::Osimage) -> Result<Self, FieldViolation> {
        let v1::Osimage { name, revision, attributes, created_ms, modified_ms } = wire;
        let attributes = attributes.into_iter().collect();
        Ok(Self { name: name.parse().of_field("name")?, revision, attributes, created_ms, modified_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_osimage_survives_the_way_over_the_wire() {
        let attributes = [("osarch", "ppc64le"), ("pkglist", "/a,/b")];
        let osimage = Osimage {
            name: "compute".parse().unwrap(),
            revision: 3,
            attributes: attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            created_ms: 1,
            modified_ms: 2,
        };
        assert_eq!(Osimage::try_from(v1::Osimage::from(osimage.clone())).unwrap(), osimage);
    }
}
