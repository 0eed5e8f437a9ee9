//! A rule file in parts that can be left out one by one.

/// What a file holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileText {
    /// Declarations before the rules.
    pub(crate) head: Vec<String>,
    pub(crate) rules: Vec<RuleText>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct RuleText {
    pub(crate) name: &'static str,
    /// The rule is written as a template and used: its parameters, and what they are given.
    pub(crate) template: Option<(String, String)>,
    /// `by`, `from`, `param`.
    pub(crate) front: Vec<String>,
    pub(crate) within: Option<String>,
    pub(crate) parts: Vec<Part>,
    pub(crate) cancels: Vec<No>,
    /// What follows `match`.
    pub(crate) clauses: Vec<String>,
}

/// What stands between two `then`s.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    No(No),
    Unit(UnitText),
}

/// `no X`, or what `cancel on` names.
#[derive(Debug, Clone, Default)]
pub(crate) struct No {
    pub(crate) streams: Vec<&'static str>,
    pub(crate) duration: Option<String>,
    pub(crate) terms: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct UnitText {
    pub(crate) arrow: &'static str,
    pub(crate) after: Option<String>,
    pub(crate) within: Option<String>,
    /// `all of` and the like; none of a step.
    pub(crate) set: Option<String>,
    pub(crate) alias: Option<&'static str>,
    pub(crate) events: Vec<EventText>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct EventText {
    pub(crate) quantifier: String,
    pub(crate) consecutive: bool,
    pub(crate) stream: &'static str,
    pub(crate) alias: &'static str,
    pub(crate) terms: Vec<String>,
    pub(crate) quiet: Option<String>,
}

fn condition(terms: &[String]) -> String {
    if terms.is_empty() { String::new() } else { format!(" where {}", terms.join(" and ")) }
}

impl FileText {
    pub(crate) fn text(&self) -> String {
        let head: String = self.head.iter().map(|line| format!("{line}\n")).collect();
        head + &self.rules.iter().map(RuleText::text).collect::<Vec<_>>().join("\n")
    }

    /// The file with one thing less, in every way.
    pub(crate) fn smaller(&self) -> Vec<FileText> {
        let mut all = Vec::new();
        for rule in 0..self.rules.len() {
            if self.rules.len() > 1 {
                all.push(self.with(|file| {
                    file.rules.remove(rule);
                }));
            }
            for smaller in self.rules[rule].smaller() {
                all.push(self.with(|file| file.rules[rule] = smaller));
            }
        }
        for line in 0..self.head.len() {
            all.push(self.with(|file| {
                file.head.remove(line);
            }));
        }
        all
    }

    fn with(&self, change: impl FnOnce(&mut FileText)) -> FileText {
        let mut file = self.clone();
        change(&mut file);
        file
    }
}

impl RuleText {
    fn text(&self) -> String {
        let mut parts = String::new();
        let mut first = true;
        for part in &self.parts {
            let then = if parts.is_empty() { "" } else { "\n    then " };
            parts += then;
            match part {
                Part::No(no) => parts += &format!("no {}", no.text()),
                Part::Unit(unit) => {
                    parts += &unit.text(first);
                    first = false;
                }
            }
        }
        for cancel in &self.cancels {
            parts += &format!("\n    cancel on {}", cancel.text());
        }
        let lines = |lines: &[String]| lines.iter().map(|line| format!("  {line}\n")).collect::<String>();
        let within = self.within.as_ref().map(|d| format!(" within {d}")).unwrap_or_default();
        let body = format!(
            "{}  match{within} {{\n    {parts}\n  }}\n{}}}\n",
            lines(&self.front),
            lines(&self.clauses)
        );
        match &self.template {
            None => format!("rule {} {{\n{body}", self.name),
            Some((parameters, arguments)) => {
                format!("template t({parameters}) {{\n{body}rule {} uses t({arguments}) {{ }}\n", self.name)
            }
        }
    }

    fn smaller(&self) -> Vec<RuleText> {
        let mut all = Vec::new();
        let mut push = |change: &dyn Fn(&mut RuleText)| {
            let mut rule = self.clone();
            change(&mut rule);
            all.push(rule);
        };
        for at in 0..self.parts.len() {
            push(&|rule| {
                rule.parts.remove(at);
            });
        }
        for at in 0..self.clauses.len() {
            push(&|rule| {
                rule.clauses.remove(at);
            });
        }
        for at in 0..self.cancels.len() {
            push(&|rule| {
                rule.cancels.remove(at);
            });
            for no in self.cancels[at].smaller() {
                push(&|rule| rule.cancels[at] = no.clone());
            }
        }
        for at in 0..self.front.len() {
            push(&|rule| {
                rule.front.remove(at);
            });
        }
        if self.template.is_some() {
            push(&|rule| rule.template = None);
        }
        for (at, part) in self.parts.iter().enumerate() {
            let smaller: Vec<Part> = match part {
                Part::No(no) => no.smaller().into_iter().map(Part::No).collect(),
                Part::Unit(unit) => unit.smaller().into_iter().map(Part::Unit).collect(),
            };
            for part in smaller {
                push(&|rule| rule.parts[at] = part.clone());
            }
        }
        if self.within.is_some() {
            push(&|rule| rule.within = None);
            push(&|rule| rule.within = Some("20s".to_owned()));
        }
        all
    }
}

impl No {
    fn text(&self) -> String {
        let mut text = match self.streams.as_slice() {
            [one] => (*one).to_owned(),
            several => format!("one of {{ {} }}", several.join(", ")),
        };
        if let Some(duration) = &self.duration {
            text += &format!(" for {duration}");
        }
        text + &condition(&self.terms)
    }

    fn smaller(&self) -> Vec<No> {
        let mut all = Vec::new();
        for at in 0..self.terms.len() {
            let mut no = self.clone();
            no.terms.remove(at);
            all.push(no);
        }
        if self.streams.len() > 1 {
            for stream in &self.streams {
                all.push(No { streams: vec![stream], ..self.clone() });
            }
        }
        if self.duration.as_ref().is_some_and(|d| d != "2s") {
            all.push(No { duration: Some("2s".to_owned()), ..self.clone() });
        }
        all
    }
}

impl UnitText {
    fn text(&self, first: bool) -> String {
        let mut text = String::new();
        if !first {
            text += self.arrow;
            for (word, bound) in [("after", &self.after), ("within", &self.within)] {
                text += &bound.as_ref().map(|b| format!("{word} {b} ")).unwrap_or_default();
            }
        }
        let events = self.events.iter().map(EventText::text).collect::<Vec<_>>().join(", ");
        match &self.set {
            None => text += &events,
            Some(set) => {
                text += &format!("{set} {{ {events} }}");
                text += &self.alias.map(|alias| format!(" as {alias}")).unwrap_or_default();
            }
        }
        text
    }

    fn smaller(&self) -> Vec<UnitText> {
        let mut all = Vec::new();
        let mut push = |change: &dyn Fn(&mut UnitText)| {
            let mut unit = self.clone();
            change(&mut unit);
            all.push(unit);
        };
        for at in 0..self.events.len() {
            if self.events.len() > 1 {
                push(&|unit| {
                    unit.set = None;
                    unit.alias = None;
                    unit.events = vec![self.events[at].clone()];
                });
                push(&|unit| {
                    unit.events.remove(at);
                });
            }
            for event in self.events[at].smaller() {
                push(&|unit| unit.events[at] = event.clone());
            }
        }
        if !self.arrow.is_empty() {
            push(&|unit| unit.arrow = "");
        }
        if self.after.is_some() {
            push(&|unit| unit.after = None);
        }
        if self.within.is_some() {
            push(&|unit| unit.within = None);
        }
        if self.alias.is_some() {
            push(&|unit| unit.alias = None);
        }
        all
    }
}

impl EventText {
    fn text(&self) -> String {
        let mut text = self.quantifier.clone();
        if !text.is_empty() {
            text += " ";
        }
        text += if self.consecutive { "consecutive " } else { "" };
        text += &format!("{} as {}", self.stream, self.alias);
        text += &condition(&self.terms);
        text + &self.quiet.as_ref().map(|d| format!(" until quiet for {d}")).unwrap_or_default()
    }

    fn smaller(&self) -> Vec<EventText> {
        let mut all = Vec::new();
        let mut push = |change: &dyn Fn(&mut EventText)| {
            let mut event = self.clone();
            change(&mut event);
            all.push(event);
        };
        if !self.quantifier.is_empty() {
            push(&|event| {
                event.quantifier = String::new();
                event.consecutive = false;
                event.quiet = None;
            });
            if self.quantifier.ends_with(['3', '4', '5']) {
                push(&|event| event.quantifier = event.quantifier.replace(['3', '4', '5'], "2"));
            }
        }
        if self.consecutive {
            push(&|event| event.consecutive = false);
        }
        if self.quiet.is_some() {
            push(&|event| event.quiet = None);
            push(&|event| event.quiet = Some("2s".to_owned()));
        }
        for at in 0..self.terms.len() {
            push(&|event| {
                event.terms.remove(at);
            });
        }
        all
    }
}
