//! Citations resolve: the hard cases and the pages of the reference (`docs/protocols`) that the code names, and the links
//! between the pages of the documentation.
//!
//! `UPDATE=1 cargo test -p routeapi-protocol --test citations` rewrites the state of each hard case from the index of proofs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at the first surprise, and so may what it calls"
)]

#[allow(dead_code, reason = "the names of the proofs are checked by hard_cases.rs")]
#[path = "hard_cases/index.rs"]
mod index;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use index::{CASES, Where};

const HARD_CASES: &str = "docs/protocols/hard-cases.md";

#[test]
fn hard_cases_that_are_cited_exist() {
    let known: BTreeSet<u16> = rows(&read(HARD_CASES)).into_iter().map(|row| row.number).collect();
    let mut sources = code();
    sources.extend(files(&root().join("docs"), "md"));
    let (mut missing, mut found) = (Vec::new(), 0);
    for path in sources {
        let numbers = cited(&fs::read_to_string(&path).unwrap());
        found += numbers.len();
        missing
            .extend(numbers.into_iter().filter(|number| !known.contains(number)).map(|number| (path.clone(), number)));
    }
    assert!(missing.is_empty(), "{HARD_CASES} lacks {missing:#?}");
    assert!(found > 100, "only {found} citations were found");
}

#[test]
fn every_hard_case_has_one_row_with_its_state() {
    let held = read(HARD_CASES);
    let mut found = rows(&held);
    found.sort_by_key(|row| row.number);
    let numbers: Vec<u16> = found.iter().map(|row| row.number).collect();
    assert_eq!(numbers, CASES.map(|(number, _)| number), "each number once, as in the index");
    let states: BTreeMap<u16, String> = CASES.into_iter().map(|(number, proof)| (number, state(proof))).collect();
    if env::var_os("UPDATE").is_some() {
        let mut updated = held.clone();
        for row in &found {
            updated = updated.replace(row.line, &row.with_state(&states[&row.number]));
        }
        fs::write(root().join(HARD_CASES), updated).unwrap();
        return;
    }
    for row in found {
        assert_eq!(row.state(), states[&row.number], "hard case {}; UPDATE=1 rewrites {HARD_CASES}", row.number);
    }
}

#[test]
fn pages_that_the_code_names_exist() {
    let (mut missing, mut found) = (Vec::new(), 0);
    for path in code() {
        for page in pages(&fs::read_to_string(&path).unwrap()) {
            found += 1;
            missing.extend(broken(&root(), &page).map(|why| format!("{}: {page}: {why}", path.display())));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(found > 50, "only {found} pages were found");
}

#[test]
fn relative_links_of_the_documentation_resolve() {
    let mut pages = files(&root().join("docs"), "md");
    let beside = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    pages.extend(beside.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    let (mut missing, mut found) = (Vec::new(), 0);
    for path in pages {
        for link in links(&fs::read_to_string(&path).unwrap()) {
            found += 1;
            let base = if link.starts_with('#') { path.as_path() } else { path.parent().unwrap() };
            missing.extend(broken(base, &link).map(|why| format!("{}: {link}: {why}", path.display())));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(found > 100, "only {found} links were found");
}

#[test]
fn citations_are_read_in_all_their_forms() {
    let rows: [(&str, &[u16]); 8] = [
        ("// as it is (hard case 174), and", &[174]),
        ("/// writes it (hard\n    /// case 199).", &[199]),
        ("//! Hard cases 1, 205 and 273.", &[1, 205, 273]),
        ("hard cases 3–5", &[3, 4, 5]),
        ("hard cases 3 to 5, 9", &[3, 4, 5, 9]),
        ("\"hard case 200, capped\"", &[200]),
        ("fn hard_case_15_and_150_ids_and_index_zero() fn hard_cases_1_205_sampling()", &[15, 150, 1, 205]),
        ("Hard cases of requests: 3", &[]),
    ];
    for (text, numbers) in rows {
        assert_eq!(cited(text), numbers, "{text}");
    }
    assert_eq!(
        pages("(docs/protocols/usage.md#a-b) ../../docs/models.md, docs/x.md."),
        ["docs/protocols/usage.md#a-b", "docs/models.md", "docs/x.md"]
    );
}

#[test]
fn links_and_anchors_are_read_as_they_are_rendered() {
    let text =
        "# `A` b, c_d!\n[x](y.md#z) `[no](no.md)` [`q`](#a-b-c_d)\n```\n# no\n[no](no.md)\n```\n## Same\n## Same\n";
    assert_eq!(links(text), ["y.md#z", "#a-b-c_d"]);
    assert_eq!(anchors(text).into_iter().collect::<Vec<_>>(), ["a-b-c_d", "same", "same-1"]);
}

/// A row of the table of hard cases.
struct Row<'a> {
    number: u16,
    line: &'a str,
}

impl Row<'_> {
    /// The cell before the last.
    fn state(&self) -> &str {
        self.line.rsplit('|').nth(2).unwrap().trim()
    }

    fn with_state(&self, state: &str) -> String {
        let mut cells: Vec<&str> = self.line.split('|').collect();
        let padded = format!(" {state} ");
        let place = cells.len() - 3;
        if let Some(cell) = cells.get_mut(place) {
            *cell = &padded;
        }
        cells.join("|")
    }
}

fn rows(table: &str) -> Vec<Row<'_>> {
    let row = |line| {
        let number = str::strip_prefix(line, "| ")?.split(' ').next()?.parse().ok()?;
        Some(Row { number, line })
    };
    table.lines().filter_map(row).collect()
}

fn state(proof: Where) -> String {
    match proof {
        Where::Test(..) | Where::Request | Where::Answer => "tested".to_owned(),
        Where::DataPlane => "data plane".to_owned(),
    }
}

/// The numbers of hard cases that a text cites, in comments, strings and names.
fn cited(text: &str) -> Vec<u16> {
    let lines = text.lines().map(|line| line.trim().trim_start_matches(['/', '!']).trim());
    let prose = lines.collect::<Vec<_>>().join(" ").to_lowercase();
    let mut numbers = Vec::new();
    for (lead, gaps) in [("hard case", [", and ", ", ", " and "]), ("hard_case", ["_and_", "_", "_"])] {
        for rest in prose.split(lead).skip(1) {
            let rest = rest.strip_prefix('s').unwrap_or(rest);
            let mut rest = rest.strip_prefix([' ', '_']).unwrap_or(rest);
            while let Some((number, behind)) = number(rest) {
                numbers.push(number);
                rest = behind;
                let range = ["–", "-", " to "].iter().find_map(|dash| self::number(rest.strip_prefix(dash)?));
                if let Some((last, behind)) = range {
                    numbers.extend(number + 1..=last);
                    rest = behind;
                }
                rest = gaps.iter().find_map(|gap| rest.strip_prefix(gap)).unwrap_or_default();
            }
        }
    }
    numbers
}

/// The number that a text begins with, and what follows.
fn number(text: &str) -> Option<(u16, &str)> {
    let (digits, behind) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
    Some((digits.parse().ok()?, behind))
}

/// The pages of the documentation that a text names, by their path from the root.
fn pages(text: &str) -> Vec<String> {
    let of_a_path = |letter: char| letter.is_ascii_alphanumeric() || "-_./#".contains(letter);
    let paths = text.split("docs/").skip(1).map(|rest| rest.split(|letter| !of_a_path(letter)).next().unwrap());
    let paths = paths.map(|path| path.trim_end_matches(['.', '/']));
    paths.filter(|path| path.contains(".md")).map(|path| format!("docs/{path}")).collect()
}

/// Why a link from this directory, or within this page, leads nowhere.
fn broken(base: &Path, link: &str) -> Option<String> {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { base.to_owned() } else { base.join(path) };
    if !target.exists() {
        return Some("no such file".to_owned());
    }
    let is_page = target.extension().is_some_and(|extension| extension == "md");
    let leads_on = anchor.is_empty() || !is_page || anchors(&fs::read_to_string(&target).unwrap()).contains(anchor);
    (!leads_on).then(|| format!("no heading #{anchor}"))
}

/// The relative links of a page.
fn links(page: &str) -> Vec<String> {
    let text = without_code(page);
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let relative = targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
    relative.map(str::to_owned).collect()
}

/// The anchors of a page's headings, made as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for heading in without_fences(page).lines().filter(|line| line.starts_with('#')) {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|letter| letter.is_alphanumeric() || "-_ ".contains(*letter));
        let slug: String = kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect();
        let mut anchor = slug.clone();
        for repeat in 1.. {
            if anchors.insert(anchor) {
                break;
            }
            anchor = format!("{slug}-{repeat}");
        }
    }
    anchors
}

fn without_fences(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

fn without_code(page: &str) -> String {
    without_fences(page).split('`').step_by(2).collect()
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// All sources, but for this one: its samples cite what does not exist.
fn code() -> Vec<PathBuf> {
    files(&root(), "rs").into_iter().filter(|path| !path.ends_with("protocol/tests/citations.rs")).collect()
}

/// The files below a directory, but for hidden ones and what is built or installed there.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if name.starts_with('.') || matches!(name.as_ref(), "target" | "node_modules") {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
    found
}
