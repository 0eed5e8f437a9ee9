//! Declarations of a file: `stream`, `list`, `lookup`, `const`, `def`, `template`, `rule`.

use super::sql::type_meant;
use super::{Parsed, Parser};
use crate::ast::{
    Const, Def, Field, File, Ident, List, Lookup, Param, Path, Stream, Template, Time, TypeName,
};
use crate::diagnostic::{Diagnostic, nearest};
use crate::ir::TimeFormat;
use crate::lex::Kind;

const DECLARATIONS: &[&str] = &["stream", "list", "lookup", "const", "def", "template", "rule"];
const STREAM_CLAUSES: &[&str] = &["topic", "key", "id", "fields", "time", "late", "idle"];

impl Parser<'_> {
    pub(super) fn file(&mut self) -> File {
        let mut file = File::default();
        while *self.kind() != Kind::End {
            let start = self.at;
            if self.declaration(&mut file).is_err() {
                self.recover(start, DECLARATIONS);
                if self.at_sign("}") {
                    self.bump();
                }
            }
        }
        file
    }

    fn declaration(&mut self, file: &mut File) -> Parsed<()> {
        const HELP: &str = "a file holds `stream`, `list`, `lookup`, `const`, `def`, `template` and `rule`";
        let span = self.span();
        let Kind::Name(word) = self.kind().clone() else {
            return Err(self.expected_with("a declaration", HELP));
        };
        match word.as_str() {
            "stream" => file.streams.push(self.stream()?),
            "list" => file.lists.push(self.list()?),
            "lookup" => file.lookups.push(self.lookup()?),
            "const" => {
                self.bump();
                let name = self.name("the name of the const")?;
                self.sign("=")?;
                let value = self.value()?;
                file.consts.push(Const { name, value });
            }
            "def" => file.defs.push(self.def()?),
            "template" => file.templates.push(self.template()?),
            "rule" => file.rules.push(self.rule()?),
            other => {
                let message = format!("expected a declaration, found `{other}`");
                let diagnostic = Diagnostic::error("E101", span, message)
                    .nearest(other, DECLARATIONS.iter().copied())
                    .or_help(HELP);
                self.report(diagnostic);
                return Err(super::Fail);
            }
        }
        Ok(())
    }

    fn def(&mut self) -> Parsed<Def> {
        self.bump();
        let name = self.name("the name of the def")?;
        self.sign("(")?;
        let parameters = self.list_until(")", |p| p.name("a parameter"))?;
        for (at, one) in parameters.iter().enumerate() {
            if parameters.iter().take(at).any(|other| other.name == one.name) {
                self.report(
                    Diagnostic::error("E106", one.span, format!("`{}` is given twice", one.name))
                        .help("keep one"),
                );
            }
        }
        self.sign("=")?;
        let body = self.expr()?;
        Ok(Def { name, parameters, body })
    }

    fn template(&mut self) -> Parsed<Template> {
        let start = self.span();
        self.bump();
        let name = self.name("the name of the template")?;
        self.sign("(")?;
        let parameters = self.list_until(")", Self::param)?;
        let rule = self.body(start, name, None)?;
        Ok(Template { parameters, rule })
    }

    /// `name: type [= expr]`.
    pub(super) fn param(&mut self) -> Parsed<Param> {
        let name = self.name("a parameter")?;
        self.sign(":")?;
        let ty = self.type_name()?;
        let value = if self.eat_sign("=") { Some(self.expr()?) } else { None };
        Ok(Param { name, ty, value })
    }

    fn given_twice(&mut self, seen: &mut Vec<String>, word: &str) {
        if seen.iter().any(|s| s == word) {
            let span = self.span();
            self.report(Diagnostic::error("E106", span, format!("`{word}` is given twice")).help("keep one"));
        }
        seen.push(word.to_owned());
    }

    fn stream(&mut self) -> Parsed<Stream> {
        let start = self.span();
        self.bump();
        let name = self.name("the name of the stream")?;
        let mut stream = Stream {
            name,
            span: start,
            topic: None,
            topic_filter: None,
            key: None,
            id: None,
            dedupe: None,
            fields: Vec::new(),
            time: None,
            late: None,
            idle: None,
        };
        self.sign("{")?;
        let mut seen = Vec::new();
        loop {
            if self.eat_sign("}") {
                stream.span = self.since(start);
                return Ok(stream);
            }
            if *self.kind() == Kind::End || self.at_rule() {
                return Err(self.expected("`}`"));
            }
            let start = self.at;
            if self.stream_clause(&mut stream, &mut seen).is_err() {
                self.recover(start, STREAM_CLAUSES);
            }
        }
    }

    fn stream_clause(&mut self, stream: &mut Stream, seen: &mut Vec<String>) -> Parsed<()> {
        let span = self.span();
        let Kind::Name(word) = self.kind().clone() else {
            return Err(self.expected_with(
                "a clause of the stream or `}`",
                "`topic`, `key`, `id`, `fields`, `time`, `late`, `idle`",
            ));
        };
        if STREAM_CLAUSES.contains(&word.as_str()) {
            self.given_twice(seen, &word);
            self.bump();
        }
        match word.as_str() {
            "topic" => {
                stream.topic = Some(self.string("a topic in quotes")?);
                if self.eat_word("where") {
                    stream.topic_filter = Some(self.expr()?);
                }
            }
            "key" => stream.key = Some(self.path("a field")?),
            "id" => {
                stream.id = Some(self.path("a field")?);
                if self.eat_word("dedupe") {
                    stream.dedupe = Some(self.bound_or_zero()?);
                }
            }
            "fields" => {
                self.sign("{")?;
                stream.fields = self.list_until("}", Self::field)?;
            }
            "time" => stream.time = Some(self.time()?),
            "late" => stream.late = Some(self.bound_or_zero()?),
            "idle" => stream.idle = Some(self.duration()?),
            other => {
                let diagnostic = Diagnostic::error("E103", span, format!("`{other}` is not a clause"))
                    .nearest(other, STREAM_CLAUSES.iter().copied())
                    .or_help("a stream has `topic`, `key`, `id`, `fields`, `time`, `late`, `idle`");
                self.report(diagnostic);
                return Err(super::Fail);
            }
        }
        Ok(())
    }

    /// A duration, or a bare 0.
    fn bound_or_zero(&mut self) -> Parsed<i64> {
        if matches!(self.kind(), Kind::Number(n) if n == "0") {
            self.bump();
            return Ok(0);
        }
        self.duration()
    }

    fn time(&mut self) -> Parsed<Time> {
        let mut path: Path = self.path("the time field")?;
        if path.len() == 1 && path.first().is_some_and(|p| p.name == "record" && !p.quoted) {
            path.clear();
        }
        let mut in_order = self.eat_word("in");
        if in_order {
            self.word("order")?;
        }
        let mut format = TimeFormat::Auto;
        if self.eat_word("as") {
            let span = self.span();
            match self.kind().clone() {
                Kind::Name(word) => {
                    format = match word.as_str() {
                        "rfc3339" => TimeFormat::Rfc3339,
                        "epoch_s" => TimeFormat::EpochSeconds,
                        "epoch_ms" => TimeFormat::EpochMillis,
                        "epoch_us" => TimeFormat::EpochMicros,
                        other => {
                            let formats = ["rfc3339", "epoch_s", "epoch_ms", "epoch_us"];
                            let diagnostic = Diagnostic::error(
                                "E101",
                                span,
                                format!("expected a time format, found `{other}`"),
                            )
                            .nearest(other, formats)
                            .or_help("`rfc3339`, `epoch_s`, `epoch_ms` or `epoch_us`");
                            self.report(diagnostic);
                            TimeFormat::Auto
                        }
                    };
                    self.bump();
                }
                Kind::Text(pattern) => {
                    if !pattern.contains('%') {
                        let message = format!("`{pattern}` is not a pattern of times");
                        self.report(
                            Diagnostic::error("E104", span, message)
                                .help("for example `\"%d/%m/%Y %H:%M:%S\"`"),
                        );
                    }
                    format = TimeFormat::Pattern(pattern);
                    self.bump();
                }
                _ => return Err(self.expected("a time format")),
            }
        }
        if path.is_empty() {
            format = TimeFormat::Record;
        }
        let mut zone = None;
        if self.at_word("zone") && matches!(self.peek(1), Kind::Text(_)) {
            self.bump();
            let span = self.span();
            zone = Some((self.string("a zone in quotes")?, span));
        }
        if !in_order && self.at_word("in") && matches!(self.peek(1), Kind::Name(word) if word == "order") {
            let diagnostic =
                Diagnostic::error("E101", self.span(), "`in order` stands before `as` and `zone`");
            self.report(diagnostic.help("for example `time ts in order as epoch_s`"));
            self.bump();
            self.bump();
            in_order = true;
        }
        Ok(Time { path, in_order, format, zone })
    }

    fn field(&mut self) -> Parsed<Field> {
        let path = self.path("a field")?;
        self.sign(":")?;
        let ty = self.type_name()?;
        let mask = self.eat_word("mask");
        Ok(Field { path, ty, mask })
    }

    fn type_name(&mut self) -> Parsed<TypeName> {
        let name: Ident = self.name("a type")?;
        let mut words = Vec::new();
        let open = self.span();
        if self.at_sign("(") && type_meant(&name.name).is_some() {
            // `varchar(20)`: the name alone is told.
            self.skip_group();
        } else if self.eat_sign("(") {
            words = self.list_until(")", |p| p.name("a word of the enum"))?;
            if name.name != "enum" {
                let message = format!("`{}` takes no words", name.name);
                self.report(Diagnostic::error("E101", open, message).help("only `enum(a, b)` does"));
            }
        }
        let mut of = None;
        let open = self.span();
        if self.eat_sign("<") {
            of = Some(Box::new(self.nested(Self::type_name)?));
            self.sign(">")?;
            if name.name != "list" {
                let message = format!("`{}` takes no type", name.name);
                self.report(Diagnostic::error("E101", open, message).help("only `list<string>` does"));
            }
        }
        const TYPES: &[&str] = &[
            "bool", "int", "decimal", "float", "string", "instant", "duration", "enum", "ip", "geo", "list",
        ];
        match name.name.as_str() {
            "enum" if words.is_empty() => {
                let span = name.span;
                self.report(
                    Diagnostic::error("E101", span, "expected words after `enum`").help("`enum(pos, ecom)`"),
                );
            }
            "list" if of.is_none() => {
                let span = name.span;
                self.report(
                    Diagnostic::error("E101", span, "expected a type after `list`").help("`list<string>`"),
                );
            }
            n if TYPES.contains(&n) => {}
            n => {
                let known = type_meant(n).or_else(|| nearest(n, TYPES.iter().copied()));
                let help = match known {
                    Some(best) => format!("did you mean `{best}`?"),
                    None => format!("one of `{}`", TYPES.join("`, `")),
                };
                self.report(
                    Diagnostic::error("E101", name.span, format!("expected a type, found `{n}`")).help(help),
                );
            }
        }
        let optional = self.eat_sign("?");
        Ok(TypeName { name, words, of, optional })
    }

    fn list(&mut self) -> Parsed<List> {
        self.bump();
        let name = self.name("the name of the list")?;
        let mut by = None;
        if self.eat_word("by") {
            let key = self.name("the name of the key")?;
            self.sign(":")?;
            by = Some((key, self.type_name()?));
        }
        self.sign(":")?;
        let ty = self.type_name()?;
        let mut from = None;
        let mut items = Vec::new();
        if self.eat_word("from") {
            from = Some(self.string("a file in quotes")?);
        } else if self.at_sign("=") {
            let span = self.span();
            self.bump();
            self.sign("[")?;
            items = self.list_until("]", Self::value)?;
            if by.is_some() {
                self.report(
                    Diagnostic::error("E101", span, "expected `from`, found `=`: the items stand by key")
                        .help("`from \"file.csv\"`; in a test: `set @name = { \"key\": [..] }`"),
                );
            }
        }
        Ok(List { name, by, ty, from, items })
    }

    fn lookup(&mut self) -> Parsed<Lookup> {
        self.bump();
        let name = self.name("the name of the lookup")?;
        self.word("by")?;
        let key = self.name("the name of the key")?;
        let key_type = if self.eat_sign(":") { Some(self.type_name()?) } else { None };
        self.sign("{")?;
        let fields = self.list_until("}", Self::field)?;
        let from = if self.eat_word("from") { Some(self.string("a file in quotes")?) } else { None };
        Ok(Lookup { name, key, key_type, fields, from })
    }
}
