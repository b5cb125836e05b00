//! `/opt/xcat/xcatinfo`: which image a node runs, written anew for every archive. Nodes source it as shell.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::name::ImageName;
use rootfs::entry::{Attributes, Stamp};
use rootfs::pack::{Overlay, OverlayContent};
use uuid::Uuid;

use super::in_image::InImage;

/// Where it stands in the image.
const PLACE: &str = "/opt/xcat/xcatinfo";

pub(super) fn overlay(image: &InImage, osimage: &ImageName, uuid: Uuid, now: Stamp) -> Overlay {
    let attributes = Attributes { mode: 0o644, uid: 0, gid: 0, mtime: now };
    let content = OverlayContent::Bytes(text(osimage, uuid, now, &TimeZone::system()).into_bytes());
    Overlay { path: image.place(PLACE), content, attributes }
}

/// Names hold no quote, so nothing needs escaping.
fn text(osimage: &ImageName, uuid: Uuid, now: Stamp, zone: &TimeZone) -> String {
    let now = Timestamp::new(now.0, 0).unwrap_or_default().to_zoned(zone.clone());
    // As `date` prints it in the C locale.
    let date = now.strftime("%a %b %e %H:%M:%S %Z %Y");
    format!("IMAGENAME='{osimage}'\nIMAGEUUID='{uuid}'\nTIMESTAMP='{date}'\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_lines_are_as_nodes_expect_them() {
        let name = "rhels9.4-ppc64le-netboot-compute".parse().unwrap();
        let text = text(&name, Uuid::from_u128(7), Stamp(1_700_000_000, 0), &TimeZone::UTC);
        assert_eq!(
            text,
            "IMAGENAME='rhels9.4-ppc64le-netboot-compute'\n\
             IMAGEUUID='00000000-0000-0000-0000-000000000007'\n\
             TIMESTAMP='Tue Nov 14 22:13:20 UTC 2023'\n"
        );
    }
}
