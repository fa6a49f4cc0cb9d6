//! Where and how a dialect is served. The same dialect has other paths, headers and framings in a cloud than at its vendor:
//! what differs is here, and codecs and lanes know nothing of it.

mod azure;
pub(crate) mod bedrock;
mod betas;
mod claude;
mod mantle;
mod place;
mod surface;
mod vendor;
mod vertex;

pub use azure::{ApiVersion, InvalidApiVersion};
pub use place::{Asked, LONGEST_MODEL, Place, UnsafeModel, check};
pub use surface::{Surface, Surfaces};

use bytes::Bytes;

use crate::{
    codec::Head,
    dialect::{Family, Operation},
    limits::{Feature, Features},
    report::Report,
};

/// Who serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Host {
    /// The dialect's vendor, or a server that follows it.
    #[default]
    Vendor,
    /// Azure OpenAI or Microsoft Foundry, below the endpoint of a resource.
    Azure(ApiVersion),
    /// Vertex AI, below the path of a project and a location.
    Vertex,
    /// Amazon Bedrock, below the endpoint of a region.
    Bedrock,
    /// Amazon Bedrock's endpoint of vendors' own APIs in a region.
    Mantle,
}

impl Host {
    /// Where an operation is to be had here.
    ///
    /// # Errors
    /// When the model id would stand in the path and cannot.
    pub fn place(self, asked: &Asked<'_>) -> Result<Place, UnsafeModel> {
        match self {
            // Wherever it is served, Converse is served like this.
            Self::Vendor if asked.operation.family() == Family::Bedrock => bedrock::place(asked),
            Self::Vendor => vendor::place(asked),
            Self::Azure(version) => azure::place(version, asked),
            Self::Vertex => vertex::place(asked),
            Self::Bedrock => bedrock::place(asked),
            Self::Mantle => mantle::place(asked),
        }
    }

    /// Where a path of the client's own is to be had here: one about a stored response, or one that nobody knows.
    pub(crate) fn passed(self, path: &str) -> String {
        match self {
            Self::Vendor | Self::Vertex => path.to_owned(),
            Self::Azure(version) => azure::passed(version, path),
            Self::Bedrock => bedrock::passed(path),
            Self::Mantle => mantle::passed(path),
        }
    }

    /// Whether a model is to be had by this operation here, where one host serves models of several vendors. `model` is its
    /// id at the vendor, or the one here where nothing else is known; `closed` is where the host was found not to serve it.
    pub fn serves(self, operation: Operation, model: &str, closed: Surfaces) -> bool {
        match self {
            Self::Vendor => true,
            Self::Azure(_) => azure::serves(operation, model),
            Self::Vertex => vertex::serves(operation, model),
            Self::Bedrock | Self::Mantle => self.surface(operation, model, closed).is_some(),
        }
    }

    /// The surface on which a model is to be had by this operation, apart from those that are closed to it; none where it is
    /// not, or where the host has no surfaces to choose from.
    pub fn surface(self, operation: Operation, model: &str, closed: Surfaces) -> Option<Surface> {
        match self {
            Self::Vendor | Self::Azure(_) | Self::Vertex => None,
            Self::Bedrock => bedrock::surface(operation, model, closed),
            Self::Mantle => mantle::surface(operation, model, closed),
        }
    }

    /// A model's id as its vendor's tables have it.
    pub fn vendors_id(self, model: &str) -> &str {
        match self {
            Self::Vendor | Self::Azure(_) => model,
            Self::Vertex => vertex::vendors_id(model),
            Self::Bedrock | Self::Mantle => bedrock::vendors_id(model),
        }
    }

    /// How bodies repeat a model id that stands in the path: Google's resource name, `models/m` for `m`.
    pub(crate) fn resource_name(self, model: &str) -> String {
        match self {
            Self::Vendor | Self::Azure(_) => vendor::resource_name(model),
            Self::Vertex => vertex::resource_name(model),
            Self::Bedrock | Self::Mantle => model.to_owned(),
        }
    }

    /// What no model takes here.
    pub(crate) fn unsupported(self) -> Features {
        let none = Features::default();
        match self {
            Self::Azure(version) if !version.streams_usage() => none.with(Feature::StreamOptions),
            // Claude has no web search there.
            Self::Bedrock | Self::Mantle => none.with(Feature::WebSearch),
            Self::Vendor | Self::Azure(_) | Self::Vertex => none,
        }
    }

    /// Whether the client's own headers that the dialect's vendor knows are passed on. A host that refuses what it does not
    /// know gets those of [`Place::headers`] alone.
    pub const fn takes_vendors_headers(self) -> bool {
        match self {
            Self::Vendor | Self::Azure(_) | Self::Bedrock | Self::Mantle => true,
            Self::Vertex => false,
        }
    }

    /// Says which of the client's beta features are not passed on, since this host refuses a request for what it does not
    /// know.
    pub(crate) fn report_betas(self, operation: Operation, head: &Head, report: &mut Report) {
        if self == Self::Vertex {
            betas::report(operation, head, report);
        }
    }

    /// The body as it is wanted here. `body` is legal in the operation's dialect; `head` is the client's, where it speaks
    /// that itself.
    pub(crate) fn adapt(self, operation: Operation, body: Bytes, head: Option<&Head>, report: &mut Report) -> Bytes {
        match self {
            Self::Vendor | Self::Azure(_) | Self::Mantle => body,
            Self::Vertex => vertex::adapt(operation, body, report),
            Self::Bedrock => bedrock::adapt(operation, body, head, report),
        }
    }

    /// Whether answers of this operation come in an envelope that is the host's and not the dialect's: errors in another
    /// shape, and events in other frames.
    pub(crate) const fn wraps(self, operation: Operation) -> bool {
        match self {
            Self::Vendor | Self::Azure(_) | Self::Vertex | Self::Mantle => false,
            Self::Bedrock => bedrock::wraps(operation),
        }
    }

    /// Whose shape errors of this operation have.
    pub(crate) const fn error_family(self, operation: Operation) -> Family {
        if self.wraps(operation) { Family::Bedrock } else { operation.family() }
    }
}
