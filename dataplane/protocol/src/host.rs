//! Where and how a dialect is served. The same dialect has other paths, headers and framings in a cloud than at its vendor:
//! what differs is here, and codecs and lanes know nothing of it.

mod place;
mod vendor;

pub use place::{Asked, LONGEST_MODEL, Place, UnsafeModel, check};

/// Who serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Host {
    /// The dialect's vendor, or a server that follows it.
    #[default]
    Vendor,
}

impl Host {
    /// Where an operation is to be had here.
    ///
    /// # Errors
    /// When the model id would stand in the path and cannot.
    pub fn place(self, asked: &Asked<'_>) -> Result<Place, UnsafeModel> {
        match self {
            Self::Vendor => vendor::place(asked),
        }
    }

    /// How bodies repeat a model id that stands in the path: Google's resource name, `models/m` for `m`.
    pub(crate) fn resource_name(self, model: &str) -> String {
        match self {
            Self::Vendor => vendor::resource_name(model),
        }
    }
}
