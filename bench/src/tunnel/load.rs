//! What is sent through: bulk, questions with their answers, connections.

mod bulk;
mod connections;
mod questions;

pub use bulk::{Bulk, Direction, Flow, bulk};
pub use connections::connections;
pub use questions::{Asking, PING, Question, Span, ask};
