"""Sits beside the detector: scores each file as it lands, writes the verdicts, and raises alarms. Runs for weeks."""
