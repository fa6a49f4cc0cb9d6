// Judges objects as Argo CD and Flux do, for the test of examples/gitops: a script by the Lua interpreter that Argo CD
// embeds, with the few libraries that it opens, and expressions by Flux's own evaluator, out of manifests that Flux's own
// types must know every field of.
//
// Reads {"lua": "…", "flux": [manifest, …], "objects": […]} and writes one judgement per object.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"

	helm "github.com/fluxcd/helm-controller/api/v2"
	kustomization "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	source "github.com/fluxcd/source-controller/api/v1"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type question struct {
	Lua     string            `json:"lua"`
	Flux    []json.RawMessage `json:"flux"`
	Objects []json.RawMessage `json:"objects"`
}

type judgement struct {
	Argo    string `json:"argo"`
	Message string `json:"message"`
	Flux    string `json:"flux"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "health:", err)
		os.Exit(1)
	}
}

func run() error {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return err
	}
	evaluators, err := evaluators(asked.Flux)
	if err != nil {
		return err
	}
	judgements := make([]judgement, len(asked.Objects))
	for i, text := range asked.Objects {
		object := &unstructured.Unstructured{} // whole numbers become int64, as in a controller
		if err := object.UnmarshalJSON(text); err != nil {
			return err
		}
		if judgements[i].Argo, judgements[i].Message, err = argo(asked.Lua, object.Object); err != nil {
			return fmt.Errorf("%s: lua: %w", object.GetName(), err)
		}
		judgements[i].Flux = flux(evaluators[object.GetKind()], object)
	}
	return json.NewEncoder(os.Stdout).Encode(judgements)
}

// The evaluators of all Kustomizations, by the kind that they are for.
func evaluators(manifests []json.RawMessage) (map[string]*cel.StatusEvaluator, error) {
	found := map[string]*cel.StatusEvaluator{}
	for _, text := range manifests {
		checks, err := read(text)
		if err != nil {
			return nil, err
		}
		for _, check := range checks {
			if found[check.Kind], err = cel.NewStatusEvaluator(&check.HealthCheckExpressions); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

// A manifest of Flux, with no field that Flux does not know; its health checks if it is a Kustomization.
func read(text json.RawMessage) ([]kustomize.CustomHealthCheck, error) {
	var head struct{ Kind string }
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, err
	}
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	switch head.Kind {
	case "Kustomization":
		var object kustomization.Kustomization
		err := strict.Decode(&object)
		return object.Spec.HealthCheckExprs, err
	case "HelmRelease":
		return nil, strict.Decode(&helm.HelmRelease{})
	case "GitRepository":
		return nil, strict.Decode(&source.GitRepository{})
	}
	return nil, fmt.Errorf("%q is no kind of Flux", head.Kind)
}

// A failed evaluation is no verdict: Flux goes on waiting.
func flux(evaluator *cel.StatusEvaluator, object *unstructured.Unstructured) string {
	if evaluator == nil {
		return "not checked"
	}
	result, err := evaluator.Evaluate(context.Background(), object)
	if err != nil {
		return "error: " + err.Error()
	}
	return result.Status.String()
}

func argo(script string, object map[string]any) (status, message string, err error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		state.Push(state.NewFunction(open))
		state.Push(lua.LString(name))
		state.Call(1, 0)
	}
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return "", "", err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return "", "", fmt.Errorf("returned %s, not a table", state.Get(-1).Type())
	}
	return lua.LVAsString(table.RawGetString("status")), lua.LVAsString(table.RawGetString("message")), nil
}

// What an object's value is in Lua. Null is nothing there.
func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case bool:
		return lua.LBool(from)
	case string:
		return lua.LString(from)
	case int64:
		return lua.LNumber(from)
	case float64:
		return lua.LNumber(from)
	case []any:
		table := state.NewTable()
		for _, item := range from {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range from {
			table.RawSetString(key, value(state, item))
		}
		return table
	}
	return lua.LNil
}
