{{/* Parts of pods that both components share. */}}

{{/* Arguments: context, values of the component. */}}
{{- define "routeapi.podSecurity" -}}
{{- $security := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- /* OpenShift assigns a range of user IDs to each namespace and rejects others. */}}
{{- if not ((index . 0).Capabilities.APIVersions.Has "security.openshift.io/v1") }}
{{- range $name := list "runAsUser" "runAsGroup" "fsGroup" }}
{{- $_ := set $security $name 65532 }}
{{- end }}
{{- end }}
{{- include "routeapi.replaced" (list $security (index . 1).podSecurityContext) }}
{{- end -}}

{{/* Arguments: values of the component. */}}
{{- define "routeapi.containerSecurity" -}}
{{- $security := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- include "routeapi.replaced" (list $security .securityContext) }}
{{- end -}}

{{/* Merges fields; null removes one. Arguments: default fields, fields that replace them. */}}
{{- define "routeapi.replaced" -}}
{{- $fields := index . 0 -}}
{{- range $name, $field := index . 1 }}
{{- if eq (kindOf $field) "invalid" }}
{{- $_ := unset $fields $name }}
{{- else }}
{{- $_ := set $fields $name $field }}
{{- end }}
{{- end }}
{{- toYaml $fields }}
{{- end -}}

{{/* DNS settings. Arguments: values of the component. */}}
{{- define "routeapi.names" -}}
{{- with .dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .dnsConfig }}
dnsConfig: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .hostAliases }}
hostAliases: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Arguments: context, values of the component, component. */}}
{{- define "routeapi.scheduling" -}}
{{- $context := index . 0 -}}
{{- $values := index . 1 -}}
{{- $component := index . 2 -}}
{{- with $context.Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- if $values.affinity }}
affinity: {{ toYaml $values.affinity | nindent 2 }}
{{- else }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels: {{ include "routeapi.selectorLabels" (list $context $component) | nindent 14 }}
{{- end }}
topologySpreadConstraints:
{{- if $values.topologySpreadConstraints }}
{{ toYaml $values.topologySpreadConstraints | indent 2 }}
{{- else }}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    # Spreads the pods of each revision separately, so that old pods do not distort an upgrade.
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels: {{ include "routeapi.selectorLabels" (list $context $component) | nindent 8 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Arguments: context, metadata values of the component. */}}
{{- define "routeapi.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ index . 2 }}
  namespace: {{ (index . 0).Release.Namespace }}
  labels: {{ include "routeapi.labels" (list (index . 0) (index . 3)) | nindent 4 }}
  {{- with (index . 1).annotations }}
  annotations: {{ toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end -}}

{{/* Arguments: context, pdb values, name, component. */}}
{{- define "routeapi.pdb" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ index . 2 }}
  namespace: {{ (index . 0).Release.Namespace }}
  labels: {{ include "routeapi.labels" (list (index . 0) (index . 3)) | nindent 4 }}
spec:
  maxUnavailable: {{ (index . 1).maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{ include "routeapi.selectorLabels" (list (index . 0) (index . 3)) | nindent 6 }}
{{- end -}}

{{/* Whole seconds of a duration such as 1m30s. */}}
{{- define "routeapi.seconds" -}}
{{- $seconds := 0 -}}
{{- range regexFindAll "[0-9]+(ms|h|m|s)" . -1 -}}
{{- $unit := regexFind "[a-z]+" . -}}
{{- $seconds = add $seconds (mul (trimSuffix $unit . | int) (get (dict "h" 3600 "m" 60 "s" 1 "ms" 0) $unit)) -}}
{{- end -}}
{{- $seconds -}}
{{- end -}}

{{/* terminationGracePeriodSeconds of data-plane pods, which must cover drain.delay and drain.timeout. */}}
{{- define "routeapi.dataPlane.gracePeriod" -}}
{{- $drain := .Values.dataPlane.drain -}}
{{- $asked := add (include "routeapi.seconds" $drain.delay | int) (include "routeapi.seconds" $drain.timeout | int) -}}
{{- $given := .Values.dataPlane.terminationGracePeriodSeconds -}}
{{- if not $given -}}
{{- add $asked 15 -}}
{{- else if lt (int $given) (add $asked 5 | int) -}}
{{- printf "dataPlane.terminationGracePeriodSeconds is %d, which would end streams before drain.delay and drain.timeout have passed: set at least %d, or leave it empty" (int $given) (add $asked 5) | fail -}}
{{- else -}}
{{- $given -}}
{{- end -}}
{{- end -}}
