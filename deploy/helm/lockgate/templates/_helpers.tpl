{{- define "lockgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of all objects. A pod's name has -0 and so on behind it, and has to fit a label. */}}
{{- define "lockgate.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := include "lockgate.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "lockgate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "lockgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lockgate.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "lockgate.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "lockgate.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "lockgate.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "lockgate.configSecret" -}}
{{- default (printf "%s-config" (include "lockgate.fullname" .)) .Values.existingConfigSecret }}
{{- end }}

{{/* The port behind the last colon of an address. */}}
{{- define "lockgate.port" -}}
{{- regexFind "[0-9]+$" . }}
{{- end }}

{{- define "lockgate.sshPort" -}}
{{- if .Values.existingConfigSecret -}}
2022
{{- else -}}
{{ include "lockgate.port" (first .Values.config.server.listen) }}
{{- end }}
{{- end }}

{{- define "lockgate.healthPort" -}}
{{- if .Values.existingConfigSecret -}}
8023
{{- else -}}
{{ include "lockgate.port" (required "config.admin.health is missing: the probes need it, \"[::]:8023\" for example" (dig "admin" "health" "" .Values.config)) }}
{{- end }}
{{- end }}

{{/* limits.drain in whole seconds. */}}
{{- define "lockgate.drainSeconds" -}}
{{- if .Values.existingConfigSecret -}}
{{ int .Values.drain.seconds }}
{{- else }}
{{- $drain := dig "limits" "drain" "60s" .Values.config | toString }}
{{- $count := regexFind "^[0-9]+" $drain | int }}
{{- $unit := regexFind "[a-z]+$" $drain }}
{{- if eq $unit "ms" }}{{ add1 (div $count 1000) }}
{{- else if eq $unit "s" }}{{ $count }}
{{- else if eq $unit "m" }}{{ mul $count 60 }}
{{- else if eq $unit "h" }}{{ mul $count 3600 }}
{{- else if eq $unit "d" }}{{ mul $count 86400 }}
{{- else }}{{ fail (printf "config.limits.drain: %q is not a duration" $drain) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Stops an installation whose pods would be killed in the middle of their drain. */}}
{{- define "lockgate.checkDrain" -}}
{{- $needed := add (int .Values.drain.preStopSeconds) (int (include "lockgate.drainSeconds" .)) 22 }}
{{- if le (int .Values.terminationGracePeriodSeconds) (int $needed) }}
{{- fail (printf "terminationGracePeriodSeconds (%d) has to be more than %d: drain.preStopSeconds (%d), limits.drain (%d), and 22 for stores and sinks at the end" (int .Values.terminationGracePeriodSeconds) (int $needed) (int .Values.drain.preStopSeconds) (int (include "lockgate.drainSeconds" .))) }}
{{- end }}
{{- end }}
