"""The routes, one router per group."""
