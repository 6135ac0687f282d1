//! The roles that every server has. What they allow is the server's to say; whom they are given to, and
//! whether they are given at all, is the administrators'.

use std::collections::HashMap;
use std::fmt::Debug;

use futures::future::try_join_all;
use http::StatusCode;
use kube::api::{Api, ListParams, PostParams};
use lariat_api::{GlobalRole, Kind, RoleTemplate};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::client::answered;

/// The roles, but for what all of them have in common.
const ROLES: &str = include_str!("roles.yaml");

/// The label of what comes with the server.
const LABEL: &str = "authz.management.cattle.io/bootstrapped-role";

/// Fields of which administrators decide.
const KEPT_OF_GLOBAL_ROLES: [&str; 1] = ["newUserDefault"];
const KEPT_OF_TEMPLATES: [&str; 4] = [
    "locked",
    "clusterCreatorDefault",
    "projectCreatorDefault",
    "sessionRecording",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Roles {
    global_roles: Vec<Map<String, Value>>,
    role_templates: Vec<Map<String, Value>>,
}

/// Makes the roles that are missing and gives back to the others what was taken from them.
///
/// # Errors
/// When the store fails.
pub(crate) async fn ensure(client: &kube::Client) -> kube::Result<()> {
    let roles = roles();
    let (heirs, first): (Vec<_>, Vec<_>) = (roles.role_templates.into_iter())
        .partition(|template| template.contains_key("roleTemplateNames"));
    let global = settle::<GlobalRole>(client, roles.global_roles, &KEPT_OF_GLOBAL_ROLES);
    let templates = async {
        settle::<RoleTemplate>(client, first, &KEPT_OF_TEMPLATES).await?;
        settle::<RoleTemplate>(client, heirs, &KEPT_OF_TEMPLATES).await
    };
    futures::try_join!(global, templates).map(drop)
}

fn roles() -> Roles {
    serde_saphyr::from_str(ROLES).expect("a test reads it")
}

/// All at once: a store writes together what comes together.
async fn settle<K>(
    client: &kube::Client,
    wanted: Vec<Map<String, Value>>,
    kept: &[&str],
) -> kube::Result<()>
where
    K: Kind + PartialEq + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::all(client.clone());
    let found = api.list(&ListParams::default()).await?.items;
    let found: HashMap<String, K> = (found.into_iter())
        .map(|role| (role.name().to_owned(), role))
        .collect();
    let (api, found) = (&api, &found);
    let settled = wanted.into_iter().map(|wanted| async move {
        let name = wanted["name"].as_str().unwrap_or_default();
        let written = match found.get(name) {
            None => {
                api.create(&PostParams::default(), &made::<K>(&wanted))
                    .await
            }
            Some(found) => match restored(found, &wanted, kept) {
                restored if restored == *found => return Ok(()),
                restored => api.replace(name, &PostParams::default(), &restored).await,
            },
        };
        // Another replica was faster, and wants the same.
        if answered(&written, StatusCode::CONFLICT) {
            return Ok(());
        }
        written.map(drop)
    });
    try_join_all(settled).await.map(drop)
}

/// A new object.
fn made<K: Kind>(wanted: &Map<String, Value>) -> K {
    let mut object = wanted.clone();
    let name = object.remove("name");
    object.insert("apiVersion".into(), json!(K::api_version(&())));
    object.insert("kind".into(), json!(K::KIND));
    object.insert("builtin".into(), json!(true));
    let metadata = json!({"name": name, "labels": {LABEL: "true"}});
    object.insert("metadata".into(), metadata);
    serde_json::from_value(object.into()).expect("a test reads all of them")
}

/// An object that is there as it should be. What administrators decide of, and what is none of the role,
/// stays as it is.
fn restored<K: Kind>(found: &K, wanted: &Map<String, Value>, kept: &[&str]) -> K {
    let found = serde_json::to_value(found).unwrap_or_default();
    let mut object = serde_json::to_value(made::<K>(wanted)).unwrap_or_default();
    for field in kept {
        object[*field] = found[*field].clone();
    }
    let mut metadata = found["metadata"].clone();
    metadata["labels"][LABEL] = json!("true");
    object["metadata"] = metadata;
    if !found["status"].is_null() {
        object["status"] = found["status"].clone();
    }
    let fields = object.as_object_mut();
    fields
        .into_iter()
        .for_each(|fields| fields.retain(|_, value| !value.is_null()));
    serde_json::from_value(object).expect("its parts were read")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use apiserver::rbac::{Rule, missing};
    use apiserver::schema;
    use lariat_api::{PolicyRule, RoleContext};

    use super::*;
    use crate::authz::own_rules;
    use crate::management::kinds;

    fn templates() -> Vec<RoleTemplate> {
        roles().role_templates.iter().map(made).collect()
    }

    fn flattened(name: &str) -> Vec<Rule> {
        let all = templates();
        let found = all.iter().find(|template| template.name() == name).unwrap();
        let inherited = found.role_template_names.iter();
        let inherited = inherited.flat_map(|name| flattened(name));
        own_rules(found).into_iter().chain(inherited).collect()
    }

    #[test]
    fn every_role_is_a_good_one() {
        fn check<K: Kind>(roles: &[Map<String, Value>]) {
            let resources = kinds::resources(None).unwrap();
            let resource = resources.iter().find(|one| one.kind == K::KIND).unwrap();
            let mut names = BTreeSet::new();
            for role in roles {
                let made: K = made(role);
                assert!(
                    names.insert(made.name().to_owned()),
                    "{} twice",
                    made.name()
                );
                let value = serde_json::to_value(&made).unwrap();
                for field in role.keys().filter(|field| *field != "name") {
                    assert_eq!(value[field], role[field], "{}.{field}", made.name());
                }
                for field in ["displayName", "description"] {
                    assert!(value[field].is_string(), "{}.{field}", made.name());
                }
                let faults = schema::validate(&resource.versions[0].schema, &value, None);
                assert_eq!(faults, [], "{}", made.name());
            }
        }
        let roles = roles();
        check::<GlobalRole>(&roles.global_roles);
        check::<RoleTemplate>(&roles.role_templates);
    }

    #[test]
    fn no_role_but_that_of_administrators_lets_somebody_raise_themselves() {
        let might = ["*", "bind", "escalate", "impersonate", "manage-users"];
        let mighty = |rules: &[PolicyRule]| {
            let mut verbs = rules.iter().flat_map(|rule| &rule.verbs);
            verbs.any(|verb| might.contains(&verb.as_str()))
        };
        for role in roles().global_roles {
            let role: GlobalRole = made(&role);
            assert_eq!(
                mighty(&role.rules),
                role.name() == "admin",
                "{}",
                role.name()
            );
        }
        for template in templates() {
            let name = template.name();
            assert_eq!(mighty(&template.rules), name == "cluster-owner", "{name}");
        }
    }

    #[test]
    fn who_owns_a_project_can_give_every_role_of_projects() {
        let held = flattened("project-owner");
        for template in templates() {
            let name = template.name();
            if template.context == RoleContext::Project {
                let missing = missing(&held, &flattened(name));
                assert_eq!(missing.map(|missing| missing.to_string()), None, "{name}");
            }
        }
    }

    #[test]
    fn what_administrators_decide_stays() {
        let wanted = roles().role_templates;
        let wanted = wanted
            .iter()
            .find(|one| one["name"] == "cluster-owner")
            .unwrap();
        let mut found: RoleTemplate = made(wanted);
        found.metadata.uid = Some("1".into());
        assert_eq!(restored(&found, wanted, &KEPT_OF_TEMPLATES), found);
        let annotations = [("a".to_owned(), "b".to_owned())].into();
        found.metadata.annotations = Some(annotations);
        (found.locked, found.cluster_creator_default) = (true, false);
        let expected = found.clone();
        found.rules.clear();
        (found.administrative, found.builtin) = (false, false);
        found.metadata.labels = None;
        assert_eq!(restored(&found, wanted, &KEPT_OF_TEMPLATES), expected);
    }
}
