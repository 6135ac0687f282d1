package main

import (
	"encoding/json"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"
)

// asJSON is the OpenAPI v2 document that is encoded as protobuf.
func asJSON(encoded []byte) (json.RawMessage, error) {
	document := &openapi_v2.Document{}
	if err := proto.Unmarshal(encoded, document); err != nil {
		return nil, err
	}
	text, err := document.YAMLValue("")
	if err != nil {
		return nil, err
	}
	return yaml.YAMLToJSON(text)
}
