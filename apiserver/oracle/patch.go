package main

import (
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// A strategic merge patch of an object.
type patch struct {
	Kind   string                 `json:"kind"`
	Object map[string]interface{} `json:"object"`
	Patch  map[string]interface{} `json:"patch"`
}

var kinds = map[string]interface{}{
	"ClusterRoleBinding":        rbacv1.ClusterRoleBinding{},
	"Deployment":                appsv1.Deployment{},
	"FlowSchema":                flowcontrolv1.FlowSchema{},
	"Namespace":                 corev1.Namespace{},
	"Pod":                       corev1.Pod{},
	"Secret":                    corev1.Secret{},
	"Service":                   corev1.Service{},
	"ServiceAccount":            corev1.ServiceAccount{},
	"ValidatingAdmissionPolicy": admissionv1.ValidatingAdmissionPolicy{},
}

func (p *patch) apply() (map[string]interface{}, error) {
	kind, known := kinds[p.Kind]
	if !known {
		return nil, fmt.Errorf("no kind %s", p.Kind)
	}
	// The server makes the object of a Go value: lists have no room beyond their end, into which
	// strategicpatch would write.
	object := runtime.DeepCopyJSON(p.Object)
	return strategicpatch.StrategicMergeMapPatch(object, runtime.DeepCopyJSON(p.Patch), kind)
}
