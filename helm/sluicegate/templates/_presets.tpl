{{/* Sizes in MiB and milli-CPUs. `memory` is without the object store's shared memory, which counts as memory too. */}}
{{- define "sluicegate.presets" -}}
nano:   {replicas: 1, worker: {cpu: 500, memory: 1792, shm: 256}, head: {cpu: 500, memory: 2048, shm: 256}, model: {cpu: 2000, memory: 8192}}
small:  {replicas: 2, worker: {cpu: 1000, memory: 3072, shm: 512}, head: {cpu: 1000, memory: 5120, shm: 512}, model: {cpu: 4000, memory: 16384}}
medium: {replicas: 4, worker: {cpu: 2000, memory: 5120, shm: 1024}, head: {cpu: 2000, memory: 8192, shm: 1024}, model: {cpu: 8000, memory: 32768}}
large:  {replicas: 12, worker: {cpu: 4000, memory: 10240, shm: 2048}, head: {cpu: 4000, memory: 16384, shm: 2048}, model: {cpu: 16000, memory: 65536}}
{{- end -}}

{{/* One size of the preset as JSON: takes (list root role). */}}
{{- define "sluicegate.size" -}}
{{- $root := index . 0 -}}
{{- index (include "sluicegate.presets" $root | fromYaml) $root.Values.preset (index . 1) | toJson -}}
{{- end -}}

{{/* Size of /dev/shm: takes (list root role explicit). */}}
{{- define "sluicegate.shm" -}}
{{- default (printf "%dMi" (int (include "sluicegate.size" . | fromJson).shm)) (index . 2) -}}
{{- end -}}

{{/* Resources: takes (list root role explicit shmSize). No CPU limit: throttling a worker costs its heartbeats. */}}
{{- define "sluicegate.resources" -}}
{{- $explicit := index . 2 -}}
{{- if $explicit -}}
{{- toYaml $explicit -}}
{{- else -}}
{{- $size := include "sluicegate.size" . | fromJson -}}
{{- $shm := div (include "sluicegate.bytes" (index . 3)) 1048576 -}}
{{- $memory := printf "%dMi" (add (int $size.memory) $shm) -}}
requests: {cpu: {{ printf "%dm" (int $size.cpu) }}, memory: {{ $memory }}}
limits: {memory: {{ $memory }}}
{{- end -}}
{{- end -}}

{{/* Bytes of a size in Mi or Gi. */}}
{{- define "sluicegate.bytes" -}}
{{- $number := regexFind "^[0-9]+" . | int64 -}}
{{- if hasSuffix "Gi" . -}}{{- mul $number 1073741824 -}}{{- else -}}{{- mul $number 1048576 -}}{{- end -}}
{{- end -}}

{{- define "sluicegate.replicas" -}}
{{- $preset := index (include "sluicegate.presets" . | fromYaml) .Values.preset -}}
{{- default $preset.replicas .Values.worker.replicas | int -}}
{{- end -}}
