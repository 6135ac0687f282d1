//! What went wrong with the tunnels of clusters lately, for people.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lariat_api::{ClusterId, TunnelProblem};

/// Problems of one cluster that are kept: enough to see that connections last equally long.
const PER_CLUSTER: usize = 8;

/// So much of a message is kept, in bytes.
const LONGEST: usize = 240;

/// The last problems of each cluster. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct History(Arc<Mutex<HashMap<ClusterId, VecDeque<Problem>>>>);

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Problem {
    pub(super) at: Timestamp,
    pub(super) reason: &'static str,
    pub(super) message: Box<str>,
    /// How long the connection had lasted, if one was lost.
    pub(super) lasted: Option<Duration>,
}

impl Problem {
    pub(super) fn new(at: Timestamp, reason: &'static str, message: &str) -> Self {
        let message = &message[..message.floor_char_boundary(LONGEST)];
        Self {
            at,
            reason,
            message: message.into(),
            lasted: None,
        }
    }

    pub(super) fn shown(&self) -> TunnelProblem {
        TunnelProblem {
            at: Some(Time(self.at)),
            reason: self.reason.to_owned(),
            message: self.message.to_string(),
            lasted_seconds: self.lasted.map(|lasted| lasted.as_secs_f64()),
        }
    }
}

impl History {
    pub(super) fn note(&self, cluster: &ClusterId, problem: Problem) {
        let mut all = self.lock();
        let problems = all.entry(cluster.clone()).or_default();
        if problems.len() == PER_CLUSTER {
            problems.pop_front();
        }
        problems.push_back(problem);
    }

    pub(super) fn of(&self, cluster: &ClusterId) -> Vec<TunnelProblem> {
        let all = self.lock();
        let problems = all.get(cluster).into_iter().flatten();
        problems.map(Problem::shown).collect()
    }

    /// The cluster is no more.
    pub(super) fn forget(&self, cluster: &ClusterId) {
        self.lock().remove(cluster);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClusterId, VecDeque<Problem>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_problems_are_kept_and_no_more_of_them_than_is_allowed() {
        let (history, cluster) = (History::default(), "c-1".parse().unwrap());
        for second in 0..100 {
            let at = Timestamp::from_second(second).unwrap();
            let problem = Problem::new(at, "ConnectionLost", &"ä".repeat(LONGEST));
            history.note(&cluster, problem);
        }
        let kept = history.of(&cluster);
        assert_eq!(kept.len(), PER_CLUSTER);
        assert!(kept.iter().all(|problem| problem.message.len() <= LONGEST));
        let last = kept.last().and_then(|problem| problem.at.clone());
        assert_eq!(last.unwrap().0, Timestamp::from_second(99).unwrap());
        history.forget(&cluster);
        assert!(history.of(&cluster).is_empty());
    }
}
