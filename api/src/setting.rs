//! A setting of the server that can be changed while it runs.

use kube::core::{ClusterResourceScope, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::kind::resource;
use crate::{ApiVersion, Column, Kind, KindName};

/// A value that steers the server. Its name says which.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Setting {
    /// Always `management.cattle.io/v3`.
    pub api_version: ApiVersion,
    /// Always `Setting`.
    pub kind: KindName<Setting>,
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The value, at most 65536 characters. Empty: the default.
    #[serde(default)]
    #[schemars(length(max = 65_536))]
    pub value: String,
    /// What applies when there is no value. Only the server writes it.
    #[serde(default)]
    pub default: String,
    /// Whether the value differs from the default. Only the server writes it.
    #[serde(default)]
    pub customized: bool,
    /// Where the value comes from. Only the server writes it.
    #[serde(default)]
    pub source: SettingSource,
}

/// Where the value of a setting comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SettingSource {
    /// Nobody set it.
    #[default]
    Default,
    /// The object in the management API.
    Db,
    /// The server's flags, environment or configuration file. Such a setting cannot be changed
    /// through the API.
    Config,
}

impl Setting {
    /// The setting with the namespaces that a cluster itself needs, with commas between them.
    pub const SYSTEM_NAMESPACES: &str = "system-namespaces";

    /// The value that applies.
    #[must_use]
    pub fn effective(&self) -> &str {
        if self.value.is_empty() {
            &self.default
        } else {
            &self.value
        }
    }
}

resource!(Setting, ClusterResourceScope);

impl Kind for Setting {
    const KIND: &'static str = "Setting";
    const PLURAL: &'static str = "settings";
    const SINGULAR: &'static str = "setting";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const NAMESPACED: bool = false;
    const COLUMNS: &'static [Column<Self>] = &[
        Column::computed(
            "Value",
            "string",
            |setting: &Self| json!(setting.effective()),
            "The value that applies",
        ),
        Column::field(
            "Customized",
            "boolean",
            ".customized",
            "Whether it differs from the default",
        ),
    ];

    fn carry_server_fields(&mut self, stored: Option<&Self>) {
        self.default = stored.map_or_else(String::new, |stored| stored.default.clone());
        self.customized = !self.value.is_empty() && self.value != self.default;
        self.source = if self.value.is_empty() {
            SettingSource::Default
        } else {
            SettingSource::Db
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_means_the_default() {
        let stored = Setting {
            default: "a".into(),
            ..Setting::default()
        };
        let mut sent = Setting {
            value: "b".into(),
            ..Setting::default()
        };
        sent.carry_server_fields(Some(&stored));
        assert_eq!((sent.effective(), sent.customized), ("b", true));
        sent.value.clear();
        sent.carry_server_fields(Some(&stored));
        assert_eq!((sent.effective(), sent.customized), ("a", false));
        assert_eq!(sent.source, SettingSource::Default);
    }
}
