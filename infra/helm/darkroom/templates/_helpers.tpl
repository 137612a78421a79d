{{/* What more than one template needs. `root` is the chart's own context, `it` the values of one process. */}}

{{- define "darkroom.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels by which a process is chosen; they never change. In: root, name. */}}
{{- define "darkroom.selector" -}}
app.kubernetes.io/name: darkroom
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{/* Labels of every object. In: root, name. */}}
{{- define "darkroom.labels" -}}
{{ include "darkroom.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{/* An image of ours. In: root, image. */}}
{{- define "darkroom.image" -}}
{{- $tag := .root.Values.image.tag | default .root.Chart.AppVersion -}}
{{ include "darkroom.foreignImage" . }}:{{ $tag }}
{{- end -}}

{{/* Another's image, whose name has its tag. In: root, image. */}}
{{- define "darkroom.foreignImage" -}}
{{- with .root.Values.image.registry }}{{ . }}/{{ end }}{{ .image }}
{{- end -}}

{{/* One variable of the Secret. In: root, env, key. */}}
{{- define "darkroom.secretEnv" -}}
- name: {{ .env }}
  valueFrom: {secretKeyRef: {name: {{ .root.Values.secret }}, key: {{ .key }}}}
{{- end -}}

{{/* Where the store is, and the key of one identity. In: root, identity. */}}
{{- define "darkroom.storeEnv" -}}
{{- $store := .root.Values.store -}}
{{- $own := printf "http://%s-object-store:8333" (include "darkroom.name" .root) -}}
{{- $endpoint := $store.endpointUrl | default (ternary $own "" .root.Values.servers.objectStore.enabled) -}}
{{- with $endpoint }}
- {name: DARKROOM_S3_ENDPOINT_URL, value: {{ . | quote }}}
{{- end }}
- {name: DARKROOM_S3_REGION, value: {{ $store.region | quote }}}
{{- range $bucket, $name := $store.buckets }}
- {name: DARKROOM_BUCKET_{{ upper $bucket }}, value: {{ $name | quote }}}
{{- end }}
{{- if $store.useKeys }}
- {name: DARKROOM_S3_ACCESS_KEY, value: {{ index $store.accessKeys .identity | quote }}}
{{ include "darkroom.secretEnv" (dict "root" .root "env" "DARKROOM_S3_SECRET_KEY" "key" (printf "S3_%s_SECRET_KEY" (upper .identity))) }}
{{- end }}
{{- end -}}

{{/* The key by which tickets are signed. In: root. */}}
{{- define "darkroom.ticketEnv" -}}
{{- if .root.Values.store.useKeys }}
- {name: DARKROOM_S3_TICKET_ACCESS_KEY, value: {{ .root.Values.store.accessKeys.ticket | quote }}}
{{ include "darkroom.secretEnv" (dict "root" .root "env" "DARKROOM_S3_TICKET_SECRET_KEY" "key" "S3_TICKET_SECRET_KEY") }}
{{- end }}
{{- end -}}

{{/* Where the broker is, by a name that KEDA resolves in its own namespace, too. In: root. */}}
{{- define "darkroom.brokerEnv" -}}
{{- if .root.Values.servers.broker.enabled }}
{{ include "darkroom.secretEnv" (dict "root" .root "env" "BROKER_PASSWORD" "key" "BROKER_PASSWORD") }}
- {name: DARKROOM_BROKER_URL, value: "amqp://darkroom:$(BROKER_PASSWORD)@{{ include "darkroom.name" .root }}-broker.{{ .root.Release.Namespace }}.svc:5672//"}
{{- else if .root.Values.broker.url }}
- {name: DARKROOM_BROKER_URL, value: {{ .root.Values.broker.url | quote }}}
{{- else }}
{{ include "darkroom.secretEnv" (dict "root" .root "env" "DARKROOM_BROKER_URL" "key" "DARKROOM_BROKER_URL") }}
{{- end }}
{{- end -}}

{{/* Where the database is. In: root. */}}
{{- define "darkroom.databaseEnv" -}}
{{- if .root.Values.servers.database.enabled }}
{{ include "darkroom.secretEnv" (dict "root" .root "env" "DATABASE_PASSWORD" "key" "DATABASE_PASSWORD") }}
- {name: DARKROOM_DATABASE_URL, value: "postgresql://darkroom:$(DATABASE_PASSWORD)@{{ include "darkroom.name" .root }}-database:5432/darkroom"}
{{- else }}
{{ include "darkroom.secretEnv" (dict "root" .root "env" "DARKROOM_DATABASE_URL" "key" "DARKROOM_DATABASE_URL") }}
{{- end }}
{{- end -}}

{{/* Settings that a person chose: those of all processes, then those of this one. In: root, it. */}}
{{- define "darkroom.settings" -}}
{{- range $name, $value := merge (dict) .it.settings .root.Values.settings }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- range .it.secretSettings }}
{{ include "darkroom.secretEnv" (dict "root" $.root "env" . "key" .) }}
{{- end }}
{{- end -}}

{{/* What handlers and sweep share: they decide the same about an upload. In: root. */}}
{{- define "darkroom.decidingEnv" -}}
{{ include "darkroom.storeEnv" (dict "root" .root "identity" "handlers") }}
{{- include "darkroom.brokerEnv" . }}
{{ include "darkroom.secretEnv" (dict "root" .root "env" "DARKROOM_PEPPER" "key" "DARKROOM_PEPPER") }}
{{- end -}}

{{/* Restricted rights of a pod. In: user. */}}
{{- define "darkroom.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .user }}
runAsGroup: {{ .user }}
fsGroup: {{ .user }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* And those of a container. */}}
{{- define "darkroom.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Labels of a pod. Those of the networks say what it may reach. In: root, name, networks. */}}
{{- define "darkroom.podLabels" -}}
{{ include "darkroom.selector" . }}
{{- range .networks }}
network.darkroom/{{ . }}: "true"
{{- end }}
{{- with .root.Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What a pod of Darkroom has beside its containers. In: root, account, it. */}}
{{- define "darkroom.podSpec" -}}
serviceAccountName: {{ include "darkroom.name" .root }}-{{ .account }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- include "darkroom.podSecurity" (dict "user" 10001) | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .it.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .it.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with .it.affinity }}
affinity: {{ toJson . }}
{{- end }}
{{- end -}}

{{/* Volumes and their mounts: /tmp, the models where there are some, one of its own at /NAME, and files of ConfigMaps and Secrets,
     each at its name. In: root, name, scratch, models, claim, reads (the claim, and never writes it), files (name → sources). */}}
{{- define "darkroom.volumes" -}}
volumes:
  - {name: tmp, emptyDir: {sizeLimit: {{ .scratch | default "1Gi" }}}}
  {{- if .models }}
  {{- with include "darkroom.modelsVolume" .root }}
  - {{ . | nindent 4 | trim }}
  {{- end }}
  {{- end }}
  {{- with .claim }}
  - {name: own, persistentVolumeClaim: {claimName: {{ . }}}}
  {{- end }}
  {{- range $name, $sources := .files }}
  - {name: {{ $name }}, projected: {sources: {{ toJson $sources }}}}
  {{- end }}
{{- end -}}

{{- define "darkroom.mounts" -}}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- if and .models (include "darkroom.modelsVolume" .root) }}
  - {name: models, mountPath: /models, readOnly: true}
  {{- end }}
  {{- with .claim }}
  - {name: own, mountPath: /{{ $.name }}{{ if $.reads }}, readOnly: true{{ end }}}
  {{- end }}
  {{- range $name, $_ := .files }}
  - {name: {{ $name }}, mountPath: /{{ $name }}, readOnly: true}
  {{- end }}
{{- end -}}

{{- define "darkroom.modelsVolume" -}}
{{- if .Values.models.volume.enabled -}}
name: models
persistentVolumeClaim: {claimName: {{ .Values.models.volume.existingClaim | default (printf "%s-models" (include "darkroom.name" .)) }}, readOnly: true}
{{- else if .Values.models.image -}}
name: models
image: {reference: {{ include "darkroom.foreignImage" (dict "root" . "image" .Values.models.image) }}, pullPolicy: {{ .Values.image.pullPolicy }}}
{{- end -}}
{{- end -}}

{{/* Probes by the port for operators: started, alive, ready. In: port, name of the port. */}}
{{- define "darkroom.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: {{ .port }}}
  periodSeconds: 3
  failureThreshold: 100
livenessProbe:
  httpGet: {path: /healthz, port: {{ .port }}}
  periodSeconds: 15
  timeoutSeconds: 10
readinessProbe:
  httpGet: {path: /readyz, port: {{ .port }}}
  periodSeconds: 10
  timeoutSeconds: 10
{{- end -}}

{{/* A Deployment's pod with one process, from its labels on. In: root, name, account, it, image, command, networks, env (text),
     models, claim, reads, files, and where they differ: port (of the probes), ports, resources, scratch, grace, runtimeClassName. */}}
{{- define "darkroom.pod" -}}
metadata:
  labels:
    {{- include "darkroom.podLabels" . | nindent 4 }}
  {{- with .root.Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "darkroom.podSpec" . | nindent 2 }}
  {{- with .runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with .restart }}
  restartPolicy: {{ . }}
  {{- end }}
  terminationGracePeriodSeconds: {{ .grace | default 45 }}
  containers:
    - name: {{ .container | default .name }}
      image: {{ include "darkroom.image" . }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: {{ toJson .command }}
      env:
        {{- .env | trim | nindent 8 }}
        {{- include "darkroom.settings" . | trim | nindent 8 }}
      ports:
        - {name: metrics, containerPort: 9464}
        {{- range .ports }}
        - {{ . }}
        {{- end }}
      {{- if not .once }}
      {{- include "darkroom.probes" (dict "port" (.port | default "metrics")) | nindent 6 }}
      {{- end }}
      resources: {{ toJson (.resources | default .it.resources) }}
      securityContext:
        {{- include "darkroom.containerSecurity" . | nindent 8 }}
      {{- include "darkroom.mounts" . | nindent 6 }}
  {{- include "darkroom.volumes" . | nindent 2 }}
{{- end -}}

{{/* The pod's account, and what may be interrupted. In: root, name, it. */}}
{{- define "darkroom.account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "darkroom.name" .root }}-{{ .name }}
  labels:
    {{- include "darkroom.labels" . | nindent 4 }}
  {{- with merge (dict) (.hook | default (dict)) .it.serviceAccountAnnotations }}
  annotations: {{ toJson . }}
  {{- end }}
automountServiceAccountToken: false
{{- end -}}

{{- define "darkroom.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "darkroom.name" .root }}-{{ .name }}
  labels:
    {{- include "darkroom.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "darkroom.selector" . | nindent 6 }}
{{- end -}}

{{/* Queues of tasks, as shared/broker/topology.py has them; a test compares both. */}}
{{- define "darkroom.restoreQueues" -}}
darkroom.restore.preview
{{- range $name, $lanes := dict "interactive" 4 "bulk" 8 }}
darkroom.restore.{{ $name }}
{{- range $lane := untilStep 1 (int (add1 $lanes)) 1 }}
darkroom.restore.{{ $name }}.{{ $lane }}
{{- end }}
{{- end }}
{{- end -}}


{{/* The claim of a server's volume. In: the server's values. */}}
{{- define "darkroom.claim" -}}
- metadata: {name: data}
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .storageClass }}
    storageClassName: {{ . }}
    {{- end }}
    resources: {requests: {storage: {{ .size }}}}
{{- end -}}
