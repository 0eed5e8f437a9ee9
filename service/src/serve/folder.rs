//! The rules folder: its files, and the files that its lists and lookups read.

use super::language;
use crate::store::FolderState;
use std::path::{Path, PathBuf};

/// Reads every `*.cep` below the folder, in name order, and the files of its lists and lookups.
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
    let sources = language::sources(&state);
    for table in &module.tables {
        let Some(from) = &table.from else { continue };
        let path = crate::tables::beside(&table.name, from, &sources);
        let content =
            crate::tables::read(&path, &table.kind).map_err(|e| format!("@{}: {}", table.name, e.message))?;
        state.tables.insert(table.name.clone(), content);
    }
    Ok(state)
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
