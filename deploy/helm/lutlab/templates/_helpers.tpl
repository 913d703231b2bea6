{{- define "lutlab.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "lutlab.name" -}}
{{ printf "%s-%s" .root.Release.Name .part | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "lutlab.selector" -}}
app.kubernetes.io/name: lutlab
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "lutlab.labels" -}}
{{ include "lutlab.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "lutlab.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
{{- end }}

{{- define "lutlab.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "lutlab.databaseEnv" -}}
- name: LUTLAB_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.secretName }}
      key: {{ .Values.database.urlKey }}
{{- end }}

{{- define "lutlab.busEnv" -}}
- name: LUTLAB_NATS_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.nats.secretName }}
      key: {{ .Values.nats.urlKey }}
- name: LUTLAB_NATS_NKEY_SEED_FILE
  value: /run/lutlab/nats_seed
{{- end }}

{{- define "lutlab.settings" -}}
- configMapRef:
    name: {{ include "lutlab.name" (dict "root" . "part" "settings") }}
{{- end }}

{{- define "lutlab.seedVolume" -}}
- name: nats-seed
  secret:
    secretName: {{ .root.Values.nats.secretName }}
    defaultMode: 0400
    items:
      - key: {{ .key }}
        path: nats_seed
{{- end }}

{{- define "lutlab.mounts" -}}
- name: nats-seed
  mountPath: /run/lutlab
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- end }}

{{- define "lutlab.scraped" -}}
{{- if .root.Values.metrics.enabled }}
annotations:
  prometheus.io/scrape: "true"
  prometheus.io/port: {{ .port | quote }}
{{- end }}
{{- end }}
