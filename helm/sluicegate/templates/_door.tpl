{{/* A pod of the door. Its Secrets are its own: their paths are in its environment, because workers read the same settings
     file and must not have these keys. */}}
{{- define "sluicegate.doorPod" -}}
{{- $v := .Values -}}{{- $door := $v.door -}}
{{- $keys := list
      (dict "volume" "door-keys" "secret" $door.keysSecret.name "key" $door.keysSecret.key "path" "keys.toml")
      (dict "volume" "door-digest" "secret" $door.digestKeySecret.name "key" $door.digestKeySecret.key "path" "digest-key") -}}
{{- $env := dict
      "SLUICEGATE_DOOR__KEYS_FILE" "/etc/sluicegate/door-keys/keys.toml"
      "SLUICEGATE_DOOR__DIGEST_KEY_FILE" "/etc/sluicegate/door-digest/digest-key" -}}
{{- with $door.kafkaUser -}}
{{- if .existingSecret.name -}}
{{- $keys = append $keys (dict "volume" "door-kafka" "secret" .existingSecret.name "key" .existingSecret.key "path" "password") -}}
{{- $_ := set $env "SLUICEGATE_KAFKA__SASL_USERNAME" .username -}}
{{- $_ := set $env "SLUICEGATE_KAFKA__SASL_PASSWORD_FILE" "/etc/sluicegate/door-kafka/password" -}}
{{- end -}}
{{- end -}}
{{- with $door.tlsSecret -}}
{{- if .name -}}
{{- $keys = append $keys (dict "volume" "door-certificate" "secret" .name "key" .certKey "path" "tls.crt") -}}
{{- $keys = append $keys (dict "volume" "door-certificate-key" "secret" .name "key" .keyKey "path" "tls.key") -}}
{{- $_ := set $env "SLUICEGATE_DOOR__TLS_CERTFILE" "/etc/sluicegate/door-certificate/tls.crt" -}}
{{- $_ := set $env "SLUICEGATE_DOOR__TLS_KEYFILE" "/etc/sluicegate/door-certificate-key/tls.key" -}}
{{- end -}}
{{- end -}}
{{- $container := dict
      "name" "door" "image" (include "sluicegate.image" (list . $v.image)) "pullPolicy" $v.image.pullPolicy
      "command" (list "sluicegate") "args" (list "door" "--config" (include "sluicegate.settingsFile" .))
      "env" $env "ports" (dict "http" 8800 "metrics" 9465) "probes" (include "sluicegate.doorProbes" . | fromYaml)
      "lifecycle" (dict "preStop" (dict "sleep" (dict "seconds" (int $door.drainSeconds))))
      "resources" (toYaml $door.resources) -}}
{{- include "sluicegate.podTemplate" (dict "root" . "component" "door" "block" $door "container" $container
      "mounts" (list "settings") "keys" $keys "graceSeconds" (add (int $door.drainSeconds) 20) "isSpread" true
      "annotations" (dict "sluicegate.io/settings-sha256" (include "sluicegate.settings" . | sha256sum))) -}}
{{- end -}}

{{- define "sluicegate.doorProbes" -}}
{{- $scheme := ternary "HTTPS" "HTTP" (ne .Values.door.tlsSecret.name "") -}}
startupProbe: {httpGet: {path: /livez, port: http, scheme: {{ $scheme }}}, periodSeconds: 5, timeoutSeconds: 3, failureThreshold: 60}
readinessProbe: {httpGet: {path: /readyz, port: http, scheme: {{ $scheme }}}, periodSeconds: 5, timeoutSeconds: 3, failureThreshold: 3}
livenessProbe: {httpGet: {path: /livez, port: http, scheme: {{ $scheme }}}, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6}
{{- end -}}

{{- define "sluicegate.validateDoor" -}}
{{- $door := .Values.door -}}
{{- if $door.enabled -}}
{{- if not $door.keysSecret.name -}}
{{- fail "door.keysSecret.name is empty: name the Secret that holds the file of API keys" -}}
{{- end -}}
{{- if not $door.digestKeySecret.name -}}
{{- fail "door.digestKeySecret.name is empty: name the Secret that holds the key of the door's ids, the same for all doors" -}}
{{- end -}}
{{- if and $door.kafkaUser.existingSecret.name (ne .Values.kafka.security.protocol "SASL_SSL") -}}
{{- fail "door.kafkaUser is a user with a password, which only SASL_SSL has: leave it empty" -}}
{{- end -}}
{{- if and $door.kafkaUser.existingSecret.name (not $door.kafkaUser.username) -}}
{{- fail "door.kafkaUser.username is empty: name the user that the password belongs to" -}}
{{- end -}}
{{- if and $door.kafkaUser.username (not $door.kafkaUser.existingSecret.name) -}}
{{- fail "door.kafkaUser.existingSecret.name is empty: name the Secret with this user's password, or leave out the user" -}}
{{- end -}}
{{- if and $door.hpa.enabled (gt (int $door.hpa.minReplicas) (int $door.hpa.maxReplicas)) -}}
{{- fail "door.hpa.minReplicas is above door.hpa.maxReplicas: lower it" -}}
{{- end -}}
{{- end -}}
{{- end -}}
