//! Savepoints of the embedded service. Its decisions are in its store, so a savepoint is of use to that store alone, or a copy.

use super::recover::{Stand, new_core, own_name};
use super::snapshot::{Place, Savepoint, export};
use crate::config::Config;
use crate::store::Store;
use std::path::Path;

/// Writes the newest snapshot into a file. Its name, if there is one.
pub(crate) fn export_to(config: &Config, place: &Place, file: &Path) -> Result<Option<String>, String> {
    let fits = |mark: &str| serde_json::from_str::<Stand>(mark).ok().map(|_| Vec::new());
    export(&place.within(&own_name(config)), fits, file).map_err(|e| e.to_string())
}

/// Has the service, which is stopped, go on from a savepoint at its next start. What was put.
pub(crate) fn import(config: &Config, place: &Place, savepoint: &Savepoint) -> Result<String, String> {
    let Savepoint { snapshot, .. } = savepoint;
    let stand: Stand = serde_json::from_str(&snapshot.mark)
        .map_err(|_| "it is of a service that reads Kafka: import it with --kafka and a --group")?;
    let text = |error: crate::store::StoreError| error.to_string();
    let store = Store::open_known(&config.store.data).map_err(text)?;
    let (begun, head) = (stand.head.next_seq, store.head().map_err(text)?);
    if begun > head.next_seq || store.print_before(begun).map_err(text)? != stand.print {
        return Err(format!(
            "it is of another history than that of the store in {}",
            config.store.data.display()
        ));
    }
    let decisions = store.decisions_before(begun).map_err(text)?;
    new_core(config).rebuild(&decisions, snapshot).map_err(|why| format!("it does not fit: {why}"))?;
    savepoint.put(&place.within(&own_name(config)), begun, &snapshot.mark).map_err(|e| e.to_string())
}
