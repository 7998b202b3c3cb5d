"""Telemetry: what the worker tells an OpenTelemetry collector of its loops, where the standard variables name one.

settings.py reads the variables, spans.py and metrics.py say what is told, observing.py sees the activities, export.py
sends. opentelemetry is imported in export.py alone, and export.py only when there is something to send.
"""
