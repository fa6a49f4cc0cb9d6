//! The modules of a crate, as its files declare them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility, spanned::Spanned};

/// Index of a module in its [`Tree`].
pub type Id = usize;

/// All modules that a crate root leads to, without those for tests.
#[derive(Default)]
pub struct Tree {
    /// Modules; the first is the crate's root.
    pub modules: Vec<Module>,
}

/// One module: a file, or a block inside a file.
#[derive(Default)]
pub struct Module {
    /// The file it stands in.
    pub file: PathBuf,
    /// The module around it; none for the root.
    pub parent: Option<Id>,
    /// Its child modules by name.
    pub children: BTreeMap<String, Id>,
    /// Names that it defines itself.
    pub defined: BTreeSet<String>,
    /// What it imports, wherever in it.
    pub imports: Vec<Import>,
    /// Its items, without child modules and without what is only there for tests.
    pub items: Vec<Item>,
}

/// One name (or all names) that a `use` brings in.
#[derive(Clone, Debug)]
pub struct Import {
    /// The path as written, such as `super`, `wire`, `Wire`.
    pub path: Vec<String>,
    /// The name it has here; none for `*`.
    pub name: Option<String>,
    /// Whether others can import it from here.
    pub is_public: bool,
    /// Line in the file.
    pub line: usize,
}

impl Tree {
    /// Reads the crate whose root is `root` (`src/lib.rs` or `src/main.rs`).
    ///
    /// # Errors
    /// When a file cannot be read or is no Rust, with its name.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        let directory = root.parent().unwrap_or(Path::new("")).to_owned();
        let items = parse(root)?;
        tree.add(None, root, &directory, items)?;
        Ok(tree)
    }

    /// Adds a module, and those below it. `directory` is where its child modules have their files.
    fn add(&mut self, parent: Option<Id>, file: &Path, directory: &Path, items: Vec<Item>) -> io::Result<Id> {
        let id = self.modules.len();
        self.modules.push(Module { file: file.to_owned(), parent, ..Module::default() });
        let mut own = Module { file: file.to_owned(), parent, ..Module::default() };
        for item in items {
            if is_for_tests(attributes(&item)) {
                continue;
            }
            match item {
                Item::Mod(child) => {
                    let name = child.ident.to_string();
                    let below = self.add_child(id, file, directory, child)?;
                    own.children.insert(name, below);
                }
                item => {
                    own.defined.extend(name_of(&item));
                    if let Item::Use(import) = &item {
                        own.imports.extend(imports(import));
                    }
                    own.items.push(item);
                }
            }
        }
        if let Some(module) = self.modules.get_mut(id) {
            *module = own;
        }
        Ok(id)
    }

    fn add_child(&mut self, parent: Id, file: &Path, directory: &Path, child: ItemMod) -> io::Result<Id> {
        let name = child.ident.to_string();
        let below = directory.join(&name);
        if let Some((_, items)) = child.content {
            return self.add(Some(parent), file, &below, items);
        }
        let candidates = [directory.join(format!("{name}.rs")), below.join("mod.rs")];
        let found = candidates.iter().find(|path| path.exists()).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("{}: no file for `mod {name}`", file.display()))
        })?;
        let items = parse(found)?;
        self.add(Some(parent), found, &below, items)
    }

    /// The root of the crate, or the module around this one.
    pub fn parent(&self, id: Id) -> Id {
        self.modules.get(id).and_then(|module| module.parent).unwrap_or(0)
    }
}

fn parse(file: &Path) -> io::Result<Vec<Item>> {
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| invalid(error.to_string()))?;
    Ok(syn::parse_file(&text).map_err(|error| invalid(error.to_string()))?.items)
}

/// Whether something is compiled for tests alone: `#[cfg(test)]`, or `test` as one of what `all` wants.
pub fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg") && {
                let condition = attribute.meta.require_list().map(|list| list.tokens.to_string()).unwrap_or_default();
                condition == "test" || condition.starts_with("all") && condition.contains("test")
            }
    })
}

/// The attributes of an item.
pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<String> {
    match item {
        Item::Const(item) => Some(item.ident.to_string()),
        Item::Enum(item) => Some(item.ident.to_string()),
        Item::Fn(item) => Some(item.sig.ident.to_string()),
        Item::Macro(item) => item.ident.as_ref().map(ToString::to_string),
        Item::Static(item) => Some(item.ident.to_string()),
        Item::Struct(item) => Some(item.ident.to_string()),
        Item::Trait(item) => Some(item.ident.to_string()),
        Item::TraitAlias(item) => Some(item.ident.to_string()),
        Item::Type(item) => Some(item.ident.to_string()),
        Item::Union(item) => Some(item.ident.to_string()),
        _ => None,
    }
}

/// The single names of a `use`.
pub fn imports(item: &ItemUse) -> Vec<Import> {
    let mut found = Vec::new();
    let template = Import {
        path: Vec::new(),
        name: None,
        is_public: !matches!(item.vis, Visibility::Inherited),
        line: item.span().start().line,
    };
    flatten(&item.tree, &template, &mut found);
    found
}

fn flatten(tree: &UseTree, before: &Import, found: &mut Vec<Import>) {
    let with = |ident: &syn::Ident| {
        let mut import = before.clone();
        import.path.push(ident.to_string());
        import
    };
    match tree {
        UseTree::Path(path) => flatten(&path.tree, &with(&path.ident), found),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, found)),
        UseTree::Glob(_) => found.push(before.clone()),
        UseTree::Name(name) if name.ident == "self" => {
            found.push(Import { name: before.path.last().cloned(), ..before.clone() });
        }
        UseTree::Name(name) => found.push(Import { name: Some(name.ident.to_string()), ..with(&name.ident) }),
        UseTree::Rename(rename) => {
            let import = if rename.ident == "self" { before.clone() } else { with(&rename.ident) };
            found.push(Import { name: Some(rename.rename.to_string()), ..import });
        }
    }
}
