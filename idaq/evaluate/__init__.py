"""What the results say: statistics, figures and the report. Reads runs and datasets; writes neither."""
