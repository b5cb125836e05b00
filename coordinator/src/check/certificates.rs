//! The CA and the coordinator's own certificate: whether they can be used, and for how long.

use std::path::Path;

use proto::tls::Identity;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Area, Look, Severity};
use crate::chain::chain;
use crate::clock::now_ms;
use crate::pki::{Authority, SERVER_DIR};

const DAY_MS: i64 = 86_400_000;
/// A certificate that ends sooner should be renewed.
const SOON_DAYS: i64 = 30;
const RENEW: &str = "`imgctl-coordinator init` makes it anew";

pub(super) fn check(look: &mut Look<'_>) {
    let pki = look.config.pki_dir();
    match Authority::load(&pki) {
        Ok(authority) => {
            dates(look, &pki, authority.ca_pem(), "the CA's certificate", "agents and people must join anew")
        }
        Err(error) => {
            look.report.error(Area::Certificates, &pki, chain(&error), "restore the folder from a backup");
        }
    }
    let own = pki.join(SERVER_DIR);
    match Identity::load(&own) {
        Ok(identity) => dates(look, &own, &identity.cert_pem, "the coordinator's certificate", RENEW),
        Err(error) => look.report.error(Area::Certificates, &own, chain(&error), RENEW),
    }
}

fn dates(look: &mut Look<'_>, place: &Path, pem: &str, which: &str, next: &str) {
    let Some(ends_ms) = ends_ms(pem) else {
        return look.report.error(Area::Certificates, place, format!("{which} can't be read"), next);
    };
    let (severity, text) = judge(ends_ms, now_ms());
    let next = if severity == Severity::Ok { "" } else { next };
    look.report.add(severity, Area::Certificates, place, format!("{which} {text}"), next);
}

fn ends_ms(pem: &str) -> Option<i64> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    Some(certificate.validity().not_after.timestamp() * 1000)
}

fn judge(ends_ms: i64, now_ms: i64) -> (Severity, String) {
    match (ends_ms - now_ms).div_euclid(DAY_MS) {
        ..0 => (Severity::Error, "has ended".into()),
        days @ 0..SOON_DAYS => (Severity::Warning, format!("ends in {days} days")),
        days => (Severity::Ok, format!("is valid for {days} days")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_near_its_end_is_named_in_time() {
        for (days, severity) in [(-1, Severity::Error), (0, Severity::Warning), (29, Severity::Warning)] {
            assert_eq!(judge(days * DAY_MS + 1, 0).0, severity, "{days}");
        }
        assert_eq!(judge(30 * DAY_MS, 0).0, Severity::Ok);
    }
}
