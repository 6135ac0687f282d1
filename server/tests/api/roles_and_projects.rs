//! Roles, bindings and projects: what is made together, what goes together, what is refused.

use http::StatusCode;
use serde_json::{Value, json};

use super::harness::{Client, LIMIT, TestServer, cluster, clusters, object, users};

const API: &str = "/apis/management.cattle.io/v3";
const NAMESPACES: &str = "/api/v1/namespaces";

fn all(plural: &str) -> String {
    format!("{API}/{plural}")
}

fn within(namespace: &str, plural: &str) -> String {
    format!("{API}/namespaces/{namespace}/{plural}")
}

async fn made(client: &Client, path: &str, object: &Value) -> Value {
    let answer = client.post(path, object).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    answer.json()
}

async fn items(client: &Client, path: &str) -> Vec<Value> {
    let answer = client.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()["items"].as_array().unwrap().clone()
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// Waits until nothing is there any more.
async fn gone(client: &Client, path: &str) {
    let gone = async {
        while client.get(path).await.status != StatusCode::NOT_FOUND {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let gone = tokio::time::timeout(LIMIT, gone).await;
    gone.unwrap_or_else(|_| panic!("{path} is still there"));
}

/// Lets somebody do everything with some kinds, by RBAC.
async fn allow(admin: &Client, user: &str, resources: &[&str]) {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({"metadata": {"name": user}, "rules": [{
        "verbs": ["*"], "apiGroups": ["management.cattle.io"], "resources": resources}]});
    made(admin, &format!("{rbac}/clusterroles"), &role).await;
    let binding = json!({"metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]});
    made(admin, &format!("{rbac}/clusterrolebindings"), &binding).await;
}

async fn template(admin: &Client, name: &str, fields: Value) -> Value {
    made(
        admin,
        &all("roletemplates"),
        &object("RoleTemplate", name, fields),
    )
    .await
}

fn member(user: &str, role: &str) -> Value {
    let fields = json!({"userName": user, "roleTemplateName": role});
    object("ClusterRoleTemplateBinding", "", fields)
}

#[tokio::test]
async fn a_cluster_comes_with_its_projects_and_takes_them_along() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let before = items(&admin, NAMESPACES).await.len();
    let dry = object("Cluster", "dry", json!({}));
    let path = format!("{}?dryRun=All", clusters());
    made(&admin, &path, &dry).await;
    assert_eq!(items(&admin, NAMESPACES).await.len(), before);

    let prod = made(&admin, &clusters(), &object("Cluster", "prod", json!({}))).await;
    let projects = items(&admin, &within("prod", "projects")).await;
    let mut names: Vec<_> = (projects.iter())
        .map(|project| project["spec"]["displayName"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["Default", "System"]);
    let mut together = projects.clone();
    together.push(admin.get(&format!("{NAMESPACES}/prod")).await.json());
    for project in &projects {
        assert_eq!(project["spec"]["clusterName"], "prod");
        assert_eq!(project["status"]["backingNamespace"], name(project));
        let label = match project["spec"]["displayName"].as_str().unwrap() {
            "Default" => "default-project",
            _ => "system-project",
        };
        let label = format!("authz.management.cattle.io/{label}");
        assert_eq!(project["metadata"]["labels"], json!({label: "true"}));
        let namespace = admin.get(&format!("{NAMESPACES}/{}", name(project))).await;
        together.push(namespace.json());
    }
    // One transaction.
    let at = &prod["metadata"]["resourceVersion"];
    for object in &together {
        assert_eq!(object["metadata"]["resourceVersion"], *at, "{object}");
    }
    let bindings = items(&admin, &within("prod", "clusterroletemplatebindings")).await;
    assert!(bindings.is_empty(), "{bindings:?}");

    // What is refused makes nothing.
    let again = admin
        .post(&clusters(), &object("Cluster", "prod", json!({})))
        .await;
    again.refusal(409);
    assert_eq!(items(&admin, NAMESPACES).await.len(), before + 3);

    admin.delete(&cluster("prod")).await;
    for namespace in &together {
        gone(&admin, &format!("{NAMESPACES}/{}", name(namespace))).await;
    }
    assert_eq!(items(&admin, &all("projects")).await, [json!(null); 0]);
    made(&admin, &clusters(), &object("Cluster", "prod", json!({}))).await;
}

#[tokio::test]
async fn a_cluster_is_named_as_no_other_kind_and_gives_roles_that_are_there() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    for taken in ["p-abcde", "u-abcde"] {
        let cluster = object("Cluster", taken, json!({}));
        let why = admin.post(&clusters(), &cluster).await.refusal(422);
        assert!(why.contains("must not begin with"), "{why}");
    }
    template(&admin, "in-projects", json!({"context": "project"})).await;
    template(&admin, "in-clusters", json!({"context": "cluster"})).await;
    let with = |role: &str| {
        let spec = json!({"defaultClusterRoleForProjectMembers": role});
        object("Cluster", "", json!({"spec": spec}))
    };
    for (role, why) in [
        ("none", "there is no such role template"),
        ("in-projects", "of the context 'cluster'"),
    ] {
        let refused = admin.post(&clusters(), &with(role)).await.refusal(422);
        assert!(refused.contains(why), "{refused}");
    }
    made(&admin, &clusters(), &with("in-clusters")).await;
}

#[tokio::test]
async fn a_namespace_that_is_there_is_taken_over_from_nobody() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, ann_id) = server.user(&admin, "ann").await;
    allow(&admin, &ann_id, &["clusters", "projects"]).await;
    let prod = object("Cluster", "prod", json!({}));
    let shop = object(
        "Project",
        "p-shop",
        json!({"spec": {"displayName": "Shop"}}),
    );
    for name in ["prod", "p-shop", "p-free"] {
        let labels = json!({"team": "a"});
        let namespace = json!({"metadata": {"name": name, "labels": labels}});
        made(&admin, NAMESPACES, &namespace).await;
    }
    let note = json!({"metadata": {"name": "note"}});
    made(&admin, &format!("{NAMESPACES}/prod/configmaps"), &note).await;

    // Who may make clusters does not get by it what is in a namespace.
    let why = ann.post(&clusters(), &prod).await.refusal(409);
    assert!(why.contains("which only administrators give away"), "{why}");
    admin.get(&cluster("prod")).await.refusal(404);
    let own = object("Cluster", "cattle-system", json!({}));
    let why = admin.post(&clusters(), &own).await.refusal(409);
    assert!(why.contains("is the server's own"), "{why}");

    let one = made(&admin, &clusters(), &prod).await;
    let namespace = admin.get(&format!("{NAMESPACES}/prod")).await.json();
    let owner = json!([{"apiVersion": "management.cattle.io/v3", "kind": "Cluster",
        "name": "prod", "uid": one["metadata"]["uid"]}]);
    assert_eq!(namespace["metadata"]["ownerReferences"], owner);
    assert_eq!(namespace["metadata"]["labels"]["team"], "a");
    let again = admin.post(&clusters(), &prod).await.refusal(409);
    assert!(again.contains("already exists"), "{again}");
    made(&admin, &clusters(), &object("Cluster", "other", json!({}))).await;
    let projects = within("prod", "projects");
    let why = ann.post(&projects, &shop).await.refusal(409);
    assert!(why.contains("which only administrators give away"), "{why}");
    made(&admin, &projects, &shop).await;
    let namespace = admin.get(&format!("{NAMESPACES}/p-shop")).await.json();
    assert_eq!(namespace["metadata"]["ownerReferences"], owner);

    // What belongs to one cluster or project does not become another's.
    let elsewhere = within("other", "projects");
    let why = admin.post(&elsewhere, &shop).await.refusal(409);
    assert!(why.contains("belongs to Cluster \"prod\""), "{why}");
    let mut free = admin.get(&format!("{NAMESPACES}/p-free")).await.json();
    let user = admin.get(&format!("{}/{ann_id}", users())).await.json();
    free["metadata"]["ownerReferences"] = json!([{"apiVersion": "management.cattle.io/v3",
        "kind": "User", "name": ann_id, "uid": user["metadata"]["uid"]}]);
    let free = admin.put(&format!("{NAMESPACES}/p-free"), &free).await;
    assert_eq!(free.status, StatusCode::OK, "{}", free.text());
    let of_ann = object(
        "Project",
        "p-free",
        json!({"spec": {"displayName": "Free"}}),
    );
    let why = admin.post(&elsewhere, &of_ann).await.refusal(409);
    assert!(why.contains("belongs to User"), "{why}");
    // All of it goes with the cluster.
    admin.delete(&cluster("prod")).await;
    gone(&admin, &format!("{NAMESPACES}/prod")).await;
    gone(&admin, &format!("{NAMESPACES}/p-shop")).await;
}

#[tokio::test]
async fn what_is_made_again_waits_for_the_namespace_of_its_predecessor() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let prod = object("Cluster", "prod", json!({}));
    let shop = object(
        "Project",
        "p-shop",
        json!({"spec": {"displayName": "Shop"}}),
    );
    made(&admin, &clusters(), &prod).await;
    let projects = within("prod", "projects");
    made(&admin, &projects, &shop).await;
    let note = json!({"metadata": {"name": "note"}});
    for (namespace, object) in [
        ("p-shop", format!("{projects}/p-shop")),
        ("prod", cluster("prod")),
    ] {
        let notes = format!("{NAMESPACES}/{namespace}/configmaps");
        made(&admin, &notes, &note).await;
        assert_eq!(admin.delete(&object).await.status, StatusCode::OK);
        let (path, body) = match namespace {
            "prod" => (clusters(), &prod),
            _ => (projects.clone(), &shop),
        };
        made(&admin, &path, body).await;
        // A namespace of its own, which stays and has nothing of the other's in it.
        admin.get(&format!("{notes}/note")).await.refusal(404);
        made(&admin, &notes, &note).await;
    }

    // What does not go away in time is told.
    let mut held = admin
        .get(&format!("{NAMESPACES}/prod/configmaps/note"))
        .await
        .json();
    held["metadata"]["finalizers"] = json!(["example.org/held"]);
    let path = format!("{NAMESPACES}/prod/configmaps/note");
    assert_eq!(admin.put(&path, &held).await.status, StatusCode::OK);
    admin.delete(&cluster("prod")).await;
    let why = admin.post(&clusters(), &prod).await.refusal(409);
    assert!(why.contains("is still being deleted; try again"), "{why}");
    let dry = format!("{}?dryRun=All", clusters());
    let before = std::time::Instant::now();
    admin.post(&dry, &prod).await.refusal(409);
    assert!(before.elapsed() < LIMIT / 4, "{:?}", before.elapsed());
}

#[tokio::test]
async fn who_creates_a_cluster_or_a_project_is_bound_to_it() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, ann_id) = server.user(&admin, "ann").await;
    allow(&admin, &ann_id, &["clusters", "projects"]).await;
    let first = made(&ann, &clusters(), &object("Cluster", "first", json!({}))).await;
    let bindings = within("first", "clusterroletemplatebindings");
    let binding = admin
        .get(&format!("{bindings}/creator-cluster-owner"))
        .await;
    let binding = binding.json();
    assert_eq!(binding["userName"], ann_id, "{binding}");
    assert_eq!(binding["clusterName"], "first");
    assert_eq!(binding["roleTemplateName"], "cluster-owner");
    let user = admin.get(&format!("{}/{ann_id}", users())).await.json();
    let owner = json!([{"apiVersion": "management.cattle.io/v3", "kind": "User", "name": ann_id,
        "uid": user["metadata"]["uid"]}]);
    assert_eq!(binding["metadata"]["ownerReferences"], owner);
    let at = &first["metadata"]["resourceVersion"];
    assert_eq!(binding["metadata"]["resourceVersion"], *at);

    let shop = object("Project", "", json!({"spec": {"displayName": "Shop"}}));
    let shop = made(&ann, &within("first", "projects"), &shop).await;
    let id = name(&shop);
    assert!(id.starts_with("p-") && id.len() == 7, "{id}");
    let bindings = within(id, "projectroletemplatebindings");
    let of_project = admin
        .get(&format!("{bindings}/creator-project-owner"))
        .await;
    let of_project = of_project.json();
    assert_eq!(of_project["projectName"], format!("first:{id}"));
    assert_eq!(of_project["metadata"]["ownerReferences"], owner);
    let at = &shop["metadata"]["resourceVersion"];
    assert_eq!(of_project["metadata"]["resourceVersion"], *at);

    // Templates say otherwise.
    let owns = json!({"context": "cluster", "clusterCreatorDefault": true});
    template(&admin, "owns", owns).await;
    let path = format!("{}/cluster-owner", all("roletemplates"));
    let mut usual = admin.get(&path).await.json();
    usual["clusterCreatorDefault"] = json!(false);
    assert_eq!(admin.put(&path, &usual).await.status, StatusCode::OK);
    made(&ann, &clusters(), &object("Cluster", "second", json!({}))).await;
    let bindings = items(&admin, &within("second", "clusterroletemplatebindings")).await;
    let names: Vec<_> = bindings.iter().map(name).collect();
    assert_eq!(names, ["creator-owns"]);

    // What ann got goes with ann; what ann made stays.
    admin.delete(&format!("{}/{ann_id}", users())).await;
    let path = within("first", "clusterroletemplatebindings");
    gone(&admin, &format!("{path}/creator-cluster-owner")).await;
    let path = within(id, "projectroletemplatebindings");
    gone(&admin, &format!("{path}/creator-project-owner")).await;
    let found = admin
        .get(&format!("{}/{id}", within("first", "projects")))
        .await;
    assert_eq!(found.status, StatusCode::OK);
}

#[tokio::test]
async fn a_project_takes_its_namespace_along() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    for id in ["one", "two"] {
        made(&admin, &clusters(), &object("Cluster", id, json!({}))).await;
    }
    let project = |spec: Value| {
        let mut object = object("Project", "p-shop", json!({"spec": spec}));
        object["spec"]["displayName"] = json!("Shop");
        object
    };
    let (one, two) = (within("one", "projects"), within("two", "projects"));
    let moved = project(json!({"clusterName": "two"}));
    let why = admin.post(&one, &moved).await.refusal(422);
    assert!(why.contains("must be the namespace of the object"), "{why}");
    let elsewhere = within("default", "projects");
    admin
        .post(&elsewhere, &project(json!({})))
        .await
        .refusal(404);

    let mut forged = project(json!({}));
    let labels = json!({"authz.management.cattle.io/system-project": "true", "mine": "yes"});
    forged["metadata"]["labels"] = labels;
    forged["status"] = json!({"backingNamespace": "kube-system"});
    let shop = made(&admin, &one, &forged).await;
    assert_eq!(shop["metadata"]["labels"], json!({"mine": "yes"}));
    assert_eq!(shop["status"]["backingNamespace"], "p-shop");
    // Its name is unique on the server.
    let why = admin.post(&two, &project(json!({}))).await.refusal(409);
    assert!(why.contains("belongs to Cluster \"one\""), "{why}");

    template(&admin, "reads", json!({"context": "project"})).await;
    let binding = object(
        "ProjectRoleTemplateBinding",
        "readers",
        json!({"groupPrincipalName": "github_org://5", "projectName": "one:p-shop", "roleTemplateName": "reads"}),
    );
    let bindings = within("p-shop", "projectroletemplatebindings");
    made(&admin, &bindings, &binding).await;
    let deleted = admin.delete(&format!("{one}/p-shop")).await;
    assert_eq!(deleted.status, StatusCode::OK, "{}", deleted.text());
    gone(&admin, &format!("{NAMESPACES}/p-shop")).await;
    gone(&admin, &format!("{bindings}/readers")).await;
    // Then its name is free.
    made(&admin, &two, &project(json!({}))).await;

    let projects = items(&admin, &one).await;
    let [default, system] = ["Default", "System"].map(|wanted| {
        let mut found = projects.iter();
        let found = found.find(|project| project["spec"]["displayName"] == wanted);
        format!("{one}/{}", name(found.unwrap()))
    });
    let why = admin.delete(&system).await.refusal(403);
    assert!(why.contains("goes with its cluster"), "{why}");
    // Nor after its label was taken away.
    let mut plain = admin.get(&system).await.json();
    plain["metadata"]["labels"] = json!({});
    assert_eq!(admin.put(&system, &plain).await.status, StatusCode::OK);
    admin.delete(&system).await.refusal(403);
    assert_eq!(admin.delete(&default).await.status, StatusCode::OK);
}

#[tokio::test]
async fn bindings_name_what_is_there() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (_, ann) = server.user(&admin, "ann").await;
    for id in ["one", "two"] {
        made(&admin, &clusters(), &object("Cluster", id, json!({}))).await;
    }
    template(&admin, "in-clusters", json!({"context": "cluster"})).await;
    template(&admin, "in-projects", json!({"context": "project"})).await;
    template(&admin, "old", json!({"context": "cluster", "locked": true})).await;
    let path = within("one", "clusterroletemplatebindings");
    let in_two = |mut binding: Value| {
        binding["clusterName"] = json!("two");
        binding
    };
    let local = object(
        "ClusterRoleTemplateBinding",
        "",
        json!({"userPrincipalName": "local://u-none", "roleTemplateName": "in-clusters"}),
    );
    for (binding, why) in [
        (
            member("u-none", "in-clusters"),
            "userName: Invalid value: \"u-none\": there is no such user",
        ),
        (
            local,
            "userPrincipalName: Invalid value: \"u-none\": there is no such user",
        ),
        (
            member(&ann, "none"),
            "roleTemplateName: Invalid value: \"none\": there is no such role template",
        ),
        (
            member(&ann, "in-projects"),
            "must be a role template of the context 'cluster'",
        ),
        (
            member(&ann, "old"),
            "is locked: nobody can be given it any more",
        ),
        (
            in_two(member(&ann, "in-clusters")),
            "must be the namespace of the object",
        ),
    ] {
        let refused = admin.post(&path, &binding).await.refusal(422);
        assert!(refused.contains(why), "{refused}");
    }
    let elsewhere = within("default", "clusterroletemplatebindings");
    let binding = member(&ann, "in-clusters");
    admin.post(&elsewhere, &binding).await.refusal(404);

    // What owns a binding, and how far it has come, says nobody but the server.
    let mut forged = binding;
    forged["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap",
        "name": "a", "uid": "00000000-0000-4000-8000-000000000000"}]);
    forged["status"] = json!({"summary": "Completed"});
    let mut binding = made(&admin, &path, &forged).await;
    assert_eq!(binding["clusterName"], "one");
    assert_eq!(binding["metadata"]["ownerReferences"][0]["name"], ann);
    assert!(binding["status"].is_null(), "{binding}");
    let at = format!("{path}/{}", name(&binding));
    let owners = std::mem::take(&mut binding["metadata"]["ownerReferences"]);
    binding["metadata"]["labels"] = json!({"mine": "yes"});
    let changed = admin.put(&at, &binding).await.json();
    assert_eq!(changed["metadata"]["ownerReferences"], owners, "{changed}");
    assert_eq!(changed["metadata"]["labels"], json!({"mine": "yes"}));

    let project = object(
        "Project",
        "p-shop",
        json!({"spec": {"displayName": "Shop"}}),
    );
    made(&admin, &within("one", "projects"), &project).await;
    let path = within("p-shop", "projectroletemplatebindings");
    let binding = |project: &str, role: &str| {
        let fields = json!({"userName": ann, "projectName": project, "roleTemplateName": role});
        object("ProjectRoleTemplateBinding", "", fields)
    };
    for (binding, why) in [
        (
            binding("two:p-shop", "in-projects"),
            "there is no such project",
        ),
        (
            binding("one:p-other", "in-projects"),
            "must be the project of the namespace",
        ),
        (
            binding("one:p-shop", "in-clusters"),
            "must be a role template of the context 'project'",
        ),
    ] {
        let refused = admin.post(&path, &binding).await.refusal(422);
        assert!(refused.contains(why), "{refused}");
    }
    made(&admin, &path, &binding("one:p-shop", "in-projects")).await;

    let path = all("globalrolebindings");
    let binding = |role: &str| {
        let fields = json!({"userPrincipalName": format!("local://{ann}"), "globalRoleName": role});
        object("GlobalRoleBinding", "", fields)
    };
    let refused = admin.post(&path, &binding("support")).await.refusal(422);
    assert!(
        refused.contains("there is no such global role"),
        "{refused}"
    );
    let role = object("GlobalRole", "support", json!({}));
    made(&admin, &all("globalroles"), &role).await;
    let binding = made(&admin, &path, &binding("support")).await;
    assert_eq!(binding["metadata"]["ownerReferences"][0]["name"], ann);
    admin.delete(&format!("{}/{ann}", users())).await;
    gone(&admin, &format!("{path}/{}", name(&binding))).await;
}

#[tokio::test]
async fn templates_inherit_what_is_there_and_never_themselves() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let path = all("roletemplates");
    let inherits = |name: &str, context: &str, from: &[&str]| {
        let fields = json!({"context": context, "roleTemplateNames": from});
        object("RoleTemplate", name, fields)
    };
    template(&admin, "for-clusters", json!({"context": "cluster"})).await;
    for place in 0..10 {
        let from = format!("level-{}", place - 1);
        let from = if place == 0 {
            vec![]
        } else {
            vec![from.as_str()]
        };
        made(
            &admin,
            &path,
            &inherits(&format!("level-{place}"), "", &from),
        )
        .await;
    }
    for (template, why) in [
        (
            inherits("a", "", &["a"]),
            "must not lead back to the template itself",
        ),
        (
            inherits("a", "", &["none"]),
            "there is no role template \\\"none\\\"",
        ),
        (
            inherits("a", "project", &["for-clusters"]),
            "is for clusters",
        ),
        (inherits("a", "", &["for-clusters"]), "is for clusters"),
        (
            inherits("a", "cluster", &["level-9"]),
            "must end after 10 templates",
        ),
    ] {
        let refused = admin.post(&path, &template).await.refusal(422);
        assert!(refused.contains(&why.replace("\\\"", "\"")), "{refused}");
    }
    made(
        &admin,
        &path,
        &inherits("a", "cluster", &["for-clusters", "level-8"]),
    )
    .await;

    // A ring is refused where it would be closed.
    let mut first = admin.get(&format!("{path}/level-0")).await.json();
    first["roleTemplateNames"] = json!(["level-2"]);
    let refused = admin
        .put(&format!("{path}/level-0"), &first)
        .await
        .refusal(422);
    assert!(refused.contains("must not lead back"), "{refused}");

    let refused = admin
        .delete(&format!("{path}/for-clusters"))
        .await
        .refusal(403);
    assert!(
        refused.contains("role template \"a\" inherits it"),
        "{refused}"
    );
    let refused = admin.delete(&format!("{path}/level-3")).await.refusal(403);
    assert!(refused.contains("\"level-4\" inherits it"), "{refused}");
    let role = |from: &str| object("GlobalRole", "r", json!({"inheritedClusterRoles": [from]}));
    for (from, why) in [
        ("none", "there is no such role template"),
        ("level-0", "of the context 'cluster'"),
    ] {
        let refused = admin
            .post(&all("globalroles"), &role(from))
            .await
            .refusal(422);
        assert!(refused.contains(why), "{refused}");
    }
    made(&admin, &all("globalroles"), &role("a")).await;
    let refused = admin.delete(&format!("{path}/a")).await.refusal(403);
    assert!(
        refused.contains("global role \"r\" inherits it"),
        "{refused}"
    );
    admin.delete(&format!("{}/r", all("globalroles"))).await;
    for name in ["a", "for-clusters"] {
        let deleted = admin.delete(&format!("{path}/{name}")).await;
        assert_eq!(deleted.status, StatusCode::OK, "{}", deleted.text());
    }
}

#[tokio::test]
async fn what_comes_with_the_server_stays_as_it_is() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let rules = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
    for (kind, plural, allowed) in [
        (
            "RoleTemplate",
            "roletemplates",
            json!({"locked": true, "sessionRecording": "required"}),
        ),
        ("GlobalRole", "globalroles", json!({"newUserDefault": true})),
    ] {
        // Nobody else says that something comes with the server.
        let fields = json!({"builtin": true, "rules": rules});
        let forged = made(
            &admin,
            &all(plural),
            &object(kind, "forged", fields.clone()),
        )
        .await;
        assert!(forged["builtin"].is_null(), "{forged}");
        let request = http::Request::post(all(plural)).header("content-type", "application/json");
        let body = object(kind, "all", fields).to_string().into_bytes();
        let own: Value = server
            .app
            .own
            .request(request.body(body).unwrap())
            .await
            .unwrap();
        assert_eq!(own["builtin"], true);

        let path = format!("{}/all", all(plural));
        let mut fewer = own.clone();
        fewer["rules"] = json!([]);
        let refused = admin.put(&path, &fewer).await.refusal(403);
        assert!(refused.contains("comes with the server"), "{refused}");
        admin.delete(&path).await.refusal(403);
        let mut changed = own;
        changed["builtin"] = json!(false);
        for (field, value) in allowed.as_object().unwrap() {
            changed[field] = value.clone();
        }
        let changed = admin.put(&path, &changed).await.json();
        assert_eq!(changed["builtin"], true, "{changed}");
        for (field, value) in allowed.as_object().unwrap() {
            assert_eq!(changed[field], *value, "{changed}");
        }
    }
}

#[tokio::test]
async fn only_administrators_say_who_people_are() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (nobody, _) = server.user(&admin, "nobody").await;
    let (allowed, allowed_id) = server.user(&admin, "allowed").await;
    allow(&admin, &allowed_id, &["*"]).await;
    let github = object("AuthConfig", "github", json!({"type": "githubConfig"}));
    // Who has logged in has one.
    let quiet = json!({"username": "quiet"});
    made(&admin, &users(), &object("User", "u-quiet", quiet)).await;
    let attribute = object("UserAttribute", "u-quiet", json!({}));
    for (path, object) in [
        (all("authconfigs"), github),
        (all("userattributes"), attribute),
    ] {
        nobody.post(&path, &object).await.refusal(403);
        nobody.get(&path).await.refusal(403);
        // Whatever they may do with other kinds.
        assert_eq!(allowed.get(&path).await.status, StatusCode::OK, "{path}");
        let refused = allowed.post(&path, &object).await.refusal(403);
        assert!(refused.contains("only administrators"), "{refused}");
        let found = made(&admin, &path, &object).await;
        let path = format!("{path}/{}", name(&found));
        allowed.put(&path, &found).await.refusal(403);
        allowed.delete(&path).await.refusal(403);
        assert_eq!(admin.put(&path, &found).await.status, StatusCode::OK);
        assert_eq!(admin.delete(&path).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_user_need_not_have_a_name_to_log_in() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    for _ in 0..2 {
        let user = json!({"displayName": "From a directory", "password": super::harness::PASSWORD});
        made(&admin, &users(), &object("User", "", user)).await;
    }
    let stranger = server.stranger();
    let refused = stranger.log_in("", super::harness::PASSWORD).await;
    assert_eq!(
        refused.status,
        StatusCode::UNAUTHORIZED,
        "{}",
        refused.text()
    );

    let (_, ann) = server.user(&admin, "ann").await;
    let preference = object("Preference", "theme", json!({"value": "dark"}));
    made(&admin, &within(&ann, "preferences"), &preference).await;
    let elsewhere = within("default", "preferences");
    let refused = admin.post(&elsewhere, &preference).await.refusal(422);
    assert!(refused.contains("must be the id of a user"), "{refused}");

    let path = all("userattributes");
    let forged = json!({"groupPrincipals": {"openldap": {"items": [
        {"id": "openldap_group://cn=admins", "principalType": "group"}]}}, "needsRefresh": true});
    let none = object("UserAttribute", "u-none", forged.clone());
    admin.post(&path, &none).await.refusal(422);
    let quiet = object("User", "u-quiet", json!({}));
    made(&admin, &users(), &quiet).await;
    let attribute = object("UserAttribute", "u-quiet", forged);
    let attribute = made(&admin, &path, &attribute).await;
    assert!(attribute["groupPrincipals"].is_null(), "{attribute}");
    assert_eq!(attribute["needsRefresh"], true);

    admin.delete(&format!("{}/{ann}", users())).await;
    gone(&admin, &format!("{path}/{ann}")).await;
    gone(&admin, &format!("{NAMESPACES}/{ann}")).await;
}

#[tokio::test]
async fn secrets_of_login_providers_are_kept_elsewhere() {
    const SECRET: &str = "planted-secret-1";
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let path = all("authconfigs");
    let copy = json!({"kind": "AuthConfig", "serviceAccountPassword": SECRET}).to_string();
    let mut config = object(
        "AuthConfig",
        "openldap",
        json!({"type": "openLdapConfig", "servers": ["ldap.example.org"],
            "serviceAccountPassword": SECRET}),
    );
    let copied = "kubectl.kubernetes.io/last-applied-configuration";
    config["metadata"]["annotations"] = json!({copied: copy});
    let shown = made(&admin, &path, &config).await;
    let place = "cattle-global-data:openldapconfig-serviceaccountpassword";
    assert_eq!(shown["serviceAccountPassword"], place);
    assert_eq!(shown["userLoginAttribute"], "uid");
    assert_eq!(shown["accessMode"], "unrestricted");
    let at = format!("{path}/openldap");
    for read in [admin.get(&at).await, admin.get(&path).await] {
        assert!(!read.text().contains(SECRET), "{}", read.text());
    }
    let secret =
        format!("{NAMESPACES}/cattle-global-data/secrets/openldapconfig-serviceaccountpassword");
    let kept = admin.get(&secret).await.json();
    let encoded = "cGxhbnRlZC1zZWNyZXQtMQ==";
    assert_eq!(kept["data"], json!({"serviceaccountpassword": encoded}));
    let on_disk = std::fs::read_dir(server.folder.path().join("data")).unwrap();
    for file in on_disk
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
    {
        let bytes = std::fs::read(&file).unwrap();
        for planted in [SECRET, encoded] {
            let found = bytes
                .windows(planted.len())
                .any(|window| window == planted.as_bytes());
            assert!(!found, "{} holds {planted}", file.display());
        }
    }

    // What was read can be written again, and a new one takes the place of the old.
    let again = admin.put(&at, &shown).await.json();
    assert_eq!(again["serviceAccountPassword"], place, "{again}");
    assert_eq!(admin.get(&secret).await.json()["data"], kept["data"]);
    let mut other = again;
    other["serviceAccountPassword"] = json!("another");
    let other = admin.put(&at, &other).await.json();
    let changed = admin.get(&secret).await.json();
    assert_eq!(
        changed["data"],
        json!({"serviceaccountpassword": "YW5vdGhlcg=="})
    );
    assert_eq!(changed["metadata"]["uid"], kept["metadata"]["uid"]);

    // It goes with the field, and no place is believed where nothing is.
    let mut without = other;
    without["serviceAccountPassword"] = json!("");
    let mut without = admin.put(&at, &without).await.json();
    admin.get(&secret).await.refusal(404);
    without["serviceAccountPassword"] = json!(place);
    admin.put(&at, &without).await.refusal(422);

    let local = object(
        "AuthConfig",
        "local",
        json!({"type": "localConfig", "enabled": true}),
    );
    made(&admin, &path, &local).await;
    admin.delete(&format!("{path}/local")).await.refusal(403);
    assert_eq!(admin.delete(&at).await.status, StatusCode::OK);
}
