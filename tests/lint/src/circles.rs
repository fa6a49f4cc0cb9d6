//! Circles between the files of one crate.
//!
//! A file depends on another when its code names something that the other defines; a name that is imported again on the
//! way (`pub use`) belongs to the file that defines it, and a `pub use` or `mod` by itself is no dependency. A module file
//! that calls into its child module while the child uses the parent's types is a circle like any other.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use crate::{
    resolve::Target,
    source::Source,
    tree::{Id, Tree},
};

/// Which file names which, with the first line that does.
pub type Edges = BTreeMap<(PathBuf, PathBuf), usize>;

/// All dependencies between the files of a crate.
pub fn edges(source: &Source) -> Edges {
    let (tree, mut edges) = (&source.tree, Edges::new());
    for (id, (module, mentions)) in tree.modules.iter().zip(&source.mentions).enumerate() {
        for import in module.imports.iter().filter(|import| !import.is_public) {
            add(tree, &mut edges, id, &import.path, import.line);
        }
        for path in &mentions.paths {
            add(tree, &mut edges, id, &path.what, path.line);
        }
    }
    edges
}

fn add(tree: &Tree, edges: &mut Edges, from: Id, path: &[String], line: usize) {
    let Some(Target::Module(to)) = tree.resolve(from, path) else { return };
    if let (Some(from), Some(to)) = (tree.file(from), tree.file(to))
        && from != to
    {
        let first = edges.entry((from.to_owned(), to.to_owned())).or_insert(line);
        *first = line.min(*first);
    }
}

/// The sets of files in which each reaches every other: at least two files each, the largest first.
pub fn circles(edges: &Edges) -> Vec<BTreeSet<PathBuf>> {
    let mut next: BTreeMap<&Path, Vec<&Path>> = BTreeMap::new();
    for (from, to) in edges.keys() {
        next.entry(from).or_default().push(to);
        next.entry(to).or_default();
    }
    let mut search = Search::default();
    for file in next.keys() {
        search.visit(&next, file);
    }
    search.circles.sort_by_key(|circle| (std::cmp::Reverse(circle.len()), circle.clone()));
    search.circles
}

/// The dependencies that are part of a circle.
pub fn in_circles(edges: &Edges) -> Edges {
    let circles = circles(edges);
    edges
        .iter()
        .filter(|((from, to), _)| circles.iter().any(|circle| circle.contains(from) && circle.contains(to)))
        .map(|(edge, line)| (edge.clone(), *line))
        .collect()
}

/// Tarjan's algorithm.
#[derive(Default)]
struct Search<'a> {
    /// Order of discovery, and the earliest file on the stack that is reached from here.
    seen: BTreeMap<&'a Path, (usize, usize)>,
    stack: Vec<&'a Path>,
    circles: Vec<BTreeSet<PathBuf>>,
}

impl<'a> Search<'a> {
    fn visit(&mut self, next: &BTreeMap<&'a Path, Vec<&'a Path>>, file: &'a Path) -> usize {
        if let Some((order, low)) = self.seen.get(file) {
            return if self.stack.contains(&file) { *low.min(order) } else { usize::MAX };
        }
        let order = self.seen.len();
        self.seen.insert(file, (order, order));
        self.stack.push(file);
        let mut low = order;
        for to in next.get(file).into_iter().flatten() {
            low = low.min(self.visit(next, to));
            self.seen.insert(file, (order, low));
        }
        if low == order {
            let start = self.stack.iter().position(|on_stack| *on_stack == file).unwrap_or(0);
            let circle: BTreeSet<PathBuf> = self.stack.split_off(start).into_iter().map(Path::to_owned).collect();
            if circle.len() > 1 {
                self.circles.push(circle);
            }
        }
        low
    }
}
