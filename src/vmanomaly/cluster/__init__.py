"""The members of a configuration on a Ray cluster, which places, watches and restarts them."""
