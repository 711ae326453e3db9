//! A small but honest part of JQL: clauses joined by AND, and ORDER BY. Whatever it does not know is an error,
//! never an empty or full result.

use crate::fields::{PRIORITIES, TYPES};
use crate::identity::Who;
use crate::issues::status_name;
use crate::world::{Issue, World};

/// A query that has been understood.
pub(crate) struct Query {
    clauses: Vec<Clause>,
    order: Vec<(Field, bool)>,
}

struct Clause {
    field: Field,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Project,
    Key,
    Status,
    Assignee,
    Reporter,
    Kind,
    Priority,
    Labels,
    Summary,
    Text,
    Created,
    Updated,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Is,
    IsNot,
    Contains,
}

/// Understands a query, or says what it does not understand.
pub(crate) fn parse(text: &str) -> Result<Query, String> {
    let mut words = words(text)?.into_iter().peekable();
    let mut query = Query { clauses: Vec::new(), order: Vec::new() };
    while let Some(word) = words.next() {
        if word.is("order") {
            if !words.next().is_some_and(|word| word.is("by")) {
                return Err("Error in the JQL Query: Expecting 'BY' after ORDER.".to_owned());
            }
            while let Some(name) = words.next() {
                let field = field(&name.text)?;
                let down = words.next_if(|word| word.is("desc")).is_some();
                if !down {
                    words.next_if(|word| word.is("asc"));
                }
                query.order.push((field, down));
                if words.next_if(|word| word.is(",")).is_none() {
                    break;
                }
            }
            return match words.next() {
                Some(word) => Err(unexpected(&word.text)),
                None => Ok(query),
            };
        }
        let field = field(&word.text)?;
        let operator =
            words.next().ok_or_else(|| "Error in the JQL Query: the query ends too early.".to_owned())?;
        let mut values = Vec::new();
        let operator = match operator.text.to_lowercase().as_str() {
            "=" | "is" if words.next_if(|word| word.is("not")).is_some() => Operator::IsNot,
            "=" | "is" => Operator::Is,
            "!=" => Operator::IsNot,
            "~" => Operator::Contains,
            "in" => {
                if words.next_if(|word| word.is("(")).is_none() {
                    return Err("Error in the JQL Query: Expecting '(' after IN.".to_owned());
                }
                loop {
                    let value = words.next().ok_or_else(|| unexpected("the end"))?;
                    values.push(value.value());
                    match words.next() {
                        Some(word) if word.is(",") => {}
                        Some(word) if word.is(")") => break,
                        Some(word) => return Err(unexpected(&word.text)),
                        None => return Err(unexpected("the end")),
                    }
                }
                Operator::Is
            }
            other => return Err(unexpected(other)),
        };
        if values.is_empty() {
            let value = words.next().ok_or_else(|| unexpected("the end"))?;
            let mut text = value.value();
            if words.next_if(|word| word.is("(")).is_some() {
                text.push_str("()");
                if words.next_if(|word| word.is(")")).is_none() {
                    return Err(unexpected("("));
                }
            }
            values.push(text);
        }
        if (operator == Operator::Contains) != matches!(field, Field::Summary | Field::Text) {
            return Err(format!("The operator is not supported by the '{}' field.", word.text));
        }
        query.clauses.push(Clause { field, operator, values });
        match words.peek() {
            Some(next) if next.is("and") => {
                words.next();
                if words.peek().is_none() {
                    return Err(unexpected("the end"));
                }
            }
            Some(next) if next.is("order") => {}
            Some(next) => return Err(unexpected(&next.text)),
            None => {}
        }
    }
    Ok(query)
}

fn unexpected(what: &str) -> String {
    format!("Error in the JQL Query: '{what}' is not expected here, or not known to this stand-in.")
}

fn field(name: &str) -> Result<Field, String> {
    Ok(match name.to_lowercase().as_str() {
        "project" => Field::Project,
        "key" | "issuekey" | "issue" | "id" => Field::Key,
        "status" => Field::Status,
        "assignee" => Field::Assignee,
        "reporter" | "creator" => Field::Reporter,
        "issuetype" | "type" => Field::Kind,
        "priority" => Field::Priority,
        "labels" => Field::Labels,
        "summary" => Field::Summary,
        "text" => Field::Text,
        "created" => Field::Created,
        "updated" => Field::Updated,
        _ => return Err(format!("Field '{name}' does not exist or you do not have permission to view it.")),
    })
}

struct Word {
    text: String,
    quoted: bool,
}

impl Word {
    fn is(&self, what: &str) -> bool {
        !self.quoted && self.text.eq_ignore_ascii_case(what)
    }
    /// `EMPTY` and `NULL` become the empty text.
    fn value(self) -> String {
        if self.is("empty") || self.is("null") { String::new() } else { self.text }
    }
}

fn words(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(&first) = rest.peek() {
        if first.is_whitespace() {
            rest.next();
        } else if first == '"' || first == '\'' {
            rest.next();
            let mut text = String::new();
            loop {
                match rest.next() {
                    Some('\\') => text.extend(rest.next()),
                    Some(one) if one == first => break,
                    Some(one) => text.push(one),
                    None => {
                        return Err(format!(
                            "Error in the JQL Query: the quoted string '{text}' has no end."
                        ));
                    }
                }
            }
            words.push(Word { text, quoted: true });
        } else if "=~(),".contains(first) {
            rest.next();
            words.push(Word { text: first.to_string(), quoted: false });
        } else if first == '!' {
            rest.next();
            if rest.next_if_eq(&'=').is_none() {
                return Err(unexpected("!"));
            }
            words.push(Word { text: "!=".to_owned(), quoted: false });
        } else {
            let mut text = String::new();
            while let Some(one) = rest.next_if(|one| !one.is_whitespace() && !"=~(),!\"'".contains(*one)) {
                text.push(one);
            }
            words.push(Word { text, quoted: false });
        }
    }
    Ok(words)
}

impl Query {
    /// Does the issue fit?
    pub(crate) fn fits(&self, world: &World, who: &Who, issue: &Issue) -> bool {
        self.clauses.iter().all(|clause| clause.fits(world, who, issue))
    }

    /// Sorts as ORDER BY says; otherwise the newest first.
    pub(crate) fn sort(&self, issues: &mut [&Issue]) {
        issues.sort_by(|a, b| {
            for (field, down) in &self.order {
                let order = sort_key(*field, a).cmp(&sort_key(*field, b));
                let order = if *down { order.reverse() } else { order };
                if order.is_ne() {
                    return order;
                }
            }
            b.id.cmp(&a.id)
        });
    }
}

/// Numbers in front of text, so that DEMO-10 comes after DEMO-9.
fn sort_key(field: Field, issue: &Issue) -> (u64, String) {
    let text = |text: &str| (0, text.to_lowercase());
    match field {
        Field::Key => {
            let number = issue.key.rsplit('-').next().and_then(|number| number.parse().ok());
            (number.unwrap_or_default(), issue.project.clone())
        }
        Field::Project => text(&issue.project),
        Field::Status => text(issue.status),
        Field::Assignee => text(issue.assignee.as_deref().unwrap_or("\u{10ffff}")),
        Field::Reporter => text(issue.reporter.as_deref().unwrap_or("\u{10ffff}")),
        Field::Kind => text(issue.kind),
        Field::Priority => text(&issue.priority),
        Field::Labels => text(&issue.labels.join(" ")),
        Field::Summary | Field::Text => text(&issue.summary),
        Field::Created => text(&issue.created),
        Field::Updated => text(&issue.updated),
    }
}

impl Clause {
    fn fits(&self, world: &World, who: &Who, issue: &Issue) -> bool {
        let any = self.values.iter().any(|value| self.one(world, who, issue, value));
        any != (self.operator == Operator::IsNot)
    }

    fn one(&self, world: &World, who: &Who, issue: &Issue, value: &str) -> bool {
        let same = |text: &str| text.eq_ignore_ascii_case(value);
        let named = |table: &[(&str, &str)], id: &str| {
            same(id) || table.iter().any(|(one, name)| *one == id && same(name))
        };
        let person = |name: Option<&str>| match value {
            "currentUser()" => name.is_some() && name == who.name(),
            value => name.unwrap_or_default().eq_ignore_ascii_case(value),
        };
        let holds = |text: &str| {
            let text = text.to_lowercase();
            value.to_lowercase().split_whitespace().all(|word| text.contains(word.trim_matches(['*', '"'])))
        };
        match self.field {
            Field::Project => world.project(value).is_some_and(|project| project.key == issue.project),
            Field::Key => same(&issue.key) || same(&issue.id.to_string()),
            Field::Status => same(issue.status) || same(status_name(issue.status)),
            Field::Assignee => person(issue.assignee.as_deref()),
            Field::Reporter => person(issue.reporter.as_deref()),
            Field::Kind => named(TYPES, issue.kind),
            Field::Priority => named(PRIORITIES, &issue.priority),
            Field::Labels => issue.labels.iter().any(|label| same(label)),
            Field::Summary => holds(&issue.summary),
            Field::Text => {
                let seen = crate::permissions::comments(world, who, issue).map(|one| one.body.as_str());
                let whole: Vec<&str> = seen
                    .chain([issue.summary.as_str(), issue.description.as_deref().unwrap_or_default()])
                    .collect();
                holds(&whole.join("\n"))
            }
            Field::Created => issue.created.starts_with(value),
            Field::Updated => issue.updated.starts_with(value),
        }
    }
}
