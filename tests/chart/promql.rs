//! As much of PromQL as the dashboard uses: which series an expression reads, by which labels, in which way. What is not
//! understood fails, so that nothing is passed over.

use std::collections::BTreeSet;

const FUNCTIONS: [&str; 4] = ["rate", "histogram_quantile", "vector", "time"];
const AGGREGATIONS: [&str; 4] = ["sum", "min", "max", "count"];
const OPERATORS: [&str; 3] = ["or", "and", "unless"];

/// What an expression says.
#[derive(Debug, Default)]
pub struct Query {
    /// Every selector in it.
    pub selectors: Vec<Selector>,
    /// Every `by (…)` in it, from the left.
    pub groups: Vec<Group>,
}

/// `series{label="value"}`
#[derive(Debug)]
pub struct Selector {
    pub series: String,
    /// Label, operator, value.
    pub matchers: Vec<(String, String, String)>,
    /// Whether its increase is asked for, not its value.
    pub rate: bool,
    at: usize,
}

/// The labels of an aggregation, and which tokens it aggregates.
#[derive(Debug)]
pub struct Group {
    pub labels: BTreeSet<String>,
    inside: std::ops::Range<usize>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(String),
}

impl Group {
    /// The selectors that it aggregates.
    pub fn selectors<'a>(&'a self, query: &'a Query) -> impl Iterator<Item = &'a Selector> {
        query.selectors.iter().filter(|selector| self.inside.contains(&selector.at))
    }
}

impl Token {
    fn is(&self, sign: &str) -> bool {
        matches!(self, Self::Sign(found) if found == sign)
    }
}

/// Reads an expression.
pub fn read(expression: &str) -> Query {
    let tokens = tokens(expression);
    let next = |at: usize, sign: &str| tokens.get(at).is_some_and(|token| token.is(sign));
    let count = |signs: [&str; 3]| tokens.iter().filter(|token| signs.iter().any(|sign| token.is(sign))).count();
    assert_eq!(count(["(", "[", "{"]), count([")", "]", "}"]), "{expression}: a bracket is not closed");
    let mut query = Query::default();
    let mut at = 0;
    while at < tokens.len() {
        let word = match &tokens[at] {
            Token::Word(word) => word.as_str(),
            Token::Sign(sign) if sign == "[" => {
                at = closing(&tokens, at) + 1;
                continue;
            }
            Token::Sign(_) | Token::Text(_) => {
                at += 1;
                continue;
            }
        };
        if word == "by" {
            let end = closing(&tokens, at + 1);
            assert!(next(end + 1, "("), "{expression}: labels come before what is aggregated");
            let labels = tokens[at + 2..end].iter().filter_map(|token| match token {
                Token::Word(label) => Some(label.clone()),
                Token::Sign(_) | Token::Text(_) => None,
            });
            query.groups.push(Group { labels: labels.collect(), inside: end + 1..closing(&tokens, end + 1) });
            at = end + 1;
        } else if next(at + 1, "(") {
            assert!(FUNCTIONS.contains(&word) || AGGREGATIONS.contains(&word), "{expression}: {word}() is not known");
            at += 1;
        } else if OPERATORS.contains(&word)
            || word.starts_with(|first: char| first.is_ascii_digit())
            || (AGGREGATIONS.contains(&word) && tokens.get(at + 1) == Some(&Token::Word("by".to_owned())))
        {
            at += 1;
        } else {
            let rate = at >= 2 && tokens[at - 2] == Token::Word("rate".to_owned());
            let end = if next(at + 1, "{") { closing(&tokens, at + 1) } else { at };
            let matchers = if end > at { matchers(&tokens[at + 2..end]) } else { Vec::new() };
            query.selectors.push(Selector { series: word.to_owned(), matchers, rate, at });
            at = end + 1;
        }
    }
    query
}

fn matchers(tokens: &[Token]) -> Vec<(String, String, String)> {
    let one = |tokens: &[Token]| match tokens {
        [Token::Word(label), Token::Sign(operator), Token::Text(value)] => {
            (label.clone(), operator.clone(), value.clone())
        }
        other => panic!("no matcher: {other:?}"),
    };
    tokens.split(|token| token.is(",")).map(one).collect()
}

/// Where the bracket at this place is closed.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Sign(sign) if matches!(sign.as_str(), "(" | "{" | "[") => depth += 1,
            Token::Sign(sign) if matches!(sign.as_str(), ")" | "}" | "]") => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    panic!("a bracket is not closed: {tokens:?}");
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' {
            let length = rest[1..].find('"').expect("a text is closed") + 2;
            tokens.push(Token::Text(rest[1..length - 1].to_owned()));
            length
        } else if first.is_ascii_alphanumeric() || matches!(first, '_' | '$') {
            let of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.');
            let length = rest.find(|c| !of_word(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..length].to_owned()));
            length
        } else {
            let length =
                ["=~", "!~", "!=", "=="].iter().find(|sign| rest.starts_with(**sign)).map_or(1, |sign| sign.len());
            tokens.push(Token::Sign(rest[..length].to_owned()));
            length
        };
        rest = rest[length..].trim_start();
    }
    tokens
}

#[test]
fn an_expression_is_parsed() {
    let query =
        read(r#"sum by (route, le) (rate(calls_bucket{a="x", b!~"y|z"}[$__rate_interval])) / 1e9 or vector(0)"#);
    assert_eq!(query.selectors.len(), 1, "{query:?}");
    let selector = &query.selectors[0];
    assert_eq!((selector.series.as_str(), selector.rate), ("calls_bucket", true));
    let matcher = |label: &str, operator: &str, value: &str| (label.to_owned(), operator.to_owned(), value.to_owned());
    assert_eq!(selector.matchers, [matcher("a", "=", "x"), matcher("b", "!~", "y|z")]);
    assert_eq!(query.groups[0].labels, ["le".to_owned(), "route".to_owned()].into());
    assert_eq!(query.groups[0].selectors(&query).count(), 1);

    let two = read(r#"sum by (a) (x) / sum by (b) (y{c="d"})"#);
    assert_eq!(two.groups.iter().map(|group| group.selectors(&two).count()).collect::<Vec<_>>(), [1, 1]);
    assert!(std::panic::catch_unwind(|| read("summ(x)")).is_err());
    assert!(std::panic::catch_unwind(|| read("sum(x")).is_err());
}
