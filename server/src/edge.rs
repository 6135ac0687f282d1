//! The outer side of the server: connections, TLS, limits, request ids, audit, and the one place
//! where a path is parsed.

mod authority;
mod body;
mod certificates;
mod context;
mod credentials;
mod file_limit;
mod greeting;
mod limits;
mod listener;
mod probes;
mod reading;
mod route;
mod router;
mod tls;

pub use authority::CertificateError;
pub use body::{Body, BoxError, empty, full, json, text, with_type};
pub use certificates::CertificateKeeper;
pub use context::{Connection, RequestContext};
pub(crate) use credentials::{Site, authenticate, site};
pub use file_limit::raise as raise_file_limit;
pub use limits::ConnectionLimits;
pub(crate) use limits::whose;
pub use listener::{listen, serve};
pub use route::{PathError, Route};
pub use router::ProxyRequest;
pub(crate) use router::password_is_settled;
pub use tls::server_config;
