// Command oracle plays writes to objects through the field managers of kube-apiserver.
//
// It reads one case per line from its standard input and writes one answer per line: a sequence of
// writes to one object, answered by the object after each of them, an encoded field set, answered by
// its encoding, a strategic merge patch, answered by the patched object, an OpenAPI v2 document as
// protobuf, answered by the same as JSON, an object, answered by the same as JSON and as protobuf, or
// the wish for the fields of all messages. The Rust tests of apiserver compare the answers with their
// own.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

type request struct {
	// A sequence of writes.
	Sequence *sequence `json:"sequence"`
	// The text of an encoded field set.
	Fields *string `json:"fields"`
	// A strategic merge patch.
	Patch *patch `json:"patch"`
	// An OpenAPI v2 document as protobuf.
	OpenAPI []byte `json:"openapi"`
	// An object in one of several forms.
	Encoded *encoded `json:"encoded"`
	// Whether the fields of messages are wanted.
	Messages bool `json:"messages"`
}

type response struct {
	Results []result               `json:"results,omitempty"`
	Fields  *string                `json:"fields,omitempty"`
	Object  map[string]interface{} `json:"object,omitempty"`
	OpenAPI json.RawMessage        `json:"openapi,omitempty"`
	Encoded *forms                 `json:"encoded,omitempty"`
	// By the name of their message.
	Messages map[string][]field `json:"messages,omitempty"`
	Error    string             `json:"error,omitempty"`
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	decoder := json.NewDecoder(in)
	for decoder.More() {
		var line json.RawMessage
		if err := decoder.Decode(&line); err != nil {
			fail("read a case", err)
		}
		var req request
		if err := utiljson.Unmarshal(line, &req); err != nil {
			fail("read a case", err)
		}
		if err := json.NewEncoder(out).Encode(answer(&req)); err != nil {
			fail("write an answer", err)
		}
	}
}

func answer(req *request) (resp response) {
	defer func() {
		if panicked := recover(); panicked != nil {
			resp = response{Error: fmt.Sprintf("panic: %v", panicked)}
		}
	}()
	if req.Sequence != nil {
		results, err := req.Sequence.play()
		if err != nil {
			return response{Error: err.Error()}
		}
		return response{Results: results}
	}
	if req.OpenAPI != nil {
		document, err := asJSON(req.OpenAPI)
		if err != nil {
			return response{Error: err.Error()}
		}
		return response{OpenAPI: document}
	}
	if req.Encoded != nil {
		both, err := req.Encoded.forms()
		if err != nil {
			return response{Error: err.Error()}
		}
		return response{Encoded: both}
	}
	if req.Messages {
		found, err := table()
		if err != nil {
			return response{Error: err.Error()}
		}
		return response{Messages: found}
	}
	if req.Patch != nil {
		object, err := req.Patch.apply()
		if err != nil {
			return response{Error: err.Error()}
		}
		return response{Object: object}
	}
	var set fieldpath.Set
	if err := set.FromJSON(strings.NewReader(*req.Fields)); err != nil {
		return response{Error: err.Error()}
	}
	encoded, err := set.ToJSON()
	if err != nil {
		return response{Error: err.Error()}
	}
	text := string(encoded)
	return response{Fields: &text}
}

func fail(step string, err error) {
	fmt.Fprintf(os.Stderr, "oracle: %s: %v\n", step, err)
	os.Exit(1)
}
