//! Whose a token is, and who asks.

use super::Tokens;
use crate::error::ApiError;
use crate::object::Object;
use crate::serve::User;
use serde_json::{Value, json};

/// The status of a TokenReview.
pub(super) fn of_token(tokens: &dyn Tokens, review: &Object) -> Result<Value, ApiError> {
    let token = review.as_value()["spec"]["token"].as_str();
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        let message = "token is required for TokenReview in authentication";
        return Err(ApiError::bad_request(message));
    };
    Ok(match tokens.user(token) {
        Ok(user) => json!({"authenticated": true, "user": info(&user)}),
        Err(error) => json!({"error": error, "user": {}}),
    })
}

/// A user, as reviews show users.
pub(super) fn info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}
