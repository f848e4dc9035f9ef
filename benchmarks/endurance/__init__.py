"""How the service holds up for long, and against what is broken or hostile."""
