{{/*
The objects of one folder below files/, which are links to those that kustomize and `lws-kueue install`
apply: nothing is written a second time here. As there, each says which version it belongs to.
*/}}
{{- define "lws-kueue.folder" -}}
{{- $root := .root }}
{{- range $path, $content := $root.Files.Glob (printf "files/%s/*.yaml" .folder) }}
{{- range regexSplit "(?m)^---$" (toString $content) -1 }}
{{- $object := fromYaml . }}
{{- $annotations := mergeOverwrite (dict "lws-kueue.dev/version" $root.Chart.AppVersion) ($object.metadata.annotations | default dict) }}
{{- if eq $object.kind "CustomResourceDefinition" }}
{{- /* All sets would go with it. */}}
{{- $_ := set $annotations "helm.sh/resource-policy" "keep" }}
{{- end }}
{{- $_ := set $object.metadata "annotations" $annotations }}
---
# {{ $path }}
{{ toYaml $object }}
{{- end }}
{{- end }}
{{- end }}

{{/* "yes" where the policies that need Kueue's API are wanted. */}}
{{- define "lws-kueue.kueue" -}}
{{- if kindIs "bool" .Values.kueue.enabled }}
{{- if .Values.kueue.enabled }}yes{{ end }}
{{- else if .Capabilities.APIVersions.Has "kueue.x-k8s.io/v1beta2" }}yes{{ end }}
{{- end }}

{{- define "lws-kueue.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}
{{- else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end }}
{{- end }}
{{- end }}

{{/* The configuration file of the controller, empty where it needs none. */}}
{{- define "lws-kueue.configuration" -}}
{{- $given := .Values.managerConfig.controllerManagerConfigYaml }}
{{- $file := fromYaml $given }}
{{- with $file.Error }}
{{- fail (printf "managerConfig.controllerManagerConfigYaml is no YAML mapping: %s" .) }}
{{- end }}
{{- /* What else in the chart depends on these is made for what the controller does by itself. */}}
{{- range $path := list "health" "metrics.bindAddress" "leaderElection.resourceName" "leaderElection.resourceNamespace" "gangSchedulingManagement" }}
{{- $value := $file }}
{{- range splitList "." $path }}
{{- $value = get ($value | default dict) . }}
{{- end }}
{{- if $value }}
{{- fail (printf "managerConfig.controllerManagerConfigYaml: %s is settled by the chart; %s" $path (eq $path "gangSchedulingManagement" | ternary "give the value gangSchedulingManagement" "leave it out")) }}
{{- end }}
{{- end }}
{{- with .Values.gangSchedulingManagement }}
{{- $_ := set $file "gangSchedulingManagement" . }}
{{- end }}
{{- if $file }}
{{- $_ := set $file "apiVersion" ($file.apiVersion | default "config.lws.x-k8s.io/v1alpha1") }}
{{- $_ := set $file "kind" ($file.kind | default "Configuration") }}
{{- toYaml $file }}
{{- end }}
{{- end }}

{{/* The Deployment of deploy/manager with what the values say. */}}
{{- define "lws-kueue.deployment" -}}
{{- $values := .root.Values }}
{{- $object := .object }}
{{- $pod := $object.spec.template.spec }}
{{- $meta := $object.spec.template.metadata }}
{{- $container := index $pod.containers 0 }}
{{- $_ := set $object.spec "replicas" $values.replicaCount }}
{{- $_ := set $meta "labels" (mergeOverwrite (deepCopy ($values.podLabels | default dict)) $meta.labels) }}
{{- $annotations := deepCopy ($values.podAnnotations | default dict) }}
{{- $_ := set $container "image" (include "lws-kueue.image" .root) }}
{{- range $key := list "resources" "securityContext" }}
{{- $_ := set $container $key (get $values $key) }}
{{- end }}
{{- $_ := set $pod "securityContext" $values.podSecurityContext }}
{{- with $values.image.pullPolicy }}
{{- $_ := set $container "imagePullPolicy" . }}
{{- end }}
{{- with $values.extraEnv }}
{{- $_ := set $container "env" . }}
{{- end }}
{{- range $key := list "priorityClassName" "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "imagePullSecrets" }}
{{- $value := get $values $key }}
{{- if $value }}
{{- $_ := set $pod $key $value }}
{{- else }}
{{- $_ := unset $pod $key }}
{{- end }}
{{- end }}
{{- $configuration := include "lws-kueue.configuration" .root }}
{{- if $configuration }}
{{- $_ := set $container "args" (append $container.args "--config=/etc/lws-kueue/controller_manager_config.yaml") }}
{{- $_ := set $container "volumeMounts" (append $container.volumeMounts (dict "name" "manager-config" "mountPath" "/etc/lws-kueue" "readOnly" true)) }}
{{- $_ := set $pod "volumes" (append $pod.volumes (dict "name" "manager-config" "configMap" (dict "name" "lws-kueue-manager-config"))) }}
{{- /* It reads its configuration once. */}}
{{- $_ := set $annotations "lws-kueue.dev/configuration" (sha256sum $configuration) }}
{{- end }}
{{- $_ := set $container "args" (concat $container.args ($values.extraArgs | default list)) }}
{{- with $annotations }}
{{- $_ := set $meta "annotations" . }}
{{- end }}
{{- toYaml $object }}
{{- end }}
