//! Declarations of streams and lists, and which streams a rule names.

use super::{Lowering, TableInfo};
use crate::Environment;
use crate::ast::{self, Expr, ExprKind, File, Ident, Rule, UnitKind};
use crate::check::show_type;
use crate::diagnostic::Diagnostic;
use crate::ir::{Content, Field, Stream, Table, TableKind, TimeField, TimeFormat};
use crate::types::Type;

const MINUTE: i64 = 60_000_000;
const TIME_NAMES: &[&str] = &["ts", "time", "timestamp", "@timestamp", "event_time", "created_at", "date"];

fn lower_type(ty: &ast::TypeName) -> Type {
    match ty.name.name.as_str() {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "decimal" => Type::Decimal,
        "float" => Type::Float,
        "instant" => Type::Instant,
        "duration" => Type::Duration,
        "enum" => Type::Enum(ty.words.iter().map(|w| w.name.clone()).collect()),
        _ => Type::String,
    }
}

fn names(path: &[Ident]) -> Vec<String> {
    path.iter().map(|p| p.name.clone()).collect()
}

impl Lowering<'_> {
    pub(super) fn declare(&mut self, files: &[File], environment: &Environment) {
        let mut seen: Vec<&Ident> = Vec::new();
        for stream in files.iter().flat_map(|f| &f.streams) {
            if let Some(first) = seen.iter().find(|s| s.name == stream.name.name) {
                let first = first.span;
                self.twice(&stream.name, first);
                continue;
            }
            seen.push(&stream.name);
            if self.has_error_in(stream.span) {
                self.broken.push(self.streams.len());
            }
            let lowered = self.declare_stream(stream);
            self.streams.push(lowered);
        }
        for stream in &environment.streams {
            if !self.streams.iter().any(|s| s.name == stream.name) {
                self.streams.push(stream.clone());
            }
        }
        let mut seen: Vec<&Ident> = Vec::new();
        for list in files.iter().flat_map(|f| &f.lists) {
            if let Some(first) = seen.iter().find(|s| s.name == list.name.name) {
                let first = first.span;
                self.twice(&list.name, first);
                continue;
            }
            seen.push(&list.name);
            let ty = lower_type(&list.ty);
            let mut items = Vec::new();
            for item in &list.items {
                let words = matches!(ty, Type::Enum(_));
                if let Ok(value) = self.fold(item, words)
                    && let Ok(value) = self.coerce(value, &ty, item)
                {
                    items.push(value);
                }
            }
            let list = Table {
                name: list.name.name.clone(),
                kind: TableKind::List { item: ty },
                from: list.from.clone(),
                content: Content::Items(items),
            };
            self.tables.push(TableInfo { table: list, typed: true });
        }
        for (name, ty) in &environment.lists {
            if !self.tables.iter().any(|t| t.table.name == *name) {
                let typed = ty.is_some();
                let ty = ty.clone().unwrap_or(Type::String);
                let table = Table {
                    name: name.clone(),
                    kind: TableKind::List { item: ty },
                    from: None,
                    content: Content::Items(Vec::new()),
                };
                self.tables.push(TableInfo { table, typed });
            }
        }
        for (index, stream) in files.iter().flat_map(|f| &f.streams).enumerate() {
            if let Some(filter) = &stream.topic_filter
                && let Some(at) = self.streams.iter().position(|s| s.name == stream.name.name)
                && at <= index
                && !self.broken.contains(&at)
            {
                let lowered = super::rule::topic_filter(self, at, filter);
                if let Some(s) = self.streams.get_mut(at) {
                    s.topic_filter = lowered;
                }
            }
        }
    }

    fn declare_stream(&mut self, stream: &ast::Stream) -> Stream {
        let mut fields: Vec<Field> = Vec::new();
        for field in &stream.fields {
            let path = names(&field.path);
            if fields.iter().any(|f| f.path == path)
                && let Some(last) = field.path.last()
            {
                let name = Ident { name: path.join("."), ..last.clone() };
                self.twice(&name, stream.name.span);
                continue;
            }
            fields.push(Field {
                path,
                ty: lower_type(&field.ty),
                nullable: field.ty.optional,
                mask: field.mask,
            });
        }
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
        let time = match &stream.time {
            Some(time) => TimeField {
                path: names(&time.path),
                format: time.format.clone(),
                zone: time.zone.as_ref().map(|(zone, _)| zone.clone()),
                in_order: time.in_order,
            },
            None => {
                let named: Vec<&Field> =
                    fields.iter().filter(|f| TIME_NAMES.contains(&f.path.join(".").as_str())).collect();
                let path = match named.as_slice() {
                    [only] => only.path.clone(),
                    _ => vec!["ts".to_owned()],
                };
                TimeField { path, format: TimeFormat::Auto, zone: None, in_order: false }
            }
        };
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
pub(crate) fn rule_streams(rule: &Rule) -> Vec<&Ident> {
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
    for (_, e) in &rule.emit {
        windows(e, &mut out);
    }
    out
}
