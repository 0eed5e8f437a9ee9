//! The one layout: it keeps the meaning and the comments, and does nothing the second time.

use std::fs;
use std::path::{Path, PathBuf};

use pattern_dsl::{Diagnostic, format, parse};

/// The tree without its spans.
fn tree(text: &str) -> String {
    let (file, found) = parse(0, text);
    assert!(!found.iter().any(Diagnostic::is_error), "{found:?}\n{text}");
    let shown = format!("{file:?}");
    let mut out = String::new();
    let mut rest = shown.as_str();
    while let Some(at) = rest.find("Span { ") {
        out.push_str(&rest[..at]);
        rest = rest[at..].split_once('}').unwrap().1;
    }
    out + rest
}

/// Comments in order. Strings and quoted names may hold a `#`.
fn comments(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let (mut quote, mut escaped) = (None, false);
        for (at, c) in line.char_indices() {
            match (quote, c) {
                (None, '#') => {
                    found.push(line[at..].trim().to_owned());
                    break;
                }
                (None, '"' | '`') => {
                    let raw = line[..at].ends_with('r')
                        && !line[..at - 1].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
                    quote = Some((c, raw));
                }
                (Some(_), _) if escaped => escaped = false,
                (Some((_, false)), '\\') => escaped = true,
                (Some((open, _)), c) if c == open => quote = None,
                _ => {}
            }
        }
    }
    found
}

fn check(name: &str, text: &str) -> String {
    let once = format(text).unwrap_or_else(|found| panic!("{name}: {found:?}"));
    assert_eq!(tree(text), tree(&once), "{name}: another tree\n{once}");
    assert_eq!(comments(text), comments(&once), "{name}: other comments\n{once}");
    let twice = format(&once).unwrap();
    let other = once.lines().zip(twice.lines()).position(|(a, b)| a != b);
    let near = |text: &str| {
        text.lines().skip(other.unwrap_or(0).saturating_sub(3)).take(8).collect::<Vec<_>>().join("\n")
    };
    assert!(once == twice, "{name}: not idempotent\n{}\n---\n{}", near(&once), near(&twice));
    once
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "cep") {
            found.push(path);
        }
    }
}

/// The fenced blocks of a document.
fn blocks(document: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(document).unwrap();
    let name = |at: usize| format!("{} block {at}", document.display());
    // Between fences: outside, inside, outside, ..; the first line inside says what the block is.
    let inside = text.split("\n```").skip(1).step_by(2).enumerate();
    inside.filter_map(|(at, block)| Some((name(at), block.split_once('\n')?.1.to_owned()))).collect()
}

/// Every rule text at hand that parses.
fn corpus() -> Vec<(String, String)> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["tests/golden", "tests/data", "../rules"] {
        files(&home.join(folder), &mut found);
    }
    found.sort();
    let texts = found.into_iter().map(|p| (p.display().to_string(), fs::read_to_string(p).unwrap()));
    let examples = ["LANGUAGE.md", "README.md", "docs/tutorial.md", "docs/coming-from.md"];
    let texts = texts.chain(examples.into_iter().flat_map(|name| blocks(&home.join("..").join(name))));
    let good: Vec<_> = texts.filter(|(_, text)| !parse(0, text).1.iter().any(Diagnostic::is_error)).collect();
    assert!(good.len() > 30, "{}", good.len());
    assert!(good.iter().any(|(name, _)| name.ends_with("examples.cep")));
    assert!(good.iter().filter(|(name, _)| name.contains("LANGUAGE.md")).count() > 20);
    good
}

#[test]
fn every_rule_keeps_its_meaning_and_comments() {
    for (name, text) in corpus() {
        check(&name, &text);
    }
}

#[test]
fn the_examples_are_laid_out_as_recorded() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let shaped = check("examples", &fs::read_to_string(home.join("data/examples.cep")).unwrap());
    let expected = home.join("golden/format/examples.txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(expected.parent().unwrap()).unwrap();
        fs::write(&expected, &shaped).unwrap();
    }
    assert_eq!(shaped, fs::read_to_string(&expected).unwrap_or_default());
    let long: Vec<&str> = shaped.lines().filter(|l| l.chars().count() > 100).collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// Small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Pieces between which white space may change: tokens and comments. A comment keeps its line's end.
fn pieces(text: &str) -> Vec<(String, bool)> {
    let mut out: Vec<(String, bool)> = Vec::new();
    let mut rest = text;
    loop {
        let spaced = rest.trim_start();
        let gap = spaced.len() < rest.len() || out.is_empty();
        rest = spaced;
        let Some(first) = rest.chars().next() else { return out };
        let length = match first {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '`' => rest[1..].find('`').unwrap() + 2,
            'r' if rest.starts_with("r\"") => rest[2..].find('"').unwrap() + 3,
            '"' => {
                let mut escaped = false;
                let end = rest[1..].find(|c: char| {
                    let found = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    found
                });
                end.unwrap() + 2
            }
            c if c.is_ascii_alphanumeric() || c == '_' => {
                let number = c.is_ascii_digit();
                let mut end = 0;
                for (at, c) in rest.char_indices() {
                    let fraction =
                        number && c == '.' && rest[at + 1..].starts_with(|c: char| c.is_ascii_digit());
                    if !(c.is_ascii_alphanumeric() || c == '_' || fraction) {
                        break;
                    }
                    end = at + 1;
                }
                end
            }
            _ if ["==", "!=", "<=", ">=", "??", ".."].iter().any(|s| rest.starts_with(s)) => 2,
            c => c.len_utf8(),
        };
        out.push((rest[..length].to_owned(), gap));
        rest = &rest[length..];
    }
}

/// The same tokens with other white space, and comments at random if wanted.
fn shaken(text: &str, random: &mut Random, noise: u64) -> String {
    let mut out = String::new();
    for (index, (piece, gap)) in pieces(text).into_iter().enumerate() {
        let comment = piece.starts_with('#');
        if noise > 0 && random.below(noise) == 0 && !out.is_empty() {
            match random.below(4) {
                0 => out.push_str(&format!(" # c{index}\n")),
                1 => out.push_str(&format!("\n\n # own {index}\n\n # and {index}\n")),
                2 => out.push_str(&format!("#c{index}\n  # and {index}\n")),
                _ => out.push_str(&format!("\n# c{index}  \n\n\n")),
            }
        } else if gap || random.below(8) == 0 {
            out.push_str([" ", "\n", "  ", "\t", "\n  ", "   "][random.below(6) as usize]);
        }
        out.push_str(&piece);
        if comment {
            out.push('\n');
        }
    }
    out
}

#[test]
fn any_layout_comes_out_the_same() {
    let mut random = Random(7);
    for (name, text) in corpus() {
        let shaped = format(&text).unwrap();
        let dense = |text: &str| text.lines().filter(|l| !l.is_empty()).collect::<Vec<_>>().join("\n");
        for round in 0..8 {
            let other = shaken(&text, &mut random, 0);
            if parse(0, &other).1.iter().any(Diagnostic::is_error) {
                continue;
            }
            let again = check(&format!("{name} round {round}"), &other);
            if comments(&text).is_empty() {
                assert_eq!(dense(&shaped), dense(&again), "{name} round {round}\n{other}");
            }
        }
    }
}

#[test]
fn comments_may_stand_between_any_tokens() {
    let mut random = Random(42);
    let (mut tried, mut refused) = (0, 0);
    for (name, text) in corpus() {
        for noise in [2, 5, 5, 20, 20, 60, 60] {
            let other = shaken(&text, &mut random, noise);
            tried += 1;
            if parse(0, &other).1.iter().any(Diagnostic::is_error) {
                refused += 1;
                continue;
            }
            let once = check(&name, &other);
            assert!(!once.contains("\n\n\n"), "{once}");
            assert!(once.lines().all(|l| l.trim_end() == l), "{once}");
        }
    }
    // A clause word that is an operand may not begin a line before a value; that is rare.
    assert!(refused * 10 < tried, "{refused} of {tried}");
}

#[test]
fn broken_text_is_refused() {
    assert!(format("rule r { match { a } title \"open }").is_err());
    assert_eq!(format("").unwrap(), "");
    assert_eq!(format("# only a comment").unwrap(), "# only a comment\n");
}
