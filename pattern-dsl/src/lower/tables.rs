//! Lists and lookups: their declarations, what may stand behind `@`, and the content a test gives them.

use super::streams::{lower_fields, lower_type};
use super::{Fail, Lowered, Lowering, TableInfo};
use crate::Environment;
use crate::ast::{self, Expr, ExprKind, File, Ident};
use crate::check::show_type;
use crate::diagnostic::Diagnostic;
use crate::ir::{Content, Table, TableKind};
use crate::types::{Literal, Type};

/// What a table of unknown kind is taken for at its first use.
pub(super) enum Use {
    /// `x in @name`.
    List { item: Option<Type> },
    /// `x in @name[key]`.
    KeyedList { key: Option<Type>, item: Option<Type> },
    /// `@name[key].column`.
    Lookup,
}

fn plain(ty: Option<Type>) -> Type {
    match ty {
        Some(Type::Enum(_)) | None => Type::String,
        Some(other) => other,
    }
}

/// How a table of this kind is read.
pub(super) fn usage(table: &Table) -> String {
    let name = &table.name;
    match &table.kind {
        TableKind::List { .. } => format!("`@{name}` is a list that only `x in @{name}` reads"),
        TableKind::KeyedList { key_name, .. } => {
            format!("`@{name}` is a list by key that only `x in @{name}[{key_name}]` reads")
        }
        TableKind::Lookup { key_name, fields, .. } => {
            let column = fields.first().map_or_else(|| "column".to_owned(), |f| f.path.join("."));
            format!("`@{name}` is a lookup: `@{name}[{key_name}].{column}`")
        }
    }
}

impl Lowering<'_> {
    pub(super) fn declare_tables(&mut self, files: &[File], environment: &Environment) {
        let mut seen: Vec<&Ident> = Vec::new();
        for file in files {
            for list in &file.lists {
                if self.first_of_its_name(&mut seen, &list.name) {
                    let table = self.declare_list(list);
                    self.tables.push(TableInfo { table, typed: true });
                }
            }
            for lookup in &file.lookups {
                if self.first_of_its_name(&mut seen, &lookup.name) {
                    let table = self.declare_lookup(lookup);
                    self.tables.push(TableInfo { table, typed: true });
                }
            }
        }
        for (name, kind) in &environment.tables {
            if !self.tables.iter().any(|t| t.table.name == *name) {
                let typed = kind.is_some();
                let kind = kind.clone().unwrap_or(TableKind::List { item: Type::String });
                let content = match kind {
                    TableKind::List { .. } => Content::Items(Vec::new()),
                    _ => Content::ByKey(Vec::new()),
                };
                let table = Table { name: name.clone(), kind, from: None, content };
                self.tables.push(TableInfo { table, typed });
            }
        }
    }

    /// Lists and lookups share their names.
    fn first_of_its_name<'f>(&mut self, seen: &mut Vec<&'f Ident>, name: &'f Ident) -> bool {
        if let Some(first) = seen.iter().find(|s| s.name == name.name) {
            let first = first.span;
            self.twice(name, first);
            return false;
        }
        seen.push(name);
        true
    }

    fn declare_list(&mut self, list: &ast::List) -> Table {
        let item = lower_type(&list.ty);
        let mut items = Vec::new();
        for e in &list.items {
            if let Ok(value) = self.item(e, &item) {
                items.push(value);
            }
        }
        let (kind, content) = match &list.by {
            Some((name, ty)) => {
                let kind = TableKind::KeyedList { key_name: name.name.clone(), key: lower_type(ty), item };
                (kind, Content::ByKey(Vec::new()))
            }
            None => (TableKind::List { item }, Content::Items(items)),
        };
        Table { name: list.name.name.clone(), kind, from: list.from.clone(), content }
    }

    fn declare_lookup(&mut self, lookup: &ast::Lookup) -> Table {
        let fields = lower_fields(self, &lookup.fields, lookup.name.span);
        for field in &lookup.fields {
            if let [first, second, ..] = field.path.as_slice() {
                let message = format!("expected a column, found `{}.{}`", first.name, second.name);
                self.report(Diagnostic::error("E101", first.span, message).help("columns have one name"));
            }
        }
        let key = lookup.key_type.as_ref().map_or(Type::String, lower_type);
        Table {
            name: lookup.name.name.clone(),
            kind: TableKind::Lookup { key_name: lookup.key.name.clone(), key, fields },
            from: lookup.from.clone(),
            content: Content::ByKey(Vec::new()),
        }
    }

    fn item(&mut self, e: &Expr, ty: &Type) -> Lowered<Literal> {
        let value = self.fold(e, matches!(ty, Type::Enum(_)))?;
        self.coerce(value, ty, e)
    }

    /// A table by name, or E208. A table of unknown kind takes that of its first use.
    pub(super) fn table(&mut self, name: &Ident, used: Use) -> Lowered<usize> {
        let Some(index) = self.tables.iter().position(|t| t.table.name == name.name) else {
            let names: Vec<&str> = self.tables.iter().map(|t| t.table.name.as_str()).collect();
            let (what, help) = match used {
                Use::List { .. } => {
                    ("list", format!("`list {}: string from \"{}.txt\"`", name.name, name.name))
                }
                Use::KeyedList { .. } => ("list", format!("`list {} by key: string: string`", name.name)),
                Use::Lookup => ("lookup", format!("`lookup {} by key {{ column: string }}`", name.name)),
            };
            let diagnostic = Diagnostic::error("E208", name.span, format!("no {what} `@{}`", name.name))
                .nearest(&name.name, names)
                .or_help(format!("declare it: {help}"));
            return Err(self.report(diagnostic));
        };
        let info = self.tables.get_mut(index).ok_or(Fail)?;
        if !info.typed {
            info.typed = true;
            match used {
                Use::List { item } => info.table.kind = TableKind::List { item: plain(item) },
                Use::KeyedList { key, item } => {
                    let key_name = "key".to_owned();
                    info.table.kind = TableKind::KeyedList { key_name, key: plain(key), item: plain(item) };
                    info.table.content = Content::ByKey(Vec::new());
                }
                Use::Lookup => {
                    let help = format!("declare it: `lookup {} by key {{ column: string }}`", name.name);
                    let message = format!("no lookup `@{}`", name.name);
                    return Err(self.report(Diagnostic::error("E208", name.span, message).help(help)));
                }
            }
        }
        Ok(index)
    }

    /// `set @x = value` of a test.
    pub(super) fn content(&mut self, name: &Ident, value: &Expr) -> Lowered<(usize, Content)> {
        let used = match &value.kind {
            ExprKind::Object(pairs) => match pairs.first().map(|(_, v)| &v.kind) {
                Some(ExprKind::Object(_)) => Use::Lookup,
                _ => Use::KeyedList { key: None, item: None },
            },
            _ => Use::List { item: None },
        };
        let index = self.table(name, used)?;
        let table = self.tables.get(index).map(|t| t.table.clone()).ok_or(Fail)?;
        let content = match (&table.kind, &value.kind) {
            (TableKind::List { item }, ExprKind::List(items)) => {
                let values: Lowered<Vec<Literal>> = items.iter().map(|e| self.item(e, item)).collect();
                Content::Items(values?)
            }
            (TableKind::KeyedList { key, item, .. }, ExprKind::Object(pairs)) => {
                let mut out = Vec::new();
                for (name, list) in pairs {
                    let ExprKind::List(items) = &list.kind else {
                        return Err(self.wrong_content(&table, list));
                    };
                    let key = self.table_key(name, key)?;
                    let values: Lowered<Vec<Literal>> = items.iter().map(|e| self.item(e, item)).collect();
                    out.push((key, values?));
                }
                Content::ByKey(out)
            }
            (TableKind::Lookup { key, fields, .. }, ExprKind::Object(pairs)) => {
                let mut out = Vec::new();
                for (name, row) in pairs {
                    let ExprKind::Object(columns) = &row.kind else {
                        return Err(self.wrong_content(&table, row));
                    };
                    let key = self.table_key(name, key)?;
                    let mut values = vec![Literal::Null; fields.len()];
                    for (column, e) in columns {
                        let found = fields.iter().position(|f| f.path.join(".") == column.name);
                        let Some(at) = found else { return Err(self.no_column(&table, column)) };
                        if let (Some(slot), Some(field)) = (values.get_mut(at), fields.get(at)) {
                            *slot = self.item(e, &field.ty)?;
                        }
                    }
                    out.push((key, values));
                }
                Content::ByKey(out)
            }
            _ => return Err(self.wrong_content(&table, value)),
        };
        Ok((index, content))
    }

    fn wrong_content(&mut self, table: &Table, e: &Expr) -> Fail {
        let text = self.slice(e.span).to_owned();
        let name = &table.name;
        let (what, help) = match &table.kind {
            TableKind::List { .. } => ("a list", format!("`set @{name} = [a, b]`")),
            TableKind::KeyedList { .. } => ("lists by key", format!("`set @{name} = {{ \"key\": [a, b] }}`")),
            TableKind::Lookup { fields, .. } => {
                let column = fields.first().map_or_else(|| "column".to_owned(), |f| f.path.join("."));
                ("rows by key", format!("`set @{name} = {{ \"key\": {{ {column}: .. }} }}`"))
            }
        };
        self.report(Diagnostic::error("E201", e.span, format!("expected {what}, found `{text}`")).help(help))
    }

    /// The key of a row: a name or string, read as the key's type.
    fn table_key(&mut self, name: &Ident, ty: &Type) -> Lowered<Literal> {
        let text = &name.name;
        let value = match ty {
            Type::String | Type::Enum(_) => Some(Literal::String(text.clone())),
            Type::Int => text.parse().ok().map(Literal::Int),
            Type::Decimal => crate::decimal::Decimal::parse(text).map(Literal::Decimal),
            Type::Bool => text.parse().ok().map(Literal::Bool),
            Type::Ip => text.parse().ok().map(Literal::Ip),
            Type::Instant => crate::instant::parse_instant(text).map(Literal::Instant),
            _ => None,
        };
        match (value, ty) {
            (Some(_), Type::Enum(words)) if !words.contains(text) => {
                Err(self.not_a_word(text, words, name.span))
            }
            (Some(value), _) => Ok(value),
            (None, _) => {
                let message = format!("expected {} as key, found `{text}`", show_type(ty));
                let help = format!("a key of type {}", show_type(ty));
                Err(self.report(Diagnostic::error("E201", name.span, message).help(help)))
            }
        }
    }

    /// E204 for a column.
    pub(super) fn no_column(&mut self, table: &Table, column: &Ident) -> Fail {
        let TableKind::Lookup { fields, .. } = &table.kind else {
            let message = format!("`@{}` has no columns", table.name);
            return self.report(Diagnostic::error("E204", column.span, message).help(usage(table)));
        };
        let message = format!("lookup `@{}` has no column `{}`", table.name, column.name);
        let known: Vec<String> = fields.iter().map(|f| f.path.join(".")).collect();
        let diagnostic = Diagnostic::error("E204", column.span, message)
            .nearest(&column.name, known.iter().map(String::as_str))
            .or_help(format!("it has `{}`", known.join("`, `")));
        self.report(diagnostic)
    }
}
