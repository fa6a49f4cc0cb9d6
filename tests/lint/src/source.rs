//! A crate, read once for all lints.

use std::{io, path::Path};

use crate::{paths::Mentions, tree::Tree};

/// A crate's modules and what their code mentions.
pub struct Source {
    /// The modules, with the imports inside their functions.
    pub tree: Tree,
    /// What each module mentions, in the same order.
    pub mentions: Vec<Mentions>,
}

impl Source {
    /// Reads the crate whose root is `root` (`src/lib.rs` or `src/main.rs`).
    ///
    /// # Errors
    /// When a file cannot be read or is no Rust, with its name.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Tree::read(root)?;
        let mentions: Vec<Mentions> = tree.modules.iter().map(Mentions::of).collect();
        for (module, mentions) in tree.modules.iter_mut().zip(&mentions) {
            module.imports.extend(mentions.imports.iter().cloned());
        }
        Ok(Self { tree, mentions })
    }
}
