//! The objects of the management API as clients of Rancher see them.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::harness::{Answer, Client, PASSWORD, TestServer};

/// The answer, after checking its status.
fn ok(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
    answer.json()
}

async fn get(client: &Client, path: &str) -> Value {
    ok(&client.get(path).await, 200)
}

async fn made(client: &Client, path: &str, body: impl Into<Value>) -> Value {
    ok(&client.post(path, &body.into()).await, 201)
}

/// Code and field of an error, after checking its shape and status.
fn refused(answer: &Answer, status: u16) -> (String, String) {
    let error = ok(answer, status);
    assert_eq!(
        (&error["type"], &error["baseType"]),
        (&json!("error"), &json!("error"))
    );
    assert_eq!(error["status"], status);
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|message| !message.is_empty())
    );
    let text = |field: &str| error[field].as_str().unwrap_or_default().to_owned();
    (text("code"), text("fieldName"))
}

fn ids(collection: &Value) -> Vec<String> {
    assert_eq!(collection["type"], "collection");
    let data = collection["data"].as_array().unwrap().iter();
    data.map(|one| one["id"].as_str().unwrap().to_owned())
        .collect()
}

/// The path in an address.
fn path(address: &Value) -> String {
    let address: url::Url = address.as_str().unwrap().parse().unwrap();
    match address.query() {
        Some(query) => format!("{}?{query}", address.path()),
        None => address.path().to_owned(),
    }
}

#[tokio::test]
async fn every_answer_says_where_the_types_are_described() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let answer = admin.get("/v3").await;
    assert_eq!(
        answer.headers["x-api-schemas"],
        "https://localhost/v3/schemas"
    );
    let root = ok(&answer, 200);
    assert_eq!(root["type"], "apiRoot");
    assert_eq!(root["links"]["clusters"], "https://localhost/v3/clusters");
    assert_eq!(
        root["links"]["clusterRoleTemplateBindings"],
        "https://localhost/v3/clusterroletemplatebindings"
    );
    let stranger = server.stranger().get("/v3").await;
    assert_eq!(refused(&stranger, 401).0, "Unauthorized");
    assert!(stranger.headers.contains_key("x-api-schemas"));
    made(
        &admin,
        "/v3/clusters",
        json!({"name": "prod", "id": "ignored"}),
    )
    .await;
    let clusters = get(&admin, "/v3/clusters").await;
    let id = clusters["data"][0]["id"].as_str().unwrap().to_owned();
    // Who begins at a cluster works with what is in it.
    let answer = admin.get(&format!("/v3/clusters/{id}")).await;
    let inside = format!("/v3/cluster/{id}/schemas");
    assert!(
        answer.headers["x-api-schemas"]
            .to_str()
            .unwrap()
            .ends_with(&inside)
    );
    let schemas = get(&admin, &inside).await;
    assert!(ids(&schemas).contains(&"namespace".to_owned()));
    assert!(!ids(&schemas).contains(&"cluster".to_owned()));
    let wanted = format!("https://localhost/v3/cluster/{id}/namespaces");
    let mut all = schemas["data"].as_array().unwrap().iter();
    let namespace = all.find(|one| one["id"] == "namespace").unwrap();
    assert_eq!(namespace["links"]["collection"], wanted);
}

#[tokio::test]
async fn schemas_say_what_somebody_may_do() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, _) = server.user(&admin, "ann").await;
    let schemas = get(&admin, "/v3/schemas").await;
    for id in [
        "cluster",
        "project",
        "user",
        "token",
        "setting",
        "globalRole",
        "globalRoleBinding",
        "roleTemplate",
        "clusterRoleTemplateBinding",
        "projectRoleTemplateBinding",
        "clusterRegistrationToken",
        "preference",
        "authConfig",
        "node",
        "generateKubeconfigOutput",
        "changePasswordInput",
        "error",
    ] {
        assert!(ids(&schemas).contains(&id.to_owned()), "{id}");
    }
    let cluster = get(&admin, "/v3/schemas/CLUSTER").await;
    assert_eq!(cluster["id"], "cluster");
    assert_eq!(cluster["pluralName"], "clusters");
    assert_eq!(cluster["resourceMethods"], json!(["GET", "PUT", "DELETE"]));
    assert_eq!(cluster["collectionMethods"], json!(["GET", "POST"]));
    assert_eq!(
        cluster["resourceActions"]["generateKubeconfig"]["output"],
        "generateKubeconfigOutput"
    );
    let fields = &cluster["resourceFields"];
    assert_eq!(fields["name"]["type"], "string");
    assert_eq!(fields["name"]["maxLength"], 253);
    assert!(
        fields["name"]["description"]
            .as_str()
            .unwrap()
            .contains("Name shown to people")
    );
    assert_eq!(
        (&fields["driver"]["create"], &fields["driver"]["update"]),
        (&json!(false), &json!(false))
    );
    let filters = &cluster["collectionFilters"]["name"]["modifiers"];
    assert!(filters.as_array().unwrap().contains(&json!("prefix")));
    let config = get(&admin, "/v3/schemas/authConfig").await;
    let modes = &config["resourceFields"]["accessMode"]["options"];
    assert_eq!(*modes, json!(["unrestricted", "restricted", "required"]));
    let password = &get(&admin, "/v3/schemas/user").await["resourceFields"]["password"];
    assert_eq!(
        (&password["type"], &password["writeOnly"]),
        (&json!("password"), &json!(true))
    );
    // Somebody who may less is offered less.
    let cluster = get(&ann, "/v3/schemas/cluster").await;
    assert_eq!(cluster["collectionMethods"], json!(["GET", "POST"]));
    assert_eq!(cluster["resourceMethods"], json!(["GET"]));
    let hidden = ann.get("/v3/schemas/globalrolebinding").await;
    assert_eq!(refused(&hidden, 404).0, "NotFound");
    made(&ann, "/v3/clusters", json!({"name": "mine"})).await;
    let cluster = get(&ann, "/v3/schemas/cluster").await;
    assert_eq!(cluster["resourceMethods"], json!(["GET", "PUT", "DELETE"]));
    assert_eq!(
        refused(&admin.get("/v3/schemas/nothing").await, 404).0,
        "NotFound"
    );
    let written = admin.post("/v3/schemas", &json!({})).await;
    assert_eq!(refused(&written, 405).0, "MethodNotAllow");
}

#[tokio::test]
async fn an_object_lives_from_its_creation_to_its_deletion() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let sent = json!({
        "type": "cluster", "name": "prod", "description": "d", "labels": {"a": "b"}, "bogus": 1,
        "annotations": {"field.cattle.io/creatorId": "u-somebody", "x/y": "z"},
    });
    let cluster = made(&admin, "/v3/clusters", sent).await;
    let id = cluster["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("c-"));
    for (field, expected) in [
        ("type", json!("cluster")),
        ("baseType", json!("cluster")),
        ("name", json!("prod")),
        ("description", json!("d")),
        ("labels", json!({"a": "b"})),
        ("annotations", json!({"x/y": "z"})),
        ("state", json!("pending")),
        ("transitioning", json!("yes")),
        ("driver", json!("imported")),
        ("enableNetworkPolicy", json!(false)),
    ] {
        assert_eq!(cluster[field], expected, "{field}");
    }
    let me = get(&admin, "/v3/users?me=true").await;
    assert_eq!(cluster["creatorId"], me["data"][0]["id"]);
    assert!(
        cluster["createdTS"]
            .as_i64()
            .is_some_and(|at| at > 1_600_000_000_000)
    );
    assert!(
        cluster["uuid"]
            .as_str()
            .is_some_and(|uuid| uuid.len() == 36)
    );
    for gone in ["metadata", "spec", "kind", "bogus"] {
        assert!(cluster.get(gone).is_none(), "{gone}");
    }
    let links = &cluster["links"];
    let itself = path(&links["self"]);
    assert_eq!(itself, format!("/v3/clusters/{id}"));
    assert_eq!(
        (&links["update"], &links["remove"]),
        (&links["self"], &links["self"])
    );
    assert_eq!(path(&links["projects"]), format!("{itself}/projects"));
    assert_eq!(path(&links["namespaces"]), format!("{itself}/namespaces"));
    assert_eq!(
        path(&cluster["actions"]["generateKubeconfig"]),
        format!("{itself}?action=generateKubeconfig")
    );
    // What was read is sent back as it is, with a change.
    let mut again = get(&admin, &itself).await;
    again["description"] = json!("other");
    let changed = ok(&admin.put(&itself, &again).await, 200);
    assert_eq!(
        (&changed["description"], &changed["name"]),
        (&json!("other"), &json!("prod"))
    );
    assert_eq!(changed["creatorId"], cluster["creatorId"]);
    // One field alone; with _replace what is not sent goes.
    let changed = ok(&admin.put(&itself, &json!({"name": "new"})).await, 200);
    assert_eq!(
        (&changed["name"], &changed["description"]),
        (&json!("new"), &json!("other"))
    );
    let replaced = admin
        .put(&format!("{itself}?_replace=true"), &json!({"name": "new"}))
        .await;
    let replaced = ok(&replaced, 200);
    assert!(
        replaced.get("description").is_none_or(|text| text == ""),
        "{replaced}"
    );
    assert!(replaced.get("labels").is_none(), "{replaced}");
    let deleted = ok(&admin.delete(&itself).await, 200);
    assert_eq!(
        (&deleted["id"], &deleted["name"]),
        (&json!(id), &json!("new"))
    );
    assert_eq!(refused(&admin.get(&itself).await, 404).0, "NotFound");
}

#[tokio::test]
async fn collections_are_filtered_sorted_and_paged() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    for name in ["b", "d", "a", "c", "e"] {
        let label = if name < "c" { "early" } else { "late" };
        made(
            &admin,
            "/v3/clusters",
            json!({"name": name, "description": label}),
        )
        .await;
    }
    let names = |collection: &Value| {
        let data = collection["data"].as_array().unwrap().iter();
        data.map(|one| one["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join("")
    };
    for (query, expected) in [
        ("sort=name", "abcde"),
        ("sort=name&order=desc", "edcba"),
        ("sort=name&description=late", "cde"),
        ("sort=name&description_ne=late", "ab"),
        ("sort=name&name_in=a&name_in=e", "ae"),
        ("sort=name&name_notin=a,b", "cde"),
        ("sort=name&name_prefix=c", "c"),
        ("sort=name&description_null", ""),
        ("sort=name&state=pending&description_notnull", "abcde"),
        ("name=nobody", ""),
        ("sort=name&unknown=ignored", "abcde"),
    ] {
        let found = get(&admin, &format!("/v3/clusters?{query}")).await;
        assert_eq!(names(&found), expected, "{query}");
    }
    let found = get(&admin, "/v3/clusters?name=a").await;
    assert_eq!(
        found["filters"]["name"],
        json!([{"modifier": "eq", "value": "a"}])
    );
    assert_eq!(found["filters"]["description"], Value::Null);
    assert_eq!(found["resourceType"], "cluster");
    assert_eq!(path(&found["createTypes"]["cluster"]), "/v3/clusters");
    assert_eq!(path(&found["links"]["self"]), "/v3/clusters");
    for direction in [("asc", "abcde"), ("desc", "edcba")] {
        let mut next = format!("/v3/clusters?sort=name&limit=2&order={}", direction.0);
        let mut seen = String::new();
        loop {
            let page = get(&admin, &next).await;
            assert_eq!(page["pagination"]["limit"], 2);
            assert_eq!(page["pagination"]["total"], 5);
            seen += &names(&page);
            assert_eq!(page["pagination"]["partial"], seen.len() < 5);
            match page["pagination"].get("next") {
                Some(link) => next = path(link),
                None => break,
            }
        }
        assert_eq!(seen, direction.1);
    }
    for (query, code, field) in [
        ("limit=0", "InvalidFormat", "limit"),
        ("limit=many", "InvalidFormat", "limit"),
        ("marker=x", "InvalidFormat", "marker"),
        ("sort=labels", "InvalidOption", "sort"),
        ("order=up", "InvalidOption", "order"),
    ] {
        let answer = admin.get(&format!("/v3/clusters?{query}")).await;
        assert_eq!(
            refused(&answer, 422),
            (code.to_owned(), field.to_owned()),
            "{query}"
        );
    }
}

#[tokio::test]
async fn members_and_projects_are_in_their_cluster() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, ann_id) = server.user(&admin, "ann").await;
    let cluster = made(&admin, "/v3/clusters", json!({"name": "one"})).await;
    let other = made(&admin, "/v3/clusters", json!({"name": "two"})).await;
    let (id, other) = (
        cluster["id"].as_str().unwrap(),
        other["id"].as_str().unwrap(),
    );
    let found = get(&admin, &format!("/v3/clusters/{id}/projects?sort=name")).await;
    let names: Vec<_> = found["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["Default", "System"]);
    let same = get(&admin, &format!("/v3/projects?clusterId={id}&sort=name")).await;
    assert_eq!(ids(&found), ids(&same));
    let new = json!({"name": "apps", "clusterId": id});
    let project = made(&admin, "/v3/projects", new).await;
    let project_id = project["id"].as_str().unwrap();
    assert!(project_id.starts_with(&format!("{id}:p-")));
    assert_eq!(project["clusterId"], id);
    let itself = path(&project["links"]["self"]);
    assert_eq!(itself, format!("/v3/projects/{project_id}"));
    assert_eq!(get(&admin, &itself).await["name"], "apps");
    let below = format!("/v3/clusters/{id}/projects/{project_id}");
    assert_eq!(get(&admin, &below).await["name"], "apps");
    let elsewhere = format!("/v3/clusters/{other}/projects/{project_id}");
    assert_eq!(refused(&admin.get(&elsewhere).await, 404).0, "NotFound");

    let binding = json!({"clusterId": id, "roleTemplateId": "cluster-member", "userId": ann_id});
    let member = made(&admin, "/v3/clusterroletemplatebindings", binding).await;
    assert_eq!(member["roleTemplateId"], "cluster-member");
    assert_eq!(member["userId"], ann_id);
    assert!(
        member["id"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{id}:crtb-"))
    );
    let found = get(
        &admin,
        &format!("/v3/clusterroletemplatebindings?userId={ann_id}"),
    )
    .await;
    assert_eq!(ids(&found), [member["id"].as_str().unwrap()]);
    let user = get(&admin, &format!("/v3/users/{ann_id}")).await;
    let bindings = path(&user["links"]["clusterRoleTemplateBindings"]);
    assert_eq!(ids(&get(&admin, &bindings).await), ids(&found));
    assert_eq!(ids(&get(&ann, "/v3/clusters").await), [id]);
    // A member of the cluster sees no more than the cluster.
    assert!(
        get(&ann, &format!("/v3/clusters/{id}")).await["links"]
            .get("remove")
            .is_none()
    );

    let binding =
        json!({"projectId": project_id, "roleTemplateId": "project-owner", "userId": ann_id});
    let owner = made(&admin, "/v3/projectRoleTemplateBindings", binding).await;
    assert_eq!(owner["projectId"], project_id);
    let below = format!("/v3/projects/{project_id}/projectroletemplatebindings");
    let found = get(&ann, &below).await;
    assert!(ids(&found).contains(&owner["id"].as_str().unwrap().to_owned()));
    assert_eq!(
        path(&found["createTypes"]["projectRoleTemplateBinding"]),
        "/v3/projectroletemplatebindings"
    );
    let more = json!({"roleTemplateId": "read-only", "userId": ann_id});
    made(&ann, &below, more).await;
    let wrong = json!({"roleTemplateId": "read-only", "userId": ann_id, "projectId": format!("{other}:p-1")});
    let wrong = ann.post(&below, &wrong).await;
    assert_eq!(
        refused(&wrong, 422),
        ("InvalidReference".into(), "projectId".into())
    );
    // Nobody gives more than they hold.
    let more = json!({"clusterId": id, "roleTemplateId": "cluster-owner", "userId": ann_id});
    let more = ann.post("/v3/clusterroletemplatebindings", &more).await;
    assert_eq!(refused(&more, 403).0, "PermissionDenied");
}

#[tokio::test]
async fn mistakes_are_named_with_their_field() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let binding = "/v3/clusterroletemplatebindings";
    for (path, body, code, field) in [
        (
            "/v3/projects",
            json!({"name": "p"}),
            "MissingRequired",
            "clusterId",
        ),
        (
            "/v3/projects",
            json!({"clusterId": "c-1"}),
            "MissingRequired",
            "name",
        ),
        (
            "/v3/projects",
            json!({"clusterId": "C_1", "name": "p"}),
            "InvalidReference",
            "clusterId",
        ),
        (
            binding,
            json!({"clusterId": "c-1"}),
            "MissingRequired",
            "roleTemplateId",
        ),
        ("/v3/clusters", json!({"name": 5}), "InvalidFormat", "name"),
        (
            "/v3/clusters",
            json!({"name": "a\u{7}"}),
            "InvalidFormat",
            "name",
        ),
        ("/v3/clusters", json!([]), "InvalidBodyContent", ""),
        ("/v3/tokens", json!({"ttl": 0}), "InvalidFormat", "ttl"),
    ] {
        let answer = admin.post(path, &body).await;
        assert_eq!(
            refused(&answer, 422),
            (code.to_owned(), field.to_owned()),
            "{path} {body}"
        );
    }
    for (method, path, status, code) in [
        (Method::GET, "/v3/nothing", 404, "NotFound"),
        (Method::GET, "/v3/clusters/c-none", 404, "NotFound"),
        (Method::GET, "/v3/projects/none", 404, "NotFound"),
        (Method::GET, "/v3/projects/a:b:c", 404, "NotFound"),
        (Method::GET, "/v3/clusters/c-1/2/3/4", 404, "NotFound"),
        (Method::GET, "/v3/nodes", 422, "MissingRequired"),
        (Method::PATCH, "/v3/clusters/c-none", 405, "MethodNotAllow"),
        (Method::DELETE, "/v3/clusters", 405, "MethodNotAllow"),
        (
            Method::POST,
            "/v3/clusters/c-none?action=explode",
            404,
            "ActionNotAvailable",
        ),
        (
            Method::GET,
            "/v3/tokens?action=logout",
            405,
            "MethodNotAllow",
        ),
    ] {
        let answer = admin.send(method.clone(), path, None).await;
        assert_eq!(refused(&answer, status).0, code, "{method} {path}");
    }
    let deep = format!("{}1{}", "[".repeat(110), "]".repeat(110));
    let deep: Value = serde_json::from_str(&format!("{{\"name\": \"a\", \"x\": {deep}}}")).unwrap();
    assert_eq!(
        refused(&admin.post("/v3/clusters", &deep).await, 400).0,
        "InvalidBodyContent"
    );
}

#[tokio::test]
async fn no_secret_is_shown_twice() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let user = json!({"username": "bob", "name": "Bob", "password": PASSWORD});
    let user = made(&admin, "/v3/users", user).await;
    assert_eq!(
        (&user["username"], &user["name"]),
        (&json!("bob"), &json!("Bob"))
    );
    assert!(user.get("password").is_none());
    let token = made(&admin, "/v3/tokens", json!({"description": "ci"})).await;
    let bearer = token["token"].as_str().unwrap();
    assert!(bearer.starts_with(token["id"].as_str().unwrap()));
    assert_eq!(
        get(&admin.with_token(bearer), "/v3/tokens?current=true").await["data"][0]["id"],
        token["id"]
    );
    let itself = path(&token["links"]["self"]);
    let again = get(&admin, &itself).await;
    assert!(again.get("token").is_none_or(|token| token == ""));
    assert_eq!(
        (&again["expired"], &again["isDerived"]),
        (&json!(false), &json!(true))
    );
    let all = admin.get("/v3/tokens").await.text();
    let secret = bearer.split_once(':').unwrap().1;
    assert!(!all.contains(secret) && !all.contains("tokenHash"), "{all}");
    let cluster = made(&admin, "/v3/clusters", json!({"name": "c"})).await;
    let new = json!({"clusterId": cluster["id"]});
    let registration = made(&admin, "/v3/clusterregistrationtokens", new).await;
    let code = registration["token"].as_str().unwrap().to_owned();
    assert!(registration["command"].as_str().unwrap().contains(&code));
    assert!(
        registration["manifestUrl"]
            .as_str()
            .unwrap()
            .ends_with(".yaml")
    );
    let all = admin.get("/v3/clusterregistrationtokens").await.text();
    assert!(!all.contains(&code) && !all.contains("tokenHash"));
    let log = server.audit_log();
    for secret in [PASSWORD, secret, &code] {
        assert!(!log.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn settings_and_preferences_are_values_with_names() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let setting = get(&server.stranger(), "/v3/settings/cacerts").await;
    assert_eq!(setting["value"], server.authority);
    assert_eq!(
        refused(&server.stranger().get("/v3/settings/server-url").await, 401).0,
        "Unauthorized"
    );
    let setting = get(&admin, "/v3/settings/server-version").await;
    assert_eq!(setting["value"], setting["default"]);
    assert_eq!(
        (&setting["id"], &setting["name"]),
        (&json!("server-version"), &json!("server-version"))
    );
    let change = admin
        .put("/v3/settings/server-version", &json!({"value": "x"}))
        .await;
    assert_eq!(refused(&change, 403).0, "PermissionDenied");
    let theme = made(
        &admin,
        "/v3/preferences",
        json!({"name": "theme", "value": "dark"}),
    )
    .await;
    assert_eq!(theme["id"], "theme");
    let changed = admin
        .put("/v3/preferences/theme", &json!({"value": "light"}))
        .await;
    assert_eq!(ok(&changed, 200)["value"], "light");
    let (ann, _) = server.user(&admin, "ann").await;
    made(
        &ann,
        "/v3/preferences",
        json!({"name": "theme", "value": "blue"}),
    )
    .await;
    assert_eq!(
        get(&admin, "/v3/preferences").await["data"][0]["value"],
        "light"
    );
    assert_eq!(
        get(&ann, "/v3/preferences").await["data"][0]["value"],
        "blue"
    );
}

#[tokio::test]
async fn actions_do_what_their_names_say() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, id) = server.user(&admin, "ann").await;
    let user = get(&admin, &format!("/v3/users/{id}")).await;
    let action = path(&user["actions"]["setpassword"]);
    let short = admin.post(&action, &json!({"newPassword": "short"})).await;
    assert_eq!(refused(&short, 422).0, "InvalidFormat");
    let set = admin
        .post(&action, &json!({"newPassword": "another password"}))
        .await;
    assert_eq!(ok(&set, 200)["id"], id);
    server.login("ann", "another password").await;
    // Not by others.
    let (eve, _) = server.user(&admin, "eve").await;
    let refusal = eve
        .post(&action, &json!({"newPassword": "third password!"}))
        .await;
    assert_eq!(refused(&refusal, 403).0, "PermissionDenied");
    // Nor are those offered that only administrators may.
    let refresh = "refreshauthprovideraccess";
    let asked = path(&user["actions"][refresh]);
    let done = admin.post(&asked, &json!({})).await;
    assert_eq!(done.status, StatusCode::OK);
    for (client, is_offered) in [(&admin, true), (&ann, false)] {
        let users = get(client, "/v3/users").await;
        assert_eq!(users["actions"][refresh].is_string(), is_offered);
    }
    let tokens = get(&ann, "/v3/tokens").await;
    assert!(tokens["actions"]["logoutAll"].is_string());
    let logout = path(&tokens["actions"]["logout"]);
    assert_eq!(ann.post(&logout, &json!({})).await.status, StatusCode::OK);
    assert_eq!(refused(&ann.get("/v3/tokens").await, 401).0, "Unauthorized");
    let cluster = made(&admin, "/v3/clusters", json!({"name": "prod"})).await;
    let action = path(&cluster["actions"]["generateKubeconfig"]);
    let output = ok(&admin.post(&action, &json!({})).await, 200);
    assert_eq!(output["type"], "generateKubeconfigOutput");
    assert!(
        output["config"]
            .as_str()
            .unwrap()
            .contains("kind: 'Config'")
    );
}

#[tokio::test]
async fn what_is_in_a_cluster_is_asked_of_the_cluster() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let cluster = made(&admin, "/v3/clusters", json!({"name": "prod"})).await;
    let id = cluster["id"].as_str().unwrap();
    for path in [
        format!("/v3/clusters/{id}/namespaces"),
        format!("/v3/cluster/{id}/namespaces/default"),
        format!("/v3/nodes?clusterId={id}"),
        format!("/v3/nodes/{id}:n"),
    ] {
        let answer = admin.get(&path).await;
        assert_eq!(refused(&answer, 503).0, "ClusterUnavailable", "{path}");
    }
    let (eve, _) = server.user(&admin, "eve").await;
    let answer = eve.get(&format!("/v3/clusters/{id}/namespaces")).await;
    assert_eq!(refused(&answer, 403).0, "PermissionDenied");
    let elsewhere = json!({"name": "a", "projectId": "c-other:p-1"});
    let answer = admin
        .post(&format!("/v3/clusters/{id}/namespaces"), &elsewhere)
        .await;
    assert_eq!(
        refused(&answer, 422),
        ("InvalidReference".into(), "projectId".into())
    );
}

#[tokio::test]
async fn a_token_for_one_cluster_is_good_for_no_more_here() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let one = made(&admin, "/v3/clusters", json!({"name": "one"})).await;
    made(&admin, "/v3/clusters", json!({"name": "two"})).await;
    let token = made(&admin, "/v3/tokens", json!({"clusterId": one["id"]})).await;
    let bearer = admin.with_token(token["token"].as_str().unwrap());
    assert_eq!(
        ids(&get(&bearer, "/v3/clusters").await),
        [one["id"].as_str().unwrap()]
    );
    for path in ["/v3/users", "/v3/tokens", "/v3/globalrolebindings"] {
        assert_eq!(
            refused(&bearer.get(path).await, 403).0,
            "PermissionDenied",
            "{path}"
        );
    }
    let more = bearer.post("/v3/tokens", &json!({})).await;
    assert_eq!(refused(&more, 403).0, "PermissionDenied");
}

#[tokio::test]
async fn before_a_login_there_is_what_a_login_needs() {
    let server = TestServer::start().await;
    let stranger = server.stranger();
    let answer = stranger.get("/v3-public").await;
    assert_eq!(
        answer.headers["x-api-schemas"],
        "https://localhost/v3-public/schemas"
    );
    let root = ok(&answer, 200);
    let providers = get(&stranger, &path(&root["links"]["localProviders"])).await;
    let login = path(&providers["data"][0]["actions"]["login"]);
    let input = json!({"username": "admin", "password": PASSWORD});
    let token = made(&stranger, &login, input).await;
    assert!(token["token"].as_str().unwrap().starts_with("token-"));
    let schemas = get(&stranger, "/v3-public/schemas").await;
    for id in [
        "authProvider",
        "basicLogin",
        "codeLogin",
        "githubProvider",
        "openLdapProvider",
    ] {
        assert!(ids(&schemas).contains(&id.to_owned()), "{id}");
    }
}

/// Terraform's provider reads it there, and does what it offers.
#[tokio::test]
async fn a_login_provider_that_was_never_set_up_can_be() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let config = get(&admin, "/v3/authConfigs/openldap").await;
    assert_eq!(
        (&config["type"], &config["enabled"]),
        (&json!("openLdapConfig"), &json!(false))
    );
    let test = path(&config["actions"]["testAndApply"]);
    let tried = admin.post(&test, &json!({"ldapConfig": {}})).await;
    assert_eq!(refused(&tried, 422).0, "InvalidFormat");
    let (ann, _) = server.user(&admin, "ann").await;
    let hidden = ann.get("/v3/authConfigs/openldap").await;
    assert_eq!(refused(&hidden, 403).0, "PermissionDenied");
    let nobodys = admin.get("/v3/authConfigs/unknown").await;
    assert_eq!(nobodys.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_browser_gets_a_page_without_data() {
    let server = TestServer::start().await;
    let stranger = server.stranger();
    let open = |path: &'static str| {
        let stranger = stranger.clone();
        async move {
            let request = http::Request::get(path).header("accept", "text/html,*/*;q=0.8");
            stranger
                .answer(request.body(http_body_util::Full::default()).unwrap())
                .await
        }
    };
    let page = open("/v3/clusters").await;
    let same = open("/v3/%3Cscript%3Ealert(1)%3C%2Fscript%3E?%3Cb%3E").await;
    assert_eq!((page.status, same.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(page.body, same.body);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
        "form-action 'none'",
    ] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for (file, media_type) in [
        ("/api-ui/app.js", "text/javascript; charset=utf-8"),
        ("/api-ui/form.js", "text/javascript; charset=utf-8"),
        ("/api-ui/style.css", "text/css; charset=utf-8"),
    ] {
        let answer = stranger.get(file).await;
        assert_eq!(answer.status, StatusCode::OK, "{file}");
        assert_eq!(answer.headers["content-type"], media_type);
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    assert_eq!(
        stranger.get("/api-ui/none").await.status,
        StatusCode::NOT_FOUND
    );
    let posted = stranger.post("/api-ui/app.js", &json!({})).await;
    assert_eq!(posted.status, StatusCode::METHOD_NOT_ALLOWED);
}
