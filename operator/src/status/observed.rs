//! An object as the index has it, as far as its status needs it.

use std::sync::Arc;

use k8s_openapi::{
    api::core::v1::ObjectReference,
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
};
use kube::Resource;
use routeapi_channel::{Key, Kind};
use routeapi_crds::v1alpha1::{AIProvider, AIRoute, ApiToken};

use super::write::{self, ObservedFields};
use crate::index::Index;

/// An object's metadata and status.
pub struct ObservedObject {
    object: Object,
    /// Fields of the status other than conditions.
    pub fields: ObservedFields,
}

enum Object {
    Provider(Arc<AIProvider>),
    Route(Arc<AIRoute>),
    Token(Arc<ApiToken>),
    /// One whose newest version is excluded: nothing is known about its status.
    Excluded(Kind, Box<ObjectMeta>),
}

// === impl ObservedObject ===

impl ObservedObject {
    /// The object with this key, if there is one.
    pub fn find(index: &Index, key: &Key) -> Option<Self> {
        let (object, fields) = match key.kind {
            Kind::Provider => {
                let object = index.provider(&key.id)?;
                let attached = object.status.as_ref().and_then(|status| status.attached_routes);
                (Object::Provider(object), ObservedFields::Provider(attached))
            }
            Kind::Route => {
                let object = index.route(&key.id)?;
                let status = object.status.as_ref();
                let upstreams = status.map(|status| status.upstreams.clone()).unwrap_or_default();
                let pods = status.and_then(|status| status.data_plane.as_ref()).map(Into::into);
                (Object::Route(object), ObservedFields::Route(upstreams, pods))
            }
            Kind::Token => (Object::Token(index.token(&key.id)?), ObservedFields::Token),
            Kind::Namespace | Kind::Unknown(_) => return None,
        };
        Some(Self { object, fields })
    }

    /// An object whose newest version is excluded.
    pub fn excluded(key: &Key, uid: &str) -> Self {
        let metadata = ObjectMeta {
            name: Some(key.id.name().to_owned()),
            namespace: Some(key.id.namespace().to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectMeta::default()
        };
        Self { object: Object::Excluded(key.kind, Box::new(metadata)), fields: ObservedFields::Nothing }
    }

    /// Its metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        match &self.object {
            Object::Provider(object) => &object.metadata,
            Object::Route(object) => &object.metadata,
            Object::Token(object) => &object.metadata,
            Object::Excluded(_, metadata) => metadata,
        }
    }

    /// Its conditions.
    pub fn conditions(&self) -> &[Condition] {
        match &self.object {
            Object::Provider(object) => object.status.as_ref().map(|status| &*status.conditions),
            Object::Route(object) => object.status.as_ref().map(|status| &*status.conditions),
            Object::Token(object) => object.status.as_ref().map(|status| &*status.conditions),
            Object::Excluded(..) => None,
        }
        .unwrap_or_default()
    }

    /// How events refer to it.
    pub fn reference(&self) -> ObjectReference {
        match &self.object {
            Object::Provider(object) => object.object_ref(&()),
            Object::Route(object) => object.object_ref(&()),
            Object::Token(object) => object.object_ref(&()),
            Object::Excluded(kind, metadata) => ObjectReference {
                api_version: Some(write::API_VERSION.to_owned()),
                kind: Some(write::kind(*kind).to_owned()),
                name: metadata.name.clone(),
                namespace: metadata.namespace.clone(),
                uid: metadata.uid.clone(),
                ..ObjectReference::default()
            },
        }
    }
}
