{{- define "sluicegate.customResources" -}}
{{- $v := .Values -}}

{{- if eq $v.mode "rayservice" }}
- RayService (KubeRay)
{{- end }}
{{- if or $v.keda.enabled (and (eq $v.generation.mode "deployment") $v.generation.server.autoscaling.enabled) (and $v.judge.enabled (eq $v.judge.mode "deployment") $v.judge.server.autoscaling.enabled) }}
- ScaledObject (KEDA)
{{- end }}
{{- if or $v.metrics.podMonitor.enabled $v.metrics.serviceMonitor.enabled $v.metrics.rules.enabled }}
- PodMonitor, ServiceMonitor, PrometheusRule (Prometheus operator)
{{- end }}
{{- if $v.externalSecrets.enabled }}
- ExternalSecret (External Secrets operator)
{{- end }}
{{- end -}}

{{- define "sluicegate.warnings" -}}
{{- $v := .Values -}}
{{- $warnings := list -}}
{{- if eq $v.kafka.security.protocol "PLAINTEXT" -}}{{- $warnings = append $warnings "kafka.security.protocol is PLAINTEXT: whoever reaches the brokers reads conversations and may write answers." -}}{{- end -}}
{{- if ne $v.otel.captureContent "NO_CONTENT" -}}{{- $warnings = append $warnings "otel.captureContent puts what users wrote into traces." -}}{{- end -}}
{{- if not $v.redaction.digestKeySecret.name -}}{{- $warnings = append $warnings "redaction.digestKeySecret has no name: digests in audit records differ from process to process and cannot be compared." -}}{{- end -}}
{{- if not $v.agent.tokenSecret.name -}}{{- $warnings = append $warnings (printf "agent.tokenSecret has no name: pods are not drained before they end%s. Nothing is lost; events under way are done again." (ternary ", a Ray worker's not at all" "" (eq $v.mode "rayservice"))) -}}{{- end -}}
{{- if not $v.networkPolicy.enabled -}}{{- $warnings = append $warnings "networkPolicy.enabled is false: nothing keeps others away from these pods." -}}{{- end -}}
{{- if and (eq $v.mode "rayservice") (not $v.ray.auth.enabled) -}}{{- $warnings = append $warnings "ray.auth.enabled is false: whoever reaches the head runs code there." -}}{{- end -}}
{{- if and (eq $v.mode "rayservice") $v.networkPolicy.enabled (not $v.networkPolicy.operatorNamespaceLabels) -}}{{- $warnings = append $warnings "networkPolicy.operatorNamespaceLabels is empty: every namespace reaches Ray's dashboard, and only the token guards it." -}}{{- end -}}
{{- if and (eq $v.mode "rayservice") (eq $v.ray.gcs.backend "none") -}}{{- $warnings = append $warnings "ray.gcs.backend is none: a head that is lost takes its cluster with it. Nothing is lost, and nothing is answered until a new one is up." -}}{{- end -}}
{{- if not $v.canary.enabled -}}{{- $warnings = append $warnings "canary.enabled is false: a guard that lets everything pass would go unnoticed." -}}{{- end -}}
{{- if lt (int $v.kafka.topics.minInsyncReplicas) 2 -}}{{- $warnings = append $warnings "kafka.topics.minInsyncReplicas is below 2: a record may be on one broker only." -}}{{- end -}}
{{- toYaml $warnings -}}
{{- end -}}
