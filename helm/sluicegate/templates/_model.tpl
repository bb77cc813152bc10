{{/* "true" if a group of the Ray cluster has GPUs: two clusters at once would need twice as many. */}}
{{- define "sluicegate.hasGpuGroup" -}}
{{- $found := false -}}
{{- $root := . -}}
{{- range include "sluicegate.rayModels" . | fromJsonArray -}}
{{- if eq (index $root.Values .).server.device "gpu" -}}{{- $found = true -}}{{- end -}}
{{- end -}}
{{- range $name, $group := .Values.workerGroups -}}
{{- if and $group $group.resources -}}
{{- range $resource, $_ := default dict $group.resources.limits -}}{{- if contains "gpu" $resource -}}{{- $found = true -}}{{- end -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- $found -}}
{{- end -}}

{{/* A pod that serves a model, in the Ray cluster or on its own: takes a dict of root, role, component, isRay. */}}
{{- define "sluicegate.modelPod" -}}
{{- $root := .root -}}{{- $v := $root.Values -}}
{{- $model := index $v .role -}}{{- $server := $model.server -}}{{- $isGpu := eq $server.device "gpu" -}}
{{- $env := include "sluicegate.rayEnv" $root | fromYaml -}}
{{- $env = merge $env (dict "VLLM_NO_USAGE_STATS" "1" "HF_HOME" "/cache/huggingface" "VLLM_CACHE_ROOT" "/cache/vllm") -}}
{{- if $server.offline -}}{{- $_ := set $env "HF_HUB_OFFLINE" "1" -}}{{- end -}}
{{- if $server.hubTokenSecret.name -}}{{- $_ := set $env "HF_TOKEN_PATH" "/etc/sluicegate/hub/token" -}}{{- end -}}
{{- $container := dict
      "name" "vllm" "image" (include "sluicegate.image" (list $root $v.modelImage)) "pullPolicy" $v.modelImage.pullPolicy
      "env" $env "resources" (include "sluicegate.modelResources" (list $root $server)) -}}
{{- $keys := list -}}
{{- with $server.hubTokenSecret -}}{{- if .name -}}{{- $keys = append $keys (dict "volume" "hub" "secret" .name "key" .key "path" "token") -}}{{- end -}}{{- end -}}
{{- $mounts := list "cache" -}}
{{- if .isRay -}}
{{- $mounts = list "cache" "settings" "journal" "ray" -}}
{{- $_ := set $container "ports" (dict "http" 9464) -}}
{{- $_ := set $container "envFields" (include "sluicegate.slotEnv" $root | fromYamlArray) -}}
{{- $_ := set $container "probes" (dict "readinessProbe" (dict "httpGet" (dict "path" "/api/local_raylet_healthz" "port" 52365) "periodSeconds" 5 "timeoutSeconds" 3 "failureThreshold" 10)) -}}
{{- else -}}
{{- $_ := set $container "ports" (dict "http" 8000) -}}
{{- $_ := set $container "command" (list "python" "-m" "vllm.entrypoints.openai.api_server") -}}
{{- $_ := set $container "args" (include "sluicegate.vllmArguments" (list $root .role) | fromJsonArray) -}}
{{- $_ := set $container "lifecycle" (dict "preStop" (dict "sleep" (dict "seconds" 15))) -}}
{{- $_ := set $container "probes" (include "sluicegate.vllmProbes" $server | fromYaml) -}}
{{- if $v.otel.endpoint -}}
{{- $_ := set $env "OTEL_SERVICE_NAME" (printf "sluicegate-%s" .role) -}}
{{- $_ := set $env "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL" (ternary "grpc" "http/protobuf" (eq $v.otel.protocol "grpc")) -}}
{{- $_ := set $env "OTEL_EXPORTER_OTLP_TRACES_INSECURE" (hasPrefix "http://" $v.otel.endpoint) -}}
{{- end -}}
{{- end -}}
{{- include "sluicegate.podTemplate" (dict "root" $root "component" .component "block" $server "container" $container
      "mounts" $mounts "shm" $server.shmSize "isRay" .isRay "isGpu" $isGpu "keys" $keys
      "graceSeconds" $server.terminationGracePeriodSeconds "isSpread" true) -}}
{{- end -}}

{{/* Takes (list root server). Explicit resources win, but the GPUs are always those of `gpus`. */}}
{{- define "sluicegate.modelResources" -}}
{{- $server := index . 1 -}}
{{- $resources := include "sluicegate.resources" (list (index . 0) "model" $server.resources $server.shmSize) | fromYaml -}}
{{- if eq $server.device "gpu" -}}
{{- $limits := default dict $resources.limits -}}
{{- $_ := set $limits $server.gpuResource (int $server.gpus) -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{- define "sluicegate.vllmProbes" -}}
startupProbe: {httpGet: {path: /health, port: http}, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: {{ div (add (int .startupSeconds) 9) 10 }}}
readinessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 5, timeoutSeconds: 3, failureThreshold: 3}
livenessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 10}
{{- end -}}

{{/* vLLM's command line as JSON: takes (list root role). Python names become flags. */}}
{{- define "sluicegate.vllmArguments" -}}
{{- $root := index . 0 -}}{{- $model := index $root.Values (index . 1) -}}{{- $server := $model.server -}}
{{- $arguments := list "--model" $server.source "--served-model-name" $model.model "--host" $root.Values.agent.host "--port" "8000"
      "--shutdown-timeout" ($server.shutdownSeconds | int | toString) -}}
{{- if $server.revision -}}{{- $arguments = concat $arguments (list "--revision" $server.revision) -}}{{- end -}}
{{- if and (eq $server.device "gpu") (gt (int $server.gpus) 1) -}}
{{- $arguments = concat $arguments (list "--tensor-parallel-size" ($server.gpus | int | toString)) -}}
{{- end -}}
{{- if $root.Values.otel.endpoint -}}{{- $arguments = concat $arguments (list "--otlp-traces-endpoint" (include "sluicegate.tracesEndpoint" $root)) -}}{{- end -}}
{{- range $key := keys $server.engine | sortAlpha -}}
{{- $value := index $server.engine $key -}}{{- $flag := replace "_" "-" $key -}}
{{- if kindIs "bool" $value -}}
{{- $arguments = append $arguments (ternary (print "--" $flag) (print "--no-" $flag) $value) -}}
{{- else -}}
{{- $arguments = concat $arguments (list (print "--" $flag) (ternary (toString $value) (toJson $value) (kindIs "string" $value))) -}}
{{- end -}}
{{- end -}}
{{- concat $arguments $server.extraArgs | toJson -}}
{{- end -}}

{{/* Models that run as Deployments of this chart, as JSON: the names of their values' blocks. */}}
{{- define "sluicegate.deployedModels" -}}
{{- $models := list -}}
{{- if eq .Values.generation.mode "deployment" -}}{{- $models = append $models "generation" -}}{{- end -}}
{{- if and .Values.judge.enabled (eq .Values.judge.mode "deployment") -}}{{- $models = append $models "judge" -}}{{- end -}}
{{- toJson $models -}}
{{- end -}}
