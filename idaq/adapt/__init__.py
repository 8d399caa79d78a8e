"""Online adaptation: strategies (IDAQ and its rivals) and the uncertainties that score an episode."""
