//! What a user wants of clients.

use kube::core::{NamespaceResourceScope, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kind::resource;
use crate::{ApiVersion, Column, Kind, KindName};

/// Something that a client keeps for a user, such as a theme. Its name says what. It lives in the namespace
/// of the user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preference {
    /// Always `management.cattle.io/v3`.
    pub api_version: ApiVersion,
    /// Always `Preference`.
    pub kind: KindName<Preference>,
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The value, in the client's own format: at most 65536 characters.
    #[serde(default)]
    #[schemars(length(max = 65_536))]
    pub value: String,
}

resource!(Preference, NamespaceResourceScope);

impl Kind for Preference {
    const KIND: &'static str = "Preference";
    const PLURAL: &'static str = "preferences";
    const SINGULAR: &'static str = "preference";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const NAMESPACED: bool = true;
    const COLUMNS: &'static [Column<Self>] =
        &[Column::field("Value", "string", ".value", "The value")];

    fn carry_server_fields(&mut self, _stored: Option<&Self>) {}
}
