//! The list of kinds.

use super::shown;
use super::{BuiltIn, Rules, admission, config, event, lease, namespace, rbac, service_account};
use crate::registry::Naming;

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const FLOW_CONTROL: &str = "flowcontrol.apiserver.k8s.io";

/// What most of them are.
const PLAIN: BuiltIn = BuiltIn {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    short_names: &[],
    categories: &[],
    namespaced: true,
    secret: false,
    naming: Naming::Subdomain,
    status: false,
    selectable: &[],
    shown: shown::CREATED_AT,
    rules: Rules::NONE,
};

/// What roles and bindings are.
const RBAC_PLAIN: BuiltIn = BuiltIn {
    group: RBAC,
    naming: Naming::PathSegment,
    ..PLAIN
};

/// What reviews of what users may do are.
const ACCESS_REVIEW: BuiltIn = BuiltIn {
    group: "authorization.k8s.io",
    namespaced: false,
    ..PLAIN
};

/// The kinds that are answered and never kept.
pub(super) const REVIEWS: &[BuiltIn] = &[
    BuiltIn {
        group: "authentication.k8s.io",
        kind: "SelfSubjectReview",
        plural: "selfsubjectreviews",
        ..ACCESS_REVIEW
    },
    BuiltIn {
        group: "authentication.k8s.io",
        kind: "TokenReview",
        plural: "tokenreviews",
        ..ACCESS_REVIEW
    },
    BuiltIn {
        kind: "LocalSubjectAccessReview",
        plural: "localsubjectaccessreviews",
        namespaced: true,
        ..ACCESS_REVIEW
    },
    BuiltIn {
        kind: "SelfSubjectAccessReview",
        plural: "selfsubjectaccessreviews",
        ..ACCESS_REVIEW
    },
    BuiltIn {
        kind: "SelfSubjectRulesReview",
        plural: "selfsubjectrulesreviews",
        ..ACCESS_REVIEW
    },
    BuiltIn {
        kind: "SubjectAccessReview",
        plural: "subjectaccessreviews",
        ..ACCESS_REVIEW
    },
];

/// All kinds.
pub(super) const ALL: &[BuiltIn] = &[
    BuiltIn {
        kind: "Namespace",
        plural: "namespaces",
        short_names: &["ns"],
        namespaced: false,
        naming: Naming::Label,
        status: true,
        selectable: &["status.phase"],
        shown: shown::NAMESPACE,
        rules: namespace::RULES,
        ..PLAIN
    },
    BuiltIn {
        kind: "Secret",
        plural: "secrets",
        secret: true,
        selectable: &["type"],
        shown: shown::SECRET,
        rules: config::SECRET,
        ..PLAIN
    },
    BuiltIn {
        kind: "ConfigMap",
        plural: "configmaps",
        short_names: &["cm"],
        shown: shown::CONFIG_MAP,
        rules: config::CONFIG_MAP,
        ..PLAIN
    },
    BuiltIn {
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        short_names: &["sa"],
        shown: shown::AGE,
        rules: service_account::RULES,
        ..PLAIN
    },
    BuiltIn {
        kind: "Event",
        plural: "events",
        short_names: &["ev"],
        selectable: &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "type",
        ],
        shown: shown::EVENT,
        rules: event::CORE,
        ..PLAIN
    },
    BuiltIn {
        group: "events.k8s.io",
        kind: "Event",
        plural: "events",
        short_names: &["ev"],
        selectable: &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        shown: shown::NEW_EVENT,
        rules: event::EVENTS,
        ..PLAIN
    },
    BuiltIn {
        group: "coordination.k8s.io",
        kind: "Lease",
        plural: "leases",
        shown: shown::LEASE,
        rules: lease::RULES,
        ..PLAIN
    },
    BuiltIn {
        kind: "Role",
        plural: "roles",
        rules: rbac::ROLE,
        ..RBAC_PLAIN
    },
    BuiltIn {
        kind: "ClusterRole",
        plural: "clusterroles",
        namespaced: false,
        rules: rbac::CLUSTER_ROLE,
        ..RBAC_PLAIN
    },
    BuiltIn {
        kind: "RoleBinding",
        plural: "rolebindings",
        shown: shown::ROLE_BINDING,
        rules: rbac::ROLE_BINDING,
        ..RBAC_PLAIN
    },
    BuiltIn {
        kind: "ClusterRoleBinding",
        plural: "clusterrolebindings",
        namespaced: false,
        shown: shown::CLUSTER_ROLE_BINDING,
        rules: rbac::CLUSTER_ROLE_BINDING,
        ..RBAC_PLAIN
    },
    BuiltIn {
        group: "apiextensions.k8s.io",
        kind: "CustomResourceDefinition",
        plural: "customresourcedefinitions",
        short_names: &["crd", "crds"],
        categories: &["api-extensions"],
        namespaced: false,
        status: true,
        ..PLAIN
    },
    BuiltIn {
        group: ADMISSION,
        kind: "ValidatingAdmissionPolicy",
        plural: "validatingadmissionpolicies",
        categories: &["api-extensions"],
        namespaced: false,
        status: true,
        shown: shown::POLICY,
        rules: admission::POLICY,
        ..PLAIN
    },
    BuiltIn {
        group: ADMISSION,
        kind: "ValidatingAdmissionPolicyBinding",
        plural: "validatingadmissionpolicybindings",
        categories: &["api-extensions"],
        namespaced: false,
        shown: shown::POLICY_BINDING,
        rules: admission::BINDING,
        ..PLAIN
    },
    BuiltIn {
        group: FLOW_CONTROL,
        kind: "FlowSchema",
        plural: "flowschemas",
        namespaced: false,
        status: true,
        shown: shown::FLOW_SCHEMA,
        ..PLAIN
    },
    BuiltIn {
        group: FLOW_CONTROL,
        kind: "PriorityLevelConfiguration",
        plural: "prioritylevelconfigurations",
        namespaced: false,
        status: true,
        shown: shown::PRIORITY_LEVEL,
        ..PLAIN
    },
];
