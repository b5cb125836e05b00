//! What is asked of genimage, and what is told of its initrds.

use model::initrd::InitrdReport;
use model::wish::{GenimageWish, TmpfsSize};

use super::some_text;
use crate::v1;
use crate::violation::{FieldViolation, OfField};

impl From<GenimageWish> for v1::GenimageWish {
    fn from(wish: GenimageWish) -> Self {
        let GenimageWish { set, root_limit, ignore_kernel_check, only_initrd } = wish;
        Self { set, root_limit: root_limit.map(String::from).unwrap_or_default(), ignore_kernel_check, only_initrd }
    }
}

impl TryFrom<v1::GenimageWish> for GenimageWish {
    type Error = FieldViolation;

    fn try_from(wire: v1::GenimageWish) -> Result<Self, FieldViolation> {
        let v1::GenimageWish { set, root_limit, ignore_kernel_check, only_initrd } = wire;
        let root_limit = some_text(root_limit).map(TmpfsSize::try_from).transpose().of_field("root_limit")?;
        Ok(Self { set, root_limit, ignore_kernel_check, only_initrd })
    }
}

impl From<InitrdReport> for v1::InitrdReport {
    fn from(report: InitrdReport) -> Self {
        let InitrdReport { name, modules, drivers, missing } = report;
        Self { name, modules, drivers, missing }
    }
}

impl From<v1::InitrdReport> for InitrdReport {
    fn from(wire: v1::InitrdReport) -> Self {
        let v1::InitrdReport { name, modules, drivers, missing } = wire;
        Self { name, modules, drivers, missing }
    }
}
