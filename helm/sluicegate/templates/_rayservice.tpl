{{/* Models that run inside the Ray cluster, as JSON: the names of their values' blocks. */}}
{{- define "sluicegate.rayModels" -}}
{{- $models := list -}}
{{- if eq .Values.mode "rayservice" -}}
{{- if eq .Values.generation.mode "rayserve" -}}{{- $models = append $models "generation" -}}{{- end -}}
{{- if and .Values.judge.enabled (eq .Values.judge.mode "rayserve") -}}{{- $models = append $models "judge" -}}{{- end -}}
{{- end -}}
{{- toJson $models -}}
{{- end -}}

{{/* The object store takes nine tenths of /dev/shm; with more, Ray would put it on disk. Takes a size. */}}
{{- define "sluicegate.objectStoreBytes" -}}
{{- div (mul (include "sluicegate.bytes" .) 9) 10 -}}
{{- end -}}

{{/* What Ray Serve runs. A change of settings reaches the supervisor as a new digest in its user_config: it then reads
     the mounted file again, and no pod restarts. */}}
{{- define "sluicegate.serveConfig" -}}
{{- $root := . -}}
{{- $supervisor := dict
      "name" "sluicegate" "route_prefix" nil "import_path" "workers.serve_supervisor:build"
      "args" (dict "config" (include "sluicegate.settingsFile" .))
      "deployments" (list (dict "name" "Supervisor" "user_config" (dict "settings_sha256" (include "sluicegate.settings" . | sha256sum)))) -}}
{{- $applications := list $supervisor -}}
{{- range include "sluicegate.rayModels" . | fromJsonArray -}}
{{- $applications = append $applications (include "sluicegate.modelApplication" (list $root .) | fromJson) -}}
{{- end -}}
{{- dict "proxy_location" "EveryNode" "http_options" (dict "host" "0.0.0.0" "port" 8000) "applications" $applications | toYaml -}}
{{- end -}}

{{/* One served model as JSON: takes (list root role). */}}
{{- define "sluicegate.modelApplication" -}}
{{- $root := index . 0 -}}{{- $role := index . 1 -}}
{{- $model := index $root.Values $role -}}{{- $server := $model.server -}}
{{- $engine := deepCopy $server.engine -}}
{{- if $server.revision -}}{{- $_ := set $engine "revision" $server.revision -}}{{- end -}}
{{- if and (eq $server.device "gpu") (gt (int $server.gpus) 1) -}}{{- $_ := set $engine "tensor_parallel_size" (int $server.gpus) -}}{{- end -}}
{{- $arguments := dict
      "model" $server.source "served_name" $model.model "device" $server.device "accelerator_type" $server.accelerator
      "replicas" (int $server.replicas) "engine" $engine "service_name" (printf "sluicegate-%s" $role) -}}
{{- if $root.Values.otel.endpoint -}}
{{- $_ := set $arguments "traces_endpoint" (include "sluicegate.tracesEndpoint" $root) -}}
{{- $_ := set $arguments "traces_protocol" (ternary "grpc" "http/protobuf" (eq $root.Values.otel.protocol "grpc")) -}}
{{- $_ := set $arguments "traces_are_plaintext" (hasPrefix "http://" $root.Values.otel.endpoint) -}}
{{- end -}}
{{- dict "name" (printf "sluicegate-%s" $role) "route_prefix" (ternary "/judge" "/" (eq $role "judge"))
      "import_path" "serving.app:build_from_arguments" "args" $arguments | toJson -}}
{{- end -}}

{{/* vLLM needs the full address if OTLP is sent over HTTP. */}}
{{- define "sluicegate.tracesEndpoint" -}}
{{- trimSuffix "/" .Values.otel.endpoint }}{{ if ne .Values.otel.protocol "grpc" }}/v1/traces{{ end -}}
{{- end -}}

{{/* One worker group: takes a dict of root, name, block (of workerGroups). Values that it leaves out come from `worker`. */}}
{{- define "sluicegate.workerGroup" -}}
{{- $root := .root -}}{{- $group := .group -}}
{{- $block := mergeOverwrite (deepCopy $root.Values.worker) (deepCopy $group) -}}
{{- $count := include "sluicegate.replicas" $root | int -}}
{{- $max := default $count $group.max | int -}}
groupName: {{ .name }}
{{- include "sluicegate.groupSize" (dict "root" $root "min" (default (min $max $count) $group.min) "max" $max "idle" $group.idleTimeoutSeconds) }}
rayStartParams:
  object-store-memory: {{ include "sluicegate.objectStoreBytes" (include "sluicegate.shm" (list $root "worker" $block.shmSize)) | quote }}
  {{- with $group.rayStartParams }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
template:
  {{- include "sluicegate.workerPod" (dict "root" $root "component" "worker" "block" $block) | nindent 2 }}
{{- end -}}

{{/* The autoscaler, if on, sets the number of replicas: rendering it would undo its choice. */}}
{{- define "sluicegate.groupSize" }}
minReplicas: {{ .min | int }}
maxReplicas: {{ .max | int }}
{{- if .root.Values.ray.autoscaler.enabled }}
{{- with .idle }}
idleTimeoutSeconds: {{ . | int }}
{{- end }}
{{- else }}
replicas: {{ .min | int }}
{{- end }}
{{- end -}}

{{/* The group that serves one model: takes (list root role). */}}
{{- define "sluicegate.modelGroup" -}}
{{- $root := index . 0 -}}{{- $role := index . 1 -}}
{{- $server := (index $root.Values $role).server -}}
groupName: {{ $role }}
{{- include "sluicegate.groupSize" (dict "root" $root "min" $server.replicas "max" $server.replicas "idle" 600) }}
rayStartParams:
  object-store-memory: "268435456"
  {{- if eq $server.device "gpu" }}
  num-cpus: "0" {{- /* vLLM asks for GPUs only; actors that ask for a CPU are not placed on this node */}}
  {{- end }}
template:
  {{- include "sluicegate.modelPod" (dict "root" $root "role" $role "component" $role "isRay" true) | nindent 2 }}
{{- end -}}

{{- define "sluicegate.headPod" -}}
{{- $v := .Values -}}{{- $head := $v.ray.head -}}{{- $shm := include "sluicegate.shm" (list . "head" "") -}}
{{- $container := dict
      "name" "head" "image" (include "sluicegate.image" (list . $v.image)) "pullPolicy" $v.image.pullPolicy
      "ports" (dict "gcs-server" 6379 "dashboard" 8265 "client" 10001 "serve" 8000 "as-metrics" 44217 "dash-metrics" 44227)
      "env" (include "sluicegate.rayEnv" . | fromYaml) "envFields" (include "sluicegate.slotEnv" . | fromYamlArray)
      "resources" (include "sluicegate.resources" (list . "head" $head.resources $shm)) -}}
{{- $isScaled := $v.ray.autoscaler.enabled -}}
{{- include "sluicegate.podTemplate" (dict "root" . "component" "head" "block" $head "container" $container
      "mounts" (list "settings" "journal" "ray") "shm" $shm
      "graceSeconds" $head.terminationGracePeriodSeconds "isRay" true "automount" $isScaled
      "serviceAccount" (ternary (printf "%s-head" (include "sluicegate.fullname" .)) "" $isScaled)) -}}
{{- end -}}
