//! What readers see of the rules and streams without asking the matcher.

use super::core::{ActiveRule, Core, Origin, Quarantine};
use super::matcher::etag;
use pattern_dsl::ir::Mode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rules and streams at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) rules: BTreeMap<String, ActiveRule>,
    /// Stream -> topic.
    pub(crate) streams: BTreeMap<String, String>,
}

impl View {
    pub(crate) fn of(core: &Core) -> Self {
        Self { rules: core.rules().clone(), streams: core.stream_topics() }
    }

    /// What several tasks with the same rules have: of a rule its newest revision, and one that a task has put aside as that.
    pub(crate) fn of_tasks(views: &[Arc<Self>]) -> Arc<Self> {
        let mut known = views.iter().filter(|view| !view.streams.is_empty() || !view.rules.is_empty());
        let Some(first) = known.next() else { return Arc::default() };
        let mut all = first.clone();
        for other in known {
            for (id, rule) in &other.rules {
                let is_other = |shown: &ActiveRule| {
                    let order = |active: &ActiveRule| (active.revision, active.quarantine.is_some());
                    order(rule) > order(shown)
                };
                if all.rules.get(id).is_none_or(is_other) {
                    Arc::make_mut(&mut all).rules.insert(id.clone(), rule.clone());
                }
            }
        }
        all
    }

    /// A rule as `GET /v1/rules/{id}` shows it, with its ETag.
    pub(crate) fn rule(&self, id: &str) -> Option<(Value, String)> {
        let active = self.rules.get(id)?;
        let mut shown = self.summary(id, active);
        shown["source"] = json!(active.text);
        Some((shown, etag(active)))
    }

    /// Rules that were put aside, and why.
    pub(crate) fn quarantined(&self) -> BTreeMap<&str, Value> {
        let rules = self.rules.iter();
        rules
            .filter_map(|(name, active)| Some((name.as_str(), quarantine(active.quarantine.as_ref()?))))
            .collect()
    }

    /// A rule as lists show it.
    pub(crate) fn summary(&self, id: &str, active: &ActiveRule) -> Value {
        let rule = &active.rule;
        json!({
            "id": id,
            "revision": active.revision,
            "mode": mode(rule.mode),
            "state": state(active),
            "quarantine": active.quarantine.as_ref().map(quarantine),
            "origin": if active.origin == Origin::Folder { "folder" } else { "api" },
            "etag": etag(active),
            "warming_until": active.warm_at.map(super::rfc3339),
            "effective_from": active.effective_from.map(super::rfc3339),
            "recorded": super::rfc3339(active.recorded),
            "title": rule.title, "owner": rule.owner, "tags": rule.tags,
            "streams": active.streams,
        })
    }
}

fn state(active: &ActiveRule) -> &'static str {
    match (&active.quarantine, active.rule.mode) {
        (Some(_), _) => "quarantined",
        (None, Mode::Off) => "off",
        (None, _) => "active",
    }
}

fn quarantine(Quarantine { why, since }: &Quarantine) -> Value {
    json!({"why": why, "since": super::rfc3339(*since)})
}

/// The language's word.
pub(crate) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Live => "live",
        Mode::Shadow => "shadow",
        Mode::Off => "off",
    }
}
