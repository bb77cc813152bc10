{{- define "sluicegate.canaryArguments" -}}
{{- concat (list "canary" "--config" (include "sluicegate.settingsFile" .) "--key-file" "/etc/sluicegate/canary/signing-key") .Values.canary.args | toJson -}}
{{- end -}}
