//! What goes on for long ends when the one who does it may do it no longer.

use std::sync::Arc;
use std::time::Duration;

use lariat_api::ClusterId;

use super::{Action, Held, in_cluster, roles_in};
use crate::authn::Identity;
use crate::state::App;

/// How long a change is let settle before everybody looks what it means: many come together.
const SETTLE: Duration = Duration::from_millis(500);
/// How often it is looked anyway: roles of Kubernetes' own kinds change without a word.
const LOOK: Duration = Duration::from_secs(4);

/// Something that goes on in a cluster.
pub(crate) struct Ongoing {
    pub(crate) app: Arc<App>,
    pub(crate) who: Arc<Identity>,
    pub(crate) cluster: ClusterId,
    pub(crate) action: Action,
    /// The groups in which the cluster was asked, besides those of the identity.
    pub(crate) groups: Vec<&'static str>,
    /// The roles that the user had there before it was admitted.
    pub(crate) roles: Held,
}

impl Ongoing {
    /// Waits until it must end: with the token or the user, or when something is taken away from what the user
    /// had in the cluster when it began: nobody but the cluster knows by which of the roles that was. Cancellation-safe.
    pub(crate) async fn until_ended(&self) {
        until(&self.app, &self.who, || self.is_allowed()).await;
    }

    /// Whether it may go on.
    pub(crate) fn is_allowed(&self) -> bool {
        let directory = &self.app.directory;
        let Some(cluster) = directory.cluster(&self.cluster) else {
            return false;
        };
        let now = directory.as_of_now(&self.who);
        let Ok(groups) = in_cluster(&self.app, &now, &cluster, &self.action) else {
            return false;
        };
        let has_kept =
            |before: &[String], now: &[String]| before.iter().all(|one| now.contains(one));
        has_kept(&self.who.groups, &now.groups)
            && has_kept(&self.who.provider_groups, &now.provider_groups)
            && self.groups.iter().all(|group| groups.contains(group))
            && (self.roles).are_left_in(&roles_in(&self.app, &now, self.cluster.as_str()))
    }
}

/// Waits until a watch of the management API must end: with the token or the user, or when anything is
/// taken away from the user. Who watches begins again, and is told what they may see now. `since` is what
/// [`Access::changes`](super::Access::changes) was when it was decided that they may watch.
/// Cancellation-safe.
pub(crate) async fn until_less(app: &App, who: &Identity, since: u64) {
    let held = |who: &Identity| {
        app.directory
            .access(|access| access.holdings(who.user.as_str(), &who.provider_groups))
    };
    if app.directory.access(super::Access::changes) != since {
        return;
    }
    let before = held(who);
    let has_all = || {
        let now = held(&app.directory.as_of_now(who));
        before.is_subset(&now)
    };
    until(app, who, has_all).await;
}

async fn until(app: &App, who: &Identity, is_allowed: impl Fn() -> bool) {
    let mut changes = app.directory.access_changes();
    let denied = async {
        loop {
            tokio::time::sleep(SETTLE).await;
            changes.borrow_and_update();
            // The first time, because something may have changed while it began.
            if !is_allowed() {
                return;
            }
            // A timeout is a reason to look as well.
            let _ = tokio::time::timeout(LOOK, changes.changed()).await;
        }
    };
    tokio::select! {
        () = who.until_ended(&app.clock) => {}
        () = denied => {}
    }
}
