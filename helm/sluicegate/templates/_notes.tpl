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
{{- if eq $v.kafka.security.protocol "PLAINTEXT" -}}{{- $warnings = append $warnings "kafka.security.protocol is PLAINTEXT: whoever reaches the brokers can read conversations and write answers." -}}{{- end -}}
{{- if ne $v.otel.captureContent "NO_CONTENT" -}}{{- $warnings = append $warnings "otel.captureContent puts what users wrote into traces." -}}{{- end -}}
{{- if not $v.redaction.digestKeySecret.name -}}{{- $warnings = append $warnings "redaction.digestKeySecret has no name: each process makes its own key, so digests in audit records cannot be compared." -}}{{- end -}}
{{- if not $v.agent.tokenSecret.name -}}{{- $warnings = append $warnings (printf "agent.tokenSecret has no name: pods are not drained before they end%s. Nothing is lost, but events in flight are processed again." (ternary ", a Ray worker's not at all" "" (eq $v.mode "rayservice"))) -}}{{- end -}}
{{- if and $v.door.enabled (not $v.door.tlsSecret.name) -}}{{- $warnings = append $warnings "door.tlsSecret has no name: API keys and conversations reach the door without TLS." -}}{{- end -}}
{{- if not $v.networkPolicy.enabled -}}{{- $warnings = append $warnings "networkPolicy.enabled is false: every pod of the cluster can reach these pods." -}}{{- end -}}
{{- if and (eq $v.mode "rayservice") (not $v.ray.auth.enabled) -}}{{- $warnings = append $warnings "ray.auth.enabled is false: whoever reaches the head can run code there." -}}{{- end -}}
{{- if and (eq $v.mode "rayservice") $v.networkPolicy.enabled (not $v.networkPolicy.operatorNamespaceLabels) -}}{{- $warnings = append $warnings "networkPolicy.operatorNamespaceLabels is empty: every namespace can reach Ray's dashboard, and only the token protects it." -}}{{- end -}}
{{- if and (eq $v.mode "rayservice") (eq $v.ray.gcs.backend "none") -}}{{- $warnings = append $warnings "ray.gcs.backend is none: if the head is lost, its cluster ends. No event is lost, but nothing is answered until a new cluster is up." -}}{{- end -}}
{{- if not $v.canary.enabled -}}{{- $warnings = append $warnings "canary.enabled is false: nobody would notice a guard that lets everything pass." -}}{{- end -}}
{{- if lt (int $v.kafka.topics.minInsyncReplicas) 2 -}}{{- $warnings = append $warnings "kafka.topics.minInsyncReplicas is below 2: a record may be on one broker only, and be lost with it." -}}{{- end -}}
{{- toYaml $warnings -}}
{{- end -}}
