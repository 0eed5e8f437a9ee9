//! Every sentence of `grammar.ebnf` parses: random ones are made from the file itself, and reach all of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pattern_dsl::{Diagnostic, SourceText, format, parse, render};

const GRAMMAR: &str = include_str!("../../grammar.ebnf");

/// Refusals of what has the right form.
const MEANINGLESS: &[&str] = &[
    "E105", "E106", "E107", "E117", "E118", "E119", "E325", "E331", "E332", "E333", "E334", "E335", "E336",
    "E390",
];

/// Has the right form.
fn meaningless(found: &Diagnostic) -> bool {
    MEANINGLESS.contains(&found.code) || found.message.starts_with("too many events")
}

/// A sentence this long is brought to its end.
const WORDS: usize = 80;

/// Right side of a production. Choices and what may be left out have numbers, to count what was taken.
enum Node {
    Word(String),
    Token,
    Of(String),
    All(Vec<Node>),
    One(usize, Vec<Node>),
    Maybe(usize, Box<Node>),
    Many(usize, Box<Node>),
}

/// Reads the grammar file.
struct Reader {
    tokens: Vec<String>,
    at: usize,
    /// How many ways each choice has.
    choices: Vec<usize>,
}

impl Reader {
    fn tokens(text: &str) -> Vec<String> {
        let mut tokens = Vec::new();
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '(' if rest.starts_with("(*") => {
                    rest = rest.split_once("*)").unwrap().1.trim_start();
                    continue;
                }
                '"' => rest[1..].find('"').unwrap() + 2,
                '/' => rest.find("/ ;").unwrap() + 1,
                c if c.is_alphanumeric() => {
                    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
                }
                _ => 1,
            };
            tokens.push(rest[..length].to_owned());
            rest = rest[length..].trim_start();
        }
        tokens
    }

    fn next(&mut self) -> String {
        self.at += 1;
        self.tokens[self.at - 1].clone()
    }

    fn choice(&mut self, ways: usize) -> usize {
        self.choices.push(ways);
        self.choices.len() - 1
    }

    fn alternatives(&mut self, close: &str) -> Node {
        let mut found = vec![self.sequence()];
        loop {
            match self.next().as_str() {
                "|" => found.push(self.sequence()),
                end => {
                    assert_eq!(end, close);
                    break;
                }
            }
        }
        if found.len() == 1 { found.remove(0) } else { Node::One(self.choice(found.len()), found) }
    }

    fn sequence(&mut self) -> Node {
        let mut parts = Vec::new();
        while !matches!(self.tokens[self.at].as_str(), "|" | ";" | ")" | "]" | "}") {
            let token = self.next();
            parts.push(match token.as_str() {
                "(" => self.alternatives(")"),
                "[" => Node::Maybe(self.choice(2), Box::new(self.alternatives("]"))),
                "{" => Node::Many(self.choice(2), Box::new(self.alternatives("}"))),
                word if word.starts_with('"') => Node::Word(word.trim_matches('"').to_owned()),
                regex if regex.starts_with('/') => Node::Token,
                name => Node::Of(name.to_owned()),
            });
        }
        Node::All(parts)
    }
}

struct Grammar {
    productions: BTreeMap<String, Node>,
    /// Fewest levels of productions below each.
    depths: BTreeMap<String, usize>,
    choices: Vec<usize>,
}

impl Grammar {
    fn read() -> Self {
        let mut reader = Reader { tokens: Reader::tokens(GRAMMAR), at: 0, choices: Vec::new() };
        let mut productions = BTreeMap::new();
        while reader.at < reader.tokens.len() {
            let name = reader.next();
            assert_eq!(reader.next(), "=", "after {name}");
            let node = reader.alternatives(";");
            assert!(productions.insert(name.clone(), node).is_none(), "{name} twice");
        }
        let mut grammar = Self { productions, depths: BTreeMap::new(), choices: reader.choices };
        loop {
            let found: Vec<(String, usize)> = grammar
                .productions
                .iter()
                .filter(|(name, _)| !grammar.depths.contains_key(*name))
                .filter_map(|(name, node)| Some((name.clone(), grammar.depth(node)? + 1)))
                .collect();
            if found.is_empty() {
                break;
            }
            grammar.depths.extend(found);
        }
        assert_eq!(grammar.depths.len(), grammar.productions.len(), "a production has no end");
        grammar
    }

    fn depth(&self, node: &Node) -> Option<usize> {
        match node {
            Node::Word(_) | Node::Token | Node::Maybe(..) | Node::Many(..) => Some(0),
            Node::Of(name) => self.depths.get(name).copied(),
            Node::All(parts) => {
                parts.iter().map(|part| self.depth(part)).collect::<Option<Vec<_>>>()?.into_iter().max()
            }
            Node::One(_, parts) => parts.iter().filter_map(|part| self.depth(part)).min(),
        }
    }
}

/// What was taken, of productions and of choices.
#[derive(Default)]
struct Hits {
    productions: BTreeMap<String, usize>,
    choices: BTreeMap<(usize, usize), usize>,
}

struct Writer<'a> {
    grammar: &'a Grammar,
    hits: &'a mut Hits,
    random: u64,
    words: usize,
    out: String,
}

impl Writer<'_> {
    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as usize % below
    }

    fn word(&mut self, word: &str) {
        self.words += 1;
        let gap = match self.random(24) {
            0 => " # and then\n",
            1 | 2 => "\n",
            _ => " ",
        };
        self.out.push_str(gap);
        self.out.push_str(word);
    }

    /// One of the less taken of these ways.
    fn choose(&mut self, choice: usize, ways: &[usize]) -> usize {
        let (a, b) = (ways[self.random(ways.len())], ways[self.random(ways.len())]);
        let taken = |way: usize| self.hits.choices.get(&(choice, way)).copied().unwrap_or(0);
        let way = if taken(a) <= taken(b) { a } else { b };
        // What there was no other way than does not count, or else the others would be taken too often.
        *self.hits.choices.entry((choice, way)).or_default() += usize::from(ways.len() > 1);
        way
    }

    fn write(&mut self, node: &Node, left: usize) {
        match node {
            Node::Word(word) => self.word(word),
            Node::Token => unreachable!("tokens stand alone"),
            Node::Of(name) => self.production(name, left),
            Node::All(parts) => parts.iter().for_each(|part| self.write(part, left)),
            Node::One(number, parts) => {
                let depth = |at: &usize| self.grammar.depth(&parts[*at]).unwrap();
                let mut fits: Vec<usize> = (0..parts.len()).filter(|at| depth(at) < left).collect();
                if fits.is_empty() {
                    fits.extend((0..parts.len()).min_by_key(depth));
                }
                let way = self.choose(*number, &fits);
                self.write(&parts[way], left);
            }
            Node::Maybe(number, inner) => {
                let ways: &[usize] = if left > 0 { &[0, 1] } else { &[0] };
                if self.choose(*number, ways) == 1 {
                    self.write(inner, left - 1);
                }
            }
            Node::Many(number, inner) => {
                let mut count = 0;
                loop {
                    let more = left > 0 && self.words <= WORDS && count < 4;
                    let ways: &[usize] = if more { &[0, 1] } else { &[0] };
                    if self.choose(*number, ways) == 0 {
                        return;
                    }
                    self.write(inner, left - 1);
                    count += 1;
                }
            }
        }
    }

    fn production(&mut self, name: &str, left: usize) {
        *self.hits.productions.entry(name.to_owned()).or_default() += 1;
        // Long enough: the shortest way out.
        let left = if self.words > WORDS { 0 } else { left };
        let tokens: &[&str] = match name {
            "name" => &["a", "b", "login", "user_id", "_x1", "`user-agent`", "`if`", "Amount"],
            "dur" => &["5m", "1h30m", "250ms", "10us", "30d", "0s"],
            "int" => &["0", "1", "2", "3", "1_000"],
            "number" => &["0", "7", "1_000", "2.50", "1e3", "1.5e-2", "0.1e+2"],
            "str" => &[r#""""#, r#""text""#, r#""a \"b\" \\ \n\t\u{e9}""#, r##"r"^\d+#""##, "\"#\""],
            "date" => &[r#""2026-03-01T00:00:00Z""#, r#""2026-03-01T12:30:00.5+02:00""#],
            "time_pattern" => &[r#""%d/%m/%Y %H:%M:%S""#],
            _ => {
                let grammar = self.grammar;
                return self.write(&grammar.productions[name], left.saturating_sub(1));
            }
        };
        let token = tokens[self.random(tokens.len())];
        self.word(token);
    }
}

#[test]
fn every_sentence_of_the_grammar_parses() {
    let grammar = Grammar::read();
    let mut hits = Hits::default();
    for round in 1..=8_000u64 {
        let random = round.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut writer = Writer { grammar: &grammar, hits: &mut hits, random, words: 0, out: String::new() };
        let start = ["declaration", "rule", "match", "clause", "expr", "stream", "test"][writer.random(7)];
        writer.production(start, 24);
        let text = match start {
            "declaration" | "rule" | "stream" => writer.out,
            "match" => format!("rule r {{ {} }}", writer.out),
            "clause" | "test" => format!("rule r {{ {} match {{ a }} }}", writer.out),
            _ => format!("rule r {{ match {{ a where {} }} }}", writer.out),
        };
        let (_, found) = parse(0, &text);
        let sources = [SourceText { name: format!("round {round}"), text: text.clone() }];
        let refused: Vec<_> = found.into_iter().filter(|d| d.is_error() && !meaningless(d)).collect();
        assert!(refused.is_empty(), "{text}\n{}", render(&refused, &sources, false));
        if let Ok(once) = format(&text) {
            assert_eq!(format(&once).ok().as_ref(), Some(&once), "round {round}: {text}");
        }
    }
    let mut shown = String::new();
    for (name, count) in &hits.productions {
        writeln!(shown, "{count:>8} {name}").unwrap();
    }
    println!("{shown}");
    for name in grammar.productions.keys().filter(|name| *name != "file") {
        assert!(hits.productions.contains_key(name), "{name} was never reached\n{shown}");
    }
    // The only choice of `file` is how many declarations it has.
    let Node::All(file) = &grammar.productions["file"] else { unreachable!() };
    for (choice, ways) in grammar.choices.iter().enumerate() {
        if matches!(file.first(), Some(Node::Many(number, _)) if *number == choice) {
            continue;
        }
        for way in 0..*ways {
            assert!(
                hits.choices.contains_key(&(choice, way)),
                "way {way} of choice {choice} was never taken"
            );
        }
    }
}

/// The other way: words are refused where the grammar has none.
#[test]
fn what_the_grammar_lacks_is_refused() {
    for text in [
        "rule r { match { a then } }",
        "rule r { match { a b } }",
        "rule r { match { then a } }",
        "rule r { match { all { a } } }",
        "rule r { match { at least of { a } } }",
        "rule r { match { a as } }",
        "rule r { match { a until quiet 5m } }",
        "rule r { match { no a where x for 5m } }",
        "rule r { match { no a as b for 5m } }",
        "rule r { match { a cancel on b then c } }",
        "rule r { match { a where } }",
        "rule r { match { a } overlap from }",
        "rule r { match { a } overlap first }",
        "rule r { match { a } cooldown }",
        "rule r { match { a } on timeout }",
        "rule r { match { a } send \"x\" }",
        "rule r { match { a } mode on }",
        "rule r { match { a where x == 1 == 2 } }",
        "rule r { match { a where x is 1 } }",
        "rule r { match { a where @x[1 } }",
        "rule r { match { a where f(x over) } }",
        "list x = [1]",
        "const = 1",
    ] {
        assert!(parse(0, text).1.iter().any(Diagnostic::is_error), "{text}");
    }
}
