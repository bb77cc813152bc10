{{/* Where everything is mounted. The worker's settings name these paths. */}}
{{- define "sluicegate.settingsFile" -}}/etc/sluicegate/settings/settings.toml{{- end -}}

{{/* The CA of models and collector. OpenSSL reads this file beside its folder of CAs, and so keeps trusting those. */}}
{{- define "sluicegate.caFile" -}}/etc/sluicegate/ca/ca.crt{{- end -}}

{{/* The Secrets that this release reads, as JSON: [{path, secret, key}]. All are files; none is in the environment. */}}
{{- define "sluicegate.secretFiles" -}}
{{- $v := .Values -}}
{{- $files := list -}}
{{- $security := $v.kafka.security -}}
{{- if and (eq $security.protocol "SASL_SSL") $security.existingSecret.name -}}
{{- $files = append $files (dict "path" "kafka/password" "secret" $security.existingSecret.name "key" $security.existingSecret.key) -}}
{{- end -}}
{{- if and (ne $security.protocol "PLAINTEXT") $security.caSecret.name -}}
{{- $files = append $files (dict "path" "kafka/ca.crt" "secret" $security.caSecret.name "key" $security.caSecret.key) -}}
{{- end -}}
{{- if eq $security.protocol "SSL" -}}
{{- $files = append $files (dict "path" "kafka/client.crt" "secret" $security.clientCertSecret.name "key" $security.clientCertSecret.certKey) -}}
{{- $files = append $files (dict "path" "kafka/client.key" "secret" $security.clientCertSecret.name "key" $security.clientCertSecret.keyKey) -}}
{{- end -}}
{{- if $v.generation.apiKeySecret.name -}}
{{- $files = append $files (dict "path" "generation/api-key" "secret" $v.generation.apiKeySecret.name "key" $v.generation.apiKeySecret.key) -}}
{{- end -}}
{{- if and $v.judge.enabled $v.judge.apiKeySecret.name -}}
{{- $files = append $files (dict "path" "judge/api-key" "secret" $v.judge.apiKeySecret.name "key" $v.judge.apiKeySecret.key) -}}
{{- end -}}
{{- if $v.redaction.digestKeySecret.name -}}
{{- $files = append $files (dict "path" "redaction/digest-key" "secret" $v.redaction.digestKeySecret.name "key" $v.redaction.digestKeySecret.key) -}}
{{- end -}}
{{- if $v.agent.tokenSecret.name -}}
{{- $files = append $files (dict "path" "agent/token" "secret" $v.agent.tokenSecret.name "key" $v.agent.tokenSecret.key) -}}
{{- end -}}
{{- if $v.otel.headersSecret.name -}}
{{- $files = append $files (dict "path" "otel/headers" "secret" $v.otel.headersSecret.name "key" $v.otel.headersSecret.key) -}}
{{- end -}}
{{- toJson $files -}}
{{- end -}}

{{/* Base URL of a model: takes (list root "generation"|"judge"). In the Ray cluster, Serve's Service. */}}
{{- define "sluicegate.modelUrl" -}}
{{- $root := index . 0 -}}{{- $role := index . 1 -}}
{{- $model := index $root.Values $role -}}
{{- if eq $model.mode "external" -}}
{{- $model.baseUrl -}}
{{- else if eq $model.mode "deployment" -}}
http://{{ include "sluicegate.fullname" $root }}-{{ $role }}:8000/v1
{{- else -}}
http://{{ include "sluicegate.fullname" $root }}-serve-svc:8000{{ if eq $role "judge" }}/judge{{ end }}/v1
{{- end -}}
{{- end -}}

{{/* What the chart's own values say about the worker's settings, as JSON by section. A key here is refused in
     `.Values.settings`. */}}
{{- define "sluicegate.ownSettings" -}}
{{- $v := .Values -}}
{{- $secrets := "/etc/sluicegate/secrets/" -}}
{{- $paths := dict -}}
{{- range include "sluicegate.secretFiles" . | fromJsonArray -}}{{- $_ := set $paths .path (print $secrets .path) -}}{{- end -}}
{{- $kafka := dict
      "bootstrap_servers" $v.kafka.bootstrapServers
      "group_id" $v.kafka.groupId
      "cluster_name" (include "sluicegate.fullname" .)
      "security_protocol" $v.kafka.security.protocol -}}
{{- range $key, $path := dict "ssl_cafile" "kafka/ca.crt" "ssl_certfile" "kafka/client.crt" "ssl_keyfile" "kafka/client.key" "sasl_password_file" "kafka/password" -}}
{{- if hasKey $paths $path -}}{{- $_ := set $kafka $key (index $paths $path) -}}{{- end -}}
{{- end -}}
{{- if eq $v.kafka.security.protocol "SASL_SSL" -}}
{{- $_ := set $kafka "sasl_mechanism" $v.kafka.security.mechanism -}}
{{- $_ := set $kafka "sasl_username" $v.kafka.security.username -}}
{{- with $v.kafka.security.tokenFile -}}{{- $_ := set $kafka "sasl_password_file" . -}}{{- end -}}
{{- end -}}
{{- $topics := dict
      "events" $v.kafka.topics.events "audited" $v.kafka.topics.audited "audit" $v.kafka.topics.audit
      "review" $v.kafka.topics.review "state" $v.kafka.topics.state "canary" $v.kafka.topics.canary
      "policy" $v.kafka.topics.policy "usage" $v.kafka.topics.usage "dead_letters" $v.kafka.topics.deadLetters
      "cancel" $v.kafka.topics.cancel
      "stream" $v.kafka.topics.stream
      "partitions" $v.kafka.topics.partitions "replication_factor" $v.kafka.topics.replicationFactor
      "min_insync_replicas" $v.kafka.topics.minInsyncReplicas -}}
{{- $generation := dict
      "base_url" (include "sluicegate.modelUrl" (list . "generation")) "model" $v.generation.model
      "request_timeout_s" $v.generation.timeoutSeconds "concurrency_max" $v.generation.maxConcurrency -}}
{{- if hasKey $paths "generation/api-key" -}}{{- $_ := set $generation "api_key_file" (index $paths "generation/api-key") -}}{{- end -}}
{{- $guard := dict "labeler" "embedded" -}}
{{- if $v.judge.enabled -}}
{{- $guard = dict
      "labeler" "llm" "judge_base_url" (include "sluicegate.modelUrl" (list . "judge")) "judge_model" $v.judge.model
      "judge_timeout_s" $v.judge.timeoutSeconds "judge_concurrency_max" $v.judge.maxConcurrency -}}
{{- if hasKey $paths "judge/api-key" -}}{{- $_ := set $guard "judge_api_key_file" (index $paths "judge/api-key") -}}{{- end -}}
{{- end -}}
{{- $stages := dict -}}
{{- range list "classification" "bias" "logging" -}}{{- $_ := set $stages . (dict "failure_mode" $v.failureMode) -}}{{- end -}}
{{- $policy := dict -}}
{{- if or $v.policy.existingConfigMap $v.policy.inline -}}{{- $_ := set $policy "bundle" "/etc/sluicegate/policy/bundle.yaml" -}}{{- end -}}
{{- if or $v.policy.overlays.existingConfigMap $v.policy.overlays.inline -}}{{- $_ := set $policy "overlays" "/etc/sluicegate/overlays" -}}{{- end -}}
{{- if or $v.policy.budgets.existingConfigMap $v.policy.budgets.inline -}}{{- $_ := set $policy "budgets" "/etc/sluicegate/budgets" -}}{{- end -}}
{{- if or $v.policy.shadows.existingConfigMap $v.policy.shadows.inline -}}{{- $_ := set $policy "shadows" "/etc/sluicegate/shadows" -}}{{- end -}}
{{- $redaction := dict "digest_key_id" $v.redaction.digestKeyId -}}
{{- if hasKey $paths "redaction/digest-key" -}}{{- $_ := set $redaction "digest_key_file" (index $paths "redaction/digest-key") -}}{{- end -}}
{{- $telemetry := dict
      "endpoint" $v.otel.endpoint "protocol" $v.otel.protocol "preset" $v.otel.tracing "ratio" $v.otel.ratio
      "consume_relationship" $v.otel.consumeRelationship "environment" $v.otel.environment
      "capture_content" (ne $v.otel.captureContent "NO_CONTENT") -}}
{{- if hasKey $paths "otel/headers" -}}{{- $_ := set $telemetry "headers_file" (index $paths "otel/headers") -}}{{- end -}}
{{- $agent := dict "host" $v.agent.host "port" 9464 -}}
{{- if hasKey $paths "agent/token" -}}{{- $_ := set $agent "token_file" (index $paths "agent/token") -}}{{- end -}}
{{- $canary := dict -}}
{{- if $v.canary.publicKeys -}}{{- $_ := set $canary "keys" $v.canary.publicKeys -}}{{- end -}}
{{- $ray := dict "address" "" "slots" 1 -}}
{{- if eq $v.mode "rayservice" -}}{{- $ray = dict "address" "auto" "slots" (include "sluicegate.replicas" . | int) -}}{{- end -}}
{{- $door := dict -}}
{{- if $v.door.enabled -}}{{- $door = dict "host" $v.agent.host "port" 8800 "metrics_port" 9465 -}}{{- end -}}
{{- dict "door" $door "kafka" $kafka "topics" $topics "generation" $generation "guard" $guard "stages" $stages "policy" $policy
      "redaction" $redaction "telemetry" $telemetry "agent" $agent "canary" $canary "ray" $ray
      "drain" (dict "timeout_s" $v.worker.drainTimeoutSeconds)
      "limits" (dict "crash_journal_directory" "/var/lib/sluicegate") | toJson -}}
{{- end -}}

{{/* A table as TOML: takes (list path table). JSON's strings, numbers, booleans and arrays are TOML's too, but for two
     characters that one or the other takes for the end of a line or refuses. */}}
{{- define "sluicegate.toml" -}}
{{- $path := index . 0 -}}{{- $table := index . 1 -}}
{{- $plain := list -}}{{- $tables := list -}}
{{- range $key := keys $table | sortAlpha -}}
{{- $value := index $table $key -}}
{{- if kindIs "map" $value -}}{{- $tables = append $tables $key -}}
{{- else if not (kindIs "invalid" $value) -}}{{- $plain = append $plain (printf "%s = %s" (ternary $key (toJson $key) (regexMatch "^[A-Za-z0-9_-]+$" $key)) (toJson $value | replace "\x7f" "\\u007f" | replace "\u0085" "\\u0085")) -}}
{{- end -}}
{{- end -}}
{{- if $plain }}
[{{ $path }}]
{{ join "\n" $plain }}
{{ end -}}
{{- range $tables -}}
{{- include "sluicegate.toml" (list (printf "%s.%s" $path .) (index $table .)) -}}
{{- end -}}
{{- end -}}

{{/* The settings file. */}}
{{- define "sluicegate.settings" -}}
{{- $merged := mergeOverwrite (deepCopy (default dict .Values.settings)) (include "sluicegate.ownSettings" . | fromJson) -}}
{{- $text := "" -}}
{{- range $section := keys $merged | sortAlpha -}}
{{- $text = print $text (include "sluicegate.toml" (list $section (index $merged $section))) -}}
{{- end -}}
{{- printf "%s\n" (trim $text) -}}
{{- end -}}
