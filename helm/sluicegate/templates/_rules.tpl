{{/* One rule as JSON, with what the values change: takes (list root rule override). A threshold replaces the number
     that the expression ends with; `runbook` of the annotations is completed to a link. */}}
{{- define "sluicegate.rule" -}}
{{- $root := index . 0 -}}{{- $rule := deepCopy (index . 1) -}}{{- $override := index . 2 -}}
{{- if not (kindIs "invalid" $override.threshold) -}}
{{- if not (regexMatch "[<>=]\\s*[0-9.]+\\s*$" $rule.expr) -}}
{{- fail (printf "metrics.rules.overrides.%s.threshold: the alert's expression does not end with a number; write a rule of your own in extraObjects" $rule.alert) -}}
{{- end -}}
{{- $_ := set $rule "expr" (regexReplaceAll "[0-9.]+\\s*$" $rule.expr (toJson $override.threshold)) -}}
{{- end -}}
{{- with index $override "for" -}}{{- $_ := set $rule "for" . -}}{{- end -}}
{{- with $override.labels -}}{{- $_ := set $rule "labels" (mergeOverwrite (default dict $rule.labels) .) -}}{{- end -}}
{{- if and $rule.alert $root.Values.metrics.rules.runbookBase -}}
{{- $annotations := default dict $rule.annotations -}}
{{- $_ := set $annotations "runbook_url" (printf "%s/%s.md" (trimSuffix "/" $root.Values.metrics.rules.runbookBase) $rule.alert) -}}
{{- $_ := set $rule "annotations" $annotations -}}
{{- end -}}
{{- toJson $rule -}}
{{- end -}}
