//! A bound on how many managers an object has.

use std::collections::BTreeMap;

use super::managers::{ManagerId, Managers, Operation};

/// How many managers of updates an object may have before the oldest are put together, as upstream.
pub(super) const MAX_UPDATE_MANAGERS: usize = 10;

/// The manager that they are put together in, one per version.
const OLD_UPDATES: &str = "ancient-changes";

/// Puts the oldest managers of updates together until there are no more than `max`, or none of the
/// same version are left.
pub(super) fn cap_update_managers(managers: &mut Managers, max: usize) {
    let updates = managers.owners.keys();
    let updates = updates.filter(|id| id.operation == Operation::Update);
    let mut oldest_first: Vec<_> = updates.cloned().collect();
    let mut count = oldest_first.len();
    if count <= max {
        return;
    }
    oldest_first.sort_by_cached_key(|id| {
        let time = managers.times.get(id);
        (time.map_or(0, |time| time.as_second()), id.sort_key())
    });
    let mut first_of_version: BTreeMap<String, ManagerId> = BTreeMap::new();
    for id in oldest_first {
        if count <= max {
            return;
        }
        let Some(owned) = managers.owners.get(&id).cloned() else {
            continue;
        };
        let version = owned.api_version.clone();
        let Some(first) = first_of_version.get(&version) else {
            first_of_version.insert(version, id);
            continue;
        };
        let bucket = ManagerId::new(OLD_UPDATES, Operation::Update, &version, "");
        let older = match managers.owners.get(&bucket) {
            Some(older) => Some(older.clone()),
            None => managers.owners.remove(first),
        };
        let mut together = owned;
        if let Some(older) = older {
            together.fields = together.fields.union(&older.fields);
        }
        managers.owners.insert(bucket.clone(), together);
        managers.owners.remove(&id);
        count -= 1;
        // It is as old as the youngest in it.
        match managers.times.get(&id).copied() {
            Some(time) => managers.times.insert(bucket, time),
            None => managers.times.remove(&bucket),
        };
    }
}
