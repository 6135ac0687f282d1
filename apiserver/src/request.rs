//! What a request is about, from its method, path and query, by the rules of kube-apiserver.

mod continue_token;
mod options;
mod path;

pub use continue_token::Continue;
pub use options::{
    FieldValidation, ListOptions, RevisionMatch, WriteOptions, Writing, asks_to_watch,
};
pub(crate) use options::{invalid_options, unknown_dry_run, whole_number};
pub use path::{Target, Verb};
