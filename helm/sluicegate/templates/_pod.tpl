{{/* Every pod of this chart, whichever object creates it. Takes a dict:
     root, component;
     block: placement and extra* (`worker`, `ray.head`, a group, a model's `server`);
     container: {name, image, pullPolicy, command, args, env, envFields, ports, probes, lifecycle, resources};
     mounts: of [settings, journal, ray, cache]; keys: further Secrets, [{volume, secret, key, path}]; shm: a size;
     isRay, isGpu, isSpread; automount, serviceAccount; restartPolicy; graceSeconds; annotations. */}}
{{- define "sluicegate.podTemplate" -}}
{{- $root := .root -}}{{- $block := .block -}}{{- $c := .container -}}
metadata:
  labels:
    {{- include "sluicegate.podLabels" (list $root .component .isRay) | nindent 4 }}
    {{- with $block.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- $annotations := merge (dict) (default dict .annotations) (default dict $block.podAnnotations) }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ default (include "sluicegate.serviceAccountName" $root) .serviceAccount }}
  automountServiceAccountToken: {{ default false .automount }}
  enableServiceLinks: false
  {{- with concat (default list $root.Values.global.imagePullSecrets) (default list $root.Values.imagePullSecrets) }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ ternary . (get (ternary dict . (kindIs "string" .)) "name") (kindIs "string" .) | quote }}
    {{- end }}
  {{- end }}
  {{- with $root.Values.security.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .restartPolicy }}
  restartPolicy: {{ . }}
  {{- end }}
  terminationGracePeriodSeconds: {{ .graceSeconds | int }}
  {{- with include "sluicegate.placement" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with $block.extraInitContainers }}
  initContainers:
    {{- tpl (toYaml .) $root | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ $c.name }}
      image: {{ $c.image | quote }}
      imagePullPolicy: {{ $c.pullPolicy }}
      {{- with $c.command }}
      command: {{ toJson . }}
      {{- end }}
      {{- with $c.args }}
      args: {{ toJson . }}
      {{- end }}
      env:
        {{- include "sluicegate.env" . | nindent 8 }}
      {{- with $block.extraEnvFrom }}
      envFrom:
        {{- tpl (toYaml .) $root | nindent 8 }}
      {{- end }}
      {{- with $c.ports }}
      ports:
        {{- range $name, $port := . }}
        - {name: {{ $name }}, containerPort: {{ $port }}, protocol: TCP}
        {{- end }}
      {{- end }}
      {{- range $kind, $probe := $c.probes }}
      {{ $kind }}:
        {{- toYaml $probe | nindent 8 }}
      {{- end }}
      {{- with $c.lifecycle }}
      lifecycle:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      resources:
        {{- $c.resources | nindent 8 }}
      securityContext:
        {{- include "sluicegate.containerSecurity" (list $root .isGpu) | nindent 8 }}
      volumeMounts:
        {{- include "sluicegate.volumeMounts" . | nindent 8 }}
    {{- with $block.extraContainers }}
    {{- tpl (toYaml .) $root | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "sluicegate.volumes" . | nindent 4 }}
{{- end -}}

{{/* GPU hooks of some container runtimes write to the root file system; no other container may. */}}
{{- define "sluicegate.containerSecurity" -}}
{{- $security := deepCopy (index . 0).Values.security.containerSecurityContext -}}
{{- if index . 1 -}}{{- $_ := set $security "readOnlyRootFilesystem" false -}}{{- end -}}
{{- toYaml $security -}}
{{- end -}}

{{- define "sluicegate.placement" -}}
{{- $block := .block -}}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "resourceClaims" "hostAliases" "dnsConfig" }}
{{- with index $block $field }}
{{ $field }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- range $field := list "priorityClassName" "runtimeClassName" "schedulerName" "dnsPolicy" }}
{{- with index $block $field }}
{{ $field }}: {{ . | quote }}
{{- end }}
{{- end }}
{{- if $block.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml $block.topologySpreadConstraints | nindent 2 }}
{{- else if .isSpread }}
topologySpreadConstraints:
  {{- $selector := include "sluicegate.selectorLabels" (list .root .component) }}
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- $selector | nindent 8 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "sluicegate.env" -}}
{{- $root := .root -}}
- {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
- {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: k8s.pod.name=$(POD_NAME),k8s.namespace.name=$(POD_NAMESPACE),k8s.node.name=$(NODE_NAME)
- {name: HOME, value: /tmp}
{{- if and $root.Values.caSecret.name (has "settings" .mounts) }}
- {name: SSL_CERT_FILE, value: {{ include "sluicegate.caFile" $root }}}
- {name: OTEL_EXPORTER_OTLP_CERTIFICATE, value: {{ include "sluicegate.caFile" $root }}}
{{- end }}
{{- range $name, $value := .container.env }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- range .container.envFields }}
- {{ toJson . }}
{{- end }}
{{- with .block.extraEnv }}
{{ tpl (toYaml .) $root }}
{{- end }}
{{- end -}}

{{- define "sluicegate.volumeMounts" -}}
{{- $root := .root -}}
- {name: tmp, mountPath: /tmp}
{{- if has "settings" .mounts }}
- {name: settings, mountPath: /etc/sluicegate/settings, readOnly: true}
{{- if include "sluicegate.secretFiles" $root | fromJsonArray }}
- {name: secrets, mountPath: /etc/sluicegate/secrets, readOnly: true}
{{- end }}
{{- if $root.Values.caSecret.name }}
- {name: ca, mountPath: /etc/sluicegate/ca, readOnly: true}
{{- end }}
{{- with $root.Values.policy }}
{{- if or .existingConfigMap .inline }}
- {name: policy, mountPath: /etc/sluicegate/policy, readOnly: true}
{{- end }}
{{- if or .overlays.existingConfigMap .overlays.inline }}
- {name: overlays, mountPath: /etc/sluicegate/overlays, readOnly: true}
{{- end }}
{{- if or .budgets.existingConfigMap .budgets.inline }}
- {name: budgets, mountPath: /etc/sluicegate/budgets, readOnly: true}
{{- end }}
{{- if or .shadows.existingConfigMap .shadows.inline }}
- {name: shadows, mountPath: /etc/sluicegate/shadows, readOnly: true}
{{- end }}
{{- end }}
{{- end }}
{{- if has "journal" .mounts }}
- {name: journal, mountPath: /var/lib/sluicegate}
{{- end }}
{{- if has "ray" .mounts }}
- {name: ray, mountPath: /tmp/ray}
{{- end }}
{{- if .shm }}
- {name: shm, mountPath: /dev/shm}
{{- end }}
{{- if has "cache" .mounts }}
- {name: cache, mountPath: /cache}
{{- end }}
{{- range .keys }}
- {name: {{ .volume }}, mountPath: /etc/sluicegate/{{ .volume }}, readOnly: true}
{{- end }}
{{- with .block.extraVolumeMounts }}
{{ tpl (toYaml .) $root }}
{{- end }}
{{- end -}}

{{/* ConfigMaps and Secrets are mounted whole, never by subPath, so that changes reach the pod without a restart. */}}
{{- define "sluicegate.volumes" -}}
{{- $root := .root -}}{{- $full := include "sluicegate.fullname" $root -}}
- {name: tmp, emptyDir: {sizeLimit: 1Gi}}
{{- if has "settings" .mounts }}
- {name: settings, configMap: {name: {{ $full }}-settings}}
{{- with include "sluicegate.secretFiles" $root | fromJsonArray }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range . }}
      - secret: {name: {{ .secret | quote }}, items: [{key: {{ .key | quote }}, path: {{ .path | quote }}}]}
      {{- end }}
{{- end }}
{{- with $root.Values.caSecret }}
{{- if .name }}
- {name: ca, secret: {secretName: {{ .name | quote }}, defaultMode: 0444, items: [{key: {{ .key | quote }}, path: ca.crt}]}}
{{- end }}
{{- end }}
{{- with $root.Values.policy }}
{{- if or .existingConfigMap .inline }}
- {name: policy, configMap: {name: {{ default (print $full "-policy") .existingConfigMap | quote }}}}
{{- end }}
{{- if or .overlays.existingConfigMap .overlays.inline }}
- {name: overlays, configMap: {name: {{ default (print $full "-overlays") .overlays.existingConfigMap | quote }}}}
{{- end }}
{{- if or .budgets.existingConfigMap .budgets.inline }}
- {name: budgets, configMap: {name: {{ default (print $full "-budgets") .budgets.existingConfigMap | quote }}}}
{{- end }}
{{- if or .shadows.existingConfigMap .shadows.inline }}
- {name: shadows, configMap: {name: {{ default (print $full "-shadows") .shadows.existingConfigMap | quote }}}}
{{- end }}
{{- end }}
{{- end }}
{{- if has "journal" .mounts }}
- {name: journal, emptyDir: {sizeLimit: 64Mi}}
{{- end }}
{{- if has "ray" .mounts }}
- {name: ray, emptyDir: {sizeLimit: {{ $root.Values.worker.raySizeLimit }}}}
{{- end }}
{{- if .shm }}
- {name: shm, emptyDir: {medium: Memory, sizeLimit: {{ .shm }}}}
{{- end }}
{{- if has "cache" .mounts }}
- {{ include "sluicegate.cacheVolume" (list $root .component .block) }}
{{- end }}
{{- range .keys }}
- name: {{ .volume }}
  secret: {secretName: {{ .secret | quote }}, defaultMode: 0440, items: [{key: {{ .key | quote }}, path: {{ .path }}}]}
{{- end }}
{{- with .block.extraVolumes }}
{{ tpl (toYaml .) $root }}
{{- end }}
{{- end -}}

{{/* Takes (list root role server). */}}
{{- define "sluicegate.cacheVolume" -}}
{{- $cache := (index . 2).cache -}}
{{- if $cache.existingClaim -}}
{name: cache, persistentVolumeClaim: {claimName: {{ $cache.existingClaim | quote }}}}
{{- else if $cache.create -}}
{name: cache, persistentVolumeClaim: {claimName: {{ include "sluicegate.fullname" (index . 0) }}-{{ index . 1 }}}}
{{- else -}}
{name: cache, emptyDir: {sizeLimit: {{ $cache.sizeLimit }}}}
{{- end -}}
{{- end -}}

{{/* The worker's part of a pod, the same in every mode: probes of the node agent, drain, ports. */}}
{{- define "sluicegate.workerProbes" -}}
{{- $probes := .Values.worker.probes -}}
startupProbe:
  {{- merge (dict "httpGet" (dict "path" "/startupz" "port" "http") "timeoutSeconds" 3) $probes.startup | toYaml | nindent 2 }}
readinessProbe:
  {{- merge (dict "httpGet" (dict "path" "/readyz" "port" "http") "timeoutSeconds" 3) $probes.readiness | toYaml | nindent 2 }}
livenessProbe:
  {{- merge (dict "httpGet" (dict "path" "/livez" "port" "http") "timeoutSeconds" 5) $probes.liveness | toYaml | nindent 2 }}
{{- end -}}

{{/* Without a token the agent refuses to drain; SIGTERM and the commit protocol remain. */}}
{{- define "sluicegate.workerLifecycle" -}}
{{- if .Values.agent.tokenSecret.name -}}
preStop:
  exec: {command: [sluicegate, drain, --wait, "45", --config, {{ include "sluicegate.settingsFile" . }}]}
{{- end -}}
{{- end -}}
