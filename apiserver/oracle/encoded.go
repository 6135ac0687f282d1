package main

import (
	"bytes"
	"encoding/json"
	"time"

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
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"sigs.k8s.io/randfill"
)

// An object: made up from a seed, in JSON or in protobuf.
type encoded struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Seed       int64           `json:"seed"`
	Object     json.RawMessage `json:"object"`
	Protobuf   []byte          `json:"protobuf"`
}

// The same object twice.
type forms struct {
	Object   json.RawMessage `json:"object"`
	Protobuf []byte          `json:"protobuf"`
}

var scheme, serializer = func() (*runtime.Scheme, *protobuf.Serializer) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		admissionregistrationv1.AddToScheme,
		apiextensionsv1.AddToScheme,
		authenticationv1.AddToScheme,
		authorizationv1.AddToScheme,
		autoscalingv1.AddToScheme,
		coordinationv1.AddToScheme,
		corev1.AddToScheme,
		eventsv1.AddToScheme,
		flowcontrolv1.AddToScheme,
		metav1.AddMetaToScheme,
		rbacv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	return scheme, protobuf.NewSerializer(scheme, scheme)
}()

func (e *encoded) forms() (*forms, error) {
	kind := schema.FromAPIVersionAndKind(e.APIVersion, e.Kind)
	sent := e.Protobuf
	if sent == nil {
		object, err := scheme.New(kind)
		if err != nil {
			return nil, err
		}
		if e.Object != nil {
			if err := json.Unmarshal(e.Object, object); err != nil {
				return nil, err
			}
		} else {
			filler(e.Seed).Fill(object)
		}
		object.GetObjectKind().SetGroupVersionKind(kind)
		if sent, err = written(object); err != nil {
			return nil, err
		}
	}
	// As a server has it: protobuf does not tell an empty list from none.
	object, _, err := serializer.Decode(sent, &kind, nil)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	// What a field holds as JSON may be broken.
	text = bytes.ToValidUTF8(text, []byte("?"))
	again, err := written(object)
	return &forms{Object: text, Protobuf: again}, err
}

func written(object runtime.Object) ([]byte, error) {
	var out bytes.Buffer
	err := serializer.Encode(object, &out)
	return out.Bytes(), err
}

// filler makes up every field that may be sent.
func filler(seed int64) *randfill.Filler {
	deep := 0
	return randfill.NewWithSeed(seed).NilChance(.4).NumElements(0, 3).Funcs(
		func(*metav1.TypeMeta, randfill.Continue) {},
		func(t *metav1.Time, c randfill.Continue) {
			if c.Bool() {
				t.Time = time.Unix(int64(c.Uint32()), int64(c.Intn(1e9)))
			}
		},
		func(t *metav1.MicroTime, c randfill.Continue) {
			if c.Bool() {
				t.Time = time.Unix(-int64(c.Uint32()), int64(c.Intn(1e9)))
			}
		},
		func(fields *metav1.FieldsV1, c randfill.Continue) {
			fields.Raw = madeUpJSON(c)
		},
		func(value *apiextensionsv1.JSON, c randfill.Continue) {
			value.Raw = madeUpJSON(c)
		},
		func(props *apiextensionsv1.JSONSchemaProps, c randfill.Continue) {
			if deep == 2 {
				props.Type = c.String(0)
				return
			}
			deep++
			c.FillNoCustom(props)
			deep--
		},
		func(either *apiextensionsv1.JSONSchemaPropsOrArray, c randfill.Continue) {
			if c.Bool() {
				c.Fill(&either.Schema)
			} else {
				c.Fill(&either.JSONSchemas)
			}
		},
		func(either *apiextensionsv1.JSONSchemaPropsOrStringArray, c randfill.Continue) {
			if c.Bool() {
				c.Fill(&either.Schema)
			} else {
				c.Fill(&either.Property)
			}
		},
		func(either *apiextensionsv1.JSONSchemaPropsOrBool, c randfill.Continue) {
			either.Allows = c.Bool()
			if c.Bool() {
				either.Allows = true
				c.Fill(&either.Schema)
			}
		},
	)
}

func madeUpJSON(c randfill.Continue) []byte {
	text, err := json.Marshal(map[string]interface{}{
		c.String(0): []interface{}{c.String(0), c.Float64(), c.Int63(), c.Bool(), nil},
	})
	if err != nil {
		panic(err)
	}
	return text
}
