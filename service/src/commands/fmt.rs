//! `fmt`: rule files in the one layout, each replaced at once or left as it was.

use super::diff;
use crate::console::{plural, say, show};
use crate::failure::Failure;
use crate::ruleset;
use clap::Args;
use pattern_dsl::SourceText;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Lines of a difference that `--check` shows of one file.
const SHOWN: usize = 40;

/// Arguments of `fmt`.
#[derive(Debug, Args)]
pub struct FmtArgs {
    /// Rules (.cep files or folders), or - to format stdin to stdout
    #[arg(required = true, value_name = "RULES|-")]
    paths: Vec<PathBuf>,
    /// Change nothing; show what would change and exit 1 if anything would
    #[arg(long)]
    check: bool,
}

/// Runs it.
///
/// # Errors
/// Wrong usage, or stdin that cannot be read.
pub fn run(args: &FmtArgs) -> Result<u8, Failure> {
    let stdin = args.paths.iter().any(|path| path.as_os_str() == "-");
    if stdin && args.paths.len() > 1 {
        return Err(Failure::usage("`-` formats stdin and stands alone"));
    }
    if stdin {
        return format_stdin(args.check);
    }
    if let Some(other) = args.paths.iter().find(|p| !p.is_dir() && p.extension().is_none_or(|e| e != "cep")) {
        return Err(Failure::usage(format!("{}: rules are .cep files or folders of them", other.display())));
    }
    let files = ruleset::files(&args.paths)?;
    let mut worst = 0;
    let mut changed = 0;
    for file in &files {
        match format_file(file, args.check) {
            Ok(true) => {
                changed += 1;
                worst = worst.max(u8::from(args.check));
            }
            Ok(false) => {}
            Err(failure) if failure.code == 0 => return Err(failure),
            Err(failure) => {
                worst = worst.max(failure.code);
                if !failure.message.is_empty() {
                    say!("{}", failure.message);
                }
            }
        }
    }
    let (would, word) = (if args.check { "would be " } else { "" }, plural(files.len(), "file"));
    say!("{changed} of {word} {would}formatted");
    Ok(worst)
}

fn format_stdin(check: bool) -> Result<u8, Failure> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| Failure::usage(format!("stdin: {error}")))?;
    let shaped = format("stdin", &text)?;
    if !check {
        show(&shaped)?;
        return Ok(0);
    }
    show(&diff::lines(&text, &shaped, "stdin", SHOWN))?;
    Ok(u8::from(shaped != text))
}

/// True if the file was, or would be, changed.
fn format_file(path: &Path, check: bool) -> Result<bool, Failure> {
    let name = path.display();
    let unusable = |error| Failure::usage(format!("{name}: {error}"));
    let text = std::fs::read_to_string(path).map_err(unusable)?;
    let shaped = format(&name.to_string(), &text)?;
    if shaped == text {
        return Ok(false);
    }
    if check {
        show(&diff::lines(&text, &shaped, &name.to_string(), SHOWN))?;
    } else {
        replace(path, &shaped).map_err(unusable)?;
        show(&format!("{name}\n"))?;
    }
    Ok(true)
}

/// The text in the one layout; errors of syntax are shown.
fn format(name: &str, text: &str) -> Result<String, Failure> {
    pattern_dsl::format(text).map_err(|found| {
        let sources = [SourceText { name: name.to_owned(), text: text.to_owned() }];
        let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let shown = pattern_dsl::render(&found, &sources, colour);
        Failure::finding(format!("{}\n{name}: not touched", shown.trim_end()))
    })
}

/// Writes beside the file and renames over it, so that no reader meets half a file. A link stays a link.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let path = path.canonicalize()?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut fresh = tempfile::Builder::new().prefix(".tripline-fmt-").tempfile_in(folder)?;
    fresh.write_all(text.as_bytes())?;
    fresh.as_file().set_permissions(std::fs::metadata(&path)?.permissions())?;
    fresh.as_file().sync_all()?;
    fresh.persist(&path).map(drop).map_err(|error| error.error)
}
