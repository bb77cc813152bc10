{{/* The alerts that are on, as Prometheus' groups. `$where` narrows them to this namespace, `$threshold` is the alert's
     own or the values'. Takes (list root alerts). */}}
{{- define "sluicegate.alertGroups" -}}
{{- $root := index . 0 -}}{{- $alerts := index . 1 -}}
{{- $groups := dict -}}
{{- range $alert := $alerts -}}
{{- $override := default dict (index $root.Values.metrics.rules.overrides $alert.alert) -}}
{{- if ne (toString $override.enabled) "false" -}}
{{- $rule := include "sluicegate.alert" (list $root $alert $override) | fromJson -}}
{{- $_ := set $groups $alert.group (append (default list (index $groups $alert.group)) $rule) -}}
{{- end -}}
{{- end -}}
{{- range $name, $rules := $groups }}
- name: sluicegate-{{ $name }}
  rules:
    {{- toYaml $rules | nindent 4 }}
{{- end }}
{{- end -}}

{{/* One rule as JSON: takes (list root alert override). */}}
{{- define "sluicegate.alert" -}}
{{- $root := index . 0 -}}{{- $alert := index . 1 -}}{{- $override := index . 2 -}}
{{- $threshold := ternary $alert.threshold $override.threshold (kindIs "invalid" $override.threshold) -}}
{{- if and (kindIs "invalid" $alert.threshold) (not (kindIs "invalid" $override.threshold)) -}}
{{- fail (printf "metrics.rules.overrides.%s.threshold: the alert has no threshold; disable it and write your own in extraObjects" $alert.alert) -}}
{{- end -}}
{{- $expr := replace "$where" (printf "namespace=%q" $root.Release.Namespace) $alert.expr | replace "$threshold" (toJson $threshold) -}}
{{- $annotations := dict "summary" $alert.summary "description" $alert.description -}}
{{- with $root.Values.metrics.rules.runbookBase -}}
{{- $_ := set $annotations "runbook_url" (printf "%s/%s" (trimSuffix "/" .) $alert.runbook) -}}
{{- end -}}
{{- dict "alert" $alert.alert "expr" $expr "for" (default (index $alert "for") (index $override "for"))
      "labels" (merge (dict) (default dict $override.labels) (dict "severity" $alert.severity)) "annotations" $annotations | toJson -}}
{{- end -}}

{{- define "sluicegate.validateRules" -}}
{{- $known := list -}}
{{- range $path, $_ := .Files.Glob "files/rules/*.yaml" -}}
{{- range ($.Files.Get $path | fromYaml).alerts -}}{{- $known = append $known .alert -}}{{- end -}}
{{- end -}}
{{- range $alert, $_ := .Values.metrics.rules.overrides -}}
{{- if not (has $alert $known) -}}
{{- fail (printf "metrics.rules.overrides.%s is no alert of this chart: the names are in files/rules" $alert) -}}
{{- end -}}
{{- end -}}
{{- end -}}
