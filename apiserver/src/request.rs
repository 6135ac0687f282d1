//! What a request is about, from its method, path and query, by the rules of kube-apiserver.

mod options;
mod path;

pub use options::{
    Continue, FieldValidation, ListOptions, RevisionMatch, WriteOptions, asks_to_watch,
};
pub use path::{Target, Verb};
