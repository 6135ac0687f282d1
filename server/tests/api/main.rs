//! Servers in this process, asked over HTTPS by real clients.

#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

mod access;
mod browser;
mod browser_logins;
mod connections;
mod directory_logins;
mod escalation;
mod fairness;
mod harness;
mod in_process;
mod kubeconfig;
mod login;
mod management;
mod membership;
mod observability;
mod policies;
mod rancher;
mod registration;
mod roles_and_projects;
mod subscribe;
mod tokens;
mod upstream;
