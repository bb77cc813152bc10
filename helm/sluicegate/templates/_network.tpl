{{- define "sluicegate.namespaces" -}}
{{- if . -}}{{- dict "matchLabels" . | toJson -}}{{- else -}}{}{{- end -}}
{{- end -}}

{{- define "sluicegate.ports" -}}
{{- $ports := list -}}
{{- range . | uniq -}}{{- $ports = append $ports (dict "port" (int .) "protocol" "TCP") -}}{{- end -}}
{{- toJson $ports -}}
{{- end -}}

{{/* The port of an address or URL. */}}
{{- define "sluicegate.port" -}}
{{- $authority := regexReplaceAll "^[a-z]+://([^/]+).*$" . "${1}" -}}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $authority) -}}
{{- if $port -}}{{- $port -}}{{- else if hasPrefix "https" . -}}443{{- else -}}80{{- end -}}
{{- end -}}

{{/* What every pod needs, and all that the door may reach: brokers and collector; as JSON, in the same form. */}}
{{- define "sluicegate.doorEgress" -}}
{{- $v := .Values -}}{{- $n := $v.networkPolicy -}}
{{- $ports := list -}}
{{- range $v.kafka.bootstrapServers -}}{{- $ports = append $ports (include "sluicegate.port" . | int) -}}{{- end -}}
{{- $rules := list (dict "ports" $ports "to" $n.kafkaPeers) -}}
{{- if $v.otel.endpoint -}}{{- $rules = append $rules (dict "ports" (list (include "sluicegate.port" $v.otel.endpoint | int)) "to" $n.otlpPeers) -}}{{- end -}}
{{- toJson $rules -}}
{{- end -}}

{{/* The destinations outside of this release that pods may reach, as JSON: [{ports, to}]; an empty `to` is any address. */}}
{{- define "sluicegate.egress" -}}
{{- $v := .Values -}}{{- $n := $v.networkPolicy -}}
{{- $rules := include "sluicegate.doorEgress" . | fromJsonArray -}}
{{- $models := list -}}
{{- if eq $v.generation.mode "external" -}}{{- $models = append $models (include "sluicegate.port" $v.generation.baseUrl | int) -}}{{- end -}}
{{- if and $v.judge.enabled (eq $v.judge.mode "external") -}}{{- $models = append $models (include "sluicegate.port" $v.judge.baseUrl | int) -}}{{- end -}}
{{- if $models -}}{{- $rules = append $rules (dict "ports" $models "to" $n.modelPeers) -}}{{- end -}}
{{- if and (eq $v.mode "rayservice") (eq $v.ray.gcs.backend "redis") -}}
{{- $redis := include "sluicegate.port" ($v.ray.gcs.address | replace "redis://" "") | int -}}
{{- $rules = append $rules (dict "ports" (list (ternary 6379 $redis (eq $redis 80))) "to" $n.redisPeers) -}}
{{- end -}}
{{- toJson $rules -}}
{{- end -}}
