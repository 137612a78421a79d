{{/* Which of KEDA's scalers looks at the queues. In: root. */}}
{{- define "darkroom.brokerKind" -}}
{{ ternary "rabbitmq" .root.Values.broker.kind .root.Values.servers.broker.enabled }}
{{- end -}}

{{/* One trigger for each restore queue: a worker for every `value` photos in it. In: root, full, value. */}}
{{- define "darkroom.queueTriggers" -}}
{{- $broker := .root.Values.broker -}}
{{- $kind := include "darkroom.brokerKind" . -}}
{{- range $queue := splitList "\n" (include "darkroom.restoreQueues" .) }}
- name: {{ trimPrefix "darkroom.restore." $queue | replace "." "_" }}
  {{- if eq $kind "rabbitmq" }}
  type: rabbitmq
  metadata: {hostFromEnv: DARKROOM_BROKER_URL, protocol: amqp, mode: QueueLength, value: {{ $.value | quote }}, queueName: {{ $queue }}}
  {{- else if eq $kind "redis" }}
  type: redis
  metadata: {address: {{ required "broker.redisAddress: KEDA needs host:port of the broker" $broker.redisAddress | quote }}, enableTLS: {{ $broker.redisTls | quote }}, listLength: {{ $.value | quote }}, listName: {{ $queue }}}
  authenticationRef: {name: {{ $.full }}-queues}
  {{- else }}
  type: aws-sqs-queue
  metadata: {queueURL: "{{ required "broker.sqsUrl: KEDA needs the address of the account's queues" $broker.sqsUrl }}/{{ $queue | replace "." "-" }}", awsRegion: {{ $.root.Values.store.region }}, queueLength: {{ $.value | quote }}}
  authenticationRef: {name: {{ $.full }}-queues}
  {{- end }}
{{- end }}
{{- end -}}

{{/* By what KEDA may ask the queues. In: root, labels, full. */}}
{{- define "darkroom.queueAuthentication" -}}
{{- $kind := include "darkroom.brokerKind" . -}}
{{- if ne $kind "rabbitmq" }}
---
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata:
  name: {{ .full }}-queues
  labels:
    {{- include "darkroom.labels" .labels | nindent 4 }}
spec:
  {{- if eq $kind "redis" }}
  secretTargetRef:
    - {parameter: password, name: {{ .root.Values.secret }}, key: REDIS_PASSWORD}
  {{- else }}
  podIdentity: {provider: aws, identityOwner: keda}
  {{- end }}
{{- end }}
{{- end -}}

{{/* A pool of workers by what waits in all restore queues together. KEDA asks each queue and adds them up; by themselves its
     triggers would count for their largest. In: root, it, labels, full. */}}
{{- define "darkroom.scaledObject" -}}
{{- $scaling := .it.scaling -}}
{{- $names := list -}}
{{- range $queue := splitList "\n" (include "darkroom.restoreQueues" .) }}
{{- $names = append $names (trimPrefix "darkroom.restore." $queue | replace "." "_") }}
{{- end }}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ .full }}
  labels:
    {{- include "darkroom.labels" .labels | nindent 4 }}
spec:
  scaleTargetRef: {name: {{ .full }}}
  minReplicaCount: {{ $scaling.min }}
  maxReplicaCount: {{ $scaling.max }}
  pollingInterval: {{ $scaling.pollingSeconds }}
  cooldownPeriod: {{ $scaling.cooldownSeconds }}
  triggers:
    {{- include "darkroom.queueTriggers" (dict "root" .root "full" .full "value" 1) | nindent 4 }}
    {{- with $scaling.ageQuery }}
    - name: age
      type: prometheus
      metadata: {serverAddress: {{ required "metrics.prometheusUrl: the query of ageQuery needs it" $.root.Values.metrics.prometheusUrl | quote }}, threshold: "1", query: {{ . | quote }}}
    {{- end }}
  advanced:
    scalingModifiers:
      {{- $depth := join " + " $names }}
      {{- if $scaling.ageQuery }}
      formula: {{ printf "(%s) / (age > %v ? %v : %v)" $depth $scaling.ageSeconds $scaling.latePhotosPerWorker $scaling.photosPerWorker | quote }}
      {{- else }}
      formula: {{ printf "(%s) / %v" $depth $scaling.photosPerWorker | quote }}
      {{- end }}
      target: "1"
      # One photo is enough for a first worker.
      activationTarget: "0"
      metricType: AverageValue
    horizontalPodAutoscalerConfig:
      behavior:
        scaleDown:
          stabilizationWindowSeconds: {{ $scaling.scaleInSeconds }}
{{- include "darkroom.queueAuthentication" . }}
{{- end -}}

{{/* A pool of workers as Jobs: so many begin as the photos that wait need, and each ends by itself once it is idle. Nothing that
     scales ends one. In: root, it, labels, full, template. */}}
{{- define "darkroom.scaledJob" -}}
{{- $scaling := .it.scaling -}}
{{- if $scaling.ageQuery }}{{ fail "scaling.ageQuery: KEDA scales Jobs by depth alone; leave it out, or set scaling.jobs to false" }}{{ end -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledJob
metadata:
  name: {{ .full }}
  labels:
    {{- include "darkroom.labels" .labels | nindent 4 }}
spec:
  jobTargetRef:
    # What a worker that failed had in hand, another does: KEDA starts it.
    backoffLimit: 0
    template:
      {{- .template | nindent 6 }}
  minReplicaCount: {{ $scaling.min }}
  maxReplicaCount: {{ $scaling.max }}
  pollingInterval: {{ $scaling.pollingSeconds }}
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 10
  # An upgrade lets the old ones finish what they have.
  rollout: {strategy: gradual}
  scalingStrategy: {multipleScalersCalculation: sum}
  triggers:
    {{- include "darkroom.queueTriggers" (dict "root" .root "full" .full "value" $scaling.photosPerWorker) | nindent 4 }}
{{- include "darkroom.queueAuthentication" . }}
{{- end -}}
