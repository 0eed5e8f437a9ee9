//! The rules folder: its files, and the files that its lists read.

use super::language;
use crate::store::FolderState;
use std::path::{Path, PathBuf};

/// Reads every `*.cep` below the folder, in name order, and the files of its lists.
pub(crate) fn read(folder: &Path) -> Result<FolderState, String> {
    let mut paths = Vec::new();
    walk(folder, &mut paths)?;
    paths.sort();
    let mut state = FolderState::default();
    for path in &paths {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        state.files.push((path.display().to_string(), text));
    }
    let module = language::compile_folder(&state).map_err(|e| e.rendered)?;
    for list in module.lists.iter() {
        let Some(from) = &list.from else { continue };
        let base = declared_in(&state, &list.name).unwrap_or_else(|| folder.to_owned());
        let path = base.join(from);
        let items = crate::ruleset::read_list(&path, &list.ty)
            .map_err(|e| format!("list {}: {}", list.name, e.message))?;
        state.lists.insert(list.name.clone(), items);
    }
    Ok(state)
}

/// The folder of the file that declares a list.
fn declared_in(state: &FolderState, list: &str) -> Option<PathBuf> {
    let declares = |text: &str| {
        text.lines().any(|l| {
            let mut words = l.trim().split(|c: char| c.is_whitespace() || c == ':');
            words.next() == Some("list") && words.find(|w| !w.is_empty()) == Some(list)
        })
    };
    let (name, _) = state.files.iter().find(|(_, text)| declares(text))?;
    Path::new(name).parent().map(Path::to_owned)
}

fn walk(folder: &Path, out: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|e| format!("{}: {e}", folder.display()))?.path();
        if path.is_dir() {
            walk(&path, out)?;
        } else if path.extension().is_some_and(|e| e == "cep") {
            out.push(path);
        }
    }
    Ok(())
}
