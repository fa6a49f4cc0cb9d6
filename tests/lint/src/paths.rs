//! Every path that a module's code mentions, in types, expressions, patterns, macros and attributes.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{
    Attribute, ExprMethodCall, Fields, ImplItem, Item, ItemUse, Lit, Macro, Meta, Path, TraitItem, Visibility,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::tree::{Import, Module, attributes, imports, is_for_tests};

/// Something that code mentions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention<T> {
    /// What.
    pub what: T,
    /// Line in the file.
    pub line: usize,
}

/// What the code of one module mentions.
#[derive(Debug, Default)]
pub struct Mentions {
    /// Paths as written, without generic arguments.
    pub paths: Vec<Mention<Vec<String>>>,
    /// Imports inside functions.
    pub imports: Vec<Import>,
    /// Methods that are called without arguments.
    pub calls: Vec<Mention<String>>,
    /// String literals, without those of documentation.
    pub strings: Vec<Mention<String>>,
}

impl Mentions {
    /// Collects what a module mentions.
    pub fn of(module: &Module) -> Self {
        let mut found = Self::default();
        for item in &module.items {
            // The module's own imports are known already.
            if !matches!(item, Item::Use(_)) {
                found.visit_item(item);
            }
        }
        found
    }

    /// Looks into the tokens of a macro or an attribute, which have no syntax yet.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        while let Some((first, after)) = rest.split_first() {
            rest = match first {
                TokenTree::Ident(_) => self.path_of_tokens(rest),
                TokenTree::Punct(punct) if punct.as_char() == '.' => self.call_of_tokens(after),
                TokenTree::Punct(_) => after,
                TokenTree::Group(group) => {
                    self.tokens(group.stream());
                    after
                }
                TokenTree::Literal(literal) => {
                    if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                        let line = literal.span().start().line;
                        self.strings.push(Mention { what: text.value(), line });
                    }
                    after
                }
            };
        }
    }

    /// Takes `a::b::c` from the front.
    fn path_of_tokens<'a>(&mut self, mut rest: &'a [TokenTree]) -> &'a [TokenTree] {
        let line = rest.first().map_or(0, |token| token.span().start().line);
        let mut path = Vec::new();
        while let [TokenTree::Ident(ident), after @ ..] = rest {
            path.push(ident.to_string());
            rest = after;
            match after {
                [TokenTree::Punct(first), TokenTree::Punct(second), next @ ..]
                    if first.as_char() == ':' && second.as_char() == ':' =>
                {
                    rest = next;
                }
                _ => break,
            }
        }
        self.paths.push(Mention { what: path, line });
        rest
    }

    /// Takes the name of a field or a method from the front; what stands behind a dot is no path.
    fn call_of_tokens<'a>(&mut self, rest: &'a [TokenTree]) -> &'a [TokenTree] {
        let [TokenTree::Ident(ident), after @ ..] = rest else { return rest };
        if let [TokenTree::Group(group), ..] = after
            && group.delimiter() == Delimiter::Parenthesis
            && group.stream().is_empty()
        {
            self.calls.push(Mention { what: ident.to_string(), line: ident.span().start().line });
        }
        after
    }
}

impl<'ast> Visit<'ast> for Mentions {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Fn(item) => item.attrs.as_slice(),
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            _ => &[],
        };
        if !is_for_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        let TraitItem::Fn(function) = item else { return visit::visit_trait_item(self, item) };
        if !is_for_tests(&function.attrs) {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_fields(&mut self, fields: &'ast Fields) {
        for field in fields {
            if !is_for_tests(&field.attrs) {
                self.visit_field(field);
            }
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.imports.extend(imports(item));
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let what = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.paths.push(Mention { what, line: path.span().start().line });
        // Generic arguments have paths of their own.
        visit::visit_path(self, path);
    }

    /// `pub(super)` is no dependency.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        if call.args.is_empty() {
            self.calls.push(Mention { what: call.method.to_string(), line: call.method.span().start().line });
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_lit(&mut self, literal: &'ast Lit) {
        if let Lit::Str(text) = literal {
            self.strings.push(Mention { what: text.value(), line: text.span().start().line });
        }
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.visit_path(&called.path);
        self.tokens(called.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let Meta::List(list) = &attribute.meta else { return };
        let before = self.strings.len();
        self.tokens(list.tokens.clone());
        // `#[serde(with = "crate::x")]`: a path in a string.
        for text in self.strings.split_off(before) {
            if let Ok(path) = syn::parse_str::<Path>(&text.what) {
                let what = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
                self.paths.push(Mention { what, line: text.line });
            }
        }
    }
}
