package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// A sequence of writes to one object, which is not there at first.
type sequence struct {
	// The versions of the kind, which differ in nothing. The first is the one that is stored.
	APIVersions []string `json:"apiVersions"`
	Kind        string   `json:"kind"`
	// The schema at first and after it has been changed.
	Schemas []json.RawMessage `json:"schemas"`
	Writes  []write           `json:"writes"`
}

type write struct {
	// apply or update.
	Verb        string                 `json:"verb"`
	APIVersion  string                 `json:"apiVersion"`
	Schema      int                    `json:"schema"`
	Manager     string                 `json:"manager"`
	Subresource string                 `json:"subresource"`
	Force       bool                   `json:"force"`
	Body        map[string]interface{} `json:"body"`
	// Whether the body gets the managed fields of the object, as from a client that read it.
	Carry bool `json:"carry"`
	// Top-level fields that the write cannot reach.
	Reset []string `json:"reset"`
	// The time of what the write changes.
	Now string `json:"now"`
}

type result struct {
	Object map[string]interface{} `json:"object,omitempty"`
	Error  string                 `json:"error,omitempty"`
	Code   int32                  `json:"code,omitempty"`
	Causes []cause                `json:"causes,omitempty"`
}

type cause struct {
	Message string `json:"message"`
	Field   string `json:"field"`
}

func (s *sequence) play() ([]result, error) {
	versions := []schema.GroupVersionKind{}
	for _, version := range s.APIVersions {
		versions = append(versions, schema.FromAPIVersionAndKind(version, s.Kind))
	}
	converters := []managedfields.TypeConverter{}
	for _, text := range s.Schemas {
		converter, err := typeConverter(text, versions)
		if err != nil {
			return nil, fmt.Errorf("read the schema: %w", err)
		}
		converters = append(converters, converter)
	}
	var live *unstructured.Unstructured
	results := []result{}
	for _, w := range s.Writes {
		gvk := schema.FromAPIVersionAndKind(w.APIVersion, s.Kind)
		object, err := w.do(converters[w.Schema], gvk, versions[0].GroupVersion(), live)
		if err != nil {
			results = append(results, failed(err))
			continue
		}
		w.stamp(object)
		// The server gives a new object its uid; without one it counts as new.
		object.SetUID("u")
		object.SetGroupVersionKind(schema.FromAPIVersionAndKind(w.APIVersion, s.Kind))
		live = object
		results = append(results, result{Object: object.DeepCopy().Object})
	}
	return results, nil
}

func (w *write) do(converter managedfields.TypeConverter, gvk schema.GroupVersionKind, hub schema.GroupVersion, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	reset := fieldpath.NewSet()
	for _, name := range w.Reset {
		reset.Insert(fieldpath.MakePathOrDie(name))
	}
	filters := fieldpath.NewExcludeFilterSetMap(map[fieldpath.APIVersion]*fieldpath.Set{
		fieldpath.APIVersion(gvk.GroupVersion().String()): reset,
	})
	manager, err := managedfields.NewDefaultCRDFieldManager(converter, relabelling{}, noDefaults{}, creator{},
		gvk, hub, w.Subresource, filters)
	if err != nil {
		return nil, err
	}
	body := (&unstructured.Unstructured{Object: w.Body}).DeepCopy()
	if live == nil {
		empty, _ := creator{}.New(gvk)
		live = empty.(*unstructured.Unstructured)
	} else {
		live = live.DeepCopy()
		live.SetGroupVersionKind(gvk)
	}
	if fields := live.GetManagedFields(); w.Carry && len(fields) > 0 {
		body.SetManagedFields(fields)
	}
	var object runtime.Object
	if w.Verb == "apply" {
		object, err = manager.Apply(live, body, w.Manager, w.Force)
	} else {
		object, err = manager.Update(live, body, w.Manager)
	}
	if err != nil {
		return nil, err
	}
	return object.(*unstructured.Unstructured), nil
}

// stamp gives the entries of this moment the time of the write.
func (w *write) stamp(object *unstructured.Unstructured) {
	now, err := time.Parse(time.RFC3339, w.Now)
	if err != nil {
		fail("read a time", err)
	}
	entries := object.GetManagedFields()
	for i := range entries {
		if t := entries[i].Time; t != nil && t.Year() > 2024 {
			entries[i].Time = &metav1.Time{Time: now}
		}
	}
	object.SetManagedFields(entries)
}

func failed(err error) result {
	var status *apierrors.StatusError
	if !errors.As(err, &status) {
		return result{Error: err.Error(), Code: 500}
	}
	failure := result{Error: status.ErrStatus.Message, Code: status.ErrStatus.Code}
	if details := status.ErrStatus.Details; details != nil {
		for _, c := range details.Causes {
			failure.Causes = append(failure.Causes, cause{Message: c.Message, Field: c.Field})
		}
	}
	return failure
}

type creator struct{}

func (creator) New(gvk schema.GroupVersionKind) (runtime.Object, error) {
	object := &unstructured.Unstructured{Object: map[string]interface{}{}}
	object.SetGroupVersionKind(gvk)
	return object, nil
}

type noDefaults struct{}

func (noDefaults) Default(runtime.Object) {}

// relabelling is the conversion of kinds whose versions differ in nothing.
type relabelling struct{}

func (relabelling) Convert(_, _, _ interface{}) error { return errors.New("convert to a version") }

func (relabelling) ConvertToVersion(in runtime.Object, target runtime.GroupVersioner) (runtime.Object, error) {
	gvk, ok := target.KindForGroupVersionKinds([]schema.GroupVersionKind{in.GetObjectKind().GroupVersionKind()})
	if !ok {
		return nil, errors.New("there is no such version")
	}
	out := in.DeepCopyObject()
	out.GetObjectKind().SetGroupVersionKind(gvk)
	return out, nil
}

func (relabelling) ConvertFieldLabel(_ schema.GroupVersionKind, _, _ string) (string, string, error) {
	return "", "", errors.New("there are no field labels")
}
