//! What `why` found: for people, and as JSON.

use super::json::{Detail, Writer, data, event as event_json};
use super::text::{alert_text, step_text};
use super::{parts_text, shown_text, value_text};
use crate::decode::time::{format_duration, format_rfc3339};
use engine::alert::{EvidenceEvent, Shown};
use engine::value::Value;
use engine::why::{Attempt, Drop, Failure, FailureKind, Verdict, Why};

/// Attempts without an alert that are shown, unless all are asked for.
const SHOWN: usize = 5;
/// Dropped events that are shown.
const SAMPLES: usize = 5;
/// Events of a step that are shown.
const EVENTS: usize = 3;

/// Several lines, ending with a line break.
#[must_use]
pub fn why_text(rule: &str, why: &Why, all: bool) -> String {
    let mut out = format!("rule {rule}, key {}: {}\n", parts_text(&why.key), headline(why));
    if why.events == 0 {
        let near = if why.near.is_empty() {
            String::new()
        } else {
            format!("; the nearest: {}", why.near.iter().map(parts_text).collect::<Vec<_>>().join("  "))
        };
        out.push_str(&format!("  no event has this key{near}\n"));
    }
    for attempt in &why.attempts {
        if let Verdict::Fired(alert) = &attempt.verdict {
            out.push_str(&format!("\nfired, alert {}\n", alert.id));
            let detail = if all { Detail::Full } else { Detail::Brief };
            let text = alert_text(alert, detail, false);
            out.extend(text.lines().map(|line| format!("  {line}\n")));
        }
    }
    let (shown, left) = shown(why, all);
    for attempt in shown {
        out.push_str(&attempt_text(attempt, why));
    }
    out.push_str(&left);
    if why.events > 0 && why.attempts.is_empty() && why.misses == 0 {
        out.push_str(&format!("  nothing began a match: no event of `{}`\n", why.begins.join("` or `")));
    }
    if let (Some(closest), true) = (&why.closest, why.misses > 0) {
        let events = if why.misses == 1 { "1 event".to_owned() } else { format!("{} events", why.misses) };
        let nearest = if why.misses == 1 { "" } else { "; the nearest" };
        let text = failure_text(&Failure { deadline: None, ..closest.clone() }, 0, why);
        out.push_str(&format!("\n{events} could not begin a match{nearest}:\n  {text}\n"));
    }
    out + &dropped_text(why)
}

fn headline(why: &Why) -> String {
    let count =
        |wanted: &dyn Fn(&Verdict) -> bool| why.attempts.iter().filter(|a| wanted(&a.verdict)).count();
    let alerts = count(&|verdict| matches!(verdict, Verdict::Fired(_)));
    let others = why.attempts.len() - alerts;
    let number = |count: usize, word: &str| match count {
        0 => format!("no {word}"),
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    };
    if why.events == 0 {
        return "no events".to_owned();
    }
    format!(
        "{}, {} without one, {}",
        number(alerts, "alert"),
        number(others, "attempt"),
        number(why.events as usize, "event")
    )
}

/// The attempts to show, the furthest first, and what is left out.
fn shown(why: &Why, all: bool) -> (Vec<&Attempt>, String) {
    let mut attempts: Vec<&Attempt> =
        why.attempts.iter().filter(|attempt| !matches!(attempt.verdict, Verdict::Fired(_))).collect();
    if all {
        return (attempts, String::new());
    }
    let matched = |attempt: &Attempt| match &attempt.verdict {
        Verdict::CoolDown(..) | Verdict::Beaten(..) | Verdict::Capped | Verdict::Missed => true,
        Verdict::Stopped(failure, _) => {
            matches!(failure.kind, FailureKind::Having | FailureKind::Unless | FailureKind::Open)
        }
        _ => false,
    };
    let taken = |attempt: &Attempt| attempt.steps.iter().map(|step| step.events.len()).sum::<usize>();
    // Events that an alert used up are part of that alert's story.
    let used = attempts.iter().filter(|attempt| is_used(attempt)).count();
    if used < attempts.len() || why.attempts.len() > attempts.len() {
        attempts.retain(|attempt| !is_used(attempt));
    }
    attempts.sort_by_key(|attempt| {
        (!matched(attempt), std::cmp::Reverse(attempt.steps.len()), std::cmp::Reverse(taken(attempt)))
    });
    let further = attempts.len().saturating_sub(SHOWN);
    attempts.truncate(SHOWN);
    let mut left = String::new();
    if used > 0 {
        let events = if used == 1 {
            "event that could begin a match was"
        } else {
            "events that could begin a match were"
        };
        left.push_str(&format!(
            "\n{used} further {events} used up by an alert or beaten by an earlier one\n"
        ));
    }
    if further > 0 {
        let attempts = if further == 1 { "attempt" } else { "attempts" };
        left.push_str(&format!("\n{further} more {attempts} got no further (--all shows them)\n"));
    }
    (attempts, left)
}

fn is_used(attempt: &Attempt) -> bool {
    matches!(attempt.verdict, Verdict::UsedUp(..) | Verdict::Beaten(..))
}

fn attempt_text(attempt: &Attempt, why: &Why) -> String {
    let open = matches!(&attempt.verdict, Verdict::Stopped(failure, _) if is_open(failure, why));
    let word = match &attempt.verdict {
        Verdict::CoolDown(..) => "silenced",
        Verdict::Stopped(failure, _) if failure.kind == FailureKind::Unless => "silenced",
        _ if open => "still open",
        _ => "did not fire",
    };
    let mut out = format!("\n{word}\n");
    for step in &attempt.steps {
        out.push_str(&step_text(&step.step, &step.stream, &step.events, EVENTS));
    }
    out.push_str(&format!("  -> {}\n", verdict_text(attempt, why)));
    if let (Verdict::Stopped(failure, _), true, Some(now)) = (&attempt.verdict, open, why.now)
        && let Some(deadline) = &failure.deadline
    {
        let (deadline, now) = (format_rfc3339(*deadline), format_rfc3339(now));
        out.push_str(&format!("     open until {deadline}; time stands at {now}\n"));
    }
    out
}

/// One sentence; empty for an alert.
fn verdict_text(attempt: &Attempt, why: &Why) -> String {
    match &attempt.verdict {
        Verdict::Fired(_) => String::new(),
        Verdict::CoolDown(since, at) => format!(
            "a match at {}, but the cool-down of the alert of {} was on: {} had passed",
            format_rfc3339(*at),
            format_rfc3339(*since),
            format_duration(at - since)
        ),
        Verdict::UsedUp(time, first) => {
            format!("used up by the alert of {} that began with {}", format_rfc3339(*time), shown_text(first))
        }
        Verdict::Beaten(time, first) => {
            format!(
                "at {} the earlier match that began with {} was reported instead",
                format_rfc3339(*time),
                shown_text(first)
            )
        }
        Verdict::Stopped(failure, others) => failure_text(failure, *others, why),
        Verdict::Capped => "a match that a limit kept from being looked at or sent".to_owned(),
        Verdict::Missed => "a match that gave no alert: a fault of the matcher, please report it".to_owned(),
    }
}

/// A sentence for each of the attempts without an alert that tell most: those whose events an alert used up, then those that
/// got furthest; where nothing began a match, the test that the nearest event failed.
#[must_use]
pub fn why_sentences(why: &Why, most: usize) -> Vec<String> {
    let mut attempts: Vec<&Attempt> =
        why.attempts.iter().filter(|attempt| !matches!(attempt.verdict, Verdict::Fired(_))).collect();
    attempts.sort_by_key(|attempt| {
        let used = matches!(attempt.verdict, Verdict::UsedUp(..));
        (!used, std::cmp::Reverse(attempt.steps.len()))
    });
    let mut sentences = Vec::new();
    for attempt in attempts.into_iter().take(most) {
        let began = attempt.steps.first().and_then(|step| step.events.first());
        let began = began.map_or_else(String::new, |event| format!("from {}: ", format_rfc3339(event.ts)));
        sentences.push(format!("{began}{}", verdict_text(attempt, why)));
    }
    if let (true, Some(closest)) = (sentences.is_empty(), &why.closest) {
        sentences.push(failure_text(&Failure { deadline: None, ..closest.clone() }, 0, why));
    }
    sentences
}

fn is_open(failure: &Failure, why: &Why) -> bool {
    failure.deadline.zip(why.now).is_some_and(|(deadline, now)| deadline >= now)
}

/// One sentence: what failed, with both values, and what would have sufficed.
fn failure_text(failure: &Failure, others: u64, why: &Why) -> String {
    let (step, test) = (&failure.step, &failure.test);
    let at = failure
        .event
        .as_ref()
        .map(|event| format!("{} at {}", shown_text(&event.id), format_rfc3339(event.ts)));
    let at = at.unwrap_or_else(|| "an event".to_owned());
    let by =
        if failure.event_stream.is_empty() { at.clone() } else { format!("{} {at}", failure.event_stream) };
    let after = match &failure.after {
        Some((name, ts)) => format!(" after `{name}` ({})", format_rfc3339(*ts)),
        None => String::new(),
    };
    let found = shown_text(&failure.found);
    let mut text = match failure.kind {
        FailureKind::Nothing => format!("`{step}`: no `{}` came{after}", failure.stream),
        FailureKind::Few => format!("`{step}`: no further `{}` came", failure.stream),
        FailureKind::TooLate => {
            format!("`{step}`: {by} fits, but too late: `{test}`, and {found} had passed{after}")
        }
        FailureKind::TooEarly => {
            format!("`{step}`: {by} fits, but too early: `{test}`, and {found} had passed{after}")
        }
        FailureKind::Between => format!("`{step}`: not `{test}`{after}: {by} lies between"),
        FailureKind::Where => format!("`{step}`: {}", comparison(failure, &by)),
        FailureKind::Burst => {
            format!("`{step}`: {by} is too late for the burst: `{test}`, and {found} had passed")
        }
        FailureKind::LeftOut => {
            format!("`{step}`: `{test}` may be missing only where its events are not there, and they are")
        }
        FailureKind::Apart => {
            format!("`{step}`: all have events, but not each its own within the bounds")
        }
        FailureKind::Absence if !matches!(failure.limit.value, Value::Null) => {
            format!("`{test}` before `{step}`: {by} was only {found} earlier")
        }
        FailureKind::Absence => format!("`{test}`: broken by {by}"),
        FailureKind::Quiet => format!("`{test}`: broken by {by}"),
        FailureKind::Cancelled => format!("`{test}`: {by}"),
        FailureKind::NoDeadline => format!("`{test}`: never ends, since what it reads is null"),
        FailureKind::Having => comparison(failure, ""),
        FailureKind::Unless if matches!(failure.limit.value, Value::Null) => format!("`{test}` is true"),
        FailureKind::Unless => {
            format!("`{test}` is true: {found} against {}", shown_text(&failure.limit))
        }
        FailureKind::NotActive => "it began while this revision of the rule was not active".to_owned(),
        FailureKind::Open => format!("a match as soon as `{test}` has held to its end"),
    };
    if let Some((taken, min)) = failure.so_far {
        text = format!(
            "`{step}` has {taken} of at least {min}; {}",
            text.trim_start_matches(&format!("`{step}`: "))
        );
    }
    text.push_str(&enough_text(failure));
    if others > 0 {
        text.push_str(&format!("; {others} more failed this test"));
    }
    let closed = failure.deadline.filter(|_| !is_open(failure, why));
    if let (Some(deadline), FailureKind::Nothing | FailureKind::Few) = (closed, failure.kind) {
        text.push_str(&format!(", by {}", format_rfc3339(deadline)));
    }
    text
}

fn comparison(failure: &Failure, by: &str) -> String {
    let of = if by.is_empty() { String::new() } else { format!(" for {by}") };
    let (found, limit) = (&failure.found, &failure.limit);
    let step = if failure.kind == FailureKind::Having { "having " } else { "" };
    let test = format!("`{step}{}`", failure.test);
    match (&found.value, &limit.value) {
        (Value::Null, Value::Null) => format!("{test} is unknown{of}, since a value is null"),
        (Value::Bool(_), Value::Null) if failure.enough.is_none() => {
            format!("{test} is {}{of}", value_text(&found.value))
        }
        (Value::Null, _) | (_, Value::Null) => {
            format!("{test} is unknown{of}: {} against {}", word(found), word(limit))
        }
        _ => format!("{test} is false{of}: {} against {}", shown_text(found), shown_text(limit)),
    }
}

fn word(shown: &Shown) -> String {
    if matches!(shown.value, Value::Null) { "null".to_owned() } else { shown_text(shown) }
}

fn enough_text(failure: &Failure) -> String {
    match &failure.enough {
        Some(("within", value)) if failure.kind == FailureKind::TooLate => {
            format!("; `within {}` would do", shown_text(value))
        }
        Some(("within", value)) => format!("; `until quiet for {}` would do", shown_text(value)),
        Some((word, value)) if failure.kind == FailureKind::Absence => {
            format!("; a duration of {word} {} would do", shown_text(value))
        }
        Some((word, value)) if *word != "equal to" => format!("; {word} {} would do", shown_text(value)),
        _ => String::new(),
    }
}

fn dropped_text(why: &Why) -> String {
    type Is = fn(&Drop) -> bool;
    let mut out = String::new();
    let kinds: [(&str, Is); 5] = [
        ("late", |why| matches!(why, Drop::Late(_))),
        ("with the id of an earlier one", |why| matches!(why, Drop::Duplicate)),
        ("left out by `from .. where`", |why| matches!(why, Drop::Filtered)),
        ("from before the rule was active", |why| matches!(why, Drop::NotActive(_))),
        ("not yet reached by time", |why| matches!(why, Drop::Waiting)),
    ];
    for (word, is) in kinds {
        let own: Vec<_> = why.dropped.iter().filter(|dropped| is(&dropped.why)).collect();
        if own.is_empty() {
            continue;
        }
        let events = if own.len() == 1 { "event" } else { "events" };
        out.push_str(&format!("\n{} {events} of this key {word}\n", own.len()));
        for dropped in own.iter().take(SAMPLES) {
            let mut line = event_line(&dropped.stream, &dropped.event);
            match dropped.why {
                Drop::Late(watermark) => {
                    line.push_str(&format!("  time was at {}", format_rfc3339(watermark)));
                }
                Drop::NotActive(from) => line.push_str(&format!("  active from {}", format_rfc3339(from))),
                Drop::Duplicate | Drop::Filtered | Drop::Waiting => {}
            }
            out.push_str(&format!("  {}\n", line.trim_end()));
        }
        if own.len() > SAMPLES {
            out.push_str(&format!("  and {} more\n", own.len() - SAMPLES));
        }
    }
    if why.null_keys > 0 {
        let (events, more) = if why.null_keys == 1 { ("event", "") } else { ("events", ", ..") };
        let more = if why.null_samples.len() < why.null_keys as usize { more } else { "" };
        let samples = why.null_samples.iter().map(shown_text).collect::<Vec<_>>().join(", ");
        out.push_str(&format!(
            "\n{} {events} of the rule's streams with a null key: {samples}{more}\n",
            why.null_keys
        ));
    }
    out
}

fn event_line(stream: &str, event: &EvidenceEvent) -> String {
    let fields: Vec<_> = event.fields.iter().map(|(n, v)| format!("{n}={}", shown_text(v))).collect();
    format!("{stream} {} {}  {}", shown_text(&event.id), format_rfc3339(event.ts), fields.join(" "))
}

/// One line.
#[must_use]
pub fn why_json(rule: &str, why: &Why) -> String {
    let mut w = Writer::default();
    w.open('{');
    w.text("rule", rule);
    w.text("key", &parts_text(&why.key));
    if let Some(now) = why.now {
        w.text("now", &format_rfc3339(now));
    }
    w.raw("events", &why.events.to_string());
    w.key("attempts");
    w.open('[');
    for attempt in &why.attempts {
        w.item();
        attempt_json(&mut w, attempt, why);
    }
    w.close(']');
    w.raw("misses", &why.misses.to_string());
    if let Some(closest) = &why.closest {
        w.key("closest");
        failure_json(&mut w, &Failure { deadline: None, ..closest.clone() }, 0, why);
    }
    w.key("dropped");
    w.open('[');
    for dropped in &why.dropped {
        w.item();
        w.open('{');
        w.text(
            "why",
            match dropped.why {
                Drop::Late(_) => "late",
                Drop::Duplicate => "duplicate",
                Drop::Filtered => "filtered",
                Drop::NotActive(_) => "not_active",
                Drop::Waiting => "waiting",
            },
        );
        if let Drop::Late(time) | Drop::NotActive(time) = dropped.why {
            w.text("until", &format_rfc3339(time));
        }
        w.key("event");
        event_json(&mut w, &dropped.stream, &dropped.event);
        w.close('}');
    }
    w.close(']');
    w.raw("null_keys", &why.null_keys.to_string());
    if !why.near.is_empty() {
        w.key("near");
        w.open('[');
        for near in &why.near {
            w.item();
            w.string(&parts_text(near));
        }
        w.close(']');
    }
    w.close('}');
    w.out
}

fn attempt_json(w: &mut Writer, attempt: &Attempt, why: &Why) {
    w.open('{');
    let open = matches!(&attempt.verdict, Verdict::Stopped(failure, _) if is_open(failure, why));
    w.text(
        "verdict",
        match &attempt.verdict {
            Verdict::Fired(_) => "fired",
            Verdict::CoolDown(..) => "cooldown",
            Verdict::UsedUp(..) => "used_up",
            Verdict::Beaten(..) => "beaten",
            Verdict::Stopped(..) if open => "open",
            Verdict::Stopped(..) => "stopped",
            Verdict::Capped => "capped",
            Verdict::Missed => "missed",
        },
    );
    w.key("steps");
    w.open('[');
    for step in &attempt.steps {
        w.item();
        w.open('{');
        w.text("step", &step.step);
        w.text("stream", &step.stream);
        w.raw("count", &step.events.len().to_string());
        w.key("events");
        w.open('[');
        for event in &step.events {
            w.item();
            event_json(w, &step.stream, event);
        }
        w.close(']');
        w.close('}');
    }
    w.close(']');
    match &attempt.verdict {
        Verdict::Fired(alert) => {
            w.text("alert", &alert.id);
            w.text("time", &format_rfc3339(alert.time));
            w.key("data");
            data(w, alert, Detail::Full);
        }
        Verdict::CoolDown(since, at) => {
            w.text("time", &format_rfc3339(*at));
            w.text("since", &format_rfc3339(*since));
        }
        Verdict::UsedUp(time, first) | Verdict::Beaten(time, first) => {
            w.shown("by", first);
            w.text("time", &format_rfc3339(*time));
        }
        Verdict::Stopped(failure, others) => {
            w.key("failure");
            failure_json(w, failure, *others, why);
        }
        Verdict::Capped | Verdict::Missed => {}
    }
    w.close('}');
}

fn failure_json(w: &mut Writer, failure: &Failure, others: u64, why: &Why) {
    w.open('{');
    w.text("kind", kind_word(failure.kind));
    w.text("step", &failure.step);
    w.text("test", &failure.test);
    w.shown("found", &failure.found);
    w.shown("limit", &failure.limit);
    if let Some((word, value)) = &failure.enough {
        w.key("enough");
        w.open('{');
        w.text("is", word);
        w.shown("value", value);
        w.close('}');
    }
    if let Some(event) = &failure.event {
        w.key("event");
        event_json(w, &failure.event_stream, event);
    }
    if let Some(deadline) = failure.deadline {
        w.text("deadline", &format_rfc3339(deadline));
    }
    w.raw("others", &others.to_string());
    w.text("text", &failure_text(failure, others, why));
    w.close('}');
}

fn kind_word(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Nothing => "nothing",
        FailureKind::Few => "few",
        FailureKind::TooLate => "too_late",
        FailureKind::TooEarly => "too_early",
        FailureKind::Between => "between",
        FailureKind::Where => "where",
        FailureKind::Burst => "burst",
        FailureKind::LeftOut => "left_out",
        FailureKind::Apart => "apart",
        FailureKind::Absence => "absence",
        FailureKind::Quiet => "quiet",
        FailureKind::Cancelled => "cancelled",
        FailureKind::NoDeadline => "no_deadline",
        FailureKind::Having => "having",
        FailureKind::Unless => "unless",
        FailureKind::NotActive => "not_active",
        FailureKind::Open => "open",
    }
}
