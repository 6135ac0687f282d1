package main

import (
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The kinds that are sent as protobuf. Those that they refer to come along.
var messages = []interface{}{
	admissionregistrationv1.ValidatingAdmissionPolicyBindingList{},
	admissionregistrationv1.ValidatingAdmissionPolicyList{},
	apiextensionsv1.CustomResourceDefinitionList{},
	authenticationv1.SelfSubjectReview{},
	authenticationv1.TokenReview{},
	authorizationv1.LocalSubjectAccessReview{},
	authorizationv1.SelfSubjectAccessReview{},
	authorizationv1.SelfSubjectRulesReview{},
	authorizationv1.SubjectAccessReview{},
	autoscalingv1.Scale{},
	coordinationv1.LeaseList{},
	corev1.ConfigMapList{},
	corev1.EventList{},
	corev1.NamespaceList{},
	corev1.SecretList{},
	corev1.ServiceAccountList{},
	eventsv1.EventList{},
	flowcontrolv1.FlowSchemaList{},
	flowcontrolv1.PriorityLevelConfigurationList{},
	metav1.DeleteOptions{},
	metav1.PartialObjectMetadataList{},
	metav1.Status{},
	rbacv1.ClusterRoleBindingList{},
	rbacv1.ClusterRoleList{},
	rbacv1.RoleBindingList{},
	rbacv1.RoleList{},
}

// A field of a message, as the tags of its Go type say.
type field struct {
	Number int `json:"number"`
	// In JSON; empty for fields of another message that are written among those of this one.
	Name string `json:"name"`
	// A scalar, or the name of a message as OpenAPI has it.
	Type string `json:"type"`
	// optional, list or map; one of them if empty.
	Holds string `json:"holds,omitempty"`
	// Whether JSON leaves it out when it is zero.
	Omitted bool `json:"omitted,omitempty"`
}

// table has the fields of all messages that have any in JSON.
func table() (map[string][]field, error) {
	found := map[string][]field{}
	for _, kind := range messages {
		if err := collect(reflect.TypeOf(kind), found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func collect(message reflect.Type, found map[string][]field) error {
	name := messageName(message)
	if _, known := found[name]; known || isValue[message] {
		return nil
	}
	if message.Kind() == reflect.Slice {
		// A message with a list in it.
		found[name] = []field{{Number: 1, Type: scalars[message.Elem().Kind()], Holds: "list"}}
		return nil
	}
	found[name] = []field{}
	for i := 0; i < message.NumField(); i++ {
		tagged := message.Field(i)
		encoded, sent := tagged.Tag.Lookup("protobuf")
		if !sent || encoded == "-" {
			continue
		}
		number, err := strconv.Atoi(strings.Split(encoded, ",")[1])
		if err != nil {
			return fmt.Errorf("%s.%s: %w", name, tagged.Name, err)
		}
		json := strings.Split(tagged.Tag.Get("json"), ",")
		one := field{Number: number, Name: json[0]}
		if _, named := tagged.Tag.Lookup("json"); !named {
			// One of several things, of which JSON only has what it holds.
			one.Name = tagged.Name
		}
		held := tagged.Type
		switch {
		case held.Kind() == reflect.Ptr:
			one.Holds, held = "optional", held.Elem()
		case isMessage(held) || held.Kind() == reflect.Slice && held.Elem().Kind() == reflect.Uint8:
		case held.Kind() == reflect.Slice:
			one.Holds, held = "list", held.Elem()
		case held.Kind() == reflect.Map:
			one.Holds, held = "map", held.Elem()
		}
		for _, option := range json[1:] {
			// encoding/json does not take any struct for empty.
			empty := option == "omitempty" && (one.Holds != "" || held.Kind() != reflect.Struct)
			one.Omitted = one.Omitted || empty || option == "omitzero"
		}
		switch {
		case isMessage(held):
			one.Type = messageName(held)
			if err := collect(held, found); err != nil {
				return err
			}
		case held.Kind() == reflect.Slice && held.Elem().Kind() == reflect.Uint8:
			one.Type = "bytes"
		default:
			one.Type = scalars[held.Kind()]
		}
		if one.Type == "" {
			return fmt.Errorf("%s.%s: no word for %s", name, tagged.Name, held)
		}
		found[name] = append(found[name], one)
	}
	sort.Slice(found[name], func(a, b int) bool { return found[name][a].Number < found[name][b].Number })
	return nil
}

var scalars = map[reflect.Kind]string{
	reflect.Bool:    "bool",
	reflect.Float64: "double",
	reflect.Int32:   "int32",
	reflect.Int64:   "int64",
	reflect.String:  "string",
}

func isMessage(held reflect.Type) bool {
	_, is := reflect.PointerTo(held).MethodByName("Unmarshal")
	return is
}

// Messages that are no objects in JSON.
var isValue = map[reflect.Type]bool{
	reflect.TypeOf(apiextensionsv1.JSON{}): true,
	reflect.TypeOf(metav1.FieldsV1{}):      true,
	reflect.TypeOf(metav1.MicroTime{}):     true,
	reflect.TypeOf(metav1.Time{}):          true,
}

// messageName is the name of a type as OpenAPI has it.
func messageName(message reflect.Type) string {
	path := strings.Replace(message.PkgPath(), "k8s.io/", "io.k8s.", 1)
	return strings.ReplaceAll(path, "/", ".") + "." + message.Name()
}
