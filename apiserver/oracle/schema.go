package main

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

const definitions = "#/components/schemas/"

// typeConverter does for a schema what kube-apiserver does for that of a CustomResourceDefinition:
// objects, and resources embedded in them, get the types of apiVersion, kind and metadata.
func typeConverter(text json.RawMessage, versions []schema.GroupVersionKind) (managedfields.TypeConverter, error) {
	root := spec.Schema{}
	if err := json.Unmarshal(text, &root); err != nil {
		return nil, err
	}
	addObjectMeta(&root)
	addEmbedded(&root)
	gvks := []interface{}{}
	for _, gvk := range versions {
		gvks = append(gvks, map[string]interface{}{"group": gvk.Group, "version": gvk.Version, "kind": gvk.Kind})
	}
	root.AddExtension("x-kubernetes-group-version-kind", gvks)
	models := map[string]*spec.Schema{}
	if err := json.Unmarshal([]byte(metaDefinitions), &models); err != nil {
		return nil, err
	}
	models["Kind"] = &root
	return managedfields.NewTypeConverter(models, false)
}

func addObjectMeta(s *spec.Schema) {
	s.SetProperty("apiVersion", *spec.StringProperty())
	s.SetProperty("kind", *spec.StringProperty())
	s.SetProperty("metadata", *spec.RefSchema(definitions + "ObjectMeta"))
}

func addEmbedded(s *spec.Schema) {
	if s == nil {
		return
	}
	for name := range s.Properties {
		property := s.Properties[name]
		addEmbedded(&property)
		s.Properties[name] = property
	}
	if s.Items != nil {
		addEmbedded(s.Items.Schema)
	}
	if s.AdditionalProperties != nil {
		addEmbedded(s.AdditionalProperties.Schema)
	}
	if embedded, _ := s.Extensions.GetBool("x-kubernetes-embedded-resource"); embedded {
		addObjectMeta(s)
	}
}

// What apimachinery publishes of metadata, without descriptions.
const metaDefinitions = `{
  "Time": {"type": "string", "format": "date-time"},
  "FieldsV1": {"type": "object"},
  "ManagedFieldsEntry": {
    "type": "object",
    "properties": {
      "apiVersion": {"type": "string"},
      "fieldsType": {"type": "string"},
      "fieldsV1": {"$ref": "#/components/schemas/FieldsV1"},
      "manager": {"type": "string"},
      "operation": {"type": "string"},
      "subresource": {"type": "string"},
      "time": {"$ref": "#/components/schemas/Time"}
    }
  },
  "OwnerReference": {
    "type": "object",
    "required": ["apiVersion", "kind", "name", "uid"],
    "properties": {
      "apiVersion": {"type": "string", "default": ""},
      "blockOwnerDeletion": {"type": "boolean"},
      "controller": {"type": "boolean"},
      "kind": {"type": "string", "default": ""},
      "name": {"type": "string", "default": ""},
      "uid": {"type": "string", "default": ""}
    },
    "x-kubernetes-map-type": "atomic"
  },
  "ObjectMeta": {
    "type": "object",
    "properties": {
      "annotations": {"type": "object", "additionalProperties": {"type": "string", "default": ""}},
      "creationTimestamp": {"$ref": "#/components/schemas/Time"},
      "deletionGracePeriodSeconds": {"type": "integer", "format": "int64"},
      "deletionTimestamp": {"$ref": "#/components/schemas/Time"},
      "finalizers": {
        "type": "array",
        "items": {"type": "string", "default": ""},
        "x-kubernetes-list-type": "set",
        "x-kubernetes-patch-strategy": "merge"
      },
      "generateName": {"type": "string"},
      "generation": {"type": "integer", "format": "int64"},
      "labels": {"type": "object", "additionalProperties": {"type": "string", "default": ""}},
      "managedFields": {
        "type": "array",
        "items": {"default": {}, "allOf": [{"$ref": "#/components/schemas/ManagedFieldsEntry"}]},
        "x-kubernetes-list-type": "atomic"
      },
      "name": {"type": "string"},
      "namespace": {"type": "string"},
      "ownerReferences": {
        "type": "array",
        "items": {"default": {}, "allOf": [{"$ref": "#/components/schemas/OwnerReference"}]},
        "x-kubernetes-list-map-keys": ["uid"],
        "x-kubernetes-list-type": "map",
        "x-kubernetes-patch-merge-key": "uid",
        "x-kubernetes-patch-strategy": "merge"
      },
      "resourceVersion": {"type": "string"},
      "selfLink": {"type": "string"},
      "uid": {"type": "string"}
    }
  }
}`
