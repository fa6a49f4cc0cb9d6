{{/* Names and labels, shared by objects, selectors and references. */}}

{{- define "routeapi.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "routeapi.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "routeapi.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "routeapi.operator" -}}
{{ include "routeapi.fullname" . }}-operator
{{- end -}}

{{/* Name of a cluster-scoped object. Namespaces contain no dots, so it is unique to the release. Arguments: context, name. */}}
{{- define "routeapi.clusterName" -}}
{{ (index . 0).Release.Namespace }}.{{ index . 1 }}
{{- end -}}

{{/* Arguments: values of the component, its name among the values, the account's name by default. */}}
{{- define "routeapi.accountName" -}}
{{- $account := (index . 0).serviceAccount -}}
{{- if $account.create -}}
{{- $account.name | default (index . 2) -}}
{{- else -}}
{{- required (printf "%s.serviceAccount.name: required if serviceAccount.create is false" (index . 1)) $account.name -}}
{{- end -}}
{{- end -}}

{{- define "routeapi.operator.serviceAccount" -}}
{{- include "routeapi.accountName" (list .Values.operator "operator" (include "routeapi.operator" .)) -}}
{{- end -}}

{{- define "routeapi.dataPlane.serviceAccount" -}}
{{- include "routeapi.accountName" (list .Values.dataPlane "dataPlane" (include "routeapi.fullname" .)) -}}
{{- end -}}

{{/* URL of the gateway within the cluster. */}}
{{- define "routeapi.serviceUrl" -}}
{{- $port := int .Values.dataPlane.service.port -}}
http://{{ include "routeapi.fullname" . }}.{{ .Release.Namespace }}.svc{{ if ne $port 80 }}:{{ $port }}{{ end }}
{{- end -}}

{{- define "routeapi.url" -}}
{{- .Values.dataPlane.url | default (include "routeapi.serviceUrl" .) -}}
{{- end -}}

{{/* Arguments: context, component. */}}
{{- define "routeapi.selectorLabels" -}}
{{- $context := index . 0 -}}
app.kubernetes.io/name: {{ include "routeapi.name" $context }}
app.kubernetes.io/instance: {{ $context.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "routeapi.labels" -}}
{{- $context := index . 0 -}}
{{ include "routeapi.selectorLabels" . }}
app.kubernetes.io/version: {{ $context.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $context.Release.Service }}
app.kubernetes.io/part-of: routeapi
helm.sh/chart: {{ printf "%s-%s" $context.Chart.Name $context.Chart.Version | replace "+" "_" }}
{{- with $context.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Arguments: context, image values. */}}
{{- define "routeapi.image" -}}
{{- $context := index . 0 -}}
{{- $image := index . 1 -}}
{{- with $image.registry }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default $context.Chart.AppVersion }}{{ end -}}
{{- end -}}

{{/* The namespaces of AIProvider Secrets, one per line. */}}
{{- define "routeapi.providerNamespaces" -}}
{{- .Values.providerNamespaces | default (list .Release.Namespace) | uniq | join "\n" -}}
{{- end -}}
