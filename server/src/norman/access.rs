//! What somebody may use of a type, wherever that is.

use lariat_api::{Cluster, Kind as _, Project, Token, User};

use super::caller::Caller;
use super::kinds::{Home, Type};
use super::place::Scope;

/// Where somebody may see what is there.
#[derive(Debug, Default)]
pub(super) struct Reached {
    clusters: Vec<String>,
    /// Projects with their clusters.
    projects: Vec<(String, String)>,
}

impl Reached {
    pub(super) fn by(caller: &Caller) -> Self {
        let clusters = caller.app.directory.clusters();
        let clusters = clusters.iter().map(|cluster| cluster.name().to_owned());
        let clusters = clusters.filter(|id| caller.is_allowed("get", Cluster::PLURAL, "", id));
        let clusters = clusters.collect();
        let projects = caller.app.directory.access(|access| {
            let all = access.projects();
            all.map(|(project, cluster)| (project.to_owned(), cluster.to_owned()))
                .collect::<Vec<_>>()
        });
        let seen = |(project, cluster): &(String, String)| {
            caller.is_allowed("get", Project::PLURAL, cluster, project)
        };
        Self {
            clusters,
            projects: projects.into_iter().filter(seen).collect(),
        }
    }
}

impl Caller {
    /// Whether the caller may do that with some object of a type, in a scope.
    pub(super) fn may_somewhere(&self, verb: &str, of: &Type, scope: &Scope) -> bool {
        if of.is_inside() {
            // The cluster decides.
            return of.home == Home::Inside || matches!(verb, "get" | "list");
        }
        let may = |namespace: &str, name: &str| self.may(verb, of, namespace, name);
        let own = match (of.home, scope) {
            (Home::Cluster, Scope::Cluster(id) | Scope::Project(id, _)) => {
                return may(id.as_str(), "");
            }
            (Home::Project, Scope::Project(_, project)) => return may(project.as_str(), ""),
            (Home::Own, _) => return may(self.who.user.as_str(), ""),
            _ => may("", ""),
        };
        own || match (of.home, of.resource.as_str()) {
            (Home::Server, Cluster::PLURAL) => {
                verb != "create" && self.reached().clusters.iter().any(|id| may("", id))
            }
            (Home::Server, Token::PLURAL) => may("", self.who.token.as_str()),
            (Home::Server, User::PLURAL) => may("", self.who.user.as_str()),
            (Home::Cluster, Project::PLURAL) if verb != "create" => {
                let mut projects = self.reached().projects.iter();
                projects.any(|(project, cluster)| may(cluster, project))
            }
            (Home::Cluster, _) => self.reached().clusters.iter().any(|id| may(id, "")),
            (Home::Project, _) => {
                let mut projects = self.reached().projects.iter();
                projects.any(|(project, _)| may(project, ""))
            }
            _ => false,
        }
    }
}
