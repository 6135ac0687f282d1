//! What is told besides the answer to a request.

use super::{Body, answer};
use http::Response;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Collects it while the request is carried out.
#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    warnings: Vec<String>,
    annotations: Vec<(String, String)>,
}

impl Notes {
    /// Takes in what is not known yet: a write may be tried several times.
    pub(super) fn add(&self, warnings: Vec<String>, annotations: Vec<(String, String)>) {
        let mut noted = self.noted();
        for warning in warnings {
            if !noted.warnings.contains(&warning) {
                noted.warnings.push(warning);
            }
        }
        for (key, value) in annotations {
            match noted
                .annotations
                .iter_mut()
                .find(|(known, _)| *known == key)
            {
                Some((_, known)) => *known = value,
                None => noted.annotations.push((key, value)),
            }
        }
    }

    /// Adds the warnings to the answer, and returns the keys and values for the audit log.
    pub(super) fn add_to(&self, response: &mut Response<Body>) -> Vec<(String, String)> {
        let noted = std::mem::take(&mut *self.noted());
        for warning in &noted.warnings {
            answer::warn(response, warning);
        }
        noted.annotations
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
