//! Logins by a directory: a real slapd behind a server.

use std::fs;
use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use serde_json::{Value, json};
use testbed::Testbed;
use testbed::directory::{Contents, Group, Member, Person};
use testbed::slapd::Slapd;

use super::access::{OPS, all, crtb, made, name, within};
use super::harness::{Answer, Client, LIMIT, TestServer, cluster, clusters, object, tokens, users};

const SECRET: &str = "0pen, Sesame";
/// Not all names are ASCII.
const FULL_NAME: &str = "Miller, J\u{fc}rgen";
const LOGIN: &str = "/v3-public/openLdapProviders/openldap?action=login";

const CONFIG: &str = "/v3/openLdapConfigs/openldap";

const GROUPS: [Group<'_>; 2] = [
    Group {
        name: "on-call",
        members: &[Member::Person("alice")],
    },
    Group {
        name: "operators",
        members: &[Member::Group("on-call")],
    },
];

/// Waits until something is so.
async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let waited = tokio::time::timeout(LIMIT, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    waited
        .await
        .unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// The condition of a login provider.
fn condition(config: &Value, type_: &str) -> Value {
    let conditions = config["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let found = conditions.find(|one| one["type"] == type_);
    found.cloned().unwrap_or_default()
}

/// A server and a directory. The directory ends before its testbed.
struct World {
    slapd: Slapd,
    server: TestServer,
    admin: Client,
    _testbed: Testbed,
    _folder: tempfile::TempDir,
}

impl World {
    /// With people who log in.
    async fn start(name: &str) -> Self {
        let world = Self::without_settings(name).await;
        made(&world.admin, &all("authconfigs"), &world.settings()).await;
        world
    }

    /// With a directory that the server does not know yet.
    async fn without_settings(name: &str) -> Self {
        let people = ["alice", "bob"].map(|name| Person {
            name,
            full_name: FULL_NAME,
            password: SECRET,
        });
        let folder = tempfile::tempdir().unwrap();
        let testbed = Testbed::open(name).unwrap();
        let contents = Contents {
            people: &people,
            groups: &GROUPS,
        };
        let slapd = testbed.slapd(folder.path(), &contents).unwrap();
        let server = TestServer::start().await;
        let admin = server.admin().await;
        Self {
            slapd,
            server,
            admin,
            _testbed: testbed,
            _folder: folder,
        }
    }

    fn settings(&self) -> Value {
        let url: url::Url = self.slapd.url().parse().unwrap();
        let reader = self.slapd.reader();
        let fields = json!({
            "type": "openLdapConfig",
            "enabled": true,
            "servers": [url.host_str()],
            "port": url.port(),
            "tls": true,
            "certificate": fs::read_to_string(Path::new(&self.slapd.ca_file())).unwrap(),
            "serviceAccountDistinguishedName": reader.name,
            "serviceAccountPassword": reader.password,
            "userSearchBase": self.slapd.people_base(),
            "groupSearchBase": self.slapd.groups_base(),
            "nestedGroupMembershipEnabled": true,
        });
        object("AuthConfig", "openldap", fields)
    }

    async fn log_in(&self, name: &str, password: &str) -> Answer {
        let input = json!({"username": name, "password": password});
        self.server.stranger().post(LOGIN, &input).await
    }

    /// Logs in; who that is, and their id.
    async fn client(&self, name: &str) -> (Client, String) {
        let answer = self.log_in(name, SECRET).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        let token = answer.json();
        let client = self.server.stranger();
        let client = client.with_token(token["token"].as_str().unwrap());
        (client, token["userId"].as_str().unwrap().to_owned())
    }

    /// Changes the settings.
    async fn set(&self, change: Value) {
        let path = format!("{}/openldap", all("authconfigs"));
        // As Kubernetes' clients do: the server may write the status in between.
        let changed = loop {
            let mut config = self.admin.get(&path).await.json();
            for (field, value) in change.as_object().unwrap() {
                config[field] = value.clone();
            }
            let changed = self.admin.put(&path, &config).await;
            if changed.status != StatusCode::CONFLICT {
                break changed;
            }
        };
        assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
    }

    async fn config(&self) -> Value {
        let path = format!("{}/openldap", all("authconfigs"));
        self.admin.get(&path).await.json()
    }

    /// The administrator tries settings out as somebody of the directory.
    async fn test_and_apply(&self, settings: Value, name: &str, password: &str) -> Answer {
        let input = json!({"ldapConfig": settings, "username": name, "password": password});
        let path = format!("{CONFIG}?action=testAndApply");
        self.admin.post(&path, &input).await
    }

    /// Has the directory asked about people every second.
    async fn refresh_often(&self) {
        let path = format!("{}/auth-user-info-max-age-seconds", all("settings"));
        let mut setting = self.admin.get(&path).await.json();
        assert_eq!(setting["default"], "3600", "{setting}");
        setting["value"] = json!("1");
        let changed = self.admin.put(&path, &setting).await;
        assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
    }

    fn group(&self, name: &str) -> String {
        format!("openldap_group://{}", self.slapd.group_dn(name))
    }

    fn person(&self, name: &str) -> String {
        format!("openldap_user://{}", self.slapd.person_dn(name))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_by_a_directory_is_one_user_with_the_roles_of_their_groups() {
    let world = World::start("users of a directory").await;
    let admin = &world.admin;
    made(admin, &clusters(), &object("Cluster", "prod", json!({}))).await;
    let operators = crtb(&world.group("operators"), "cluster-member");
    let bindings = within("prod", "clusterroletemplatebindings");
    made(admin, &bindings, &operators).await;

    // All at once, and nobody was here before.
    let tokens = join_all((0..4).map(|_| world.client("alice"))).await;
    let (alice, id) = &tokens[0];
    assert!(tokens.iter().all(|(_, other)| other == id));
    let user = admin.get(&format!("{}/{id}", users())).await.json();
    assert_eq!(user["displayName"], FULL_NAME, "{user}");
    let local = format!("local://{id}");
    assert_eq!(user["principalIds"], json!([local, world.person("alice")]));
    assert!(user["username"].is_null(), "{user}");
    let attribute = admin.get(&format!("{}/{id}", all("userattributes"))).await;
    let attribute = attribute.json();
    assert!(attribute["lastLogin"].is_string(), "{attribute}");
    let extra = &attribute["extraByProvider"]["openldap"];
    assert_eq!(extra["username"], json!(["alice"]));
    let groups = attribute["groupPrincipals"]["openldap"]["items"].clone();
    let mut groups: Vec<_> = (groups.as_array().unwrap().iter())
        .map(|group| group["id"].as_str().unwrap())
        .collect();
    groups.sort_unstable();
    assert_eq!(groups, [world.group("on-call"), world.group("operators")]);
    // By the group, and by the role of new users.
    assert_eq!(alice.get(&cluster("prod")).await.status, StatusCode::OK);
    let roles = admin.get(&all("globalrolebindings")).await.json();
    let roles = roles["items"].as_array().unwrap().clone();
    let own = roles.iter().filter(|role| role["userName"] == **id);
    assert_eq!(own.count(), 1);
    let (bob, _) = world.client("bob").await;
    bob.get(&cluster("prod")).await.refusal(403);

    let list = alice.get("/apis/management.cattle.io/v3/tokens").await;
    for token in list.json()["items"].as_array().unwrap() {
        assert_eq!(token["authProvider"], "openldap", "{token}");
        assert_eq!(token["userPrincipal"], world.person("alice"), "{token}");
    }
    assert!(world.server.audit_log().contains("/username\":[\"alice\"]"));
    assert!(!world.server.audit_log().contains(SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_tell_what_is_wrong_and_not_who_there_is() {
    let world = World::start("refusals of a directory").await;
    let wrong = world.log_in("alice", "certainly wrong").await;
    let unknown = world.log_in("nobody", "certainly wrong").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert_eq!(wrong.json(), unknown.json());
    let message = wrong.json()["message"].clone();
    assert_eq!(message, "username or password is wrong");
    world.slapd.disable("bob").unwrap();
    let disabled = world.log_in("bob", SECRET).await;
    assert_eq!(disabled.status, StatusCode::UNAUTHORIZED);
    let message = disabled.json()["message"].clone();
    assert_eq!(message, "account is disabled or has expired");

    world.slapd.stop();
    let down = world.log_in("alice", SECRET).await;
    assert_eq!(down.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(down.headers.contains_key("retry-after"));
    let message = down.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("log in with an account of this server"));
    world.server.admin().await;
    world.slapd.start().unwrap();
    world.client("alice").await;

    world.set(json!({"serviceAccountPassword": "wrong"})).await;
    let broken = world.log_in("alice", SECRET).await;
    assert_eq!(broken.status, StatusCode::INTERNAL_SERVER_ERROR);
    let message = broken.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("an administrator has to mend"),
        "{message}"
    );

    // Of an account of a directory as of one of the server.
    let tries = join_all((0..12).map(|_| world.log_in("Alice ", "wrong"))).await;
    let refused = tries
        .iter()
        .find(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS);
    let refused = refused.expect("the twelfth attempt is too many");
    assert!(refused.headers.contains_key("retry-after"));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_see_which_providers_there_are_and_nothing_of_them() {
    let world = World::start("providers in public").await;
    let stranger = world.server.stranger();
    for path in ["/v3-public/authProviders", "/v1-public/authproviders"] {
        let listed = stranger.get(path).await;
        assert_eq!(listed.status, StatusCode::OK);
        let list = listed.json()["data"].clone();
        let ids: Vec<_> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["id"])
            .collect();
        assert_eq!(ids, ["local", "openldap"]);
        let login = list[1]["actions"]["login"].as_str().unwrap();
        assert!(login.ends_with(LOGIN), "{login}");
        assert!(!listed.text().contains("example"), "{}", listed.text());
    }
    let by_type = json!({"type": "openLdapProvider", "username": "alice", "password": SECRET});
    let token = stranger.post("/v1-public/login", &by_type).await;
    assert_eq!(token.status, StatusCode::CREATED, "{}", token.text());
    assert_eq!(token.json()["authProvider"], "openldap");
    let without = stranger
        .post("/v1-public/login", &json!({"username": "alice"}))
        .await;
    assert_eq!(without.status, StatusCode::UNPROCESSABLE_ENTITY);
    let github = "/v3-public/githubProviders/github";
    assert_eq!(stranger.get(github).await.status, StatusCode::NOT_FOUND);
    let login = format!("{github}?action=login");
    let refused = stranger.post(&login, &json!({})).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_lets_in_whom_its_settings_allow() {
    let world = World::start("who is let in").await;
    let is_let_in = async |name: &str| match world.log_in(name, SECRET).await {
        answer if answer.status == StatusCode::CREATED => true,
        answer => {
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
            assert_eq!(answer.json()["message"], "this account may not log in here");
            false
        }
    };
    let operators = world.group("operators");
    world
        .set(json!({"accessMode": "required", "allowedPrincipalIds": [operators]}))
        .await;
    assert!(is_let_in("alice").await);
    assert!(!is_let_in("bob").await);
    let bob = world.person("bob");
    world.set(json!({"allowedPrincipalIds": [bob]})).await;
    assert!(!is_let_in("alice").await);
    assert!(is_let_in("bob").await);
    world.set(json!({"allowedPrincipalIds": [OPS]})).await;
    assert!(!is_let_in("bob").await);
    world.set(json!({"accessMode": "restricted"})).await;
    assert!(!is_let_in("bob").await && !is_let_in("alice").await);
    let prod = object("Cluster", "prod", json!({}));
    made(&world.admin, &clusters(), &prod).await;
    let bindings = within("prod", "clusterroletemplatebindings");
    let member = crtb(&world.group("on-call"), "cluster-member");
    made(&world.admin, &bindings, &member).await;
    assert!(is_let_in("alice").await && !is_let_in("bob").await);
    let member = crtb(&bob, "cluster-member");
    made(&world.admin, &bindings, &member).await;
    assert!(is_let_in("bob").await);
    // Whatever the settings of a provider are, there is a way in.
    world.server.admin().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_disabled_ends_what_people_do_who_came_by_it() {
    let world = World::start("a provider disabled").await;
    let (alice, id) = world.client("alice").await;
    let derived = object("Token", "", json!({"description": "ci"}));
    let derived = made(&alice, &tokens(), &derived).await;
    assert_eq!(derived["authProvider"], "openldap");
    let ci = alice.with_token(derived["token"].as_str().unwrap());
    let watch = Request::get(format!("{}?watch=true", clusters()));
    let open = ci.request(watch.body(Empty::new()).unwrap()).await;
    assert_eq!(open.status(), StatusCode::OK);
    world.set(json!({"enabled": false})).await;
    let ended = tokio::time::timeout(LIMIT, open.into_body().collect()).await;
    ended.expect("the watch ends with the provider").unwrap();
    for client in [&alice, &ci] {
        let refused = client.get(&clusters()).await.refusal(401);
        assert!(refused.contains("is disabled"), "{refused}");
    }
    assert_eq!(
        world.log_in("alice", SECRET).await.status,
        StatusCode::NOT_FOUND
    );
    world.admin.get(&clusters()).await;
    world.set(json!({"enabled": true})).await;
    let (_, again) = world.client("alice").await;
    assert_eq!(again, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_name_of_somebody_who_left_does_not_become_them() {
    let world = World::start("a name given again").await;
    let (before, id) = world.client("alice").await;
    let grant = super::access::grb(&id, "admin");
    made(&world.admin, &all("globalrolebindings"), &grant).await;
    assert_eq!(before.get(&users()).await.status, StatusCode::OK);
    world.slapd.delete_person("alice").unwrap();
    let another = Person {
        name: "alice",
        full_name: "Another",
        password: SECRET,
    };
    world.slapd.add_person(&another).unwrap();
    let (after, other) = world.client("alice").await;
    assert_ne!(id, other);
    after.get(&format!("{}/{id}", users())).await.refusal(403);
    // Nor is anybody else let in with what was theirs.
    before.get(&clusters()).await.refusal(401);
    let left = world.admin.get(&format!("{}/{id}", users())).await.json();
    assert_eq!(left["principalIds"], json!([format!("local://{id}")]));
    assert_eq!(name(&left), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_saved_once_somebody_has_logged_in_with_them() {
    let world = World::without_settings("settings tried out").await;
    let usual = world.admin.get(CONFIG).await.json();
    assert_eq!(usual["enabled"], false, "{usual}");
    assert_eq!(usual["userLoginAttribute"], "uid");
    let settings = world.settings();
    let refusal = async |settings: Value, name: &str, password: &str| {
        let answer = world.test_and_apply(settings, name, password).await;
        let message = answer.json()["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        (answer.status.as_u16(), message)
    };
    let (status, message) = refusal(settings.clone(), "alice", "wrong").await;
    assert_eq!(status, 422, "{message}");
    assert!(
        message.contains("username or password is wrong"),
        "{message}"
    );
    let changed = |field: &str, value: Value| {
        let mut settings = settings.clone();
        settings[field] = value;
        settings
    };
    for (field, value, status, says) in [
        (
            "serviceAccountPassword",
            json!("wrong"),
            422,
            "service account is refused",
        ),
        (
            "userSearchBase",
            json!("ou=nowhere,dc=example,dc=test"),
            422,
            "search base of users",
        ),
        ("userSearchFilter", json!("(uid=*"), 422, "userSearchFilter"),
        ("servers", json!([]), 422, "servers is empty"),
        ("servers", json!("x"), 422, "sequence"),
        ("servers", json!(["127.0.0.2"]), 503, "127.0.0.2"),
    ] {
        let (found, message) = refusal(changed(field, value), "alice", SECRET).await;
        assert_eq!(found, status, "{field}: {message}");
        assert!(message.contains(says), "{field}: {message}");
    }
    assert_eq!(world.config().await["code"], 404, "nothing was saved");

    let mut required = changed("accessMode", json!("required"));
    required["allowedPrincipalIds"] = json!([OPS]);
    let applied = world.test_and_apply(required, "alice", SECRET).await;
    assert_eq!(applied.status, StatusCode::OK, "{}", applied.text());
    assert!(!applied.text().contains(&world.slapd.reader().password));
    assert_eq!(applied.json()["enabled"], true);
    let config = world.config().await;
    // The one who set it up is let in.
    let alice = world.person("alice");
    assert_eq!(config["allowedPrincipalIds"], json!([OPS, alice]));
    assert_eq!(condition(&config, "Tested")["status"], "True", "{config}");
    let (client, id) = world.client("alice").await;
    let itself = world.admin.get(&format!("{}/{id}", users())).await.json();
    assert_eq!(itself["username"], "admin", "{itself}");
    assert_eq!(client.get(&users()).await.status, StatusCode::OK);
    assert_eq!(
        world.log_in("bob", SECRET).await.status,
        StatusCode::FORBIDDEN
    );

    // What is stored is tried without saying it again; an account of somebody else is not taken over.
    let open = json!({"accessMode": "unrestricted"});
    let again = world.test_and_apply(open.clone(), "alice", SECRET).await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.text());
    let (bob, bob_id) = world.client("bob").await;
    assert_ne!(bob_id, id);
    let (status, message) = refusal(open.clone(), "bob", SECRET).await;
    assert_eq!(status, 409, "{message}");
    assert!(message.contains(&bob_id), "{message}");
    let input = json!({"ldapConfig": open, "username": "bob", "password": SECRET});
    for action in ["testAndApply", "disable"] {
        let path = format!("{CONFIG}?action={action}");
        let refused = bob.post(&path, &input).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{action}");
    }
    let disabled = format!("{CONFIG}?action=disable");
    let disabled = world.admin.post(&disabled, &json!({})).await;
    assert_eq!(disabled.json()["enabled"], false, "{}", disabled.text());
    bob.get(&clusters()).await.refusal(401);
    world.server.admin().await;
    // What was ended stays ended.
    until("the tokens are gone", async || {
        let all = world.admin.get(&tokens()).await.json();
        let all = all["items"].as_array().unwrap().clone();
        all.iter().all(|token| token["authProvider"] == "local")
    })
    .await;
    world.set(json!({"enabled": true})).await;
    bob.get(&clusters()).await.refusal(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_in_a_directory_changes_here() {
    let world = World::start("refreshed memberships").await;
    world.refresh_often().await;
    let admin = &world.admin;
    made(admin, &clusters(), &object("Cluster", "prod", json!({}))).await;
    let operators = crtb(&world.group("operators"), "cluster-member");
    let bindings = within("prod", "clusterroletemplatebindings");
    made(admin, &bindings, &operators).await;
    let (alice, id) = world.client("alice").await;
    let (bob, bob_id) = world.client("bob").await;
    let in_cluster = async |client: &Client| client.get(&cluster("prod")).await.status;
    assert_eq!(in_cluster(&alice).await, StatusCode::OK);
    until("it is known to answer", async || {
        condition(&world.config().await, "Reachable")["status"] == "True"
    })
    .await;

    // A directory that is down changes nothing, and says so.
    world.slapd.stop();
    until("it is known to be down", async || {
        condition(&world.config().await, "Reachable")["reason"] == "Unavailable"
    })
    .await;
    assert_eq!(in_cluster(&alice).await, StatusCode::OK);
    let metrics = admin.get("/metrics").await.text();
    let down = "lariat_login_provider_up{provider=\"openldap\"} 0";
    assert!(metrics.contains(down), "{metrics}");
    let refresh = format!("/v3/users/{id}?action=refreshauthprovideraccess");
    let refused = admin.post(&refresh, &json!({})).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        bob.post(&refresh, &json!({})).await.status,
        StatusCode::FORBIDDEN
    );
    world.slapd.start().unwrap();

    // In a group by another group, out of it, and in again.
    world
        .slapd
        .add_member("on-call", Member::Person("bob"))
        .unwrap();
    until("bob is in", async || {
        in_cluster(&bob).await == StatusCode::OK
    })
    .await;
    let watch = Request::get(format!("{}?watch=true", clusters()));
    let open = alice.request(watch.body(Empty::new()).unwrap()).await;
    assert_eq!(open.status(), StatusCode::OK);
    world
        .slapd
        .remove_member("on-call", Member::Person("alice"))
        .unwrap();
    until("alice is out", async || {
        in_cluster(&alice).await == StatusCode::FORBIDDEN
    })
    .await;
    let ended = tokio::time::timeout(LIMIT, open.into_body().collect()).await;
    ended.expect("the watch ends with the group").unwrap();
    assert_eq!(in_cluster(&bob).await, StatusCode::OK);

    // Who is disabled there is out here, until they log in again.
    world.slapd.disable("bob").unwrap();
    until("bob is gone", async || {
        in_cluster(&bob).await == StatusCode::UNAUTHORIZED
    })
    .await;
    assert_eq!(in_cluster(&alice).await, StatusCode::FORBIDDEN);
    world.slapd.enable("bob").unwrap();
    let (bob, again) = world.client("bob").await;
    assert_eq!(again, bob_id);
    assert_eq!(in_cluster(&bob).await, StatusCode::OK);
    // Who is let in no longer is out as well.
    world
        .set(json!({"accessMode": "required", "allowedPrincipalIds": [world.person("alice")]}))
        .await;
    until("bob is not let in", async || {
        in_cluster(&bob).await == StatusCode::UNAUTHORIZED
    })
    .await;
    assert_eq!(in_cluster(&alice).await, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_refreshed_at_once_when_somebody_asks() {
    let world = World::start("a refresh asked for").await;
    let (alice, id) = world.client("alice").await;
    let groups = async || {
        let path = format!("{}/{id}", all("userattributes"));
        let attribute = world.admin.get(&path).await.json();
        let groups = attribute["groupPrincipals"]["openldap"]["items"].clone();
        groups.as_array().map_or(0, Vec::len)
    };
    assert_eq!(groups().await, 2);
    world
        .slapd
        .remove_member("on-call", Member::Person("alice"))
        .unwrap();
    let refresh = format!("/v3/users/{id}?action=refreshauthprovideraccess");
    let done = world.admin.post(&refresh, &json!({})).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text());
    assert_eq!(groups().await, 0);
    world
        .slapd
        .add_member("on-call", Member::Person("alice"))
        .unwrap();
    let all_of_them = "/v3/users?action=refreshauthprovideraccess";
    let done = world.admin.post(all_of_them, &json!({})).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text());
    until("everybody was asked about", async || groups().await == 2).await;
    let nobody = "/v3/users/u-none?action=refreshauthprovideraccess";
    let none = world.admin.post(nobody, &json!({})).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
    world.slapd.delete_person("alice").unwrap();
    world.admin.post(&refresh, &json!({})).await;
    alice.get(&clusters()).await.refusal(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_and_groups_are_found_to_be_picked() {
    let world = World::start("principals").await;
    let (alice, _) = world.client("alice").await;
    let search = async |input: Value| {
        let answer = alice.post("/v3/principals?action=search", &input).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let data = answer.json()["data"].as_array().unwrap().clone();
        data.iter()
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        search(json!({"name": "op"})).await,
        [world.group("operators")]
    );
    assert_eq!(search(json!({"name": "bo"})).await, [world.person("bob")]);
    let admin = world.server.app.directory.login("admin").unwrap().0;
    let found = search(json!({"name": "adm"})).await;
    assert_eq!(found, [admin.local_principal()]);
    let none = search(json!({"name": "op", "principalType": "user"})).await;
    assert!(none.is_empty(), "{none:?}");
    let bad = json!({"name": "op", "principalType": "robot"});
    let refused = alice.post("/v3/principals?action=search", &bad).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);

    let at = |id: &str| {
        let id = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC);
        format!("/v3/principals/{id}")
    };
    let on_call = alice.get(&at(&world.group("on-call"))).await.json();
    assert_eq!(on_call["name"], "on-call", "{on_call}");
    assert_eq!(
        (&on_call["memberOf"], &on_call["me"]),
        (&json!(true), &json!(false))
    );
    let own = alice.get("/v3/principals").await.json();
    assert_eq!(own["data"][0]["id"], world.person("alice"), "{own}");
    assert_eq!(own["data"][0]["me"], true);
    for none in [
        "openldap_user://cn=none,ou=people,dc=example,dc=test",
        "openldap_user://dc=example,dc=test",
        "openldap_group://,,,ou=groups,dc=example,dc=test",
        "saml_user://x",
        "local://u-none",
    ] {
        let answer = alice.get(&at(none)).await;
        assert_eq!(
            answer.status,
            StatusCode::NOT_FOUND,
            "{none}: {}",
            answer.text()
        );
    }
    world
        .server
        .stranger()
        .post("/v3/principals?action=search", &json!({}))
        .await;
    let stranger = world.server.stranger().get("/v3/principals").await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_name_at_a_provider_belongs_to_one_user() {
    const NAME: &str = "openldap_user://uid=alice";
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (helper, helper_id) = server.user(&admin, "helper").await;
    let grant = super::access::grb(&helper_id, "users-manage");
    made(&admin, &all("globalrolebindings"), &grant).await;
    let known = |id: &str| {
        object(
            "User",
            id,
            json!({"principalIds": [NAME, "local://u-other"]}),
        )
    };
    // Only administrators say who people are.
    let forged = made(&helper, &users(), &known("u-eve")).await;
    assert_eq!(forged["principalIds"], json!(["local://u-eve"]));
    let one = made(&admin, &users(), &known("u-one")).await;
    assert_eq!(one["principalIds"], json!(["local://u-one", NAME]));
    let refused = admin.post(&users(), &known("u-two")).await.refusal(409);
    assert!(refused.contains("belongs to user \"u-one\""), "{refused}");
    // Who says nothing of it means what there is, and who says another list means that.
    let path = format!("{}/u-one", users());
    let mut silent = admin.get(&path).await.json();
    silent.as_object_mut().unwrap().remove("principalIds");
    silent["displayName"] = json!("One");
    let silent = admin.put(&path, &silent).await.json();
    assert_eq!(silent["principalIds"], one["principalIds"], "{silent}");
    let mut less = silent;
    less["principalIds"] = json!(["local://u-one"]);
    let refused = helper.put(&path, &less).await.json();
    assert_eq!(refused["principalIds"], one["principalIds"], "{refused}");
    let less = admin.put(&path, &less).await.json();
    assert_eq!(less["principalIds"], json!(["local://u-one"]), "{less}");
    made(&admin, &users(), &known("u-two")).await;
    // Whoever it belonged to is gone.
    let path = format!("{}/u-two", users());
    assert_eq!(admin.delete(&path).await.status, StatusCode::OK);
    made(&admin, &users(), &known("u-three")).await;
}
