{{/* At most 40 characters: the Ray operator allows 47 for a RayService, and CronJobs and pods add their own endings.
     Services and RayServices must begin with a letter. Long names keep a digest, so that two of them never meet. */}}
{{- define "sluicegate.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := .Values.fullnameOverride -}}
{{- if not $full -}}
{{- $full = ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- end -}}
{{- $full = lower $full | replace "." "-" -}}
{{- if regexMatch "^[0-9]" $full -}}{{- $full = printf "s%s" $full -}}{{- end -}}
{{- if gt (len $full) 40 -}}
{{- $full = printf "%s-%s" (trunc 31 $full | trimSuffix "-") (sha256sum $full | trunc 8) -}}
{{- end -}}
{{- trimSuffix "-" $full -}}
{{- end -}}

{{- define "sluicegate.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "sluicegate.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The labels of selectors: nothing that a new version changes. Takes (list root component). */}}
{{- define "sluicegate.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/part-of: sluicegate
app.kubernetes.io/instance: {{ $root.Release.Name | trunc 63 | trimSuffix "-" | quote }}
{{- with index . 1 }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- define "sluicegate.version" -}}
{{- default .Chart.AppVersion .Values.image.tag | replace "+" "_" | trunc 63 | trimSuffix "-" | trimSuffix "." | trimSuffix "_" -}}
{{- end -}}

{{/* Labels of an object: takes (list root component). */}}
{{- define "sluicegate.labels" -}}
{{- $root := index . 0 -}}
{{ include "sluicegate.selectorLabels" . }}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/version: {{ include "sluicegate.version" $root | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of a pod: nothing that a new version of the chart changes, because that would replace every pod. In a Ray
     cluster not app.kubernetes.io/name either: the head's Service of a RayService selects the operator's value (KubeRay
     1.7, common/service.go). Takes (list root component isRay). */}}
{{- define "sluicegate.podLabels" -}}
{{- $root := index . 0 -}}
{{ include "sluicegate.selectorLabels" . }}
{{- if not (index . 2) }}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride | trunc 63 | trimSuffix "-" | quote }}
{{- end }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Metadata of an object: takes (list root component suffix). */}}
{{- define "sluicegate.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "sluicegate.fullname" $root }}{{ with index . 2 }}-{{ . }}{{ end }}
namespace: {{ $root.Release.Namespace | quote }}
labels:
  {{- include "sluicegate.labels" (list $root (index . 1)) | nindent 2 }}
{{- with $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Takes (list root imageBlock). */}}
{{- define "sluicegate.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- $registry := default $image.registry $root.Values.global.imageRegistry -}}
{{- $path := $image.repository -}}
{{- if $registry -}}{{- $path = printf "%s/%s" (trimSuffix "/" $registry) $image.repository -}}{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $path $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $path (default $root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}
