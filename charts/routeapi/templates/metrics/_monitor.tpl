{{/* Endpoint of PodMonitors and ServiceMonitors. Arguments: context, component, values of the monitor. */}}
{{- define "routeapi.monitor.metadata" -}}
{{- $context := index . 0 -}}
{{- $component := index . 1 -}}
name: {{ include "routeapi.fullname" $context }}-{{ $component }}
namespace: {{ $context.Release.Namespace }}
labels:
  {{- include "routeapi.labels" (list $context $component) | nindent 2 }}
  {{- with (index . 2).labels }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end -}}
