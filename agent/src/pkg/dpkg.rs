//! What dpkg says is installed.

use super::Installed;

/// The format for `dpkg-query --show`.
pub const FORMAT: &str = "${db:Status-Abbrev}\\t${Package}\\t${Version}\\t${Architecture}\\n";

/// Reads lines of [`FORMAT`]; packages of which only the configuration is left don't count.
pub fn installed(listing: &str) -> Vec<Installed> {
    let mut found: Vec<Installed> = listing.lines().filter_map(read).collect();
    found.sort();
    found
}

fn read(line: &str) -> Option<Installed> {
    let mut fields = line.split('\t').map(str::to_owned);
    let status = fields.next()?;
    let (name, version, arch) = (fields.next()?, fields.next()?, fields.next()?);
    (status.get(1..2) == Some("i")).then_some(Installed { name, version, arch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_installed_counts() {
        let listing = "ii \tzlib1g\t1:1.2.13\tamd64\nrc \told\t1\tall\nii \tbash\t5.2\tamd64\nhi \theld\t1\tall\n";
        let names: Vec<_> = installed(listing).into_iter().map(|package| package.name).collect();
        assert_eq!(names, ["bash", "held", "zlib1g"]);
    }
}
