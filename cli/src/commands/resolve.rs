//! `resolve`: the build plan, for people or byte for byte.

use std::collections::BTreeMap;

use model::name::ImageName;
use model::plan::{
    BuildPlan, KernelChoice, Origin, PackageItem, Pass, Repository, RepositoryTrust, Script, SourceKind,
};
use proto::v1;
use serde_json::Value;

use super::Context;
use crate::failure::{Exit, Failure};
use crate::output::Style;

pub(super) async fn resolve(name: ImageName, set: Vec<String>, context: &Context) -> Result<Exit, Failure> {
    let answer = context.client.osimages().resolve(v1::ResolveRequest { name: name.into(), set }).await;
    let v1::ResolveResponse { plan_json, pack_json, problems } =
        answer.map_err(|status| context.client.failure(&status))?.into_inner();
    context.refuse_problems(problems)?;
    if context.printer.json() {
        context.printer.out_bytes(&plan_json)?;
        return Ok(Exit::Done);
    }
    let warnings = page(&plan_json, &pack_json, context)?;
    context.warn(&warnings);
    Ok(Exit::Done)
}

/// Prints a plan and what packimage will apply, for people; gives the plan's warnings.
pub(super) fn page(plan_json: &[u8], pack_json: &[u8], context: &Context) -> Result<Vec<String>, Failure> {
    let plan: BuildPlan = serde_json::from_slice(plan_json).map_err(strange)?;
    let mut page = Page::default();
    page.plan(&plan);
    if !pack_json.is_empty() {
        page.head("packimage");
        page.value(&serde_json::from_slice(pack_json).map_err(strange)?, 1);
    }
    context.printer.out_spans(&page.0)?;
    Ok(plan.warnings)
}

/// A document of the coordinator's that can't be read.
pub(super) fn strange(error: serde_json::Error) -> Failure {
    Failure::refused(format!("cannot read the coordinator's build plan: {error}"))
        .hint("are it and this imgctl of the same version?")
}

/// The plan, part by part.
#[derive(Default)]
struct Page(Vec<(Style, String)>);

impl Page {
    fn head(&mut self, text: &str) {
        self.0.push((Style::Bold, format!("\n{text}\n")));
    }

    fn line(&mut self, text: impl std::fmt::Display) {
        self.0.push((Style::Plain, format!("  {text}\n")));
    }

    fn plan(&mut self, plan: &BuildPlan) {
        let title = format!("plan of {} (revision {}): {} {}", plan.osimage, plan.revision, plan.osvers, plan.osarch);
        self.0.push((Style::Bold, title + "\n"));
        self.line(format_args!("{} of profile {}, with {}", plan.provmethod, plan.profile, plan.packages.name()));
        self.line(format_args!("into {}", plan.rootimgdir.display()));
        for why in &plan.needs_install {
            self.line(format_args!("needs an agent that sees {}: {why}", plan.install_dir.display()));
        }
        self.repositories("repositories", &plan.repositories);
        self.passes("packages", &plan.passes);
        self.repositories("other repositories", &plan.other_repositories);
        self.passes("other packages", &plan.other_passes);
        self.environment("environment", &plan.environment);
        self.scripts(&plan.postinstall);
        self.environment("environment of the scripts", &plan.script_environment);
        self.kernel(plan);
        self.attributes(plan);
    }

    fn repositories(&mut self, head: &str, repositories: &[Repository]) {
        if repositories.is_empty() {
            return;
        }
        self.head(head);
        for repository in repositories {
            let trust = match &repository.trust {
                RepositoryTrust::Distribution => "signed by the distribution".to_owned(),
                RepositoryTrust::Key { path, .. } => format!("signed, key {}", path.display()),
                RepositoryTrust::Medium { keys } => {
                    let paths: Vec<_> = keys.iter().map(|key| key.path.display().to_string()).collect();
                    format!("signed, keys {}", paths.join(" "))
                }
                RepositoryTrust::Unsigned => "NOT signed, as the definition says".to_owned(),
            };
            let suite = [&repository.suite].into_iter().chain(&repository.components).filter(|part| !part.is_empty());
            let suite: String = suite.map(|part| format!(" {part}")).collect();
            self.line(format_args!("{}{suite} ({trust})", repository.url));
        }
    }

    fn passes(&mut self, head: &str, passes: &[Pass]) {
        for (at, pass) in passes.iter().enumerate() {
            let Pass { environment, remove_before, install, remove_after } = pass;
            self.head(&if passes.len() == 1 { head.to_owned() } else { format!("{head}, pass {}", at + 1) });
            for (name, value) in environment {
                self.line(format_args!("with {name}={value}"));
            }
            self.items("remove first", remove_before);
            self.items("install", install);
            self.items("then remove", remove_after);
        }
    }

    fn items(&mut self, what: &str, items: &[PackageItem]) {
        for PackageItem { name, subdir, at } in items {
            let subdir = subdir.as_ref().map(|subdir| format!("{subdir}/")).unwrap_or_default();
            let name = format!("{subdir}{name}");
            self.0.push((Style::Plain, format!("  {what:<12}  {name:<30}")));
            self.0.push((Style::Dim, format!("  {at}\n")));
        }
    }

    fn environment(&mut self, head: &str, environment: &BTreeMap<String, String>) {
        if environment.is_empty() {
            return;
        }
        self.head(head);
        for (name, value) in environment {
            self.line(format_args!("{name}={value}"));
        }
    }

    fn scripts(&mut self, scripts: &[Script]) {
        if scripts.is_empty() {
            return;
        }
        self.head("postinstall");
        for Script { path, args, content: _ } in scripts {
            let args: String = args.iter().map(|arg| format!(" {arg}")).collect();
            self.line(format_args!("{}{args}", path.display()));
        }
    }

    fn kernel(&mut self, plan: &BuildPlan) {
        self.head("kernel");
        match &plan.kernel {
            KernelChoice::Only => self.line("the only one in the root image"),
            KernelChoice::Exactly { version } => self.line(version),
        }
        self.line(format_args!("drivers: {}", plan.drivers.load.join(" ")));
        for source in &plan.drivers.sources {
            let kind = if source.kind == SourceKind::Disk { "disk" } else { "package" };
            self.line(format_args!("driver {kind}: {}", source.path.display()));
        }
        if let Some(limit) = &plan.wish.root_limit {
            self.line(format_args!("root's tmpfs on a node: at most {limit}"));
        }
        if let Some(boot) = &plan.interfaces.boot {
            self.line(format_args!("boot interface: {boot}"));
        }
        if !plan.interfaces.others.is_empty() {
            self.line(format_args!("other interfaces: {}", plan.interfaces.others.join(" ")));
        }
    }

    fn attributes(&mut self, plan: &BuildPlan) {
        self.head("attributes");
        for attribute in &plan.attributes {
            self.0.push((Style::Plain, format!("  {}={}", attribute.name, attribute.value)));
            let origin = match &attribute.origin {
                Origin::Given => String::new(),
                Origin::Once => "  (for this build alone)".to_owned(),
                Origin::Default { rule } => format!("  (default: {rule})"),
                Origin::Searched { rule } => format!("  (found: {rule})"),
            };
            self.0.push((Style::Dim, origin + "\n"));
        }
    }

    /// What packimage will apply: shown as it comes, since only people read it.
    fn value(&mut self, value: &Value, depth: usize) {
        let blanks = "  ".repeat(depth);
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if is_nested(value) {
                        self.0.push((Style::Plain, format!("{blanks}{name}:\n")));
                        self.value(value, depth + 1);
                    } else {
                        self.0.push((Style::Plain, format!("{blanks}{name}: {}\n", scalar(value))));
                    }
                }
            }
            Value::Array(items) => {
                for item in items {
                    match item.as_object().filter(|fields| fields.values().all(|value| !is_nested(value))) {
                        Some(fields) => {
                            let fields: Vec<_> =
                                fields.iter().map(|(name, value)| format!("{name}: {}", scalar(value))).collect();
                            self.0.push((Style::Plain, format!("{blanks}{}\n", fields.join(", "))));
                        }
                        None => self.value(item, depth),
                    }
                }
            }
            _ => self.0.push((Style::Plain, format!("{blanks}{}\n", scalar(value)))),
        }
    }
}

/// Whether it needs lines of its own.
fn is_nested(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Array(_) | Value::Object(_) => "none".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_shows_what_goes_and_comes_and_where_that_is_written() {
        let item = |name: &str, at: &str| PackageItem { name: name.into(), subdir: None, at: at.into() };
        let pass = Pass {
            environment: [("ACCEPT_EULA".to_owned(), "1".to_owned())].into(),
            remove_before: vec![item("old", "/l:4")],
            install: vec![item("bash", "/l:1")],
            remove_after: vec![],
        };
        let mut page = Page::default();
        page.passes("packages", &[pass]);
        let text: String = page.0.into_iter().map(|(_, text)| text).collect();
        let bash = format!("{:<30}", "bash");
        let old = format!("{:<30}", "old");
        let expected =
            format!("\npackages\n  with ACCEPT_EULA=1\n  remove first  {old}  /l:4\n  install       {bash}  /l:1\n");
        assert_eq!(text, expected);
    }
}
