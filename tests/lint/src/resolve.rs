//! Where a path leads.

use std::path::Path;

use crate::tree::{Id, Tree};

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Something that this module defines, or the module itself.
    Module(Id),
    /// Something of another crate, by its whole path.
    External(Vec<String>),
}

/// Imports of imports are followed so far; real code needs three.
const DEPTH: usize = 16;

impl Tree {
    /// Where `path`, as written in module `from`, leads. Names that are imported again are followed to where they are
    /// defined.
    pub fn resolve(&self, from: Id, path: &[String]) -> Option<Target> {
        self.look_up(from, path, DEPTH)
    }

    /// The file of a module.
    pub fn file(&self, id: Id) -> Option<&Path> {
        self.modules.get(id).map(|module| module.file.as_path())
    }

    fn look_up(&self, from: Id, path: &[String], depth: usize) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.descend(0, rest, depth),
            "self" => self.descend(from, rest, depth),
            "super" => {
                let (mut module, mut rest) = (self.parent(from), rest);
                while let Some((next, after)) = rest.split_first()
                    && next == "super"
                {
                    (module, rest) = (self.parent(module), after);
                }
                self.descend(module, rest, depth)
            }
            "Self" => None,
            _ => self.name(from, first, rest, depth).or_else(|| Some(Target::External(path.to_vec()))),
        }
    }

    /// `rest` inside `module`.
    fn descend(&self, module: Id, rest: &[String], depth: usize) -> Option<Target> {
        let Some((first, after)) = rest.split_first() else { return Some(Target::Module(module)) };
        // What nobody seems to define comes from a macro in that module.
        self.name(module, first, after, depth).or(Some(Target::Module(module)))
    }

    /// `name::rest` in the scope of `module`; none if the module does not know the name.
    fn name(&self, module: Id, name: &str, rest: &[String], depth: usize) -> Option<Target> {
        let depth = depth.checked_sub(1)?;
        let scope = self.modules.get(module)?;
        if let Some(child) = scope.children.get(name) {
            return self.descend(*child, rest, depth);
        }
        if scope.defined.contains(name) {
            return Some(Target::Module(module));
        }
        let named = scope.imports.iter().find(|import| import.name.as_deref() == Some(name));
        if let Some(import) = named {
            let path: Vec<String> = import.path.iter().chain(rest).cloned().collect();
            // `use time::Instant` beside `use std::time` must not look for itself.
            let is_own_name = import.path.first().is_some_and(|first| first == name);
            return if is_own_name { Some(Target::External(path)) } else { self.look_up(module, &path, depth) };
        }
        scope.imports.iter().filter(|import| import.name.is_none()).find_map(|import| {
            match self.look_up(module, &import.path, depth)? {
                Target::Module(id) if id != module => self.name(id, name, rest, depth),
                _ => None,
            }
        })
    }
}
