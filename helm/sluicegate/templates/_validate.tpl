{{/* Rules that the schema cannot express. Every failure names the value and what to do. */}}
{{- define "sluicegate.validate" -}}
{{- if not .Values.enabled -}}
{{- fail "enabled is false, and the chart is rendered all the same: name `<alias of this chart>.enabled` as the condition of the dependency in the parent's Chart.yaml, or leave the chart out" -}}
{{- end -}}
{{- include "sluicegate.validateKafka" .Values.kafka -}}
{{- include "sluicegate.validateModel" (list . "generation" .Values.generation) -}}
{{- if .Values.judge.enabled -}}{{- include "sluicegate.validateModel" (list . "judge" .Values.judge) -}}{{- end -}}
{{- include "sluicegate.validatePolicy" .Values -}}
{{- include "sluicegate.validateScaling" . -}}
{{- include "sluicegate.validateRay" . -}}
{{- include "sluicegate.validateDoor" . -}}
{{- include "sluicegate.validateRest" . -}}
{{- include "sluicegate.validateSettings" . -}}
{{- end -}}

{{- define "sluicegate.validateKafka" -}}
{{- if not .bootstrapServers -}}
{{- fail "kafka.bootstrapServers is empty: name at least one broker as host:port" -}}
{{- end -}}
{{- $security := .security -}}
{{- if not $security.protocol -}}
{{- fail "kafka.security.protocol is not chosen: set SASL_SSL (user and password over TLS), SSL (client certificate over TLS) or PLAINTEXT (neither; only where nobody else reaches the brokers)" -}}
{{- end -}}
{{- if eq $security.protocol "SASL_SSL" -}}
{{- if and $security.tokenFile (ne $security.mechanism "OAUTHBEARER") -}}
{{- fail "kafka.security.tokenFile is a token, which only mechanism OAUTHBEARER sends: set it, or leave the file empty" -}}
{{- end -}}
{{- if and $security.tokenFile $security.existingSecret.name -}}
{{- fail "kafka.security.tokenFile and kafka.security.existingSecret.name are both given: keep one" -}}
{{- end -}}
{{- if not (or $security.existingSecret.name $security.tokenFile) -}}
{{- fail "kafka.security.existingSecret.name is empty: with SASL_SSL name the Secret that holds the password" -}}
{{- end -}}
{{- if and (not $security.username) (ne $security.mechanism "OAUTHBEARER") -}}
{{- fail "kafka.security.username is empty: with SASL_SSL name the user, or use mechanism OAUTHBEARER" -}}
{{- end -}}
{{- else if $security.existingSecret.name -}}
{{- fail (printf "kafka.security.existingSecret is a password, and protocol %s sends none: use SASL_SSL or leave the name empty" $security.protocol) -}}
{{- end -}}
{{- if eq $security.protocol "SSL" -}}
{{- if not $security.clientCertSecret.name -}}
{{- fail "kafka.security.clientCertSecret.name is empty: with SSL name the Secret that holds the client certificate and its key" -}}
{{- end -}}
{{- else if $security.clientCertSecret.name -}}
{{- fail (printf "kafka.security.clientCertSecret is given, and protocol %s uses none: use SSL or leave the name empty" $security.protocol) -}}
{{- end -}}
{{- if and $security.operator.existingSecret.name (ne $security.protocol "SASL_SSL") -}}
{{- fail "kafka.security.operator is a user with a password, which only SASL_SSL has: leave it empty" -}}
{{- end -}}
{{- if and $security.operator.existingSecret.name (not $security.operator.username) -}}
{{- fail "kafka.security.operator.username is empty: name the user that the password belongs to" -}}
{{- end -}}
{{- if gt (int .topics.minInsyncReplicas) (int .topics.replicationFactor) -}}
{{- fail "kafka.topics.minInsyncReplicas is above kafka.topics.replicationFactor: nothing could ever be written; lower it" -}}
{{- end -}}
{{- $names := list -}}
{{- range list "events" "audited" "audit" "review" "state" "canary" "policy" "usage" "cancel" "stream" "deadLetters" -}}{{- $names = append $names (index $.topics .) -}}{{- end -}}
{{- if lt (len (uniq $names)) (len $names) -}}
{{- fail "kafka.topics has one name twice: give the eight topics eight different names" -}}
{{- end -}}
{{- end -}}

{{/* Takes (list root name block). */}}
{{- define "sluicegate.validateModel" -}}
{{- $root := index . 0 -}}{{- $name := index . 1 -}}{{- $model := index . 2 -}}
{{- if not $model.model -}}
{{- fail (printf "%s.model is empty: set the name that the endpoint serves the model under" $name) -}}
{{- end -}}
{{- if eq $model.mode "external" -}}
{{- if not $model.baseUrl -}}
{{- fail (printf "%s.baseUrl is empty: name an OpenAI-compatible endpoint with /v1, or have one started with %s.mode deployment or rayserve" $name $name) -}}
{{- end -}}
{{- else -}}
{{- if and (eq $model.mode "rayserve") (ne $root.Values.mode "rayservice") -}}
{{- fail (printf "%s.mode rayserve needs a Ray cluster: set mode to rayservice, or %s.mode to deployment or external" $name $name) -}}
{{- end -}}
{{- if $model.baseUrl -}}
{{- fail (printf "%s.baseUrl is for mode external: leave it empty with mode %s, which names the endpoint itself" $name $model.mode) -}}
{{- end -}}
{{- if not $model.server.source -}}
{{- fail (printf "%s.server.source is empty: name the model on its hub, or a directory in image or cache" $name) -}}
{{- end -}}
{{- if and (eq $model.mode "deployment") (lt (int $model.server.terminationGracePeriodSeconds) (add 15 (int $model.server.shutdownSeconds) 15)) -}}
{{- fail (printf "%s.server.terminationGracePeriodSeconds is too short: at least 30 more than shutdownSeconds, or answers under way are cut off" $name) -}}
{{- end -}}
{{- $scaling := $model.server.autoscaling -}}
{{- if $scaling.enabled -}}
{{- if ne $model.mode "deployment" -}}
{{- fail (printf "%s.server.autoscaling is for mode deployment: disable it, or set %s.mode to deployment" $name $name) -}}
{{- end -}}
{{- if not $scaling.prometheusAddress -}}
{{- fail (printf "%s.server.autoscaling.prometheusAddress is empty: name the Prometheus that scrapes vLLM" $name) -}}
{{- end -}}
{{- end -}}
{{- if and (gt (int $model.server.replicas) 1) $model.server.cache.create (not (has "ReadWriteMany" $model.server.cache.accessModes)) -}}
{{- fail (printf "%s.server.cache makes one volume for %d replicas: set accessModes to [ReadWriteMany], or use one replica" $name (int $model.server.replicas)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.validatePolicy" -}}
{{- if ne .failureMode "closed" -}}
{{- fail "failureMode must be closed: an answer that a guard could not judge is withheld, and there is no other choice" -}}
{{- end -}}
{{- $isTopic := eq (toString (default dict (default dict .settings).policy).source) "topic" -}}
{{- range $name, $files := dict "policy" .policy "policy.overlays" .policy.overlays "policy.budgets" .policy.budgets "policy.shadows" .policy.shadows -}}
{{- if and $files.existingConfigMap $files.inline -}}
{{- fail (printf "%s.existingConfigMap and %s.inline are both given: keep one" $name $name) -}}
{{- end -}}
{{- if and $isTopic (or $files.existingConfigMap $files.inline) -}}
{{- fail (printf "settings.policy.source is topic, so %s is not read: leave it empty, or take the policy from files" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.validateScaling" -}}
{{- $v := .Values -}}
{{- if and $v.keda.enabled $v.hpa.enabled -}}
{{- fail "keda.enabled and hpa.enabled both scale the StatefulSet: keep one" -}}
{{- end -}}
{{- if eq $v.mode "rayservice" -}}
{{- range $name := list "keda" "hpa" -}}
{{- if (index $v $name).enabled -}}
{{- fail (printf "%s.enabled scales a StatefulSet, and a RayService cannot be scaled from outside: set mode to statefulset, or worker.replicas" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $v.keda.enabled (eq $v.kafka.security.mechanism "OAUTHBEARER") (eq $v.kafka.security.protocol "SASL_SSL") -}}
{{- fail "keda.enabled: KEDA cannot log in with the token of mechanism OAUTHBEARER; use hpa.enabled, or a SCRAM user" -}}
{{- end -}}
{{- range $name := list "keda" "hpa" -}}
{{- $scaling := index $v $name -}}
{{- if $scaling.enabled -}}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) -}}
{{- fail (printf "%s.minReplicas is above %s.maxReplicas: lower it" $name $name) -}}
{{- end -}}
{{- if gt (int $scaling.maxReplicas) (int $v.kafka.topics.partitions) -}}
{{- fail (printf "%s.maxReplicas is above kafka.topics.partitions: a worker without a partition does nothing; lower it, or give the input more partitions" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $v.keda.enabled (gt (int $v.keda.fallback.replicas) (int $v.keda.maxReplicas)) -}}
{{- fail "keda.fallback.replicas is above keda.maxReplicas: lower it" -}}
{{- end -}}
{{- if gt (include "sluicegate.replicas" . | int) (int $v.kafka.topics.partitions) -}}
{{- fail "worker.replicas is above kafka.topics.partitions: a worker without a partition does nothing; lower it, or give the input more partitions" -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.validateRay" -}}
{{- $ray := .Values.ray -}}
{{- if eq .Values.mode "rayservice" -}}
{{- if and $ray.auth.enabled (semverCompare "<2.52.0" $ray.version) -}}
{{- fail "ray.version is below 2.52.0, which has no token authentication: use a newer Ray; ray.auth.enabled false leaves code execution open to whoever reaches the head" -}}
{{- end -}}
{{- if and (eq $ray.gcs.backend "redis") (not $ray.gcs.address) -}}
{{- fail "ray.gcs.address is empty: with ray.gcs.backend redis name the Redis as host:port" -}}
{{- end -}}
{{- if and (eq $ray.gcs.backend "rocksdb") (or $ray.gcs.address $ray.gcs.existingSecret.name) -}}
{{- fail "ray.gcs.address and ray.gcs.existingSecret are for redis: leave them empty with ray.gcs.backend rocksdb" -}}
{{- end -}}
{{- if or (hasKey (default dict .Values.commonLabels) "app.kubernetes.io/name") (hasKey (default dict .Values.commonLabels) "app.kubernetes.io/created-by") -}}
{{- fail "commonLabels: the Ray operator finds pods by app.kubernetes.io/name and created-by; use another label" -}}
{{- end -}}
{{- $groups := 0 -}}
{{- range $name, $group := .Values.workerGroups -}}
{{- if $group -}}
{{- $groups = add1 $groups -}}
{{- if has $name (list "generation" "judge" "head" "headgroup") -}}
{{- fail (printf "workerGroups.%s: the name is taken; choose another" $name) -}}
{{- end -}}
{{- if and $group.max (gt (int $group.min) (int $group.max)) -}}
{{- fail (printf "workerGroups.%s.min is above its max: lower it" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not $groups -}}
{{- fail "workerGroups is empty: name at least one group, such as consumer, for the workers to run in" -}}
{{- end -}}
{{- end -}}
{{- $needed := add (int .Values.worker.drainTimeoutSeconds) (ternary 70 15 (eq .Values.mode "rayservice")) -}}
{{- if lt (int .Values.worker.terminationGracePeriodSeconds) $needed -}}
{{- fail (printf "worker.terminationGracePeriodSeconds is too short for worker.drainTimeoutSeconds: set at least %d" $needed) -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.validateRest" -}}
{{- $v := .Values -}}
{{- range $name := list "image" "modelImage" -}}
{{- if eq (index $v $name).tag "latest" -}}
{{- fail (printf "%s.tag is latest, which can change every day: set a version or a digest" $name) -}}
{{- end -}}
{{- end -}}
{{- if and $v.externalSecrets.enabled (or (not $v.externalSecrets.storeName) (not $v.externalSecrets.secrets)) -}}
{{- fail "externalSecrets.enabled needs externalSecrets.storeName and at least one entry of externalSecrets.secrets: set both" -}}
{{- end -}}
{{- if and $v.canary.enabled (not $v.canary.signingKeySecret.name) -}}
{{- fail "canary.signingKeySecret.name is empty: name the Secret with the Ed25519 key that signs canaries" -}}
{{- end -}}
{{- if and $v.canary.enabled (not $v.canary.publicKeys) -}}
{{- fail "canary.publicKeys is empty: give workers the public half of the key that signs canaries, by its id" -}}
{{- end -}}
{{- range $name, $job := $v.jobs -}}
{{- if and $job.enabled (not $job.args) -}}
{{- fail (printf "jobs.%s.args is empty: write the command, such as [dlq, redrive, --reason, invalid, --yes]" $name) -}}
{{- end -}}
{{- end -}}
{{- if and $v.metrics.rules.overrides (not $v.metrics.rules.enabled) -}}
{{- fail "metrics.rules.overrides changes rules that are not installed: set metrics.rules.enabled to true" -}}
{{- end -}}
{{- end -}}

{{/* `settings` is for settings without a value in the chart; a key given twice could have two values. */}}
{{- define "sluicegate.validateSettings" -}}
{{- $own := include "sluicegate.ownedSettings" . | fromYaml -}}
{{- range $section, $keys := .Values.settings -}}
{{- range $key, $value := $keys -}}
{{- if kindIs "map" $value -}}
{{- if hasKey $value "failure_mode" -}}
{{- fail (printf "settings.%s.%s.failure_mode follows from failureMode: change that instead" $section $key) -}}
{{- end -}}
{{- end -}}
{{- $path := printf "%s.%s" $section $key -}}
{{- range list $path (trimSuffix "_file" $path) -}}
{{- if hasKey $own . -}}
{{- fail (printf "settings.%s follows from %s: change that instead" $path (index $own .)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Settings that are rendered, and from what. */}}
{{- define "sluicegate.ownedSettings" -}}
kafka.bootstrap_servers: kafka.bootstrapServers
kafka.group_id: kafka.groupId
kafka.cluster_name: fullnameOverride
kafka.security_protocol: kafka.security.protocol
kafka.ssl_cafile: kafka.security.caSecret
kafka.ssl_certfile: kafka.security.clientCertSecret
kafka.ssl_keyfile: kafka.security.clientCertSecret
kafka.ssl_password: kafka.security.clientCertSecret, whose key has none
kafka.sasl_mechanism: kafka.security.mechanism
kafka.sasl_username: kafka.security.username
kafka.sasl_password: kafka.security.existingSecret
topics.events: kafka.topics.events
topics.audited: kafka.topics.audited
topics.audit: kafka.topics.audit
topics.review: kafka.topics.review
topics.state: kafka.topics.state
topics.canary: kafka.topics.canary
topics.policy: kafka.topics.policy
topics.usage: kafka.topics.usage
topics.cancel: kafka.topics.cancel
topics.stream: kafka.topics.stream
topics.dead_letters: kafka.topics.deadLetters
topics.partitions: kafka.topics.partitions
topics.replication_factor: kafka.topics.replicationFactor
topics.min_insync_replicas: kafka.topics.minInsyncReplicas
limits.crash_journal_directory: the pod's own volume at /var/lib/sluicegate
policy.bundle: policy.inline or policy.existingConfigMap
policy.overlays: policy.overlays
policy.budgets: policy.budgets
policy.shadows: policy.shadows
generation.base_url: generation.baseUrl
generation.model: generation.model
generation.api_key: generation.apiKeySecret
generation.request_timeout_s: generation.timeoutSeconds
generation.concurrency_max: generation.maxConcurrency
guard.labeler: judge.enabled
guard.judge_base_url: judge.baseUrl
guard.judge_model: judge.model
guard.judge_api_key: judge.apiKeySecret
guard.judge_timeout_s: judge.timeoutSeconds
guard.judge_concurrency_max: judge.maxConcurrency
redaction.digest_key: redaction.digestKeySecret
redaction.digest_key_id: redaction.digestKeyId
telemetry.endpoint: otel.endpoint
telemetry.protocol: otel.protocol
telemetry.headers: otel.headersSecret
telemetry.preset: otel.tracing
telemetry.ratio: otel.ratio
telemetry.consume_relationship: otel.consumeRelationship
telemetry.environment: otel.environment
telemetry.capture_content: otel.captureContent
agent.host: agent.host
agent.port: the pod's port http, 9464
agent.token: agent.tokenSecret
canary.keys: canary.publicKeys
door.host: agent.host
door.port: the pod's port http, 8800
door.metrics_port: the pod's port metrics, 9465
door.tls_certfile: door.tlsSecret
door.tls_keyfile: door.tlsSecret
door.keys_file: door.keysSecret
door.digest_key: door.digestKeySecret
ray.address: mode
ray.slots: worker.replicas
ray.slot_start: worker.replicas
drain.timeout_s: worker.drainTimeoutSeconds
{{- end -}}
