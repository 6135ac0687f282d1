//! What roles and bindings mean, said as plainly as possible: rules, to whom they are given, and where.

use rand::Rng;
use rand::seq::IndexedRandom as _;

/// A resource of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
    pub kind: &'static str,
    pub namespaced: bool,
}

const fn resource(
    group: &'static str,
    plural: &'static str,
    kind: &'static str,
    namespaced: bool,
) -> Resource {
    Resource {
        group,
        version: "v1",
        plural,
        kind,
        namespaced,
    }
}

/// What is asked for.
pub const RESOURCES: [Resource; 7] = [
    resource("", "configmaps", "ConfigMap", true),
    resource("", "secrets", "Secret", true),
    resource("", "services", "Service", true),
    resource("apps", "deployments", "Deployment", true),
    resource("batch", "jobs", "Job", true),
    resource("", "persistentvolumes", "PersistentVolume", false),
    resource("storage.k8s.io", "storageclasses", "StorageClass", false),
];

/// How.
pub const VERBS: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];

/// What a role of projects gives to read outside of namespaces, as far as it is asked for here.
const OUTSIDE: [&str; 2] = ["persistentvolumes", "storageclasses"];

/// The clusters, and of which the projects are.
pub const CLUSTERS: usize = 2;
pub const PROJECTS: [usize; 3] = [0, 0, 1];

/// A namespace: its name, its cluster, and its project, if it is in one.
#[derive(Clone, Debug)]
pub struct Namespace {
    pub name: &'static str,
    pub cluster: usize,
    pub project: Option<usize>,
}

/// Verbs on resources of one group; `*` is all.
#[derive(Clone, Debug)]
pub struct Rule {
    pub verbs: Vec<&'static str>,
    pub group: &'static str,
    pub resources: Vec<&'static str>,
}

/// A RoleTemplate.
#[derive(Clone, Debug)]
pub struct Role {
    pub name: String,
    pub of_projects: bool,
    pub rules: Vec<Rule>,
    /// Another role, of which it has all rules too.
    pub inherits: Option<usize>,
}

/// Where a role is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Cluster(usize),
    Project(usize),
    /// In each cluster, by a GlobalRole that inherits it.
    Everywhere,
}

/// A role, given to somebody.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    pub person: usize,
    pub role: usize,
    pub place: Place,
}

/// A question.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub person: usize,
    pub verb: &'static str,
    pub resource: Resource,
    pub cluster: usize,
    /// Index of a namespace of that cluster; none for the whole cluster.
    pub namespace: Option<usize>,
}

/// Everything that is given to anybody.
#[derive(Clone, Debug)]
pub struct Model {
    pub people: usize,
    /// The people who administer the server.
    pub administrators: Vec<usize>,
    pub roles: Vec<Role>,
    pub namespaces: Vec<Namespace>,
    pub grants: Vec<Grant>,
}

impl Model {
    /// Some roles, given to some people.
    pub fn made_up(dice: &mut impl Rng) -> Self {
        let roles: Vec<_> = (0..10).map(|index| role(dice, index)).collect();
        let people = 14;
        let administrators = vec![0];
        let mut grants = Vec::new();
        // The last one has nothing.
        for person in 1..people - 1 {
            for _ in 0..dice.random_range(2..=5) {
                let role = dice.random_range(0..roles.len());
                let place = if roles[role].of_projects {
                    Place::Project(dice.random_range(0..PROJECTS.len()))
                } else if dice.random_ratio(1, 6) {
                    Place::Everywhere
                } else {
                    Place::Cluster(dice.random_range(0..CLUSTERS))
                };
                grants.push(Grant {
                    person,
                    role,
                    place,
                });
            }
        }
        let namespace = |name, cluster, project| Namespace {
            name,
            cluster,
            project,
        };
        let namespaces = vec![
            namespace("matrix-a", 0, Some(0)),
            namespace("matrix-b", 0, Some(0)),
            namespace("matrix-c", 0, Some(1)),
            namespace("matrix-free", 0, None),
            namespace("matrix-d", 1, Some(2)),
            namespace("matrix-free", 1, None),
        ];
        Self {
            people,
            administrators,
            roles,
            namespaces,
            grants,
        }
    }

    /// A question that may be asked, about half of them by somebody who has something there.
    pub fn question(&self, dice: &mut impl Rng) -> Asked {
        let resource = *RESOURCES.choose(dice).expect("there are some");
        let cluster = dice.random_range(0..CLUSTERS);
        let namespace = (resource.namespaced && dice.random_ratio(4, 5)).then(|| {
            loop {
                let index = dice.random_range(0..self.namespaces.len());
                if self.namespaces[index].cluster == cluster {
                    break index;
                }
            }
        });
        let verb = match namespace {
            None if resource.namespaced => ["list", "watch"].choose(dice),
            _ => VERBS.choose(dice),
        };
        Asked {
            person: dice.random_range(0..self.people),
            verb: verb.expect("there are some"),
            resource,
            cluster,
            namespace,
        }
    }

    /// The rules.
    pub fn allows(&self, asked: &Asked) -> bool {
        if self.administrators.contains(&asked.person) {
            return true;
        }
        let mut grants = self.grants.iter();
        grants.any(|grant| {
            grant.person == asked.person
                && match grant.place {
                    Place::Everywhere => self.covers(grant.role, asked),
                    Place::Cluster(cluster) => {
                        cluster == asked.cluster && self.covers(grant.role, asked)
                    }
                    Place::Project(project) => {
                        self.reaches(project, asked) && self.covers(grant.role, asked)
                    }
                }
        })
    }

    /// Whether what somebody has in a project can be about that.
    fn reaches(&self, project: usize, asked: &Asked) -> bool {
        if PROJECTS[project] != asked.cluster {
            return false;
        }
        match asked.namespace {
            Some(namespace) => self.namespaces[namespace].project == Some(project),
            None => {
                OUTSIDE.contains(&asked.resource.plural)
                    && ["get", "list", "watch"].contains(&asked.verb)
            }
        }
    }

    fn covers(&self, role: usize, asked: &Asked) -> bool {
        let role = &self.roles[role];
        let mut rules = role.rules.iter();
        rules.any(|rule| {
            let named = |names: &[&str], name| names.iter().any(|one| *one == "*" || *one == name);
            rule.group == asked.resource.group
                && named(&rule.verbs, asked.verb)
                && named(&rule.resources, asked.resource.plural)
        }) || role.inherits.is_some_and(|from| self.covers(from, asked))
    }
}

fn role(dice: &mut impl Rng, index: usize) -> Role {
    let of_projects = index % 2 == 1;
    let rules = (0..dice.random_range(1..=3)).map(|_| {
        let resource = RESOURCES.choose(dice).expect("there are some");
        let mut verbs: Vec<_> = VERBS
            .into_iter()
            .filter(|_| dice.random_ratio(1, 2))
            .collect();
        if verbs.is_empty() {
            verbs.push("*");
        }
        let resources = if dice.random_ratio(1, 6) {
            vec!["*"]
        } else {
            vec![resource.plural]
        };
        Rule {
            verbs,
            group: resource.group,
            resources,
        }
    });
    let rules = rules.collect();
    Role {
        name: format!("matrix-{index}"),
        of_projects,
        rules,
        // Of the same context, and made before it.
        inherits: (index >= 2 && dice.random_ratio(1, 3)).then(|| index - 2),
    }
}
