{{/* Sidecars: what is added to pods, and which pods are asked about. routeapi_injection says the same of the webhook. */}}

{{/* How sidecars are added: Policy, Webhook or None. */}}
{{- define "routeapi.sidecar.mode" -}}
{{- $mode := .Values.sidecar.injection.mode -}}
{{- if not .Values.sidecar.enabled -}}
None
{{- else if ne $mode "Auto" -}}
{{- $mode -}}
{{- else if include "routeapi.sidecar.hasStablePolicies" . -}}
Policy
{{- else -}}
Webhook
{{- end -}}
{{- end -}}

{{/*
Whether MutatingAdmissionPolicies are stable, and so in force. Where they are beta, the API may be served and its feature gate
be off. The version is asked as well, because `helm template` without a cluster lists the kinds that helm itself knows.
*/}}
{{- define "routeapi.sidecar.hasStablePolicies" -}}
{{- if and (semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version) (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy") -}}
true
{{- end -}}
{{- end -}}

{{/* The Secret with the gateway's certificate; empty without HTTPS. */}}
{{- define "routeapi.dataPlane.tlsSecret" -}}
{{- if .Values.dataPlane.tls.existingSecret -}}
{{- .Values.dataPlane.tls.existingSecret -}}
{{- else if .Values.sidecar.enabled -}}
{{ include "routeapi.fullname" . }}-gateway-tls
{{- end -}}
{{- end -}}

{{/* Name of the webhook configuration, the policies and their bindings. */}}
{{- define "routeapi.sidecar.name" -}}
{{- include "routeapi.clusterName" (list . (printf "%s-sidecar" (include "routeapi.fullname" .))) -}}
{{- end -}}

{{- define "routeapi.sidecar.image" -}}
{{- include "routeapi.image" (list . (ternary .Values.sidecar.image .Values.dataPlane.image (ne .Values.sidecar.image.repository ""))) -}}
{{- end -}}

{{- define "routeapi.sidecar.pullPolicy" -}}
{{- .Values.sidecar.image.pullPolicy | default .Values.dataPlane.image.pullPolicy -}}
{{- end -}}

{{- define "routeapi.sidecar.gateway" -}}
{{- $port := int .Values.dataPlane.service.tlsPort -}}
{{- $own := printf "https://%s.%s.svc%s" (include "routeapi.fullname" .) .Release.Namespace (ternary "" (printf ":%d" $port) (eq $port 443)) -}}
{{- .Values.sidecar.url | default $own -}}
{{- end -}}

{{/* The ConfigMap with the CA certificates that sidecars trust; empty for public ones. */}}
{{- define "routeapi.sidecar.caConfigMap" -}}
{{- if .Values.sidecar.gatewayCA.configMap -}}
{{- .Values.sidecar.gatewayCA.configMap -}}
{{- else if not .Values.dataPlane.tls.existingSecret -}}
{{ include "routeapi.fullname" . }}-config-ca
{{- end -}}
{{- end -}}

{{/* Its key: the operator's own ConfigMap has ca.crt. */}}
{{- define "routeapi.sidecar.caKey" -}}
{{- ternary .Values.sidecar.gatewayCA.key "ca.crt" (ne .Values.sidecar.gatewayCA.configMap "") -}}
{{- end -}}

{{/* User ID of sidecars; empty where the cluster assigns one. */}}
{{- define "routeapi.sidecar.user" -}}
{{- if not (.Capabilities.APIVersions.Has "security.openshift.io/v1") -}}
65532
{{- end -}}
{{- end -}}

{{/*
Selectors of the pods that get sidecars. Either the namespace asks and the pod does not decline, or only the pod asks: two
selectors of one rule must both match, so there are two rules. Arguments: context, `namespace` or `pod`.
*/}}
{{- define "routeapi.sidecar.selectors" -}}
{{- $context := index . 0 -}}
{{- $byNamespace := eq (index . 1) "namespace" -}}
{{- $excluded := append $context.Values.sidecar.injection.excludedNamespaces $context.Release.Namespace | uniq -}}
namespaceSelector:
  matchExpressions:
    - {key: routeapi.dev/inject, operator: {{ ternary "In" "NotIn" $byNamespace }}, values: ["true"]}
    - {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ toJson $excluded }}}
    {{- with $context.Values.watchNamespaces }}
    - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson (uniq .) }}}
    {{- end }}
objectSelector:
  matchExpressions:
    - {key: routeapi.dev/inject, operator: {{ ternary "NotIn" "In" $byNamespace }}, values: [{{ ternary "\"false\"" "\"true\"" $byNamespace }}]}
{{- end -}}

{{/* Which requests are about pods that may get sidecars. */}}
{{- define "routeapi.sidecar.rules" -}}
- apiGroups: [""]
  apiVersions: [v1]
  operations: [CREATE]
  resources: [pods]
  scope: Namespaced
{{- end -}}

{{/* Static pods run without the API server; what it has is a copy. */}}
{{- define "routeapi.sidecar.conditions" -}}
- name: not-a-static-pod
  expression: >-
    !has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)
{{- end -}}

{{/* The container, without its CA certificates. As `Sidecar::container` of routeapi_injection. */}}
{{- define "routeapi.sidecar.container" -}}
name: routeapi
image: {{ include "routeapi.sidecar.image" . | quote }}
imagePullPolicy: {{ include "routeapi.sidecar.pullPolicy" . }}
restartPolicy: Always
args: [sidecar, {{ printf "--gateway=%s" (include "routeapi.sidecar.gateway" .) | quote }}]
ports: [{name: routeapi-admin, containerPort: 4090, protocol: TCP}]
startupProbe: {httpGet: {path: /livez, port: 4090}, periodSeconds: 1, failureThreshold: 60}
readinessProbe: {httpGet: {path: /readyz, port: 4090}, periodSeconds: 2, failureThreshold: 2}
livenessProbe: {httpGet: {path: /livez, port: 4090}, periodSeconds: 10, failureThreshold: 6}
resources: {{ toJson .Values.sidecar.resources }}
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  {{- with include "routeapi.sidecar.user" . }}
  runAsUser: {{ . }}
  runAsGroup: {{ . }}
  {{- end }}
  seccompProfile: {type: RuntimeDefault}
volumeMounts:
  - {name: routeapi-token, mountPath: /var/run/secrets/routeapi.dev/serviceaccount, readOnly: true}
{{- if include "routeapi.sidecar.caConfigMap" . }}
env: [{name: ROUTEAPI_GATEWAY_CA, value: GATEWAY-CA}]
{{- end }}
{{- end -}}

{{/* The volume. As `Sidecar::volume`. */}}
{{- define "routeapi.sidecar.volume" -}}
name: routeapi-token
projected:
  sources:
    - serviceAccountToken: {path: token, audience: routeapi-gateway, expirationSeconds: 3600}
{{- end -}}

{{/* A value as CEL, whose literals are of one type unless their members are `dyn`. */}}
{{- define "routeapi.cel" -}}
{{- if kindIs "map" . -}}
{ {{- range $name := keys . | sortAlpha }}{{ if ne $name (first (keys $ | sortAlpha)) }}, {{ end }}{{ toJson $name }}: dyn({{ include "routeapi.cel" (get $ $name) }}){{ end -}} }
{{- else if kindIs "slice" . -}}
[ {{- range $i, $item := . }}{{ if $i }}, {{ end }}dyn({{ include "routeapi.cel" $item }}){{ end -}} ]
{{- else if kindIs "float64" . -}}
{{ int64 . }}
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end -}}

{{/* Variables of the policies. As `check` of routeapi_injection. */}}
{{- define "routeapi.sidecar.variables" -}}
- name: initContainers
  expression: "has(object.spec.initContainers) ? object.spec.initContainers : []"
- name: volumes
  expression: "has(object.spec.volumes) ? object.spec.volumes : []"
- name: sidecars
  expression: >-
    variables.initContainers.filter(container, container.name == 'routeapi' && has(container.restartPolicy) &&
    container.restartPolicy == 'Always' && has(container.args) && container.args.size() > 0 &&
    container.args[0] == 'sidecar')
- name: tokenVolumes
  expression: >-
    variables.volumes.filter(volume, volume.name == 'routeapi-token' && has(volume.projected) &&
    has(volume.projected.sources) && volume.projected.sources.exists(source, has(source.serviceAccountToken) &&
    has(source.serviceAccountToken.audience) && source.serviceAccountToken.audience == 'routeapi-gateway'))
# Why the pod cannot have a sidecar; empty if it can.
- name: refusal
  expression: >-
    has(object.spec.hostNetwork) && object.spec.hostNetwork ?
    'spec.hostNetwork: the sidecar would listen on the node\'s own loopback address, where every process of the node could call with this pod\'s identity' :
    has(object.spec.os) && object.spec.os.name == 'windows' ?
    'spec.os.name: the sidecar runs on Linux only' :
    object.spec.containers.exists(container, container.name == 'routeapi') ?
    'spec.containers: a container that is not the sidecar is named routeapi' :
    variables.initContainers.filter(container, container.name == 'routeapi').size() > variables.sidecars.size() ?
    'spec.initContainers: a container that is not the sidecar is named routeapi' :
    object.spec.containers.exists(container, has(container.ports) && container.ports.exists(port,
    port.containerPort in [4000, 4090] && (!has(port.protocol) || port.protocol == 'TCP'))) ?
    'spec.containers: a container has port 4000 or 4090, which are the sidecar\'s' :
    variables.initContainers.exists(container, container.name != 'routeapi' && has(container.ports) &&
    container.ports.exists(port, port.containerPort in [4000, 4090] && (!has(port.protocol) || port.protocol == 'TCP'))) ?
    'spec.initContainers: a container has port 4000 or 4090, which are the sidecar\'s' :
    variables.volumes.filter(volume, volume.name == 'routeapi-token').size() > variables.tokenVolumes.size() ?
    'spec.volumes: a volume that is not the sidecar\'s is named routeapi-token' : ''
{{- end -}}

{{/* The webhook's Service. */}}
{{- define "routeapi.sidecar.service" -}}
{{ include "routeapi.fullname" . }}-injection
{{- end -}}
