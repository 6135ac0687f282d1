//! Whose tokens are good, for those who ask with a TokenReview.

use apiserver::review::Tokens;
use apiserver::serve::User;

use super::user;
use crate::authn::{Bearer, Directory};
use crate::authz::READING_ONLY;

impl Tokens for Directory {
    /// A token that opens one cluster only, is good for reading only, or for nothing before its user has
    /// changed the password, is not one by which others should let its user in.
    fn user(&self, token: &str) -> Result<User, String> {
        let header = format!("Bearer {token}");
        let bearer = Bearer::parse(&header).ok_or("the token is not \"NAME:SECRET\"")?;
        let who = self.authenticate(bearer);
        let who = who.map_err(|error| error.to_string())?;
        if who.only_cluster.is_some() {
            return Err("the token is good for one cluster only".to_owned());
        }
        if who.read_only {
            return Err(READING_ONLY.to_owned());
        }
        if who.must_change_password {
            return Err("the user must change the password first".to_owned());
        }
        Ok(user(&who))
    }
}
