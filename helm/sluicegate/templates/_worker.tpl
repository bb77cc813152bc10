{{/* The pod that stream workers and stages run in: one for StatefulSet and Ray cluster.
     Takes a dict: root; name (of the group); component; block; and annotations. */}}
{{- define "sluicegate.workerPod" -}}
{{- $root := .root -}}{{- $v := $root.Values -}}{{- $isRay := eq $v.mode "rayservice" -}}
{{- $shm := include "sluicegate.shm" (list $root "worker" .block.shmSize) -}}
{{- $container := dict
      "name" "worker"
      "image" (include "sluicegate.image" (list $root $v.image)) "pullPolicy" $v.image.pullPolicy
      "ports" (dict "http" 9464)
      "probes" (include "sluicegate.workerProbes" $root | fromYaml)
      "lifecycle" (include "sluicegate.workerLifecycle" $root | fromYaml)
      "env" (include "sluicegate.rayEnv" $root | fromYaml)
      "envFields" (include "sluicegate.slotEnv" $root | fromYamlArray)
      "resources" (include "sluicegate.resources" (list $root "worker" .block.resources $shm)) -}}
{{- if not $isRay -}}
{{- $_ := set $container "args" (list "run" "--config" (include "sluicegate.settingsFile" $root)) -}}
{{- $_ := set $container "command" (list "sluicegate") -}}
{{- end -}}
{{- include "sluicegate.podTemplate" (dict "root" $root "component" .component "block" .block "container" $container
      "mounts" (list "settings" "journal" "ray") "shm" $shm
      "graceSeconds" $v.worker.terminationGracePeriodSeconds "isRay" $isRay "isSpread" true "annotations" .annotations) -}}
{{- end -}}

{{- define "sluicegate.rayEnv" -}}
RAY_USAGE_STATS_ENABLED: "0"
RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S: "60"
RAY_worker_niceness: "0"
DO_NOT_TRACK: "1"
{{- end -}}

{{/* Which slot names a worker takes: the StatefulSet's ordinal, or the Ray cluster's name. */}}
{{- define "sluicegate.slotEnv" -}}
{{- if eq .Values.mode "rayservice" -}}
- {name: SLUICEGATE_KAFKA__CLUSTER_NAME, valueFrom: {fieldRef: {fieldPath: "metadata.labels['ray.io/cluster']"}}}
{{- else -}}
- {name: SLUICEGATE_RAY__SLOT_START, valueFrom: {fieldRef: {fieldPath: "metadata.labels['apps.kubernetes.io/pod-index']"}}}
{{- end -}}
{{- end -}}

{{/* A pod that runs one command and ends: takes a dict of root, component, args, isOperator (logs in to Kafka as
     `kafka.security.operator`) and signingKey. */}}
{{- define "sluicegate.commandPod" -}}
{{- $root := .root -}}{{- $v := $root.Values -}}
{{- $operator := ternary $v.kafka.security.operator.existingSecret dict (and (default false .isOperator) (ne $v.kafka.security.operator.existingSecret.name "")) -}}
{{- $env := dict -}}
{{- if $operator -}}
{{- $env = dict "SLUICEGATE_KAFKA__SASL_USERNAME" $v.kafka.security.operator.username "SLUICEGATE_KAFKA__SASL_PASSWORD_FILE" "/etc/sluicegate/operator/password" -}}
{{- end -}}
{{- $block := dict "nodeSelector" $v.worker.nodeSelector "tolerations" $v.worker.tolerations "hostAliases" $v.worker.hostAliases "dnsPolicy" $v.worker.dnsPolicy "dnsConfig" $v.worker.dnsConfig "priorityClassName" $v.worker.priorityClassName -}}
{{- $container := dict
      "name" .component "image" (include "sluicegate.image" (list $root $v.image)) "pullPolicy" $v.image.pullPolicy
      "command" (list "sluicegate") "args" .args "env" $env
      "resources" "requests: {cpu: 100m, memory: 256Mi}\nlimits: {memory: 512Mi}" -}}
{{- $keys := list -}}
{{- if $operator -}}{{- $keys = append $keys (dict "volume" "operator" "secret" $operator.name "key" $operator.key "path" "password") -}}{{- end -}}
{{- with .signingKey -}}{{- $keys = append $keys (dict "volume" "canary" "secret" .name "key" .key "path" "signing-key") -}}{{- end -}}
{{- include "sluicegate.podTemplate" (dict "root" $root "component" .component "block" $block "container" $container
      "mounts" (list "settings") "graceSeconds" 30 "restartPolicy" "Never" "keys" $keys) -}}
{{- end -}}
