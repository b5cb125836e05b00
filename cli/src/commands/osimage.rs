//! `osimage …`: definitions, and the stanza files that carry them.

use std::io;
use std::path::{Path, PathBuf};

use model::name::ImageName;
use model::osimage::Osimage;
use proto::v1;

use super::Context;
use crate::args::OsimageVerb;
use crate::failure::{Exit, Failure};
use crate::format;
use crate::view::{taken, taken_all};

pub(super) async fn execute(verb: OsimageVerb, context: &Context) -> Result<Exit, Failure> {
    let mut osimages = context.client.osimages();
    let written = match verb {
        OsimageVerb::Show { names, attributes } => return show(&names, &attributes, context).await,
        OsimageVerb::List => return list(context).await,
        OsimageVerb::Rm { names } => return remove(&names, context).await,
        OsimageVerb::Export { names, output } => return export(&names, output.as_deref(), context).await,
        OsimageVerb::Create { name, fill, changes } => {
            osimages.create(v1::CreateOsimageRequest { name: name.into(), changes, fill }).await
        }
        OsimageVerb::Set { name, revision, changes } => {
            let expected_revision = revision.unwrap_or(0);
            osimages.set(v1::SetOsimageRequest { name: name.into(), changes, expected_revision }).await
        }
        OsimageVerb::Rename { from, to } => {
            osimages.rename(v1::RenameOsimageRequest { from: from.into(), to: to.into() }).await
        }
        OsimageVerb::Copy { from, to } => {
            osimages.copy(v1::CopyOsimageRequest { from: from.into(), to: to.into() }).await
        }
        OsimageVerb::Import { replace, xcat, file } => {
            let stanzas = read(&file, context)?.into();
            let source = file.display().to_string();
            osimages.import(v1::ImportOsimagesRequest { stanzas, source, replace, unsigned_as_xcat: xcat }).await
        }
    };
    written_down(written.map_err(|status| context.client.failure(&status))?.into_inner(), context)
}

fn written_down(response: v1::WriteOsimagesResponse, context: &Context) -> Result<Exit, Failure> {
    let v1::WriteOsimagesResponse { osimages, warnings, problems } = response;
    context.refuse_problems(problems)?;
    context.warn(&warnings);
    let osimages: Vec<Osimage> = taken_all(&context.client, osimages)?;
    if context.printer.json() {
        context.printer.out_json(&osimages)?;
    }
    for osimage in osimages {
        context.printer.note(&format!("osimage {} is at revision {}", osimage.name, osimage.revision));
    }
    Ok(Exit::Done)
}

async fn show(names: &[ImageName], attributes: &[String], context: &Context) -> Result<Exit, Failure> {
    let mut osimages = Vec::new();
    for name in names {
        let answer = context.client.osimages().get(v1::GetOsimageRequest { name: name.to_string() }).await;
        let wire = answer.map_err(|status| context.client.failure(&status))?.into_inner();
        osimages.push(taken::<_, Osimage>(&context.client, wire)?);
    }
    if context.printer.json() {
        context.printer.out_json(&osimages)?;
        return Ok(Exit::Done);
    }
    let text: String = osimages.iter().map(|osimage| long_form(osimage, attributes)).collect();
    context.printer.out(&text)?;
    Ok(Exit::Done)
}

/// As `lsdef -l` prints it, which scripts take apart at the `=` (XCAT.md 1.3).
fn long_form(osimage: &Osimage, attributes: &[String]) -> String {
    let mut text = format!("Object name: {}\n", osimage.name);
    if attributes.is_empty() {
        text.extend(osimage.attributes.iter().map(|(name, value)| format!("    {name}={value}\n")));
    } else {
        let value = |name: &String| osimage.attributes.get(name).map(String::as_str).unwrap_or_default();
        text.extend(attributes.iter().map(|name| format!("    {name}={}\n", value(name))));
    }
    text
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let answer = context.client.osimages().list(v1::ListOsimagesRequest {}).await;
    let wire = answer.map_err(|status| context.client.failure(&status))?.into_inner().osimages;
    let osimages: Vec<Osimage> = taken_all(&context.client, wire)?;
    if context.printer.json() {
        context.printer.out_json(&osimages)?;
        return Ok(Exit::Done);
    }
    let row = |osimage: &Osimage| {
        let attribute = |name: &str| osimage.attributes.get(name).map_or(format::NOTHING, String::as_str).to_owned();
        vec![
            osimage.name.to_string(),
            attribute("osvers"),
            attribute("osarch"),
            attribute("profile"),
            attribute("provmethod"),
            osimage.revision.to_string(),
            format::moment(osimage.modified_ms),
        ]
    };
    let rows: Vec<_> = osimages.iter().map(row).collect();
    let head = ["osimage", "osvers", "osarch", "profile", "provmethod", "revision", "modified"];
    context.table(&head, &rows, "there are no osimages; `imgctl osimage import` takes those of xCAT over")?;
    Ok(Exit::Done)
}

async fn remove(names: &[ImageName], context: &Context) -> Result<Exit, Failure> {
    let request = v1::RemoveOsimagesRequest { names: names.iter().map(ToString::to_string).collect() };
    context.client.osimages().remove(request).await.map_err(|status| context.client.failure(&status))?;
    for name in names {
        context.printer.note(&format!("osimage {name} is removed; its files are where they were"));
    }
    Ok(Exit::Done)
}

async fn export(names: &[ImageName], output: Option<&Path>, context: &Context) -> Result<Exit, Failure> {
    let request = v1::ExportOsimagesRequest { names: names.iter().map(ToString::to_string).collect() };
    let answer = context.client.osimages().export(request).await.map_err(|status| context.client.failure(&status))?;
    let stanzas = answer.into_inner().stanzas;
    match output {
        None => context.printer.out_bytes(stanzas.as_bytes())?,
        Some(path) => std::fs::write(path, stanzas)
            .map_err(|error| Failure::usage(format!("cannot write `{}`: {error}", path.display())))?,
    }
    Ok(Exit::Done)
}

fn read(file: &PathBuf, context: &Context) -> Result<Vec<u8>, Failure> {
    let read = if file.as_os_str() == "-" { context.printer.read_input() } else { std::fs::read(file) };
    let failed = |error: io::Error| Failure::usage(format!("cannot read `{}`: {error}", file.display()));
    read.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_long_form_is_that_of_lsdef() {
        let attributes = [("profile", "compute"), ("osarch", "x86_64")];
        let osimage = Osimage {
            name: "lab9-compute".parse().unwrap(),
            revision: 1,
            attributes: attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            created_ms: 0,
            modified_ms: 0,
        };
        let all = "Object name: lab9-compute\n    osarch=x86_64\n    profile=compute\n";
        assert_eq!(long_form(&osimage, &[]), all);
        let some = "Object name: lab9-compute\n    pkglist=\n    osarch=x86_64\n";
        assert_eq!(long_form(&osimage, &["pkglist".into(), "osarch".into()]), some);
    }
}
