{{/* A pool of workers by what waits in all restore queues together. KEDA asks each queue and adds them up; by themselves its
     triggers would count for their largest. In: root, it, labels, full. */}}
{{- define "darkroom.scaledObject" -}}
{{- $scaling := .it.scaling -}}
{{- $broker := .root.Values.broker -}}
{{- $kind := ternary "rabbitmq" $broker.kind .root.Values.servers.broker.enabled -}}
{{- $names := list -}}
{{- $authentication := printf "%s-queues" .full }}
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
    {{- range $queue := splitList "\n" (include "darkroom.restoreQueues" .) }}
    {{- $name := trimPrefix "darkroom.restore." $queue | replace "." "_" }}
    {{- $names = append $names $name }}
    - name: {{ $name }}
      {{- if eq $kind "rabbitmq" }}
      type: rabbitmq
      metadata: {hostFromEnv: DARKROOM_BROKER_URL, protocol: amqp, mode: QueueLength, value: "1", queueName: {{ $queue }}}
      {{- else if eq $kind "redis" }}
      type: redis
      metadata: {address: {{ required "broker.redisAddress: KEDA needs host:port of the broker" $broker.redisAddress | quote }}, enableTLS: {{ $broker.redisTls | quote }}, listLength: "1", listName: {{ $queue }}}
      authenticationRef: {name: {{ $authentication }}}
      {{- else }}
      type: aws-sqs-queue
      metadata: {queueURL: "{{ required "broker.sqsUrl: KEDA needs the address of the account's queues" $broker.sqsUrl }}/{{ $queue | replace "." "-" }}", awsRegion: {{ $.root.Values.store.region }}, queueLength: "1"}
      authenticationRef: {name: {{ $authentication }}}
      {{- end }}
    {{- end }}
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
{{- if ne $kind "rabbitmq" }}
---
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata:
  name: {{ $authentication }}
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
