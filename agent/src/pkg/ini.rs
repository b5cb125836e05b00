//! The configuration files of dnf and yum: sections of `key=value`.

use std::path::PathBuf;

use model::plan::Repository;

/// Keys of the node's own `[main]` that say how to reach a mirror; nothing else of the node counts.
const CARRIED: [&str; 14] = [
    "proxy",
    "proxy_username",
    "proxy_password",
    "proxy_auth_method",
    "sslverify",
    "sslcacert",
    "sslclientcert",
    "sslclientkey",
    "proxy_sslverify",
    "proxy_sslcacert",
    "ip_resolve",
    "timeout",
    "minrate",
    "retries",
];

/// A repository with the name that it has in this build and the key files that it is checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section<'a> {
    /// `os-1`, `otherpkgs-2`.
    pub id: String,
    /// As the plan has it.
    pub repository: &'a Repository,
    /// Key files on the node; `None` where nothing is checked.
    pub keys: Option<Vec<PathBuf>>,
}

impl Section<'_> {
    /// As it stands in the file.
    pub fn text(&self) -> String {
        let keys: Vec<String> = self.keys.iter().flatten().map(|key| format!("file://{}", key.display())).collect();
        let name: String = self.repository.source.chars().filter(|c| !c.is_control()).collect();
        let mut lines = vec![
            format!("[{}]", self.id),
            format!("name={name}"),
            format!("baseurl={}", self.url()),
            "enabled=1".to_owned(),
            "skip_if_unavailable=0".to_owned(),
            format!("gpgcheck={}", u8::from(self.keys.is_some())),
        ];
        if !keys.is_empty() {
            lines.push(format!("gpgkey={}", keys.join(" ")));
        }
        lines.join("\n") + "\n"
    }

    /// A URL as it is; a path with what a URL can't hold escaped.
    fn url(&self) -> String {
        let Some(path) = self.repository.url.strip_prefix("file://") else { return self.repository.url.clone() };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~+@:=".contains(&byte);
        let escape = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        format!("file://{}", path.bytes().map(escape).collect::<String>())
    }

    /// How it is checked, for the log.
    pub fn said(&self) -> String {
        let how = match self.keys.as_deref() {
            None => "signatures are NOT checked, as the definition says".to_owned(),
            Some(keys) => {
                let name = |key: &PathBuf| key.file_name().unwrap_or_default().to_string_lossy().into_owned();
                format!("signatures are checked with {}", keys.iter().map(name).collect::<Vec<_>>().join(" "))
            }
        };
        format!("repository {}: {}: {how}", self.id, self.repository.url)
    }
}

/// Of the text of the node's own configuration, what the build needs too.
pub fn carried(text: &str) -> Vec<String> {
    let mut in_main = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_main = line == "[main]";
        } else if let Some((key, value)) = line.split_once('=').filter(|_| in_main) {
            let (key, value) = (key.trim(), value.trim());
            if CARRIED.contains(&key) && !value.is_empty() {
                found.push(format!("{key}={value}"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use model::plan::RepositoryTrust;

    use super::*;

    #[test]
    fn a_section_names_its_keys_or_says_that_there_are_none() {
        let repository = |url: &str| Repository {
            url: url.to_owned(),
            suite: String::new(),
            components: Vec::new(),
            trust: RepositoryTrust::Unsigned,
            source: "[trusted=yes]\n/install".to_owned(),
            subdir: None,
        };
        let local = repository("file:///install/my repos/100%");
        let checked = Section { id: "os-1".into(), repository: &local, keys: Some(vec!["/w/a".into(), "/w/b".into()]) };
        assert_eq!(
            checked.text(),
            "[os-1]\nname=[trusted=yes]/install\nbaseurl=file:///install/my%20repos/100%25\nenabled=1\nskip_if_unavailable=0\ngpgcheck=1\ngpgkey=file:///w/a file:///w/b\n"
        );
        assert!(checked.said().ends_with("checked with a b"), "{}", checked.said());
        let url = repository("http://mn/$releasever/a%20b");
        let free = Section { id: "os-2".into(), repository: &url, keys: None };
        assert!(free.text().contains("baseurl=http://mn/$releasever/a%20b\n") && free.text().ends_with("gpgcheck=0\n"));
        assert!(free.said().contains("NOT checked"));
    }

    #[test]
    fn only_the_way_to_the_mirror_is_carried_from_the_node() {
        let text = "[main]\ngpgcheck=0\nproxy = http://p:3128\nproxy_username=\nexclude=kernel*\n[epel]\ntimeout=5\n";
        assert_eq!(carried(text), ["proxy=http://p:3128"]);
    }
}
