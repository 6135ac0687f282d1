//! Stores of earlier versions. What once said who administers the server and who is a member of a
//! cluster becomes bindings that give the same.

use std::collections::BTreeMap;

use apiserver::error::ApiError;
use apiserver::object::Object;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::core::ObjectMeta;
use lariat_api::{
    Cluster, ClusterRoleTemplateBinding, GROUP, GlobalRoleBinding, Kind, Subject, User, VERSION,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use store::{Entry, Store, Txn, TxnOutcome};
use tracing::info;

use crate::authz::ADMIN;
use crate::stored::{self, prefix};

/// So many bindings are written together.
const TOGETHER: usize = 50;

/// Makes the bindings, and takes the fields away that they stand for. Each object at once with its last
/// bindings: to be run again after whatever kept it from its end.
///
/// # Errors
/// When the store fails, or what is in it does not parse.
pub(crate) async fn run(store: &dyn Store, now: Timestamp) -> Result<(), ApiError> {
    let now = Time(now);
    let (users, _) = store::read_all(store, &[prefix::<User>().into()]).await?;
    let mut owners = BTreeMap::new();
    for entry in &users {
        let mut user = object(entry)?;
        let owner = owner(&user);
        if let Some(administrator) = user.fields_mut().remove("administrator") {
            let binding = GlobalRoleBinding {
                metadata: meta(&format!("{ADMIN}-{}", user.name()), "", &owner),
                subject: Subject::user(user.name()),
                global_role_name: ADMIN.to_owned(),
                ..GlobalRoleBinding::default()
            };
            let binding = (administrator == true).then_some(binding);
            forget(&mut user, &["f:administrator"]);
            replace(store, entry, &user, binding.into_iter().collect(), &now).await?;
        }
        owners.insert(user.name().to_owned(), owner);
    }
    let (clusters, _) = store::read_all(store, &[prefix::<Cluster>().into()]).await?;
    for entry in clusters.iter().filter(|entry| may_have_members(entry)) {
        let mut cluster = object(entry)?;
        let spec = cluster.fields_mut().get_mut("spec");
        let members = spec
            .and_then(Value::as_object_mut)
            .and_then(|spec| spec.remove("members"));
        let Some(members) = members else { continue };
        let bindings = bindings(cluster.name(), &members, &owners);
        forget(&mut cluster, &["f:spec", "f:members"]);
        replace(store, entry, &cluster, bindings, &now).await?;
    }
    Ok(())
}

/// Whether a cluster says who its members are, or cannot be read. Most do not, and a server may have thousands.
fn may_have_members(entry: &Entry) -> bool {
    #[derive(Deserialize)]
    struct Sketch {
        #[serde(default)]
        spec: Spec,
    }
    #[derive(Default, Deserialize)]
    struct Spec {
        members: Option<IgnoredAny>,
    }
    let sketch: Result<Sketch, _> = serde_json::from_slice(&entry.value);
    sketch.map_or(true, |sketch| sketch.spec.members.is_some())
}

/// What members of a cluster get: the highest of their roles. Those who are no users any more get nothing.
fn bindings(
    cluster: &str,
    members: &Value,
    owners: &BTreeMap<String, OwnerReference>,
) -> Vec<ClusterRoleTemplateBinding> {
    let mut roles = BTreeMap::new();
    for member in members.as_array().into_iter().flatten() {
        let user = member["userId"].as_str().unwrap_or_default();
        let owns = roles.entry(user).or_insert(false);
        *owns |= member["role"] == "owner";
    }
    let known = roles.into_iter();
    let known = known.filter_map(|(user, owns)| Some((user, owns, owners.get(user)?)));
    let made = known.map(|(user, owns, owner)| ClusterRoleTemplateBinding {
        metadata: meta(&format!("member-{user}"), cluster, owner),
        subject: Subject::user(user),
        cluster_name: cluster.to_owned(),
        role_template_name: match owns {
            true => "cluster-owner".to_owned(),
            false => "cluster-member".to_owned(),
        },
        ..ClusterRoleTemplateBinding::default()
    });
    made.collect()
}

/// Writes bindings that are not there yet, and with the last of them the object that they come from.
async fn replace<K: Kind>(
    store: &dyn Store,
    entry: &Entry,
    object: &Object,
    bindings: Vec<K>,
    now: &Time,
) -> Result<(), ApiError> {
    let (name, made) = (object.name(), bindings.len());
    let mut txn = Txn::default();
    for binding in bindings {
        if stored::find::<K>(store, binding.namespace(), binding.name())
            .await?
            .is_some()
        {
            continue;
        }
        stored::join(&mut txn, stored::new(binding, Some(now))?);
        if txn.ops.len() == TOGETHER {
            store.txn(std::mem::take(&mut txn)).await?;
        }
    }
    let replaced = Txn::put_if(entry.key.clone(), entry.modified, object.encode());
    stored::join(&mut txn, replaced);
    match store.txn(txn).await? {
        TxnOutcome::Applied(_) => info!(
            name,
            made,
            kind = K::KIND,
            "made bindings of what an earlier version wrote"
        ),
        // Another replica does the same.
        TxnOutcome::Conflict(_) => {}
    }
    Ok(())
}

fn object(entry: &Entry) -> Result<Object, ApiError> {
    Object::decode(&entry.value, entry.modified.0).map_err(ApiError::internal)
}

fn owner(user: &Object) -> OwnerReference {
    OwnerReference {
        api_version: format!("{GROUP}/{VERSION}"),
        kind: User::KIND.to_owned(),
        name: user.name().to_owned(),
        uid: user.uid().to_owned(),
        ..OwnerReference::default()
    }
}

fn meta(name: &str, namespace: &str, owner: &OwnerReference) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
        owner_references: Some(vec![owner.clone()]),
        ..ObjectMeta::default()
    }
}

/// Nobody manages a field that is no more.
fn forget(object: &mut Object, path: &[&str]) {
    let Some((last, above)) = path.split_last() else {
        return;
    };
    let managers = object.meta_mut().get_mut("managedFields");
    for manager in managers.and_then(Value::as_array_mut).into_iter().flatten() {
        let mut at = manager.get_mut("fieldsV1");
        for step in above {
            at = at.and_then(|fields| fields.get_mut(*step));
        }
        if let Some(fields) = at.and_then(Value::as_object_mut) {
            fields.remove(*last);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use store::{Op, RedbOptions, RedbStore, Revision};

    use super::*;

    fn raw(kind: &str, name: &str, rest: Value) -> Value {
        let mut object = rest;
        object["apiVersion"] = json!(format!("{GROUP}/{VERSION}"));
        object["kind"] = json!(kind);
        object["metadata"] = json!({"name": name, "uid": format!("{name}-uid"), "managedFields": [
            {"manager": "m", "fieldsV1": {"f:administrator": {}, "f:enabled": {},
                "f:spec": {"f:members": {}, "f:displayName": {}}}}]});
        object
    }

    #[tokio::test]
    async fn members_and_administrators_become_bindings_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = RedbStore::open(&folder.path().join("store"), RedbOptions::default()).unwrap();
        let store: &dyn Store = &store;
        let many: Vec<_> = (0..120)
            .map(|at| json!({"userId": format!("u-{at}")}))
            .collect();
        let mut members = many.clone();
        members.push(json!({"userId": "u-1", "role": "owner"}));
        members.push(json!({"userId": "u-gone", "role": "owner"}));
        let mut objects = vec![
            (
                prefix::<User>(),
                raw(
                    "User",
                    "u-admin",
                    json!({"username": "a", "administrator": true}),
                ),
            ),
            (
                prefix::<User>(),
                raw(
                    "User",
                    "u-ann",
                    json!({"username": "b", "administrator": false}),
                ),
            ),
            (
                prefix::<Cluster>(),
                raw(
                    "Cluster",
                    "one",
                    json!({"spec": {"displayName": "One", "members": members}}),
                ),
            ),
            (
                prefix::<Cluster>(),
                raw("Cluster", "two", json!({"spec": {"displayName": "Two"}})),
            ),
        ];
        objects.extend((0..120).map(|at| {
            (
                prefix::<User>(),
                raw(
                    "User",
                    &format!("u-{at}"),
                    json!({"username": format!("{at}")}),
                ),
            )
        }));
        for (prefix, object) in objects {
            let key = prefix + object["metadata"]["name"].as_str().unwrap();
            let value = object.to_string().into();
            let ops = vec![Op::Put {
                key: key.into(),
                value,
            }];
            store
                .txn(Txn {
                    ops,
                    ..Txn::default()
                })
                .await
                .unwrap();
        }
        // One binding was made before something stopped it.
        let owner = owner(&Object::new(raw("User", "u-7", json!({}))).unwrap());
        let early = ClusterRoleTemplateBinding {
            metadata: meta("member-u-7", "one", &owner),
            role_template_name: "cluster-member".into(),
            ..ClusterRoleTemplateBinding::default()
        };
        store.txn(stored::new(early, None).unwrap()).await.unwrap();

        run(store, Timestamp::UNIX_EPOCH).await.unwrap();
        let read = |key: String| async move {
            let entry = store.get(key.as_bytes()).await.unwrap()?;
            Some(serde_json::from_slice::<Value>(&entry.value).unwrap())
        };
        let admins: Vec<GlobalRoleBinding> = stored::all(store).await.unwrap();
        assert_eq!(admins.len(), 1);
        assert_eq!(admins[0].metadata.name.as_deref(), Some("admin-u-admin"));
        assert_eq!(
            (
                admins[0].global_role_name.as_str(),
                admins[0].subject.user_name.as_str()
            ),
            ("admin", "u-admin")
        );
        let owners = admins[0].metadata.owner_references.as_ref().unwrap();
        assert_eq!(owners[0].uid, "u-admin-uid");
        let bound: Vec<ClusterRoleTemplateBinding> = stored::all(store).await.unwrap();
        assert_eq!(bound.len(), 120);
        let owned: Vec<_> = (bound.iter())
            .filter(|binding| binding.role_template_name == "cluster-owner")
            .map(|binding| binding.subject.user_name.as_str())
            .collect();
        assert_eq!(owned, ["u-1"]);
        for key in [prefix::<User>() + "u-admin", prefix::<User>() + "u-ann"] {
            let user = read(key).await.unwrap();
            assert!(user.get("administrator").is_none(), "{user}");
            let managed = &user["metadata"]["managedFields"][0]["fieldsV1"];
            assert!(managed.get("f:administrator").is_none() && managed.get("f:enabled").is_some());
        }
        let cluster = read(prefix::<Cluster>() + "one").await.unwrap();
        assert_eq!(cluster["spec"], json!({"displayName": "One"}));
        let managed = &cluster["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"];
        assert_eq!(*managed, json!({"f:displayName": {}}));

        let before = store.revision().await.unwrap();
        run(store, Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!(
            store.revision().await.unwrap(),
            before,
            "there is nothing left to do"
        );
        assert!(before > Revision::ZERO);
    }
}
